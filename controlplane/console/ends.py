"""Until when a role is held: a date as a form has it, and how pages say it. A date means the end of that day where the organisation is."""

import datetime
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from agents import organisations, roles, seats
from agents.models import Member
from controlplane.console import asked
from controlplane.console.frame import Place

SOON = datetime.timedelta(days=14)
_LAST = datetime.time(23, 59, 59)


@dataclass(frozen=True, slots=True)
class Held:
    """A role of somebody here. One that `is_over` counts for nothing any more; a worker will take it away."""

    role: str
    until: datetime.datetime | None
    is_soon: bool = False
    is_over: bool = False


def held(member: Member, place: Place, now: datetime.datetime) -> list[Held]:
    """Somebody's roles in this workspace by name; the member comes with their seats."""
    here = [seat for seat in member.seats.all() if seat.workspace_id == place.workspace.id]
    found = [Held(seat.role, seat.until, seat.until is not None and seat.until <= now + SOON, seat.is_over(now)) for seat in here]
    return sorted(found, key=lambda each: each.role)


def in_force(found: list[Held]) -> dict[str, datetime.datetime | None]:
    """Those that count, and until when."""
    return {each.role: each.until for each in found if not each.is_over}


def typed(text: str, place: Place) -> datetime.datetime | None:
    """The end that a form says, or none. Raises Conflict for what is no date."""
    if not text.strip():
        return None
    day = asked.a_day(text)
    if day is None or not 2000 <= day.year < 2200:  # others cannot be said in each zone
        raise organisations.Conflict(
            "This is no date.", rule="role end", current=text[:40], limit="a date such as 2027-02-20", next_step="Choose a date, or none."
        )
    return datetime.datetime.combine(day, _LAST, ZoneInfo(place.organisation.zone))


def field(until: datetime.datetime | None, place: Place) -> str:
    """The same as a form's date field has it."""
    return f"{until.astimezone(ZoneInfo(place.organisation.zone)):%Y-%m-%d}" if until else ""


def day(until: datetime.datetime | None, place: Place) -> str:
    """The same for people, as 20 Feb 2027."""
    there = until.astimezone(ZoneInfo(place.organisation.zone)) if until else None
    return f"{there.day} {there:%b %Y}" if there else ""


def usual(role: str, place: Place, now: datetime.datetime) -> str:
    """What a form offers where nobody said an end: nothing, but for a role that must have one."""
    return field(now + seats.USUAL, place) if role in roles.FOR_A_TIME else ""
