"""When days and months of money begin and end: in the organisation's reporting zone, whatever zone a reader is in (R8)."""

import datetime
import zoneinfo
from dataclasses import dataclass

from django.db import connection
from django.utils import timezone

from agents import organisations
from agents.models import Organisation, Work
from agents.organisations import Principal
from audit import functions, log, tenancy
from budgets.models import Cap


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month in a zone: its first moment, and that of the next one."""

    zone: zoneinfo.ZoneInfo
    start: datetime.datetime
    end: datetime.datetime

    @property
    def days(self) -> list[datetime.date]:
        first = self.start.date()
        return [first + datetime.timedelta(days=number) for number in range((self.end.date() - first).days)]

    @property
    def slug(self) -> str:
        """As addresses name it: 2026-11."""
        return f"{self.start:%Y-%m}"


def known() -> list[str]:
    """The zones that one may choose, by name."""
    return ["UTC", *sorted(name for name in zoneinfo.available_timezones() if "/" in name and not name.startswith(("Etc/", "SystemV/")))]


def of_organisation() -> zoneinfo.ZoneInfo:
    """The reporting zone. Call inside `tenancy.within`."""
    return zoneinfo.ZoneInfo(tenancy.once(("zone",), Organisation.objects.values_list("zone", flat=True).get))


def month(zone: zoneinfo.ZoneInfo, slug: str = "") -> Month:
    """The month under way, or the one that `2026-11` names; what names none is the one under way."""
    now = timezone.now().astimezone(zone)
    first = now.date().replace(day=1)
    try:
        first = datetime.date.fromisoformat(f"{slug}-01") if slug else first
        following = (first + datetime.timedelta(days=32)).replace(day=1)
    except (ValueError, OverflowError):
        first = now.date().replace(day=1)
        following = (first + datetime.timedelta(days=32)).replace(day=1)
    return Month(zone, midnight(first, zone), midnight(following, zone))


def midnight(day: datetime.date, zone: zoneinfo.ZoneInfo) -> datetime.datetime:
    """The moment a day begins there."""
    return datetime.datetime.combine(day, datetime.time(), zone)


def put(*, by: Principal, name: str) -> str:
    """Let days and months of money end in another zone from now on; says which it was. It takes budgets_set in every workspace.

    What was spent in the periods under way stays counted in them; a worker adds up the days anew. Raises Conflict for an unknown zone.
    """
    if name not in known():
        raise organisations.Conflict(
            "There is no such time zone.",
            rule="reporting zone",
            current=name[:60],
            limit="like Europe/Berlin",
            next_step="Choose one of the list.",
        )
    with tenancy.within(by.organisation):
        organisations.require_everywhere(by, "budgets_set")
        was = str(functions.ask("select budget_rezone(%s, %s)", by.organisation, name))
        if was != name:
            functions.ask("select work_ring(%s, %s, 'spending')", by.organisation, Work.Kind.SUMS)
        log.append("zone.set", by=by, subject=by.organisation, detail={"zone": name, "before": was})
    return was


def starts(periods: list[str]) -> dict[str, datetime.datetime]:
    """When each of these periods began, by the database's clock. Call inside `tenancy.within`."""
    began = tenancy.once(("starts",), _starts)
    return {period: began[period] for period in periods}


def _starts() -> dict[str, datetime.datetime]:
    with connection.cursor() as cursor:
        cursor.execute("select p, budget_window_start(p) from unnest(%s::text[]) p", [list(Cap.Period.values)])
        return dict(cursor.fetchall())
