"""The month's cap, as finance sets it once a month is known: at this pace it will be reached in about eight days."""

import calendar

from django.utils import timezone

from audit import tenancy
from budgets import caps, reservations
from controlplane.demo.scene import Scene

DAYS_LEFT = 8
CENT = 10_000


def settle(made: Scene) -> None:
    """Fiona sets the workspace's cap. Late in a month the month ends first, and the page says so."""
    now = timezone.now()
    with tenancy.within(made.organisation):
        spent = reservations.balance("workspace", made.workspace.id).spent
        passed = (now.day - 1) + (now.hour + 1) / 24
        days = min(DAYS_LEFT, max(calendar.monthrange(now.year, now.month)[1] - now.day - 1, 1))
        cap = round(spent * (1 + days / passed) / CENT) * CENT
        if spent:
            caps.put(
                by=made.person("Fiona"),
                workspace=made.workspace.id,
                level="workspace",
                target=made.workspace.id,
                period="month",
                cap_micros=cap,
            )
