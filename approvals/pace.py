"""How people decide: how many requests, how long the answer takes, how many nobody answered, how many in no time."""

import datetime
from dataclasses import dataclass
from typing import Any

from django.db import connection

from approvals.models import Request, Vote

NEWEST = 2_000
INSTANT_S = 3
_ENDED = """
    SELECT count(*), count(*) FILTER (WHERE by_people), count(*) FILTER (WHERE state = 'EXPIRED'),
           count(*) FILTER (WHERE state = ANY(%(passed)s)), count(*) FILTER (WHERE by_people AND seconds < %(instant)s),
           percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE by_people)
    FROM (SELECT state, state = ANY(%(people)s) AS by_people, extract(epoch FROM decided_at - opened_at)::float8 AS seconds
          FROM approvals_request WHERE workspace_id = %(workspace)s AND decided_at >= %(since)s AND decided_at < %(until)s
          ORDER BY decided_at DESC LIMIT %(most)s) newest
"""
_BY_RULE = """
    SELECT rule, count(*), count(*) FILTER (WHERE state = ANY(%(passed)s)), count(*) FILTER (WHERE state = 'DENIED')
    FROM (SELECT state, policies FROM approvals_request
          WHERE workspace_id = %(workspace)s AND decided_at >= %(since)s AND decided_at < %(until)s
          ORDER BY decided_at DESC LIMIT %(most)s) newest, unnest(policies) rule
    WHERE state = ANY(%(people)s) GROUP BY rule ORDER BY count(*) DESC, rule LIMIT %(rules)s
"""
RULES = 6
TEDIOUS, ENOUGH = 0.98, 20  # a rule above which people only ever agree, over so many decisions, could let more pass by itself


@dataclass(frozen=True, slots=True)
class Rule:
    """What people decided where one rule asked them."""

    id: str
    decided: int
    approved: int
    denied: int

    @property
    def approved_share(self) -> int:
        return 100 * self.approved // self.decided

    @property
    def is_tedious(self) -> bool:
        return self.decided >= ENOUGH and not self.denied and self.approved > TEDIOUS * self.decided


@dataclass(frozen=True, slots=True)
class Pace:
    """Requests that ended in a stretch of time: `decided` by people, `instant` in under 3 s; `median_s` is None when nobody decided any."""

    ended: int
    decided: int
    expired: int
    approved: int
    instant: int
    median_s: float | None

    @property
    def expired_share(self) -> int:
        return round(100 * self.expired / self.ended) if self.ended else 0

    @property
    def instant_share(self) -> int:
        return round(100 * self.instant / self.decided) if self.decided else 0


def of(workspace: str, *, since: datetime.datetime, until: datetime.datetime) -> Pace:
    """Of the newest that ended then. Call inside `tenancy.within`."""
    asked: dict[str, Any] = {"workspace": workspace, "since": since, "until": until, "most": NEWEST, "instant": INSTANT_S}
    with connection.cursor() as cursor:
        cursor.execute(_ENDED, asked | {"people": list(Request.BY_PEOPLE), "passed": list(Request.PASSED)})
        ended, decided, expired, approved, instant, median_s = cursor.fetchone()
    return Pace(ended, decided, expired, approved, instant, median_s)


def of_rules(workspace: str, *, since: datetime.datetime, until: datetime.datetime) -> list[Rule]:
    """The rules that asked most often among the newest decisions of people then. Call inside `tenancy.within`."""
    asked: dict[str, Any] = {"workspace": workspace, "since": since, "until": until, "most": NEWEST, "rules": RULES}
    with connection.cursor() as cursor:
        cursor.execute(_BY_RULE, asked | {"people": list(Request.BY_PEOPLE), "passed": list(Request.PASSED)})
        return [Rule(*row) for row in cursor.fetchall()]


def verdicts_since(moment: datetime.datetime) -> set[str]:
    """Which verdicts people gave since then. Call inside `tenancy.within`."""
    return set(Vote.objects.filter(at__gte=moment).values_list("verdict", flat=True).distinct())
