"""What Celery may be asked to do: look for work. A message carries no ids, so a forged one can say nothing."""

from typing import Any

from controlplane import doorbell, worker


@doorbell.app.task(name=doorbell.RING)
def ring(*_ignored: Any, **_too: Any) -> None:
    """Somebody rang."""
    worker.drain()
