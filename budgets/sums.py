"""What was spent, by what it was for: read from the sums that `budget_sum()` keeps beside the ledger, whatever the number of movements.

Each is the sum of the very rows that `spending.Query` lists (a test compares them), so a number and the rows behind it agree.
"""

import datetime
import itertools
import zoneinfo
from dataclasses import dataclass

from django.db import connection
from django.db.models import OuterRef, Q, QuerySet, Subquery, Sum

from agents.models import Agent, Organisation, Run
from audit import functions
from budgets import money, zones
from budgets.models import DaySpending, RunSpending

TOP = 20
PIECE = 2_000  # calls: whoever books meanwhile waits for no more than these
Days = dict[tuple[str, str], dict[datetime.date, money.Micros]]  # (level, target) -> day -> amount


@dataclass(frozen=True, slots=True)
class Line:
    """A part of what was spent: what for, how much, in how many calls."""

    key: str
    label: str
    micros: money.Micros
    calls: int


def more() -> bool:
    """Make one piece more of the next generation, after a change of zone; whether there is more to do. Call inside `tenancy.within`."""
    return bool(functions.ask("select budget_sum_more(%s, %s)", Organisation.objects.values_list("id", flat=True).get(), PIECE))


def _days() -> QuerySet[DaySpending]:
    return DaySpending.objects.filter(generation=Subquery(Organisation.objects.values("sums")[:1]))


def _runs() -> QuerySet[RunSpending]:
    return RunSpending.objects.filter(generation=Subquery(Organisation.objects.values("sums")[:1]))


def _of(workspace: str, month: zones.Month) -> QuerySet[DaySpending]:
    return _days().filter(workspace=workspace, month=month.start.date())


def by_day(workspace: str, month: zones.Month) -> dict[datetime.date, money.Micros]:
    """What counts in a month, by the day on which it was booked. Call inside `tenancy.within`."""
    rows = _of(workspace, month).values_list("day").annotate(total=Sum("amount")).order_by("day")
    return {day: int(total) for day, total in rows}


def parts(workspace: str, month: zones.Month, *, by: str) -> list[Line]:
    """The largest parts of a month by "MODEL", "TOOL", "agent" (its slug) or "outcome" (of the run). Call inside `tenancy.within`."""
    if by == "outcome":
        return _outcomes(workspace, month)
    of = "agent" if by == "agent" else "name"
    rows = _of(workspace, month) if by == "agent" else _of(workspace, month).filter(kind=by)
    found = rows.values_list(of).annotate(total=Sum("amount"), number=Sum("calls")).order_by("-total", of)[:TOP]
    lines = [(str(key), int(total), int(number)) for key, total, number in found]
    slugs = dict(Agent.objects.filter(id__in=[key for key, _, _ in lines]).values_list("id", "slug")) if by == "agent" else {}
    return [Line(slugs.get(key, key), slugs.get(key, key), total, number) for key, total, number in lines]


def _outcomes(workspace: str, month: zones.Month) -> list[Line]:
    """By the state in which each run is now: as many rows are read as runs spent anything."""
    spent = _runs().filter(workspace=workspace, month=month.start.date())
    state = Run.objects.filter(id=OuterRef("run")).values("state")
    rows = spent.annotate(state=Subquery(state)).values_list("state").annotate(total=Sum("amount"), number=Sum("calls"))
    return [Line(state, state, int(total), int(number)) for state, total, number in rows.order_by("-total", "state")]


def dearest(workspace: str, month: zones.Month) -> list[Line]:
    """The runs on which most was spent in a month; `label` is the agent. Call inside `tenancy.within`."""
    rows = list(_runs().filter(workspace=workspace, month=month.start.date()).order_by("-amount", "run")[:TOP])
    slugs = dict(Run.objects.filter(id__in=[row.run for row in rows]).values_list("id", "agent__slug"))
    return [Line(row.run, slugs.get(row.run, ""), row.amount, row.calls) for row in rows]


def days(organisation: str, *, since: datetime.date, by_agent: bool = True) -> Days:
    """What the organisation, each workspace and, if asked, each agent spent on each day since then. Call inside `tenancy.within`."""
    found: Days = {}
    levels = ("workspace", "agent") if by_agent else ("workspace",)
    rows = _days().filter(day__gte=since).values_list("day", *levels).annotate(total=Sum("amount")).order_by()
    for day, *targets, total in rows:
        for key in (("organisation", organisation), *zip(levels, targets, strict=True)):
            of_level = found.setdefault(key, {})
            of_level[day] = of_level.get(day, 0) + int(total)
    return found


_MOVED = """
    SELECT p.number, sum(l.amount) FROM unnest(%s::int[], %s::timestamptz[], %s::timestamptz[]) p (number, since, until)
    JOIN budgets_window w ON w.level = 'workspace' AND w.target = %s
    JOIN budgets_ledgerentry l ON l.organisation_id = w.organisation_id AND l.window_id = w.id AND l.at >= p.since AND l.at < p.until
    WHERE l.credit = 'spent' GROUP BY p.number
"""


def stretches(workspace: str, *moments: datetime.datetime) -> list[money.Micros]:
    """Booked from each of these moments to the next, in all: whole days from their sums, what is left at either end from the ledger.

    Call inside `tenancy.within`.
    """
    zone, asked = zones.of_organisation(), list(itertools.pairwise(moments))
    days = [_whole_days(since, until, zone) for since, until in asked]
    sums = {f"of_{number}": Sum("amount", filter=Q(day__gte=first, day__lt=last)) for number, (first, last) in enumerate(days)}
    whole = _days().filter(workspace=workspace, day__gte=min(first for first, _ in days)).aggregate(**sums)
    ends = [(number, *end) for number, (since, until) in enumerate(asked) for end in _ends(since, until, zone)]
    with connection.cursor() as cursor:
        cursor.execute(_MOVED, [*map(list, zip(*ends, strict=True)), workspace])
        moved = dict(cursor.fetchall())
    return [int(whole[f"of_{number}"] or 0) + int(moved.get(number, 0)) for number in range(len(asked))]


def _whole_days(since: datetime.datetime, until: datetime.datetime, zone: zoneinfo.ZoneInfo) -> tuple[datetime.date, datetime.date]:
    """The first day that lies wholly between, and the day after the last one."""
    return since.astimezone(zone).date() + datetime.timedelta(days=1), until.astimezone(zone).date()


def _ends(since: datetime.datetime, until: datetime.datetime, zone: zoneinfo.ZoneInfo) -> list[tuple[datetime.datetime, datetime.datetime]]:
    """What lies between and is no whole day."""
    first, last = _whole_days(since, until, zone)
    return [(since, until)] if first > last else [(since, zones.midnight(first, zone)), (zones.midnight(last, zone), until)]
