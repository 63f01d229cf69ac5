"""The worker process: `celery -A controlplane.celery worker --pool threads`. Celery answers the bell; the watch looks by itself."""

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

import django

django.setup(set_prefix=False)

from celery import signals  # noqa: E402

from controlplane import doorbell, tasks, worker  # noqa: E402

__all__ = ["app", "tasks"]
app = doorbell.app
_watch = worker.Watch()


@signals.worker_init.connect
def _begin(**_ignored: Any) -> None:
    _watch.start()  # here and not when the worker is "ready": it never is while Redis is away


@signals.worker_shutting_down.connect
def _finish_what_is_in_hand(**_ignored: Any) -> None:
    worker.STOPPING.set()


@signals.worker_shutdown.connect
def _end(**_ignored: Any) -> None:
    _watch.stop()
