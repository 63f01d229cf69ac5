"""Who has an open request in hand, and who has set it aside for themselves. Neither decides or bars anything, and both end by themselves.

A claim is advice to the others, taken by oneself or handed over by a colleague. A snooze is over when the request changes, and always
ten minutes before it expires.
"""

import datetime
from collections.abc import Iterable, Mapping

from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.functions import Now

from agents import organisations
from agents.models import Member, Work
from agents.organisations import Principal
from approvals import requests, tiers, votes
from approvals.models import Remark, Request, Stance, Vote
from audit import ids, tenancy
from audit.moments import Moment

CLAIMED = datetime.timedelta(minutes=30)
BEFORE = datetime.timedelta(minutes=10)  # so long before it expires a request is back with everybody
LENGTHS = {
    "30 min": datetime.timedelta(minutes=30),
    "2 hours": datetime.timedelta(hours=2),
    "until it changes": None,
}


def claim(*, by: Principal, request_id: str) -> Request:
    """Take a request in hand, also from somebody who has it; once more, and its time begins anew. For whoever may decide it now.

    Raises NotFound, AlreadyDecided, Expired or NotEligible.
    """
    with tenancy.within(by.organisation):
        request = _decidable(by=by, request_id=request_id)
        before = claims([request]).get(request.id)
        until = _in_hand(request, member=by.id)
        taken_from = before.member_id if before and before.member_id != by.id else ""
        requests.record(request, by=by, event="request.claimed", until=until.isoformat(), taken_from=taken_from)
    return request


def hand_over(*, by: Principal, request_id: str, to: str) -> Request:
    """Put a request into the hands of another person who may decide it now, given by id or name; they need not agree, and it bars nobody.

    For whoever may decide it themselves, or has it in hand. Raises NotFound, AlreadyDecided, Expired, NotEligible or Conflict.
    """
    with tenancy.within(by.organisation):
        request = requests.held(by=by, request_id=request_id)
        before = claims([request]).get(request.id)
        if before is not None and before.member_id == by.id:
            requests.check_open(request)
        else:
            _check(request, by=by)
        receiver = _receiver(request, by=by, to=to)
        until = _in_hand(request, member=receiver.id, handed_by=by.id)
        taken_from = before.member_id if before and before.member_id not in {by.id, receiver.id} else ""
        detail = {"to": receiver.id, "name": receiver.name, "until": until.isoformat(), "taken_from": taken_from}
        requests.record(request, by=by, event="request.handed_over", **detail)
    return request


def _receiver(request: Request, *, by: Principal, to: str) -> Member:
    """Who is meant, when they are somebody else who may still decide it. Raises NotFound, NotEligible or Conflict."""
    member, cast = organisations.member(to), list(votes.of(request))
    others = votes.others(request, votes.eligible(request), cast, by=by)
    if member in others:
        return member
    who = ", ".join(each.name for each in others)
    next_step = f"Hand it to one of these: {who}." if who else "Nobody else may decide it."
    if member.person == by.person:
        raise organisations.Conflict(
            "A request is handed to somebody else.",
            rule="hand over",
            current=member.name,
            limit="another person",
            who=who,
            next_step=next_step,
        )
    permission = tiers.PERMISSION[request.required]
    if not member.is_active:
        why = "is no longer a member"
    elif member.person in {vote.person for vote in cast if vote.plan_digest == request.plan.digest}:
        why = "has voted"
    elif member.person in votes.barred(request):
        why = tiers.tie(member, owner=request.run.agent.owner_id, starter_person=request.run.starter_person)
    else:
        why = f"this needs the permission {permission} in its workspace"
    raise votes.NotEligible(
        f"{member.name} may not decide it: {why}.",
        rule="eligibility",
        current=member.name,
        limit=permission,
        who=who or "nobody else",
        next_step=next_step,
    )


def unclaim(*, by: Principal, request_id: str) -> Request:
    """Leave a request that this person has in hand to the others. Raises NotFound or Conflict."""
    with tenancy.within(by.organisation):
        request = requests.held(by=by, request_id=request_id)
        mine = claims([request]).get(request.id)
        if mine is None or mine.member_id != by.id:
            raise organisations.Conflict(
                "You do not have this request in hand.",
                rule="claim",
                current=mine.member.name if mine else "nobody",
                limit=by.name or by.id,
                next_step="Nothing to do.",
            )
        mine.delete()
        requests.record(request, by=by, event="request.unclaimed")
    return request


def claims(found: Iterable[Request]) -> dict[str, Stance]:
    """Who has which of these requests in hand, by their ids, in one statement. Whoever has voted since is done with it.

    Call inside `tenancy.within`.
    """
    asked = {request.id for request in found if request.state == Request.State.OPEN}
    known: dict[str, Stance | None] = tenancy.once("claims", dict)  # a list and what is opened beside it ask about the same
    missing = asked - known.keys()
    if missing:
        standing = Stance.objects.filter(request_id__in=missing, kind=Stance.Kind.CLAIM, until__gt=Moment(), member__is_active=True)
        voted = Vote.objects.filter(request=OuterRef("request"), member=OuterRef("member"), at__gt=OuterRef("at"))
        known |= dict.fromkeys(missing)
        known |= {stance.request_id: stance for stance in standing.exclude(Exists(voted)).select_related("member", "handed_by")}
    return {key: stance for key in asked if (stance := known[key]) is not None}


def snooze(*, by: Principal, request_id: str, length: str) -> Request:
    """Set a request aside for oneself, for one of LENGTHS; a claim of theirs ends. For whoever may decide it now.

    Raises NotFound, AlreadyDecided, Expired, NotEligible or Conflict.
    """
    with tenancy.within(by.organisation):
        request = _decidable(by=by, request_id=request_id)
        now, last = requests.database_now(), request.expires_at - BEFORE
        if length not in LENGTHS or last <= now:
            raise organisations.Conflict(
                "A request is snoozed for a while that is offered, and not shortly before it expires.",
                rule="snooze",
                current=f"{length[:40] or 'nothing'}, expires {request.expires_at:%H:%M} UTC",
                limit=f"{', '.join(LENGTHS)}; until {BEFORE.seconds // 60} min before it expires",
                next_step="Choose one of them, or decide.",
            )
        until = _take(request, member=by.id, kind=Stance.Kind.SNOOZE, until=min(now + (LENGTHS[length] or last - now), last))
        requests.record(request, by=by, event="request.snoozed", until=until.isoformat())
    return request


def wake(*, by: Principal, request_id: str) -> Request:
    """Have a request back that this person set aside. Raises NotFound or Conflict."""
    with tenancy.within(by.organisation):
        request = requests.held(by=by, request_id=request_id)
        mine = asleep(by).filter(request=request).first()
        if mine is None:
            raise organisations.Conflict(
                "You have not snoozed this request.", rule="snooze", current="awake", limit="snoozed", next_step="Nothing to do."
            )
        mine.delete()
        requests.record(request, by=by, event="request.woken", member=by.id)
    return request


def lapse(*, by: Principal, identifier: str) -> None:
    """A snooze's time is over: pages are told, and the entry says so. No-op when it was woken, or the request is over."""
    with tenancy.within(by.organisation):
        stance = Stance.objects.select_related("request__call").filter(id=identifier, until__lte=Moment()).first()
        if stance is None:
            return
        gone, _ = Stance.objects.filter(id=identifier, until__lte=Moment()).delete()
        if gone and stance.request.state == Request.State.OPEN:  # nobody woke it or set it aside anew meanwhile
            requests.record(stance.request, by=by, event="request.woken", member=stance.member_id)


def asleep(by: Principal) -> QuerySet[Stance]:
    """What this person has set aside and nobody voted on, remarked on or planned anew since. Call inside `tenancy.within`."""
    mine = Stance.objects.filter(member_id=by.id, kind=Stance.Kind.SNOOZE, until__gt=Moment(), request__plan__created_at__lt=F("at"))
    for change in (Vote, Remark):
        mine = mine.exclude(Exists(change._default_manager.filter(request=OuterRef("request"), at__gt=OuterRef("at"))))
    return mine


def set_aside(by: Principal) -> Mapping[str, Stance]:
    """The same by their requests' ids, asked once by a page. Call inside `tenancy.within`."""
    return tenancy.once(("set aside", by.id), lambda: {stance.request_id: stance for stance in asleep(by)})


def _decidable(*, by: Principal, request_id: str) -> Request:
    """The request, locked, for whoever may still decide the plan that is open."""
    request = requests.held(by=by, request_id=request_id)
    _check(request, by=by)
    return request


def _check(request: Request, *, by: Principal) -> None:
    votes.check(request, by=by, plan_digest=request.plan.digest)
    if Vote.objects.filter(request=request, member_id=by.id, plan_digest=request.plan.digest).exists():
        raise votes.has_voted(by)


def _in_hand(request: Request, *, member: str, handed_by: str | None = None) -> datetime.datetime:
    """One person has it, and whoever had it before no more; until when."""
    Stance.objects.filter(request=request, kind=Stance.Kind.CLAIM).delete()
    return _take(request, member=member, kind=Stance.Kind.CLAIM, until=requests.database_now() + CLAIMED, handed_by=handed_by)


def _take(request: Request, *, member: str, kind: str, until: datetime.datetime, handed_by: str | None = None) -> datetime.datetime:
    until = min(until, request.expires_at)
    Stance.objects.filter(request=request, member_id=member).delete()
    stance = Stance.objects.create(id=ids.new("STC"), request=request, member_id=member, kind=kind, until=until, handed_by_id=handed_by)
    if kind == Stance.Kind.SNOOZE:
        due = Now() + (until - requests.database_now())  # leases go by the real clock
        Work.objects.create(id=ids.new("WRK"), kind=Work.Kind.WAKE, subject=stance.id, due_at=due)
    return until
