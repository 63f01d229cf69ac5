"""The overview's numbers for a stretch of time, each against the stretch before, with what it is told from and the rows behind it."""

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from agents import run_lists, runs, trends, usage
from agents.models import Agent, Run
from approvals import pace, requests
from budgets import money, reservations, sums
from controlplane.console import asked, run_list
from controlplane.console.frame import Place
from controlplane.console.run_list import CLASSES
from controlplane.templatetags import ui

RANGES = {"1": ("24 hours", 24), "7": ("7 days", 28), "30": ("30 days", 30)}  # word, parts of the drawing
USUAL = "7"
CAPS_WARN = 5  # per cent of runs
SPARKS = 14
BUSIEST = 12  # agents of whom the overview says how they did; the list of agents has them all
ENOUGH = 20  # of fewer than this nothing is said about a change


@dataclass(frozen=True, slots=True)
class Asked:
    """From when to when, and the same length before it."""

    days: str
    start: datetime.datetime
    end: datetime.datetime

    @property
    def before(self) -> datetime.datetime:
        return self.start - (self.end - self.start)

    @property
    def parts(self) -> int:
        return RANGES[self.days][1]

    @property
    def since(self) -> str:
        return f"{self.start:%Y-%m-%dT%H:%M}"


@dataclass(frozen=True, slots=True)
class Number:
    """A tile. `change` compares with the stretch before; `told_from` says of how many."""

    word: str
    value: str
    address: str
    told_from: str = ""
    change: str = ""
    is_worse: bool = False
    is_bad: bool = False


def asked_of(request: HttpRequest) -> Asked:
    days = asked.text(request, "range")
    days = days if days in RANGES else USUAL
    end = timezone.now()
    start = (end - datetime.timedelta(days=int(days))).replace(second=0, microsecond=0)
    return Asked(days, start, end)


def context(place: Place, wanted: Asked, agents: Iterable[Agent]) -> dict[str, Any]:
    """Tiles, drawing and the workspace's agents, as far as this person may see them. Call inside `tenancy.within`."""
    found: dict[str, Any] = {"range": wanted.days, "ranges": [(days, word) for days, (word, _) in RANGES.items()], "since": wanted.since}
    tiles: list[Number] = []
    if place.may("runs_view"):
        now = trends.over(place.workspace.id, since=wanted.start, until=wanted.end, parts=wanted.parts)
        tiles += _of_runs(place, wanted, now)
        found |= {"bars": _bars(now), "peak": max((each.runs for each in now), default=0)}
    if place.may("approvals_all"):
        tiles += _of_requests(place, wanted)
    if place.may("budgets_view"):
        tiles.append(_of_money(place))
    if place.may("agents_view") and place.may("runs_view"):
        found |= {"agents_table": _agents(place, wanted, agents), "beats": usage.MOST_BEATS}
    return found | {"tiles": tiles, "columns": next((number for number in (5, 4, 3) if len(tiles) % number == 0), 4)}


def _of_runs(place: Place, wanted: Asked, now: list[trends.Stretch]) -> list[Number]:
    workspace, since = place.workspace.id, f"runs?since={wanted.since}"
    then = trends.over(workspace, since=wanted.before, until=wanted.start, parts=1)[0]
    states: Counter[str] = Counter()
    for each in now:
        states.update(each.states)
    total, over = sum(states.values()), sum(states[state] for state in Run.OVER)
    over_then = sum(then.states.get(state, 0) for state in Run.OVER)
    tiles = [
        Number("Runs", ui.thousands(total), since, change=_more(total, then.runs) if then.runs >= ENOUGH else ""),
        Number(
            "Succeeded",
            _percent(states["SUCCEEDED"], over),
            f"{since}&state=SUCCEEDED",
            f"{ui.thousands(states['SUCCEEDED'])} of {ui.thousands(over)} that ended",
            _points(states["SUCCEEDED"], over, then.states.get("SUCCEEDED", 0), over_then),
            is_worse=over_then >= ENOUGH and _rate(states["SUCCEEDED"], over) < _rate(then.states.get("SUCCEEDED", 0), over_then),
        ),
        Number("Handed over", ui.thousands(states["HANDED_OFF"]), f"{since}&state=HANDED_OFF", "to the agent's owner"),
    ]
    if place.may("budgets_view"):
        spent_then, spent = sums.stretches(workspace, wanted.before, wanted.start, wanted.end)
        cost, cost_then = _each(spent, states["SUCCEEDED"]), _each(spent_then, then.states.get("SUCCEEDED", 0))
        told = f"{money.dollars_round(spent)} in all"
        enough = over_then >= ENOUGH and cost is not None and bool(cost_then)
        change = _more(cost, cost_then) if enough else ""
        worse = enough and (cost or 0) > (cost_then or 0)
        address = f"{since}&state=SUCCEEDED&sort=-cost"
        tiles.append(Number("Cost of a success", "none" if cost is None else _cents(cost), address, told, change, worse))
    seconds, timed = trends.took(workspace, since=wanted.start, until=wanted.end)
    before, timed_then = trends.took(workspace, since=wanted.before, until=wanted.start)
    change = _more(round(seconds), round(before)) if seconds and before and timed_then >= ENOUGH else ""
    tiles.append(
        Number(
            "19 of 20 took at most",
            ui.span(seconds) if seconds is not None else "none",
            f"{since}&sort=-took",
            f"of {ui.thousands(timed)} runs, without waiting",
            change,
            is_worse=bool(change and seconds and before and seconds > before),
        )
    )
    return tiles + _facts(place, wanted, since)


def _facts(place: Place, wanted: Asked, since: str) -> list[Number]:
    """Refusals and caps, among the newest runs only: each must be opened to know."""
    whole = runs.visible(by=place.principal, workspace=place.workspace.id)
    found = run_lists.refusals(whole, since=wanted.start)
    told = f"of {'the newest ' if found.is_capped else ''}{ui.thousands(found.seen)}"
    is_bad = found.hit * 100 > found.seen * CAPS_WARN
    return [
        Number("Met a refusal", ui.thousands(found.met), f"{since}&q=has%3Arefused", told),
        Number("Hit a cap", _percent(found.hit, found.seen), f"{since}&q=has%3Acap", f"{found.hit} {told}", is_bad=is_bad),
    ]


def _of_requests(place: Place, wanted: Asked) -> list[Number]:
    now = pace.of(place.workspace.id, since=wanted.start, until=wanted.end)
    then = pace.of(place.workspace.id, since=wanted.before, until=wanted.start)
    median = ui.span(now.median_s) if now.median_s is not None else "none"
    change = _more(round(now.median_s), round(then.median_s)) if now.median_s and then.median_s else ""
    told = f"of {ui.thousands(now.decided)} decided, {now.expired} expired"
    worse = bool(now.median_s and then.median_s and now.median_s > then.median_s)
    waiting = requests.waiting_for(by=place.principal, workspace=place.workspace.id).count()
    return [
        Number("Time to a decision", median, "approvals?tab=decided", told, change, worse),
        Number("Requests that wait", ui.thousands(waiting), "approvals?tab=all"),
    ]


def _of_money(place: Place) -> Number:
    purse = reservations.balance("workspace", place.workspace.id)
    told = f"of {money.dollars(purse.cap)}" if purse.cap else "no cap is set"
    return Number(f"Spent this {purse.period}", money.dollars_round(purse.spent), "budgets", told)


def _agents(place: Place, wanted: Asked, agents: Iterable[Agent]) -> list[dict[str, Any]]:
    lines = trends.by_agent(place.workspace.id, since=wanted.start, until=wanted.end, parts=SPARKS, busiest=BUSIEST)
    found = []
    idle = trends.Line(parts=[0] * SPARKS)
    busiest = sorted(agents, key=lambda each: (-lines.get(each.id, idle).runs, each.slug))[:BUSIEST]
    ids = [agent.id for agent in busiest]
    pulses = usage.pulses(place.organisation.id, place.workspace.id, since=wanted.start, agents=ids)
    for agent in busiest:
        line = lines.get(agent.id, idle)
        over = sum(line.states[state] for state in Run.OVER)
        found.append(
            {
                "agent": agent,
                "runs": f"{ui.thousands(line.runs)}{'+' if line.is_cut else ''}",
                "succeeded": _percent(line.states["SUCCEEDED"], over) if over else "",
                "handed": line.states["HANDED_OFF"],
                "pulse": pulses.get(agent.id),
                "parts": line.parts,
                "says": f"{agent.name}: {line.runs} runs, at most {max(line.parts, default=0)} in one part of the time",
            }
        )
    return found


def _bars(stretches: list[trends.Stretch]) -> list[dict[str, Any]]:
    """Columns of a drawing of 100 by 40; each leads to its runs."""
    peak, width = max((each.runs for each in stretches), default=0) or 1, 100 / len(stretches)
    bars = []
    for place, each in enumerate(stretches):
        parts, counts = run_list.stacked(each.states, peak)
        told = _told(each, counts)
        bars.append({"x": round(place * width + width * 0.08, 2), "width": round(width * 0.84, 2), "parts": parts, **told})
    return bars


def _told(stretch: trends.Stretch, counts: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """A stretch as a row of the table, and as the words of its column."""
    start, end = f"{stretch.start:%Y-%m-%dT%H:%M}", f"{stretch.end:%Y-%m-%dT%H:%M}"
    said = ", ".join(f"{number} {word}" for word, number in counts if number)
    return {
        "start": stretch.start,
        "runs": stretch.runs,
        "counts": [number for _, number in counts],
        "link": f"runs?q=after%3A{start.replace(':', '%3A')}+before%3A{end.replace(':', '%3A')}",
        "says": f"{stretch.start:%-d %b %H:%M} to {stretch.end:%-d %b %H:%M}: {said or 'no runs'}",
    }


def _cents(micros: int) -> str:
    """To a tenth of a cent: finer than that nobody compares."""
    return f"${micros / 1_000_000:,.3f}"


def words() -> Iterable[str]:
    return [word for _, word, _ in CLASSES]


def _rate(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %".replace(".0 %", " %") if whole else "none"


def _each(spent: int, number: int) -> int | None:
    return spent // number if number else None


def _more(now: int | None, then: int | None) -> str:
    """By how much it grew, in words; nothing where there is nothing to compare with."""
    if not then or now is None:
        return ""
    percent = round(100 * (now - then) / then)
    return "as before" if not percent else f"{'+' if percent > 0 else '-'}{abs(percent)} %"


def _points(part: int, whole: int, part_then: int, whole_then: int) -> str:
    if not whole or whole_then < ENOUGH:
        return ""
    points = 100 * (part / whole - part_then / whole_then)
    return "as before" if abs(points) < 0.05 else f"{'+' if points > 0 else '-'}{abs(points):.1f} points"
