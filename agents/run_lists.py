"""Runs as people look for them: narrowed by facts, a page at a time, counted by what they have in common.

However many runs there are, one look costs the same: what no index answers is asked of the newest LOOKED runs only, and the answer
says how far back that was, so that a person can look further.
"""

import datetime
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import BooleanField, Count, Exists, ExpressionWrapper, F, Lookup, OuterRef, Q, QuerySet
from django.db.models.expressions import Combinable, RawSQL
from django.db.models.functions import Coalesce, Extract

from agents.models import Call, Run
from audit.moments import Moment

LOOKED = 8_000  # runs that one look examines, when it must open each
MOST_CALLS = 20_000
COMMON = 50  # a word that so many of the newest runs have is common
COUNTED = 1_000  # facets are counted over this many of the newest runs that match
CAP_CODES = ("limit_reached", "budget_exceeded")
HUMANS = ("ONE", "TWO")
VALUES: dict[str, Combinable] = {
    "started": F("started_at"),
    "steps": F("steps"),
    "calls": F("tool_calls"),
    "writes": F("writes"),
    "tokens": F("tokens"),
    "took": Extract(Coalesce("finished_at", Moment()) - F("started_at"), "epoch"),
}
FACTS = {"wrote": "Changed something", "refused": "Met a refusal", "asked": "Asked people", "cap": "Hit a cap", "loop": "Repeated itself"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for. Empty means: whatever. `among` are conditions that the apps above know how to make."""

    id: str = ""  # how it begins
    state: str = ""
    agent: str = ""
    tool: str = ""
    refused: str = ""  # any, or a code, or a rule
    call: str = ""  # the state of a call; with a tool or a refusal: of the same call
    waits: str = ""  # any, one, two
    facts: frozenset[str] = frozenset()
    after: datetime.datetime | None = None
    before: datetime.datetime | None = None
    ended_after: datetime.datetime | None = None
    words: tuple[str, ...] = ()
    among: tuple[Exists, ...] = ()
    over: Mapping[str, int] = field(default_factory=dict)  # counter -> more than
    under: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_costly(self) -> bool:
        """Whether each run must be opened to know."""
        return bool(
            self.tool or self.refused or self.call or self.waits or self.facts or self.among or self.over or self.under or self.ended_after
        )


@dataclass(frozen=True, slots=True)
class Order:
    """A list's order: newest first, or by another value among the newest LOOKED."""

    name: str = "started"
    value: Combinable = field(default_factory=lambda: F("started_at"))
    down: bool = True

    @property
    def is_by_time(self) -> bool:
        return self.name == "started" and self.down


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a list goes on: after the row of this value and id, or of no id: from this moment on. `horizon` holds for later pages, too."""

    value: Any
    id: str
    horizon: datetime.datetime | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look tells of each run."""

    id: str
    at: datetime.datetime
    state: str
    agent: str
    writes: int
    looped_at: datetime.datetime | None


@dataclass(frozen=True, slots=True)
class Look:
    """The newest COUNTED matches, newest first. `horizon` is the oldest moment that was looked at, when there are runs beyond it."""

    seen: Sequence[Seen]
    horizon: datetime.datetime | None

    @property
    def is_capped(self) -> bool:
        return len(self.seen) == COUNTED


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    rows: Sequence[Run]
    further: Spot | None
    horizon: datetime.datetime | None


@dataclass(frozen=True, slots=True)
class Refusals:
    """Of so many newest runs, how many `met` a refusal, and how many `hit` a cap."""

    seen: int
    met: int
    hit: int

    @property
    def is_capped(self) -> bool:
        return self.seen == COUNTED


@dataclass(frozen=True, slots=True)
class Facets:
    """What the runs of a look have in common: value -> how many runs."""

    states: Mapping[str, int]
    agents: Mapping[str, int]
    tools: Mapping[str, int]
    facts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Bin:
    """A stretch of time and its runs by state."""

    start: datetime.datetime
    end: datetime.datetime
    states: Mapping[str, int]


def _indexed(found: QuerySet[Run], wanted: Wanted) -> QuerySet[Run]:
    """What an index answers."""
    exact = {
        "state": wanted.state,
        "agent__slug": wanted.agent,
        "id__gte": wanted.id,
        "id__lt": f"{wanted.id}~" if wanted.id else "",
        "started_at__gte": wanted.after,
        "started_at__lt": wanted.before,
    }
    return found.filter(**{name: value for name, value in exact.items() if value})


def _opened(found: QuerySet[Run], wanted: Wanted) -> QuerySet[Run]:
    """What is known only by looking at each run and its calls."""
    calls = Call.objects.filter(run_id=OuterRef("id"))
    conditions: list[Exists | Q] = list(wanted.among)
    if wanted.tool or wanted.refused or wanted.call:
        conditions.append(Exists(calls.filter(*_one_call(wanted))))
    if wanted.waits:
        tiers = [tier for tier in HUMANS if wanted.waits in ("any", tier.lower())]
        conditions += [Q(state=Run.State.WAITING), Exists(calls.filter(state=Call.State.HELD, tier__in=tiers))]
    if wanted.ended_after:
        conditions.append(Q(finished_at__gte=wanted.ended_after))
    conditions += [_fact(name, calls) for name in sorted(wanted.facts)]
    conditions += [Q(**{f"{name}__gt": number}) for name, number in wanted.over.items()]
    conditions += [Q(**{f"{name}__lt": number}) for name, number in wanted.under.items()]
    return found.filter(*conditions)


def _one_call(wanted: Wanted) -> list[Q]:
    """What is said of a call holds for one and the same."""
    found = [Q(name=wanted.tool)] if wanted.tool else []
    found += [_refused(wanted.refused)] if wanted.refused else []
    return found + ([Q(state=wanted.call)] if wanted.call else [])


def _refused(by: str) -> Q:
    """Refused by anything, by a refusal's code, or by a rule."""
    whole = ~Q(refusal="")
    return whole if by == "any" else whole & (_coded(by) | Q(refusal__contains=by, decision__contains=f'"{by}"'))


def _coded(code: str) -> Q:
    """A refusal of this code: kept as canonical JSON, or as the database writes it, with a space."""
    return Q(refusal__contains=f'"code":"{code}"') | Q(refusal__contains=f'"code": "{code}"')


def _fact(name: str, calls: QuerySet[Call]) -> Exists | Q:
    if name == "wrote":
        return Q(writes__gt=0)
    if name == "loop":
        return Q(loop_flagged_at__isnull=False)
    if name == "asked":
        return Exists(calls.filter(tier__in=HUMANS))
    if name == "cap":
        return Exists(calls.filter(_capped()))
    return Exists(calls.exclude(refusal=""))


def _capped() -> Q:
    found = Q()
    for code in CAP_CODES:
        found |= _coded(code)
    return found


_WORDS = {
    False: "agents_run.words @@ to_tsquery('simple', %s)",
    True: "coalesce(agents_run.words, '') @@ to_tsquery('simple', %s)",  # of this the index knows nothing
}


def _said(found: QuerySet[Run], words: Sequence[str], *, is_few: bool = False) -> QuerySet[Run]:
    """Words of the title or the reference, by the index over both; of few runs, each is looked at.

    A text of several pieces is a phrase whose last piece may go on.
    """
    phrases = []
    for pieces in (re.findall(r"[^\W_]+", word)[:8] for word in words):
        if pieces:
            phrases.append(" <-> ".join(f"'{piece[:60]}'" for piece in pieces) + ":*")
    if not phrases:
        return found.none()
    # A column that the models do not know: the database computes it, and no page needs to load it.
    return found.filter(RawSQL(_WORDS[is_few], [" & ".join(phrases)], output_field=BooleanField()))  # noqa: S611 - one of two constants


def look(found: QuerySet[Run], wanted: Wanted, *, after: Spot | None = None) -> Look:
    """The newest matches, from `after` on. Call inside `tenancy.within`."""
    near = _indexed(found, wanted)
    if after is not None:
        near = near.filter(Q(started_at__lt=after.value) | Q(started_at=after.value, id__lt=after.id))
    horizon = None
    if wanted.words:
        near, horizon = _hits(near, wanted)
    elif wanted.is_costly:
        horizon = _edge(near)
        near = near.filter(started_at__gte=horizon) if horizon else near
    fields = ("id", "started_at", "state", "agent__slug", "writes", "loop_flagged_at")
    rows = _opened(near, wanted).order_by("-started_at", "-id").values_list(*fields)[:COUNTED]
    return Look([Seen(*row) for row in rows], horizon)


def _edge(near: QuerySet[Run], looked: int = LOOKED) -> datetime.datetime | None:
    """When the run after so many of the newest of these started; nothing when there are fewer."""
    return next(iter(near.order_by("-started_at").values_list("started_at", flat=True)[looked : looked + 1]), None)


def _hits(near: QuerySet[Run], wanted: Wanted) -> tuple[QuerySet[Run], datetime.datetime | None]:
    """(the newest runs that have the words, how far back those go). A common word is found by going through the newest runs, a rare one
    by the index of words: in an order that no index has, so that the planner cannot choose to go through all runs instead."""
    edge = _edge(near, LOOKED // 2)
    newest = _said(near.filter(started_at__gte=edge) if edge else near, wanted.words, is_few=True)
    found = list(newest.order_by("-started_at").values_list("id", "started_at")[:COUNTED])
    if edge is None or len(found) >= COMMON:
        whole = near.filter(id__in=[each for each, _ in found])
        ends = found[-1][1] if len(found) == COUNTED else edge
        return (whole.filter(started_at__gte=edge), ends) if edge else (whole, ends)
    order = (F("started_at") + datetime.timedelta(0)).desc()
    rows = list(_said(near, wanted.words).order_by(order).values_list("id", "started_at")[:COUNTED])
    return near.filter(id__in=[each for each, _ in rows]), rows[-1][1] if len(rows) == COUNTED else None


def page(found: QuerySet[Run], seen: Look, *, shown: int) -> Page:
    """The first of a look, newest first."""
    ids = [each.id for each in seen.seen[:shown]]
    rows = {row.id: row for row in found.filter(id__in=ids).order_by()}
    listed = [rows[each] for each in ids if each in rows]
    further = None
    if len(seen.seen) > shown:
        further = Spot(seen.seen[shown - 1].at, seen.seen[shown - 1].id)
    elif seen.horizon:
        further = Spot(seen.horizon, "")
    return Page(listed, further, seen.horizon)


def sorted_page(found: QuerySet[Run], wanted: Wanted, order: Order, *, after: Spot | None, shown: int) -> Page:
    """The matches in another order, among the newest LOOKED runs. Call inside `tenancy.within`."""
    near = _indexed(found, wanted)
    horizon = after.horizon if after is not None else _edge(near)
    near = near.filter(started_at__gte=horizon) if horizon else near
    if wanted.words:
        near, horizon = _hits(near, wanted)
    rows = _opened(near, wanted).annotate(sorted_by=order.value)
    sign, way = ("-", "lt") if order.down else ("", "gt")
    if after is not None:
        rows = rows.filter(Q(**{f"sorted_by__{way}": after.value}) | Q(sorted_by=after.value, **{f"id__{way}": after.id}))
    listed = list(rows.order_by(f"{sign}sorted_by", f"{sign}id")[: shown + 1])
    last = listed[shown - 1] if len(listed) > shown else None
    return Page(listed[:shown], Spot(last.sorted_by, last.id, horizon) if last else None, horizon)


def facets(seen: Look) -> Facets:
    """What they have in common, in one statement. Call inside `tenancy.within`."""
    refused = ExpressionWrapper(~Q(refusal=""), output_field=BooleanField())
    capped = ExpressionWrapper(_capped(), output_field=BooleanField())
    fields = ("run_id", "name", "kind", "tier")
    calls = _calls([each.id for each in seen.seen]).values_list(*fields, refused, capped).order_by()[:MOST_CALLS]
    tools: dict[str, set[str]] = {}
    facts: dict[str, set[str]] = {name: set() for name in FACTS}
    facts["wrote"] = {each.id for each in seen.seen if each.writes}
    facts["loop"] = {each.id for each in seen.seen if each.looped_at}
    for run, name, kind, tier, was_refused, was_capped in calls:
        if kind == Call.Kind.TOOL:
            tools.setdefault(name, set()).add(run)
        for fact, is_so in (("refused", was_refused), ("cap", was_capped), ("asked", tier in HUMANS)):
            if is_so:
                facts[fact].add(run)
    return Facets(
        states=Counter(each.state for each in seen.seen),
        agents=Counter(each.agent for each in seen.seen),
        tools={name: len(runs) for name, runs in tools.items()},
        facts={name: len(runs) for name, runs in facts.items()},
    )


def refusals(found: QuerySet[Run], *, since: datetime.datetime) -> Refusals:
    """Of the newest runs since then. Call inside `tenancy.within`."""
    newest = list(found.filter(started_at__gte=since).order_by("-started_at", "-id").values_list("id", flat=True)[:COUNTED])
    numbers = {"met": Count("run_id", distinct=True), "hit": Count("run_id", distinct=True, filter=_capped())}
    told = _calls(newest).exclude(refusal="").aggregate(**numbers)
    return Refusals(len(newest), told["met"], told["hit"])


class _AnyOf(Lookup):
    """`column = ANY (array)`: one parameter, however many there are. A thousand placeholders take the driver 10 ms."""

    lookup_name = "any_of"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        column, given = self.process_lhs(compiler, connection)
        return f"{column} = ANY(%s)", [*given, list(self.rhs)]


def _calls(of: Sequence[str]) -> QuerySet[Call]:
    return Call.objects.filter(_AnyOf(F("run_id"), of))


def over_time(seen: Look, *, bins: int) -> list[Bin]:
    """The runs of a look in stretches of equal length."""
    if not seen.seen:
        return []
    first = seen.seen[-1].at
    length = (seen.seen[0].at - first) / bins + datetime.timedelta(milliseconds=1)
    states: list[Counter[str]] = [Counter() for _ in range(bins)]
    for each in seen.seen:
        states[(each.at - first) // length][each.state] += 1
    return [Bin(first + length * number, first + length * (number + 1), states[number]) for number in range(bins)]
