"""What people look at before they set a cap: a workspace's purses as a tree, days, movements, and what another cap would have refused."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection
from django.db.models import BigIntegerField, Case, F, Q, QuerySet, Sum, When
from django.db.models.functions import TruncDate
from django.utils import timezone

from agents.models import Agent, Call, Member, Organisation, Workspace
from budgets import money
from budgets.models import Cap, LedgerEntry, Window
from budgets.reservations import Balance

LEVELS = ("organisation", "workspace", "agent")
DAYS = 30
_MOST = 100_000  # movements that a preview looks at


@dataclass(frozen=True, slots=True)
class Purse:
    """One level's balance with its name, when its period ends, and who set its cap."""

    name: str
    depth: int
    balance: Balance
    cap: Cap | None
    set_by: str
    starts_at: datetime.datetime
    ends_at: datetime.datetime | None
    forecast: money.Micros | None

    @property
    def state(self) -> str:
        """Reached, Watch (the forecast is over it), On track, or No cap."""
        cap, left = self.balance.cap, self.balance.left
        if cap is None or left is None:
            return "NO_CAP"
        if left == 0:
            return "REACHED"
        return "WATCH" if self.forecast is not None and self.forecast > cap else "ON_TRACK"


def tree(organisation: Organisation, workspace: Workspace, agents: Sequence[Agent]) -> list[Purse]:
    """The organisation, the workspace, its agents. Call inside `tenancy.within`."""
    named = [("organisation", organisation.id, organisation.name, 0), ("workspace", workspace.id, workspace.name, 1)]
    named += [("agent", agent.id, agent.slug, 2) for agent in agents]
    caps = {(cap.level, cap.target): cap for cap in Cap.objects.filter(target__in=[target for _, target, _, _ in named])}
    starts = _starts()
    windows = {
        (row.level, row.target, row.starts_at): row
        for row in Window.objects.filter(target__in=[target for _, target, _, _ in named], starts_at__in=starts.values())
    }
    names = dict(Member.objects.filter(id__in={cap.set_by for cap in caps.values()}).values_list("id", "name"))
    found = []
    for level, target, name, depth in named:
        cap = caps.get((level, target))
        period = cap.period if cap else Cap.Period.MONTH
        row = windows.get((level, target, starts[period]))
        balance = Balance(
            level=level,
            target=target,
            period=str(period),
            cap=cap.cap_micros if cap else None,
            spent=row.spent if row else 0,
            reserved=row.reserved if row else 0,
            overrun=row.overrun if row else 0,
        )
        start, end = starts[period], _end(period, starts[period])
        set_by = names.get(cap.set_by, cap.set_by) if cap else ""
        found.append(
            Purse(name, depth, balance, cap, set_by, starts_at=start, ends_at=end, forecast=_forecast(balance.spent, start=start, end=end))
        )
    return found


def _starts() -> dict[str, datetime.datetime]:
    with connection.cursor() as cursor:
        cursor.execute("select p, budget_window_start(p) from unnest(%s::text[]) p", [list(Cap.Period.values)])
        return dict(cursor.fetchall())


def _end(period: str, start: datetime.datetime) -> datetime.datetime | None:
    if period == Cap.Period.DAY:
        return start + datetime.timedelta(days=1)
    if period == Cap.Period.MONTH:
        return (start + datetime.timedelta(days=32)).replace(day=1)
    return None


def _forecast(spent: money.Micros, *, start: datetime.datetime, end: datetime.datetime | None) -> money.Micros | None:
    """At the pace so far; nothing before a tenth of the period has passed."""
    if end is None:
        return None
    length, passed = int((end - start).total_seconds()), int((timezone.now() - start).total_seconds())
    return spent * length // passed if passed * 10 >= length else None


def by_day(level: str, target: str, *, since: datetime.datetime) -> list[tuple[datetime.date, money.Micros]]:
    """What was spent each day (UTC) since then, days without spending left out. Call inside `tenancy.within`."""
    rows = (
        LedgerEntry.objects.filter(window__level=level, window__target=target, credit="spent", at__gte=since)
        .annotate(day=TruncDate("at", tzinfo=datetime.UTC))
        .values_list("day")
        .annotate(total=Sum("amount"))
        .order_by("day")
    )
    return [(day, int(total)) for day, total in rows]


@dataclass(frozen=True, slots=True)
class Refusals:
    """What a cap would have refused. `is_complete` is false when there was more than one look can hold."""

    calls: int
    runs: int
    micros: money.Micros
    seen: int
    is_complete: bool


def would_refuse(level: str, target: str, *, period: str, cap_micros: money.Micros) -> Refusals:
    """The calls of the last 30 days that this cap would have refused, each at what it cost in the end. Call inside `tenancy.within`."""
    since = timezone.now() - datetime.timedelta(days=DAYS)
    opening = {Cap.Period.DAY: since.replace(hour=0), Cap.Period.MONTH: since.replace(day=1, hour=0)}.get(
        Cap.Period(period), datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    )
    moved = LedgerEntry.objects.filter(
        window__level=level, window__target=target, at__gte=opening.replace(minute=0, second=0, microsecond=0)
    )
    returned = Case(When(kind="return", then=-F("amount")), default=F("amount"), output_field=BigIntegerField())
    costs = dict(
        moved.filter(kind__in=["hold", "return", "overrun"]).values_list("call_id").annotate(cost=Sum(returned)).order_by()[:_MOST]
    )
    holds = list(moved.filter(kind="hold").order_by("at", "id").values_list("call_id", "at", "amount")[: _MOST + 1])
    used, current, refused, seen = 0, "", [], 0
    for call, at, amount in holds[:_MOST]:
        place = {Cap.Period.DAY: f"{at:%Y%m%d}", Cap.Period.MONTH: f"{at:%Y%m}"}.get(Cap.Period(period), "")
        used, current = (0 if place != current else used), place
        seen += at >= since
        if used + amount <= cap_micros:
            used += int(costs.get(call, amount))
        elif at >= since:
            refused.append(call)
    runs = Call.objects.filter(id__in=refused[:10_000]).values("run_id").distinct().count()
    total = sum(int(costs.get(call, 0)) for call in refused)
    return Refusals(calls=len(refused), runs=runs, micros=total, seen=seen, is_complete=len(holds) <= _MOST)


def movements(level: str, target: str, *, before: tuple[datetime.datetime, str] | None = None) -> QuerySet[LedgerEntry]:
    """The ledger of one level, newest first, below a row already seen. Call inside `tenancy.within`."""
    rows = LedgerEntry.objects.filter(window__level=level, window__target=target).select_related("window").order_by("-at", "-id")
    return rows.filter(Q(at__lt=before[0]) | Q(at=before[0], id__lt=before[1])) if before else rows


def calls_of(rows: Sequence[LedgerEntry]) -> dict[str, Call]:
    """The calls behind these movements. Call inside `tenancy.within`."""
    return {call.id: call for call in Call.objects.filter(id__in={row.call_id for row in rows}).only("id", "run_id", "name")}
