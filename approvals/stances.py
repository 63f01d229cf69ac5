"""Who has an open request in hand. That is advice to the others: it bars nobody from anything, and ends by itself or with the request."""

import datetime
from collections.abc import Iterable

from django.db.models import Exists, OuterRef

from agents import organisations
from agents.organisations import Principal
from approvals import requests
from approvals.models import Request, Stance, Vote
from audit import ids, tenancy
from audit.moments import Moment

CLAIMED = datetime.timedelta(minutes=30)


def claim(*, by: Principal, request_id: str) -> Request:
    """Take a request in hand, also from somebody who has it; once more, and its time begins anew. For whoever may decide it now.

    Raises NotFound, AlreadyDecided, Expired or NotEligible.
    """
    with tenancy.within(by.organisation):
        request = _decidable(by=by, request_id=request_id)
        before = claims([request]).get(request.id)
        Stance.objects.filter(request=request, kind=Stance.Kind.CLAIM).delete()
        until = _take(request, by=by, kind=Stance.Kind.CLAIM, until=requests.database_now() + CLAIMED)
        taken_from = before.member_id if before and before.member_id != by.id else ""
        requests.record(request, by=by, event="request.claimed", until=until.isoformat(), taken_from=taken_from)
    return request


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
    asked = [request.id for request in found if request.state == Request.State.OPEN]
    standing = Stance.objects.filter(request_id__in=asked, kind=Stance.Kind.CLAIM, until__gt=Moment(), member__is_active=True)
    voted = Vote.objects.filter(request=OuterRef("request"), member=OuterRef("member"), at__gt=OuterRef("at"))
    return {stance.request_id: stance for stance in standing.exclude(Exists(voted)).select_related("member")}


def _decidable(*, by: Principal, request_id: str) -> Request:
    """The request, locked, for whoever may still decide the plan that is open."""
    request = requests.held(by=by, request_id=request_id)
    requests.check(request, by=by, plan_digest=request.plan.digest)
    if Vote.objects.filter(request=request, member_id=by.id, plan_digest=request.plan.digest).exists():
        raise requests.AlreadyDecided(
            "You have voted on this already.", rule="one vote per person", current=by.person, limit=1, next_step="Nothing to do."
        )
    return request


def _take(request: Request, *, by: Principal, kind: str, until: datetime.datetime) -> datetime.datetime:
    until = min(until, request.expires_at)
    Stance.objects.filter(request=request, member_id=by.id).delete()
    Stance.objects.create(id=ids.new("STC"), request=request, member_id=by.id, kind=kind, until=until)
    return until
