"""The filtered runs as a CSV file: streamed in pieces, bounded, and without words for whoever does not read runs."""

from collections.abc import Iterator
from typing import Any

from django.db.models import F

from agents import run_lists, runs
from agents.models import Run
from agents.run_lists import Spot
from audit import exports, tenancy
from budgets import money, reservations
from controlplane.console.frame import Place
from controlplane.console.run_query import Asked

MOST, LOOKS = 10_000, 60  # runs in a file, and looks to find them
_PIECE = run_lists.COUNTED - 1  # of a full look, so that it says where to go on
WORDS = ("title", "reference")
COLUMNS = ("id", "agent", "version", "state", "started_by_kind", "started_at", "finished_at")
NUMBERS = ("steps", "tool_calls", "writes", "tokens", "retries", "waited_ms")


def pieces(place: Place, query: Asked, *, may_read: bool, facts: dict[str, str]) -> Iterator[bytes]:
    """The file, newest run first. Each piece is read in a transaction of its own: a slow reader keeps nothing open."""
    columns = (*COLUMNS, *NUMBERS, "cost_micros", "cost", *(WORDS if may_read else ()))
    yield exports.head("Runs", facts) + exports.row(columns)
    written, spot = 0, None
    for _ in range(LOOKS):
        with tenancy.within(place.organisation.id, read_only=True):
            rows, spot = _piece(place, query, spot)
            spent = reservations.of_runs([row.id for row in rows])
            text = b"".join(exports.row(_cells(row, spent.get(row.id, 0), may_read=may_read)) for row in rows[: MOST - written])
        written += len(rows)
        yield text
        if spot is None:
            return
        if written >= MOST:
            break
    yield exports.row([f"# cut here: {min(written, MOST):,} runs are in this file and there are more; narrow the time"])


def _piece(place: Place, query: Asked, spot: Spot | None) -> tuple[list[Run], Spot | None]:
    whole = runs.visible(by=place.principal, workspace=place.workspace.id).annotate(version=F("agent_version__number"))
    page = run_lists.page(whole, run_lists.look(whole, query.wanted, after=spot), shown=_PIECE)
    return list(page.rows), page.further


def _cells(run: Any, spent: int, *, may_read: bool) -> list[str]:
    cells = [run.id, run.agent.slug, str(run.version), run.state, run.started_by_kind, run.started_at.isoformat()]
    cells += [run.finished_at.isoformat() if run.finished_at else "", *(str(getattr(run, name)) for name in NUMBERS)]
    cells += [str(spent), money.dollars(spent), *((run.title, run.reference) if may_read else ())]
    return [exports.cell(text) for text in cells]
