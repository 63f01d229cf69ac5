"""The log as files: JSONL (the sealed bytes, one entry a line) and CSV for people with spreadsheets."""

import csv
import io
from collections.abc import Iterator

from django.db.models import QuerySet

from audit import models

COLUMNS = ("at", "id", "event", "workspace_id", "actor_kind", "actor_id", "subject", "run_id", "leaf", "body")
# A cell that starts like this is a formula to a spreadsheet (CSV injection, reliability T38).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def stream(entries: QuerySet[models.Entry], *, kind: str) -> Iterator[bytes]:
    """The entries as `jsonl` or `csv`, in chunks. JSONL lines are exactly the bytes that their leaves are hashes of."""
    if kind == "jsonl":
        for entry in entries.iterator(chunk_size=2000):
            yield entry.body.encode() + b"\n"
    elif kind == "csv":
        yield _row(COLUMNS)
        for entry in entries.iterator(chunk_size=2000):
            yield _row([cell(_text(getattr(entry, name))) for name in COLUMNS])
    else:
        raise ValueError(f"{kind} is neither jsonl nor csv")


def cell(text: str) -> str:
    """The text, made harmless for a spreadsheet by a leading apostrophe where it would be a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _text(value: object) -> str:
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _row(cells: list[str] | tuple[str, ...]) -> bytes:
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(cells)
    return line.getvalue().encode()
