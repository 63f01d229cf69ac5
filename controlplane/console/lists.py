"""Long lists in pages: the next page begins below the last row that was seen, so nothing is skipped or shown twice while rows are added."""

import datetime
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

SHOWN = 50


def below(text: str) -> tuple[datetime.datetime, str] | None:
    """The row named by `?below=`: its time and id. A stranger's text is no row: the list begins at its start."""
    moment, _, identifier = text.partition(" ")
    try:
        at = datetime.datetime.fromisoformat(moment)
    except ValueError:
        return None
    return (at, identifier) if at.tzinfo is not None and identifier.isprintable() and len(identifier) < 80 else None


def cut(rows: Sequence[Any], asked: dict[str, str]) -> tuple[list[Any], str]:
    """(the rows to show, the query string of the next page or nothing). `rows` holds one more than is shown, if there is one."""
    shown = list(rows[:SHOWN])
    if len(rows) <= SHOWN:
        return shown, ""
    return shown, urlencode(asked | {"below": f"{shown[-1].at.isoformat()} {shown[-1].id}"})


def moment(text: str) -> datetime.datetime | None:
    """A time typed into a filter, in UTC unless it says otherwise; nothing when it is no time."""
    try:
        at = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
