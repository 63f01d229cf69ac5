"""How whatever happens came in: by which door, from which address, in which request. Said once where it arrives; every entry tells it."""

import contextlib
import functools
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from audit import canonical

SETTING = "app.origin"  # of a transaction: `audit_append()` reads it
DOORS = {"pages": "Console", "api": "REST", "mcp": "MCP", "live": "Live", "worker": "Worker", "command": "Command line"}


@dataclass(frozen=True, slots=True)
class Origin:
    """`door` is one of DOORS. `address` and `request` are what the network said, or empty: shown, never trusted."""

    door: str
    address: str = ""
    request: str = ""


_current: ContextVar[Origin | None] = ContextVar("origin", default=None)


def current() -> Origin | None:
    """Where what happens now came from; None where nobody said."""
    return _current.get()


def arrive(origin: Origin) -> None:
    """From now on, in this task or thread."""
    _current.set(origin)


@contextlib.contextmanager
def arriving(origin: Origin) -> Iterator[None]:
    """Within this block."""
    token = _current.set(origin)
    try:
        yield
    finally:
        _current.reset(token)


def text() -> str:
    """The canonical text that an entry tells, or nothing."""
    found = _current.get()
    return _text(found) if found else ""


@functools.lru_cache(maxsize=256)
def _text(found: Origin) -> str:
    said = {"address": found.address, "door": found.door, "request": found.request}
    return canonical.text({name: value for name, value in said.items() if value})
