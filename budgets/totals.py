"""What a workspace spent between two moments."""

import datetime

from django.db.models import Sum

from budgets import money
from budgets.models import LedgerEntry, Window


def spent(workspace: str, *, since: datetime.datetime, until: datetime.datetime) -> money.Micros:
    """Booked then, in all. Call inside `tenancy.within`."""
    windows = Window.objects.filter(level="workspace", target=workspace)
    rows = LedgerEntry.objects.filter(window__in=windows, credit="spent", at__gte=since, at__lt=until)
    return int(rows.aggregate(total=Sum("amount"))["total"] or 0)
