"""The log as files: JSONL (the sealed bytes, one entry a line) and CSV for people with spreadsheets."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from django.db.models import Q, QuerySet

from audit import canonical, models, tenancy

COLUMNS = ("at", "id", "event", "workspace_id", "actor_kind", "actor_id", "subject", "run_id", "leaf", "body")
_PIECE = 2000
# A cell that starts like this is a formula to a spreadsheet (CSV injection, reliability T38).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four are their full-width forms


def pieces(organisation: str, entries: QuerySet[models.Entry], *, kind: str, facts: Mapping[str, str] | None = None) -> Iterator[bytes]:
    """The organisation's entries, newest first, as a file in pieces. With `facts` (zone, filter) the file begins with them.

    Each is read in a transaction of its own, so nothing stays open while a slow reader takes its time, and any thread may ask for the next.
    """
    if facts:
        yield head("Audit log", facts) if kind == "csv" else canonical.encode({"remit_export": dict(facts)}) + b"\n"
    last: models.Entry | None = None
    while True:
        rows = entries.order_by("-at", "-id")
        if last is not None:
            rows = rows.filter(Q(at__lt=last.at) | Q(at=last.at, id__lt=last.id))
        with tenancy.within(organisation, read_only=True):
            found = list(rows[:_PIECE])
        yield b"".join(islice(stream(found, kind=kind), int(kind == "csv" and last is not None), None))
        if len(found) < _PIECE:
            return
        last = found[-1]


def stream(entries: Iterable[models.Entry], *, kind: str) -> Iterator[bytes]:
    """The entries as `jsonl` or `csv`, in chunks. JSONL lines are exactly the bytes that their leaves are hashes of."""
    if kind == "jsonl":
        for entry in entries:
            yield entry.body.encode() + b"\n"
    elif kind == "csv":
        yield row(COLUMNS)
        for entry in entries:
            yield row([cell(_text(getattr(entry, name))) for name in COLUMNS])
    else:
        raise ValueError(f"{kind} is neither jsonl nor csv")


def head(title: str, facts: Mapping[str, str]) -> bytes:
    """What a CSV file is and how it was narrowed, before its columns: a line a fact, `# zone`, and its value."""
    return row([f"# {title}"]) + b"".join(row([f"# {name}", cell(value)]) for name, value in facts.items())


def cell(text: str) -> str:
    """The text, made harmless for a spreadsheet by a leading apostrophe where it would be a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _text(value: object) -> str:
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def row(cells: Sequence[str]) -> bytes:
    """One line of a CSV file. Every cell is quoted; make each harmless with `cell` first."""
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(cells)
    return line.getvalue().encode()
