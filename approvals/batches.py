"""Batches: open requests that are identical but for what they are about, so that one person may read and decide them side by side.

Identical is: one agent, one version of a tool that can be taken back, the same rules of the same set, one human. Each is decided by itself
all the same. Nothing of a batch is stored: its name is derived from what its requests share.
"""

import datetime
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Case, Count, F, Min, Q, QuerySet, TextField, Value, When

from agents.organisations import Principal
from approvals import brakes, inbox, requests
from approvals.models import Request
from audit import canonical, ids

MOST = 25  # nobody reads more than that before one click
_SHARED = ("run__agent_id", "tool_version_id", "policies", "policy_set_id")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a list: one request, or a batch in the place of its most urgent one, which is `first`."""

    first: str
    urgency: int
    number: int
    oldest: datetime.datetime
    soonest: datetime.datetime
    key: str


def key_of(request: Request) -> str:
    """The name of the batch that this request would be in, such as `B-7F3K2QW9MX`: the same as long as the request is open."""
    return _key(request.run.agent_id, request.tool_version_id, request.policies, request.policy_set_id)


def _key(agent: str, tool_version: str, policies: Iterable[str], policy_set: str) -> str:
    return ids.of("B", canonical.text([agent, tool_version, list(policies), policy_set]))


def _foldable() -> Q:
    """Which requests may be decided beside others: never what takes two, cannot be taken back, waits as a proposal or is stopped."""
    found, stopped = Q(required=1, is_draft=False, tool_version__is_reversible=True), brakes.stopped()
    return found & ~stopped if stopped else found


def lines(found: QuerySet[Request], *, since: datetime.datetime, beyond: tuple[int, str] | None, most: int) -> list[Line]:
    """The first of these requests as lines by urgency, batches folded, beyond a line that was seen. Call inside `tenancy.within`.

    They are folded before they are cut into pages: no batch stands on two of them, and no request is left out.
    """
    alone = Case(When(_foldable(), then=Value("")), default=F("id"), output_field=TextField())
    rows = inbox.by_urgency(found, since).order_by().prefetch_related(None).values(*_SHARED, alone=alone)
    rows = rows.annotate(
        members=ArrayAgg("id", order_by=("urgency", "id")),
        urgent=Min("urgency"),
        number=Count("id"),
        oldest=Min("opened_at"),
        soonest=Min("expires_at"),
    ).annotate(first=F("members__0"))
    if beyond is not None:
        rows = rows.filter(Q(urgent__gt=beyond[0]) | Q(urgent=beyond[0], first__gt=beyond[1]))
    read = rows.order_by("urgent", "first").values_list("first", "urgent", "number", "oldest", "soonest", *_SHARED)
    return [
        Line(first, urgency, number, oldest, soonest, _key(*shared)) for first, urgency, number, oldest, soonest, *shared in read[:most]
    ]


def members(key: str, *, by: Principal, workspace: str) -> QuerySet[Request] | None:
    """What this person may decide together under that name now, the most urgent first; None when there is nothing. Raises Forbidden.

    Call inside `tenancy.within`.
    """
    found = _decidable(by=by, workspace=workspace)
    for shared in found.order_by().values_list(*_SHARED).distinct():
        if _key(*shared) == key:
            return inbox.by_urgency(found.filter(**dict(zip(_SHARED, shared, strict=True))), requests.database_now())
    return None


def belonging(key: str, among: Collection[str], *, by: Principal, workspace: str) -> set[str]:
    """Which of these ids are in that batch of this person's now. Call inside `tenancy.within`."""
    rows = _decidable(by=by, workspace=workspace).filter(id__in=among).order_by().values_list("id", *_SHARED)
    return {identifier for identifier, *shared in rows if _key(*shared) == key}


def _decidable(*, by: Principal, workspace: str) -> QuerySet[Request]:
    return inbox.needing(by=by, workspace=workspace).prefetch_related(None).filter(_foldable())
