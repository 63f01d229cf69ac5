"""Long lists in pages: the next page begins below the last row that was seen, so nothing is skipped or shown twice while rows are added."""

import base64
import datetime
import json
import operator
from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

SHOWN = 50
Row = TypeVar("Row")


def packed(*parts: str | float | None) -> str:
    """A place in a list as one opaque word of an address."""
    return base64.urlsafe_b64encode(json.dumps(parts, separators=(",", ":")).encode()).decode().rstrip("=")


def unpacked(text: str, *kinds: type | tuple[type, ...]) -> list[Any] | None:
    """The parts of a place, when they are of these kinds. A stranger's text is no place: the list begins at its start."""
    try:
        found = json.loads(base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or len(found) != len(kinds):
        return None
    fits = all(isinstance(part, kind) and not isinstance(part, bool) for part, kind in zip(found, kinds, strict=True))
    plain = all(part.isprintable() and len(part) <= 200 for part in found if isinstance(part, str))
    small = all(abs(part) < 2**53 for part in found if isinstance(part, int | float))  # NaN is below nothing
    return found if fits and plain and small else None


def time_of(text: str) -> datetime.datetime | None:
    """A time with its zone, as places carry it."""
    try:
        at = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def below(text: str) -> tuple[datetime.datetime, str] | None:
    """The row named by `?below=`: its time and id, or nothing."""
    parts = unpacked(text, str, str)
    at = time_of(parts[0]) if parts else None
    return (at, parts[1]) if parts and at is not None else None


def cut(rows: Sequence[Any], asked: dict[str, str]) -> tuple[list[Any], str]:
    """(the rows to show, the query string of the next page or nothing). `rows` holds one more than is shown, if there is one."""
    shown = list(rows[:SHOWN])
    if len(rows) <= SHOWN:
        return shown, ""
    return shown, urlencode(asked | {"below": packed(shown[-1].at.isoformat(), shown[-1].id)})


def after_name(text: str) -> str:
    """The name below which a list by name goes on (`?after=`), or nothing."""
    parts = unpacked(text, str)
    return str(parts[0]) if parts else ""


def cut_by_name(rows: Sequence[Row], name: str) -> tuple[list[Row], str]:
    """(the rows to show, the place of the next page or nothing) of a list in the order of a unique name, such as `tool.name`."""
    shown = list(rows[:SHOWN])
    return shown, packed(str(operator.attrgetter(name)(shown[-1]))) if len(rows) > SHOWN else ""


def moment(text: str) -> datetime.datetime | None:
    """A time typed into a filter, in UTC unless it says otherwise; nothing when it is no time."""
    try:
        at = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
