"""A run's calls and waits as rows on one time axis, drawn by the server. Positions are SVG attributes, so no style is needed."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from agents.models import Call, Run
from approvals.models import Request
from controlplane.console import lanes


@dataclass(frozen=True, slots=True)
class Row:
    """One call, or the wait for people that it caused (`call` is that call's id)."""

    call: str
    name: str
    kind: str
    look: str  # the bar's class
    state: str
    tier: str
    start: float
    took: float
    is_open: bool
    cost: int
    held: int
    x: str
    width: str
    request: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    rows: Sequence[Row]
    is_folded: bool
    length: float


def lasted(run: Run, now: datetime.datetime) -> float:
    """Seconds from the start to the end, or until now."""
    return max(((run.finished_at or now) - run.started_at).total_seconds(), 0.0)


def waited(run: Run, waits: Sequence[Request], now: datetime.datetime) -> float:
    """Seconds spent waiting for people, which the cap does not count; a wait that goes on is counted up to now."""
    going = [(now - each.opened_at).total_seconds() for each in waits if each.decided_at is None and not each.is_draft]
    return run.waited_ms / 1000 + max([*going, 0.0])


def draw(run: Run, calls: Sequence[Call], waits: Sequence[Request], *, now: datetime.datetime) -> Picture:
    """The rows in time order. A call that people had to decide is two stretches of work with a wait between them."""

    def since(moment: datetime.datetime | None) -> float:
        return max(((moment or now) - run.started_at).total_seconds(), 0.0)

    by_call = {each.call_id: each for each in waits}
    busy, end = [], since(run.finished_at)
    for call in calls:
        wait = by_call.get(call.id)
        if wait is None:
            busy.append((since(call.created_at), since(call.finished_at)))
        else:
            busy.append((since(call.created_at), since(wait.opened_at)))
            if wait.decided_at and call.finished_at:
                busy.append((since(wait.decided_at), since(call.finished_at)))
        end = max(end, since(call.finished_at)) if call.finished_at else end
    axis = lanes.axis(busy, [(since(each.opened_at), since(each.decided_at)) for each in waits], end)
    rows = []
    for call in calls:
        wait = by_call.get(call.id)
        rows.append(_call(call, axis, since(call.created_at), since(wait.opened_at if wait else call.finished_at)))
        if wait is not None:
            rows.append(_wait(call, wait, axis, since(wait.opened_at), since(wait.decided_at)))
            if wait.decided_at and call.state in {Call.State.APPLIED, Call.State.FAILED, Call.State.IN_DOUBT, Call.State.SENDING}:
                rows.append(_sent(call, axis, since(wait.decided_at), since(call.finished_at)))
    return Picture(rows, axis.is_folded, end)


def _call(call: Call, axis: lanes.Axis, start: float, end: float) -> Row:
    kind = "Model" if call.kind == Call.Kind.MODEL else "Write" if call.is_write else "Read"
    look = "k-err" if call.state in {Call.State.REFUSED, Call.State.FAILED, Call.State.DENIED} else f"k-{kind.lower()}"
    x, width = axis.bar(start, end)
    is_open = call.finished_at is None and call.state not in {Call.State.HELD, Call.State.DRAFTED}
    return Row(
        call.id,
        call.name,
        kind,
        look,
        call.state,
        call.tier,
        start,
        end - start,
        is_open,
        call.settled_micros,
        0 if call.finished_at else call.reserved_micros,
        x,
        width,
        refusal=call.refusal,
    )


def _wait(call: Call, wait: Request, axis: lanes.Axis, start: float, end: float) -> Row:
    x, width = axis.bar(start, end)
    name = "Waits for people" if wait.state == Request.State.OPEN else "Waited for people"
    return Row(
        call.id,
        name,
        "Approval",
        "k-wait",
        wait.state,
        "",
        start,
        end - start,
        wait.decided_at is None,
        0,
        0,
        x,
        width,
        wait.id,
        call.refusal,
    )


def _sent(call: Call, axis: lanes.Axis, start: float, end: float) -> Row:
    x, width = axis.bar(start, end)
    return Row(call.id, "Checked again and sent", "Write", "k-write", "", "", start, end - start, call.finished_at is None, 0, 0, x, width)
