"""The servers Remit needs around it, for `make run` and the tests: a private PostgreSQL and Valkey, and the supervisor.

Imports neither Django nor the house: it is what starts them. In production these are services of your own, named by URL.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from controlplane.services.trouble import CannotStart

__all__ = ["CannotStart", "environment", "session", "stop"]

# The imports inside the functions keep `python -m controlplane.services` able to say that there is no virtual environment yet.


def environment(root: Path, data: Path | None = None) -> dict[str, str]:
    """Starts what is missing and returns the variables a Remit process reads. Raises CannotStart."""
    from controlplane.services import surroundings  # noqa: PLC0415

    return surroundings.environment(root, data)


def session(root: Path, data: Path | None = None) -> AbstractContextManager[dict[str, str]]:
    """The same for the length of a block. The last session out stops the servers that a session started."""
    from controlplane.services import surroundings  # noqa: PLC0415

    return surroundings.session(root, data)


def stop(root: Path, data: Path | None = None) -> None:
    """Stops the embedded servers, whoever started them. Does nothing when none run."""
    from controlplane.services import surroundings  # noqa: PLC0415

    surroundings.stop(root, data)
