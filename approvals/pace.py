"""How people decide: how many requests, how long the answer takes, how many nobody answered."""

import datetime
import statistics
from dataclasses import dataclass

from approvals.models import Request, Vote

NEWEST = 2_000


@dataclass(frozen=True, slots=True)
class Pace:
    """Requests that ended in a stretch of time, `decided` of them by people. `median_s` is None when nobody decided any."""

    ended: int
    decided: int
    expired: int
    median_s: float | None


def of(workspace: str, *, since: datetime.datetime, until: datetime.datetime) -> Pace:
    """Of the newest that ended then. Call inside `tenancy.within`."""
    found = Request.objects.filter(workspace_id=workspace, decided_at__gte=since, decided_at__lt=until).order_by("-decided_at")
    rows = list(found.values_list("state", "opened_at", "decided_at")[:NEWEST])
    expired = sum(state == Request.State.EXPIRED for state, _, _ in rows)
    waits = [(decided - opened).total_seconds() for state, opened, decided in rows if state in Request.BY_PEOPLE and decided]
    return Pace(len(rows), len(waits), expired, statistics.median(waits) if waits else None)


def verdicts_since(moment: datetime.datetime) -> set[str]:
    """Which verdicts people gave since then. Call inside `tenancy.within`."""
    return set(Vote.objects.filter(at__gte=moment).values_list("verdict", flat=True).distinct())
