"""What a level may spend: one person sets it; raising it above the organisation's threshold takes two where there are two (ui.md 3.3)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Q, QuerySet

from agents import organisations, seats
from agents.models import Member, Organisation
from agents.organisations import Principal
from audit import ids, log, outcomes, tenancy
from audit.moments import Moment
from budgets import money
from budgets.models import Cap, Raise

LEVELS = (Cap.Level.AGENT, Cap.Level.WORKSPACE, Cap.Level.ORGANISATION)
EVERYWHERE = (Raise.Level.ORGANISATION, Raise.Level.THRESHOLD)  # in no one workspace: the permission in each
_LONGEST_MONTH = 31  # days


class CapChanged(outcomes.Refused):
    """Somebody else set this cap since the page was made."""

    code = "cap_changed"


def version(cap: Cap | None) -> str:
    """What a page carries to say which cap it was made from."""
    return f"{cap.set_at.isoformat()} {cap.cap_micros}" if cap else "none"


class _Order(NamedTuple):
    """A cap that was asked for."""

    workspace: str
    level: str
    target: str
    period: str
    cap_micros: money.Micros


def put(  # noqa: PLR0913 - one field of the form each
    *, by: Principal, workspace: str, level: str, target: str, period: str, cap_micros: money.Micros, seen: str = ""
) -> Cap | Raise:
    """Set what a level may spend in a period: the cap, or the raise that now waits for a second person and changes nothing until then.

    Lowering it below what is spent admits nothing more; it takes nothing back. With `seen` (a `version`), raises CapChanged when the cap
    is no longer the one that was looked at.
    """
    if level not in LEVELS or period not in Cap.Period.values or not isinstance(cap_micros, int) or not 0 <= cap_micros <= money.LARGEST:
        raise organisations.Conflict(
            "A cap needs a level, a period and a whole number of micro-units.",
            rule="cap",
            current=f"{level} {period} {cap_micros}",
            limit="agent|workspace|organisation, day|month|total, 0 to 2^62",
            next_step="Correct the one that is wrong. The cap of a run is among its agent's limits.",
        )
    with tenancy.within(by.organisation):
        organisations.require(by, "budgets_set", workspace)
        before = _locked(level, target)
        if seen and seen != version(before):
            raise _changed(before)
        order = _Order(workspace, level, target, period, cap_micros)
        if before and takes_two(before, period=period, cap_micros=cap_micros) and partners(by, workspace, level):
            return _ask(by, order, before=before.cap_micros, before_period=before.period, seen=version(before))
        _withdraw(by, level, target)
        return _write(by, order, before=before)


def takes_two(before: Cap | None, *, period: str, cap_micros: money.Micros) -> bool:
    """Whether this would let more be spent than before, and more than the organisation leaves to one person. Call inside `tenancy.within`.

    A first cap only takes away. A cap of another period begins anew, whatever its amount: what counted against the one before does not
    count against it.
    """
    if before is None:
        return False
    is_more = _a_month(period, cap_micros) > _a_month(before.period, before.cap_micros)
    return (is_more or period != before.period) and _a_month(period, cap_micros) > threshold()


def _a_month(period: str, micros: money.Micros) -> money.Micros:
    """The most that a cap lets be spent in a month."""
    return micros * _LONGEST_MONTH if period == Cap.Period.DAY else micros


def threshold() -> money.Micros:
    """Micro-units a month: one person raises a cap up to here. Call inside `tenancy.within`."""
    return int(Organisation.objects.values_list("two_people_above", flat=True).get())


def put_threshold(*, by: Principal, workspace: str, micros: money.Micros) -> Raise | None:
    """Let one person raise caps up to here; None when it holds now. Raising it waits for a second person like what it guards."""
    if not 0 <= micros <= money.LARGEST:
        raise organisations.Conflict(
            "The threshold is an amount of money.", rule="threshold", current=str(micros), limit="0 to 2^62", next_step="Correct it."
        )
    with tenancy.within(by.organisation):
        organisations.require(by, "budgets_set", workspace)
        organisations.require_everywhere(by, "budgets_set")
        _locked(Raise.Level.THRESHOLD, by.organisation)
        before = threshold()
        if micros > before and partners(by, workspace, Raise.Level.THRESHOLD):
            order = _Order(workspace, Raise.Level.THRESHOLD, by.organisation, Cap.Period.MONTH, micros)
            return _ask(by, order, before=before, before_period=order.period, seen=_seen_threshold())
        _withdraw(by, Raise.Level.THRESHOLD, by.organisation)
        _write_threshold(by, workspace, micros, before=before)
    return None


def partners(by: Principal, workspace: str, level: str) -> list[str]:
    """The names of those who could be the second person. A part of Remit needs none. Call inside `tenancy.within`."""
    if by.kind != "person":
        return []
    return [member.name for member in _setters(_where(level, workspace)) if member.person != by.person]


def _where(level: str, workspace: str) -> str:
    """The workspace whose people set such a cap; "" for those who do in each."""
    return "" if level in EVERYWHERE else workspace


def _setters(where: str) -> QuerySet[Member]:
    return seats.holding("budgets_set", where) if where else seats.holding_everywhere("budgets_set")


def get(identifier: str, *, by: Principal) -> Raise:
    """A raise by id, where this person sees budgets. Raises NotFound. Call inside `tenancy.within`."""
    row = Raise.objects.filter(id=identifier).first()
    if row is None or not organisations.may(by, "budgets_view", row.workspace):
        raise organisations.NotFound("There is no such raise.", rule="raise", current=identifier[:40], next_step="List what waits.")
    return row


def waiting(workspaces: Collection[str]) -> QuerySet[Raise]:
    """The raises that wait for a second person in these workspaces or everywhere, oldest first. Call inside `tenancy.within`."""
    found = Raise.objects.filter(Q(workspace__in=workspaces) | Q(level__in=EVERYWHERE), state=Raise.State.OPEN)
    return found.order_by("asked_at", "id")


@dataclass(frozen=True, slots=True)
class Standing:
    """A raise as somebody stands to it: who asked, who could be the second person, and why this one cannot."""

    row: Raise
    asked_by: str  # the name
    is_asked_still: bool  # whoever asked may still set such a cap
    partners: Sequence[str]
    is_own: bool  # the same human asked, by whichever of their accounts
    why_not: str


def standing(rows: Collection[Raise], *, by: Principal) -> list[Standing]:
    """How somebody stands to each of these raises: as many questions for ten as for one. Call inside `tenancy.within`."""
    askers = {member.id: member for member in Member.objects.filter(id__in={row.asked_by for row in rows})}
    setters = {where: list(_setters(where)) for where in {_where(row.level, row.workspace) for row in rows}}
    return [_stands(row, askers.get(row.asked_by), setters[_where(row.level, row.workspace)], by) for row in rows]


def _stands(row: Raise, asker: Member | None, setters: Sequence[Member], by: Principal) -> Standing:
    able, person = {member.id for member in setters}, asker.person if asker else ""
    is_own = row.asked_by == by.id or (bool(by.person) and by.person == person)
    why_not = ""
    if is_own:
        why_not = "You asked for it; another person agrees."
    elif by.kind != "system" and by.id not in able:
        why_not = "This takes the permission budgets_set."
        if row.level in EVERYWHERE:
            why_not = "What holds for the whole organisation takes budgets_set in each of its workspaces."
    return Standing(
        row=row,
        asked_by=asker.name if asker else row.asked_by,
        is_asked_still=row.asked_by in able,
        partners=[member.name for member in setters if member.person != person],
        is_own=is_own,
        why_not=why_not,
    )


def waiting_for(by: Principal, workspace: str) -> list[Standing]:
    """The raises that wait for this very person to be the second one, oldest first. Call inside `tenancy.within`."""
    own = Member.objects.filter(person=by.person).values("id")
    return [each for each in standing(waiting([workspace]).exclude(asked_by__in=own), by=by) if not each.why_not]


def agree(*, by: Principal, identifier: str) -> Raise:
    """Be the second person: the raise takes effect. Raises Forbidden for whoever asked, CapChanged when the cap was changed since.

    When whoever asked may no longer set such a cap, one person alone would raise it: it is withdrawn for good, and raises Conflict.
    """
    with tenancy.within(by.organisation, durable=True):  # a withdrawal stands, so the refusal that tells of it is raised after it
        row, before = _open(identifier, by=by)
        [asked] = standing([row], by=by)
        _refuse(asked, by)
        if asked.is_asked_still:
            _take_effect(row, by, before)
        else:
            _withdraw(by, row.level, row.target, reason="whoever asked may no longer set caps")
    if not asked.is_asked_still:
        raise organisations.Conflict(
            f"{asked.asked_by} asked for this and may no longer set caps, so it was withdrawn: one person alone would raise it.",
            rule="two people",
            current=f"{asked.asked_by} may not set caps",
            limit="two people who may",
            who=_named(asked.partners),
            next_step="Set the cap yourself; another person then agrees.",
        )
    return row


def _take_effect(row: Raise, by: Principal, before: Cap | None) -> None:
    if row.seen != (_seen_threshold() if row.level == Raise.Level.THRESHOLD else version(before)):
        raise _changed(before)
    _close(row, by, Raise.State.AGREED)
    if row.level == Raise.Level.THRESHOLD:
        _write_threshold(by, row.workspace, row.cap_micros, before=row.before_micros, asked_by=row.asked_by)
    else:
        order = _Order(row.workspace, row.level, row.target, row.period, row.cap_micros)
        _write(by, order, before=before, asked_by=row.asked_by)


def decline(*, by: Principal, identifier: str, reason: str = "") -> Raise:
    """Leave the cap as it is. Whoever asked takes the raise back; whoever could agree says no."""
    with tenancy.within(by.organisation):
        row, _ = _open(identifier, by=by)
        [asked] = standing([row], by=by)
        if not asked.is_own:
            _refuse(asked, by)
        state, event = (Raise.State.WITHDRAWN, "cap.raise_withdrawn") if asked.is_own else (Raise.State.DECLINED, "cap.raise_declined")
        _close(row, by, state)
        log.append(event, by=by, subject=row.target, workspace=row.workspace, detail={**_told(row), "reason": reason[:500]})
    return row


def _locked(level: str, target: str) -> Cap | None:
    """A level's cap. Two people at once: the second waits, then sees what the first set."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtextextended('cap:' || %s || '/' || %s, 0))", [level, target])
    return Cap.objects.filter(level=level, target=target).first()


def _write(by: Principal, order: _Order, *, before: Cap | None, asked_by: str = "") -> Cap:
    """`asked_by` when `by` is the second person: the cap is the first one's."""
    made = {
        "period": order.period,
        "cap_micros": order.cap_micros,
        "set_by": asked_by or by.id,
        "agreed_by": by.id if asked_by else "",
    }
    cap, _ = Cap.objects.update_or_create(
        level=order.level,
        target=order.target,
        defaults={**made, "set_at": Moment()},
        create_defaults={**made, "id": ids.new("BUD")},
    )
    detail = {
        "level": order.level,
        "period": order.period,
        "cap_micros": order.cap_micros,
        "before": before.cap_micros if before else "none",
        **({"before_period": before.period} if before else {}),
        **({"asked_by": asked_by} if asked_by else {}),
    }
    log.append("cap.set", by=by, subject=order.target, workspace=order.workspace, detail=detail)
    return cap


def _write_threshold(by: Principal, workspace: str, micros: money.Micros, *, before: money.Micros, asked_by: str = "") -> None:
    Organisation.objects.update(two_people_above=micros)
    detail = {"two_people_above": micros, "before": before, **({"asked_by": asked_by} if asked_by else {})}
    log.append("cap.threshold_set", by=by, subject=by.organisation, workspace=workspace, detail=detail)


def _ask(by: Principal, order: _Order, *, before: money.Micros, before_period: str, seen: str) -> Raise:
    """One that waits for the same takes its place from it."""
    _withdraw(by, order.level, order.target)
    row = Raise.objects.create(
        id=ids.new("RSE"), **order._asdict(), before_micros=before, before_period=before_period, seen=seen, asked_by=by.id
    )
    log.append("cap.raise_asked", by=by, subject=order.target, workspace=order.workspace, detail=_told(row))
    return row


def _withdraw(by: Principal, level: str, target: str, *, reason: str = "overtaken") -> None:
    """What waits here waits no more."""
    for row in Raise.objects.filter(level=level, target=target, state=Raise.State.OPEN):
        _close(row, by, Raise.State.WITHDRAWN)
        log.append("cap.raise_withdrawn", by=by, subject=target, workspace=row.workspace, detail={**_told(row), "reason": reason})


def _told(row: Raise) -> dict[str, Any]:
    return {
        "raise": row.id,
        "level": row.level,
        "period": row.period,
        "cap_micros": row.cap_micros,
        "before": row.before_micros,
        "before_period": row.before_period,
    }


def _open(identifier: str, *, by: Principal) -> tuple[Raise, Cap | None]:
    """(the raise, the cap as it is), both taken in the order in which `put` takes them. Raises Conflict when it is over."""
    row = get(identifier, by=by)
    before = _locked(row.level, row.target)
    row.refresh_from_db()
    if row.state != Raise.State.OPEN:
        raise organisations.Conflict(
            "This raise waits no more.", rule="raise", current=row.get_state_display(), next_step="Look at the cap as it is now."
        )
    return row, before


def _close(row: Raise, by: Principal, state: str) -> None:
    Raise.objects.filter(id=row.id).update(state=state, decided_by=by.id, decided_at=Moment())
    row.state, row.decided_by = state, by.id


def _refuse(asked: Standing, by: Principal) -> None:
    if asked.why_not:
        raise organisations.Forbidden(
            asked.why_not,
            rule="two people",
            current=by.id,
            limit=money.dollars(threshold()),
            who=_named(asked.partners),
            next_step="Ask one of them to agree.",
        )


def _named(partners: Sequence[str]) -> str:
    return ", ".join(partners[:5]) or "whoever manages members can give budgets_set"


def _seen_threshold() -> str:
    return f"threshold {threshold()}"


def _changed(cap: Cap | None) -> CapChanged:
    by = (cap and Member.objects.filter(id=cap.set_by).values_list("name", flat=True).first()) or (cap.set_by if cap else "")
    return CapChanged(
        "Somebody else set this cap since you opened the form.",
        rule="cap",
        current=f"{money.dollars(cap.cap_micros)} / {cap.period}, set by {by}" if cap else "no cap",
        limit="the cap that you looked at",
        next_step="Look at the new value, then set yours again if it still fits.",
    )
