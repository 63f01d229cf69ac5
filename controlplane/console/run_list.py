"""The list of runs: what the address asks for, one page of it, its facets, its histogram and the links that narrow or widen it."""

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from agents import run_lists, runs
from agents.models import Run
from agents.run_lists import Spot
from approvals import counts
from budgets import reservations
from controlplane.console import asked, lists, run_query, terms, waterfall
from controlplane.console.frame import Place
from controlplane.console.run_query import STATES, Asked
from controlplane.console.terms import Term

BINS, FACETS = 24, 8
# The histogram's classes, drawn from below: look, word, states.
CLASSES = (
    ("k-ok", "succeeded", ("SUCCEEDED",)),
    ("k-viol", "handed off", ("HANDED_OFF",)),
    ("k-err", "failed, stopped or expired", ("FAILED", "STOPPED", "EXPIRED")),
    ("k-asks", "waiting", ("WAITING",)),
    ("k-info", "under way", ("QUEUED", "RUNNING")),
)


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; one with a link sorts."""

    name: str
    word: str
    link: str
    aria: str  # ascending, descending or none


@dataclass(frozen=True, slots=True)
class Bar:
    """One stretch of the histogram, in a drawing of 100 by 40."""

    x: float
    width: float
    parts: Sequence[tuple[str, float, float]]  # look, y, height
    says: str
    link: str


def context(request: HttpRequest, place: Place) -> dict[str, Any]:
    """Everything the page shows. Call inside `tenancy.within`."""
    query = run_query.read(request, may_read=place.may("runs_read"))
    whole = runs.visible(by=place.principal, workspace=place.workspace.id)
    spot = _spot(request, query)
    whole_list = run_lists.look(whole, query.wanted)
    if query.order.is_by_time:
        page = run_lists.page(whole, run_lists.look(whole, query.wanted, after=spot) if spot else whole_list, shown=lists.SHOWN)
    else:
        page = run_lists.sorted_page(whole, query.wanted, query.order, after=spot, shown=lists.SHOWN)
    facets = run_lists.facets(whole_list)
    spent = reservations.of_runs([row.id for row in page.rows])
    waits = counts.waiting_since([row.id for row in page.rows if row.state == Run.State.WAITING])
    address = Address(request, query)
    return {
        "rows": [(row, _cells(address.shown, row, spent.get(row.id, 0), waits.get(row.id))) for row in page.rows],
        "choices": [(name, word, name in address.shown) for name, word in run_query.COLUMNS.items()],
        "cols": address.cols,
        "kept": {name: value for name, value in (("q", query.text), ("sort", query.sort)) if value},
        "export": f"{place.root}/runs/export?{urlencode({'q': query.text})}" if page.rows else "",
        "q": query.text,
        "problems": query.problems,
        "chips": [(str(term), address.to([each for each in query.terms if each != term])) for term in query.terms],
        "columns": _columns(query, address),
        "facets": _facets(whole, query, facets, address),
        "bars": _bars(run_lists.over_time(whole_list, bins=BINS), query, address),
        "capped": whole_list.is_capped,
        "most": run_lists.COUNTED,
        "horizon": page.horizon,
        "by_time": query.order.is_by_time,
        "next": address.on(_packed(query, page.further)) if page.further else "",
        "first": address.to(query.terms) if spot else "",
        "without": _without(whole, query, address) if not page.rows and not spot and query.terms else [],
        "list": urlencode({"list": query.text}) if query.terms else "",
        "here": asked.address(request),
        "qualifiers": [(name, example, says) for name, (_, example, says) in run_query.QUALIFIERS.items()],
    }


def _cells(shown: Sequence[str], run: Run, spent: int, waiting: datetime.datetime | None) -> list[tuple[str, str, Any]]:
    """(column, its heading, the value) of the columns that are shown."""
    now = timezone.now()
    waited = run.waited_ms / 1000 + ((now - waiting).total_seconds() if waiting else 0)
    values = {
        "steps": run.steps,
        "calls": run.tool_calls,
        "writes": run.writes,
        "tokens": run.tokens,
        "cost": spent,
        "took": waterfall.lasted(run, now),
        "waited": waited or None,
        "started": run.started_at,
    }
    return [(name, run_query.COLUMNS[name], values[name]) for name in shown]


class Address:
    """This list with other terms, another order or another page; its columns stay."""

    def __init__(self, request: HttpRequest, query: Asked) -> None:
        self.path, self.query, self.shown = request.path, query, run_query.columns(request)
        self.cols = ",".join(self.shown) if self.shown != run_query.USUAL else ""

    def to(self, wanted: Sequence[Term], *, sort: str | None = None, after: str = "") -> str:
        said = {"q": terms.text(wanted), "sort": self.query.sort if sort is None else sort, "cols": self.cols, "after": after}
        kept = {name: value for name, value in said.items() if value}
        return f"{self.path}?{urlencode(kept)}" if kept else self.path

    def on(self, after: str) -> str:
        return self.to(self.query.terms, after=after)


def _spot(request: HttpRequest, query: Asked) -> Spot | None:
    """Where the page begins; at the start of the list when `?after=` is no place in a list of this order."""
    found = lists.unpacked(asked.text(request, "after", longest=600), str, (str, int, float), str, str)
    if found is None or found[0] != query.sort:
        return None
    _, value, identifier, horizon = found
    ends = lists.time_of(horizon) if horizon else None
    if query.order.name == "started":
        at = lists.time_of(value) if isinstance(value, str) else None
        return Spot(at, identifier, ends) if at else None
    return Spot(value, identifier, ends) if not isinstance(value, str) else None


def _packed(query: Asked, spot: Spot) -> str:
    value = spot.value.isoformat() if isinstance(spot.value, datetime.datetime) else spot.value
    number = float(value) if value is not None and not isinstance(value, str | int) else value or 0
    return lists.packed(query.sort, number, spot.id, spot.horizon.isoformat() if spot.horizon else "")


def _columns(query: Asked, address: Address) -> list[Column]:
    """A heading sorts the other way when it sorts already; at first the largest come first."""
    found = []
    for name, word in ((each, run_query.COLUMNS[each]) for each in address.shown):
        if name not in run_query.ORDERS:
            found.append(Column(name, word, "", ""))
            continue
        on = query.order.name == name
        down = not (on and query.order.down)
        sort = "" if name == "started" and down else f"{'-' if down else ''}{name}"
        aria = ("descending" if query.order.down else "ascending") if on else ""
        found.append(Column(name, word, address.to(query.terms, sort=sort), aria))
    return found


def _facets(whole: QuerySet[Run], query: Asked, facets: run_lists.Facets, address: Address) -> list[tuple[str, str, list[Any]]]:
    """(heading, qualifier, [(value, word, how many, link, is chosen)]). What is chosen stays beside its alternatives."""
    counts: dict[str, Mapping[str, int]] = {
        "status": {name.lower(): facets.states.get(name, 0) for name in STATES},
        "agent": facets.agents,
        "tool": facets.tools,
        "has": facets.facts,
    }
    for name in ("status", "agent"):
        if any(term.name == name for term in query.terms):
            rest = terms.without(query.terms, name)
            found = run_lists.look(whole, _again(rest)).seen
            counts[name] = Counter(each.state.lower() if name == "status" else each.agent for each in found)
    words = {"status": {name.lower(): word for name, word in STATES.items()}, "has": run_lists.FACTS}
    shown = []
    for heading, name in (("Status", "status"), ("Outcome", "has"), ("Agent", "agent"), ("Tool", "tool")):
        chosen = {term.value for term in query.terms if term.name == name}
        common = sorted(((value, n) for value, n in counts[name].items() if n or value in chosen), key=lambda each: (-each[1], each[0]))
        rows = [
            (value, words.get(name, {}).get(value, value), number, address.to(_toggled(query.terms, name, value)), value in chosen)
            for value, number in common[:FACETS]
        ]
        if rows:
            shown.append((heading, name, rows))
    return shown


def _toggled(asked_for: Sequence[Term], name: str, value: str) -> list[Term]:
    """A run has one status, one agent; of outcomes it may have several."""
    term = Term(name, value)
    return [*asked_for, term] if name == "has" and term not in asked_for else terms.having(asked_for, name, value)


def _again(rest: Sequence[Term]) -> run_lists.Wanted:
    meant, _ = terms.understood(rest, {name: meaning for name, (meaning, _, _) in run_query.QUALIFIERS.items()})
    return run_query.wanted(meant, [term.value for term in rest if not term.name])


def _bars(bins: Sequence[run_lists.Bin], query: Asked, address: Address) -> list[Bar]:
    most = max((sum(each.states.values()) for each in bins), default=0)
    bars = []
    for number, each in enumerate(bins):
        parts, counts = stacked(each.states, most)
        said = [f"{count:,} {word}" for word, count in counts if count]
        when = f"{each.start:%d %b %H:%M} to {each.end:%d %b %H:%M} UTC"
        rest = terms.without(query.terms, "after", "before")
        exact = [Term("after", _iso(each.start)), Term("before", _iso(each.end))]
        link, width = address.to([*rest, *exact]), 100 / len(bins)
        bars.append(Bar(round(number * width, 3), round(width, 3), parts, f"{when}: {', '.join(said) or 'no run'}", link))
    return bars


def stacked(states: Mapping[str, int], most: int) -> tuple[list[tuple[str, float, float]], list[tuple[str, int]]]:
    """((look, top, height) of each part of a column that is 38 of 40 high at `most`, (word, number) of each outcome)."""
    parts, counts, y = [], [], 40.0
    for look, word, named in CLASSES:
        count = sum(states.get(state, 0) for state in named)
        counts.append((word, count))
        if count:
            height = max(38 * count / most, 0.7)
            y -= height
            parts.append((look, round(y, 2), round(height, 2)))
    return parts, counts


def _iso(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _without(whole: QuerySet[Run], query: Asked, address: Address) -> list[tuple[str, str, str]]:
    """(how many there would be, without which term, where) for each term that alone stands in the way; else without all of them."""
    found = []
    for rest, said in [([each for each in query.terms if each != term], str(term)) for term in query.terms[:4]] + [([], "")]:
        look = run_lists.look(whole, _again(rest))
        if look.seen and (len(query.terms) > 1 or said):
            found.append((f"{len(look.seen):,}{'+' if look.is_capped or look.horizon else ''}", said, address.to(rest)))
    return found[:4]
