"""Lists of requests for people: what needs them first, what waits for others, what was decided; and how well deciding goes."""

import datetime
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.db.models import BigIntegerField, Case, Count, F, FloatField, Func, OuterRef, Prefetch, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Cast, Coalesce

from agents import organisations, seats
from agents.models import Member, ToolVersion
from agents.organisations import Principal
from approvals import pace, requests, sight, stances, votes
from approvals.models import Remark, Request
from audit import tenancy

TABS = {"mine": "Needs me", "waiting": "Waiting", "own": "Mine", "decided": "Decided", "all": "All"}
RISK = {"critical": 4.0, "high": 2.0, "medium": 1.5}
SINCE = datetime.timedelta(days=30)
MOST_COUNTED = 1000


@dataclass(frozen=True, slots=True)
class Narrow:
    """What a list is narrowed to. Empty means everything."""

    agent: str = ""
    tool: str = ""
    tier: str = ""
    text: str = ""

    def of(self, found: QuerySet[Request]) -> QuerySet[Request]:
        if self.agent:
            found = found.filter(run__agent__slug=self.agent)
        if self.tool:
            found = found.filter(call__name=self.tool)
        if self.tier:
            found = found.filter(required={"ONE": 1, "TWO": 2}.get(self.tier, 0))
        return found.filter(Q(id__startswith=self.text.upper()) | Q(title__icontains=self.text)) if self.text else found


def tab(name: str, *, by: Principal, workspace: str) -> QuerySet[Request]:
    """One tab's requests in no order. Raises Forbidden. Call inside `tenancy.within`."""
    return shown(_tab(name, by=by, workspace=workspace))


def needing(*, by: Principal, workspace: str) -> QuerySet[Request]:
    """What this person may decide now and has not set aside, the one with least time left first. Call inside `tenancy.within`."""
    return votes.decidable(by=by, workspace=workspace).exclude(id__in=list(stances.set_aside(by)))


def snoozed(*, by: Principal, workspace: str) -> QuerySet[Request]:
    """What they may decide and have set aside for now. Call inside `tenancy.within`."""
    return votes.decidable(by=by, workspace=workspace).filter(id__in=list(stances.set_aside(by)))


def decidable_count(*, by: Principal, workspace: str) -> int:
    """How many open requests need this person now; a page says it in two places. Call inside `tenancy.within`."""
    return tenancy.once(("decidable", by.id, workspace), needing(by=by, workspace=workspace).count)


def counts(*, by: Principal, workspace: str) -> dict[str, int]:
    """How many requests the tabs of a person have, each up to a thousand. Call inside `tenancy.within`."""
    mine, aside = decidable_count(by=by, workspace=workspace), snoozed(by=by, workspace=workspace).count()
    still = Request.objects.filter(sight.requests(by, workspace), state=Request.State.OPEN)
    waiting = still.values("id")[: MOST_COUNTED + mine + aside].count() - mine - aside
    own = counted("own", by=by, workspace=workspace)
    return {"mine": min(mine, MOST_COUNTED), "waiting": max(waiting, 0), "own": own, "snoozed": aside}


def counted(name: str, *, by: Principal, workspace: str) -> int:
    """How many requests a tab has, up to a thousand. Call inside `tenancy.within`."""
    return _tab(name, by=by, workspace=workspace).values("id")[:MOST_COUNTED].count()


def _tab(name: str, *, by: Principal, workspace: str) -> QuerySet[Request]:
    if name == "mine":
        return needing(by=by, workspace=workspace).order_by()
    if name == "snoozed":
        return snoozed(by=by, workspace=workspace).order_by()
    every = Request.objects.filter(sight.requests(by, workspace))
    if name == "waiting":
        mine = votes.decidable(by=by, workspace=workspace).order_by()
        return every.filter(state=Request.State.OPEN).exclude(id__in=mine.values("id"))
    if name == "own":
        return every.filter(run__agent__owner_id=by.id)
    return every.exclude(state=Request.State.OPEN) if name == "decided" else every


# What a row says, and not what its call was answered with: fifty of those are megabytes.
_ROW = (
    *(field.name for field in Request._meta.concrete_fields),
    "plan__digest",
    "call__name",
    "call__refusal",
    "run__agent__slug",
)
_TOOL = ("title", "is_reversible", "tool__connector_id")


def shown(found: QuerySet[Request]) -> QuerySet[Request]:
    """With what a row says, in a fixed number of statements."""
    said = Remark.objects.filter(request=OuterRef("id"), kind=Remark.Kind.COMMENT).order_by().values("request")
    counted = said.annotate(n=Count("id")).values("n")
    tool = Prefetch("tool_version", ToolVersion.objects.select_related("tool").only(*_TOOL))
    return (
        found.select_related("plan", "call", "run__agent")
        .only(*_ROW)
        .prefetch_related("votes__member", tool)
        .annotate(comments=Coalesce(Subquery(counted), 0))
    )


def by_urgency(found: QuerySet[Request], since: datetime.datetime) -> QuerySet[Request]:
    """Time left by risk, the most urgent first: an hour of something critical that takes two is as urgent as minutes of something small.

    `since` is the moment that a reader began to page, so that the order stands still while they do.
    """
    risk = Case(
        *(When(tool_version__risk=name, then=Value(weight)) for name, weight in RISK.items()),
        default=Value(1.0),
        output_field=FloatField(),
    )
    reach = Case(When(tool_version__is_reversible=True, then=Value(1.0)), default=Value(1.5), output_field=FloatField())
    left = Func(F("expires_at") - Value(since), template="extract(epoch from %(expressions)s)", output_field=FloatField())
    weight = risk * reach * Cast(F("required"), FloatField())
    return found.annotate(urgency=Cast(left * 1000.0 / weight, BigIntegerField())).order_by("urgency", "id")


def by_time(found: QuerySet[Request], column: str) -> QuerySet[Request]:
    """The newest first, by when they were opened or decided: the order of an index, so what was not decided is left out."""
    return found.filter(**{f"{column}__isnull": False}).order_by(f"-{column}", "-id")


def beyond(found: QuerySet[Request], column: str, value: Any, identifier: str) -> QuerySet[Request]:
    """What comes after a row in one of these orders."""
    if column == "urgency":
        return found.filter(Q(urgency__gt=value) | Q(urgency=value, id__gt=identifier))
    return found.filter(Q(**{f"{column}__lt": value}) | Q(**{column: value, "id__lt": identifier}))


def kept(identifiers: Collection[str], *, by: Principal, workspace: str) -> dict[str, Request]:
    """Rows that a reader has before them, whatever became of them. Call inside `tenancy.within`."""
    return {row.id: row for row in shown(Request.objects.filter(sight.requests(by, workspace), id__in=identifiers))}


def rows(identifiers: Collection[str]) -> dict[str, Request]:
    """What a list's rows say of requests that were found as its reader, a moment ago. Call inside `tenancy.within`."""
    return shown(Request.objects.filter(id__in=identifiers)).in_bulk()


def open_among(identifiers: Collection[str], *, by: Principal, workspace: str) -> list[str]:
    """Those of these ids that are open requests which this person sees. Call inside `tenancy.within`."""
    found = Request.objects.filter(sight.requests(by, workspace), id__in=identifiers, state=Request.State.OPEN)
    return list(found.values_list("id", flat=True))


def health(*, by: Principal, workspace: str) -> pace.Pace | None:
    """How deciding went in the last 30 days, for whoever sees every request. Call inside `tenancy.within`."""
    if not organisations.may(by, "approvals_all", workspace):
        return None
    now = requests.database_now()
    return pace.of(workspace, since=now - SINCE, until=now + datetime.timedelta(seconds=1))


def by_rule(*, by: Principal, workspace: str) -> list[pace.Rule]:
    """The same rule by rule. Call inside `tenancy.within`."""
    if not organisations.may(by, "approvals_all", workspace):
        return []
    now = requests.database_now()
    return pace.of_rules(workspace, since=now - SINCE, until=now + datetime.timedelta(seconds=1))


def deciders(workspace: str) -> QuerySet[Member]:
    """Who decides in this workspace, for whoever does not. Call inside `tenancy.within`."""
    return seats.holding("approvals_decide", workspace)


def last_decision(*, by: Principal, workspace: str) -> Request | None:
    """The newest decision of people that this person sees. Call inside `tenancy.within`."""
    found = Request.objects.filter(sight.requests(by, workspace), state__in=Request.BY_PEOPLE).prefetch_related("votes__member")
    return found.order_by("-decided_at", "-id").first()
