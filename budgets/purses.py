"""A workspace's purses as people see them before they change a cap: a tree with what was spent, what is held, and where it leads."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils import timezone

from agents.models import Agent, Member, Organisation, Workspace
from budgets import forecasts, reservations, sums, zones
from budgets.models import Cap, Window
from budgets.reservations import Balance


@dataclass(frozen=True, slots=True)
class Purse:
    """One level's balance with its name, when its period ends, who set its cap, and what this month comes to."""

    name: str
    depth: int
    balance: Balance
    cap: Cap | None
    set_by: str
    agreed_by: str
    starts_at: datetime.datetime
    ends_at: datetime.datetime | None
    forecast: forecasts.Forecast | None
    reached_at: datetime.datetime | None
    window: str

    @property
    def state(self) -> str:
        """Reached; Over soon (the forecast is over the cap); Watch (its range is); On track; No cap. Only a month is forecast."""
        cap, left = self.balance.cap, self.balance.left
        if cap is None or left is None:
            return "NO_CAP"
        if left == 0:
            return "REACHED"
        if self.forecast is None or self.balance.period != Cap.Period.MONTH:
            return "ON_TRACK"
        return "OVER_SOON" if self.forecast.micros > cap else "WATCH" if self.forecast.high > cap else "ON_TRACK"


def tree(organisation: Organisation, workspace: Workspace, agents: Sequence[Agent]) -> list[Purse]:
    """The organisation, the workspace, its agents. As many questions however many agents. Call inside `tenancy.within`."""
    named = [("organisation", organisation.id, organisation.name, 0), ("workspace", workspace.id, workspace.name, 1)]
    named += [("agent", agent.id, agent.slug, 2) for agent in agents]
    targets = [target for _, target, _, _ in named]
    caps = {(cap.level, cap.target): cap for cap in Cap.objects.filter(target__in=targets)}
    starts = zones.starts(list(Cap.Period.values))
    windows = {
        (row.level, row.target, row.starts_at): row for row in Window.objects.filter(target__in=targets, starts_at__in=starts.values())
    }
    who = {name for cap in caps.values() for name in (cap.set_by, cap.agreed_by)}
    names = dict(Member.objects.filter(id__in=who).values_list("id", "name"))
    month, now = zones.month(zones.of_organisation()), timezone.now()
    days = sums.days(organisation.id, since=month.start.date() - datetime.timedelta(days=forecasts.HISTORY), by_agent=bool(agents))
    found = []
    for level, target, name, depth in named:
        cap = caps.get((level, target))
        period = reservations.period_of(level, cap)
        row = windows.get((level, target, starts[period]))
        balance = reservations.balance_of(level, target, cap, row)
        forecast = forecasts.month(days.get((level, target), {}), spent=balance.spent, of=month, now=now) if period == "month" else None
        found.append(
            Purse(
                name=name,
                depth=depth,
                balance=balance,
                cap=cap,
                set_by=names.get(cap.set_by, cap.set_by) if cap else "",
                agreed_by=names.get(cap.agreed_by, cap.agreed_by) if cap else "",
                starts_at=starts[period],
                ends_at={"month": month.end, "day": starts["day"] + datetime.timedelta(days=1)}.get(period),
                forecast=forecast,
                reached_at=forecast.reaches(cap.cap_micros, spent=balance.spent, now=now) if forecast and cap else None,
                window=row.id if row else "",
            )
        )
    return found
