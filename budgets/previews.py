"""What another cap would have stopped, told from what really happened: every reservation of the last 30 days, in order."""

import datetime
from dataclasses import dataclass, field

from django.db import connection
from django.db.models import BigIntegerField, Case, F, Sum, When
from django.utils import timezone

from agents.models import Run
from budgets import money, zones
from budgets.models import Cap, LedgerEntry

DAYS = 30
MOST = 100_000  # movements that one look holds
EXAMPLES = 5
MOST_RUNS = 10_000  # of which the first are looked for


@dataclass(frozen=True, slots=True)
class Refusals:
    """What a cap would have refused. `is_complete` is false when there was more than one look can hold."""

    calls: int
    runs: int
    micros: money.Micros
    seen: int
    is_complete: bool
    first_at: datetime.datetime | None = None
    examples: list[Run] = field(default_factory=list)


def would_refuse(level: str, target: str, *, period: str, cap_micros: money.Micros) -> Refusals:
    """The calls of the last 30 days that this cap would have refused, each at what it cost in the end. Call inside `tenancy.within`."""
    zone = zones.of_organisation()
    since = timezone.now() - datetime.timedelta(days=DAYS)
    moved = LedgerEntry.objects.filter(window__level=level, window__target=target, at__gte=_opening(period, since.astimezone(zone)))
    returned = Case(When(kind="return", then=-F("amount")), default=F("amount"), output_field=BigIntegerField())
    costs = dict(moved.filter(kind__in=["hold", "return", "overrun"]).values_list("call_id").annotate(cost=Sum(returned)).order_by()[:MOST])
    holds = list(moved.filter(kind="hold").order_by("at", "id").values_list("call_id", "at", "amount")[: MOST + 1])
    used, current, refused, seen = 0, "", [], 0
    for call, at, amount in holds[:MOST]:
        purse = _purse(period, at.astimezone(zone))
        used, current = (0 if purse != current else used), purse
        seen += at >= since
        if used + amount <= cap_micros:
            used += int(costs.get(call, amount))
        elif at >= since:
            refused.append((call, at))
    calls = [call for call, _ in refused]
    runs = _runs_of(calls)
    return Refusals(
        calls=len(calls),
        runs=len(runs),
        micros=sum(int(costs.get(call, 0)) for call in calls),
        seen=seen,
        is_complete=len(holds) <= MOST,
        first_at=refused[0][1] if refused else None,
        examples=list(Run.objects.filter(id__in=runs[:MOST_RUNS]).select_related("agent").order_by("started_at", "id")[:EXAMPLES]),
    )


def _runs_of(calls: list[str]) -> list[str]:
    with connection.cursor() as cursor:  # as one array: there may be as many as `MOST`
        cursor.execute("select distinct run_id from agents_call where id = any(%s)", [calls])
        return [run for (run,) in cursor.fetchall()]


def _opening(period: str, since: datetime.datetime) -> datetime.datetime:
    """When the period began that was under way then: what it had spent by that time counts against the cap."""
    if period == Cap.Period.TOTAL:
        return datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    day = since.date() if period == Cap.Period.DAY else since.date().replace(day=1)
    return datetime.datetime.combine(day, datetime.time(), since.tzinfo)


def _purse(period: str, at: datetime.datetime) -> str:
    return {Cap.Period.DAY: f"{at:%Y%m%d}", Cap.Period.MONTH: f"{at:%Y%m}"}.get(Cap.Period(period), "")
