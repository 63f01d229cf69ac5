"""The month's cap, as finance sets it once a month is known: at this pace it will be reached in about eight days."""

import calendar

from django.utils import timezone

from agents import contracts
from audit import tenancy
from budgets import caps, reservations
from controlplane.demo.scene import Scene

DAYS_LEFT = 8
CENT, DOLLAR = 10_000, 1_000_000
TIMES, LEAST = (1.8, 4), 5  # what they spent so far; dollars, early in a month


def settle(made: Scene) -> None:
    """Fiona sets the caps of the workspace and of the two agents that spend most. Late in a month the month ends first."""
    now = timezone.now()
    with tenancy.within(made.organisation):
        spent = reservations.balance("workspace", made.workspace.id).spent
        passed = (now.day - 1) + (now.hour + 1) / 24
        days = min(DAYS_LEFT, max(calendar.monthrange(now.year, now.month)[1] - now.day - 1, 1))
        cap = round(spent * (1 + days / passed) / CENT) * CENT
        if spent:
            _agents(made)
            caps.put(
                by=made.person("Fiona"),
                workspace=made.workspace.id,
                level="workspace",
                target=made.workspace.id,
                period="month",
                cap_micros=cap,
            )


def _agents(made: Scene) -> None:
    """One with room for this month and one with plenty, so that the tree shows brakes below the workspace's."""
    spent = {agent: reservations.balance("agent", agent).spent for agent in contracts.slugs(made.workspace.id)}
    for agent, times in zip(sorted(spent, key=lambda each: (-spent[each], each)), TIMES, strict=False):
        cap = max(round(spent[agent] * times / DOLLAR), LEAST) * DOLLAR
        caps.put(by=made.person("Fiona"), workspace=made.workspace.id, level="agent", target=agent, period="month", cap_micros=cap)
