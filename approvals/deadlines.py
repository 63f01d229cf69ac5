"""More time to decide: anybody who may decide may take some, up to what the workspace allows in all."""

import datetime

from django.db import connection

from agents import organisations
from agents.organisations import Principal
from approvals import remarks, requests, tiers, votes
from approvals.models import Remark, Request, Terms
from audit import log, outcomes, tenancy

LARGEST_S, MOST_ROUNDS = 7 * 24 * 3600, 20


class NoMoreTime(outcomes.Refused):
    code = "no_more_time"


def terms(workspace: str) -> Terms:
    """The workspace's own terms, or the defaults. Call inside `tenancy.within`."""
    return tenancy.once(("terms", workspace), Terms.objects.filter(id=workspace).first) or Terms(id=workspace)


def set_terms(*, by: Principal, workspace: str, extend_s: int, extend_most_s: int, rounds: int) -> Terms:
    """How much time one extension gives, how much all of them together, and how often a plan may be sent back. Raises Conflict."""
    good = 60 <= extend_s <= extend_most_s <= LARGEST_S or extend_most_s == 0 <= extend_s
    if not good or not 0 <= rounds <= MOST_ROUNDS:
        raise organisations.Conflict(
            "An extension is a minute or more, all of them together a week at most, and rounds are 0 to 20.",
            rule="approval terms",
            current=f"{extend_s} s of {extend_most_s} s, {rounds} rounds",
            limit=f"60 to {LARGEST_S} s, 0 to {MOST_ROUNDS} rounds",
            next_step="Correct the one that is wrong.",
        )
    values = {"extend_s": extend_s, "extend_most_s": extend_most_s, "rounds": rounds}
    with tenancy.within(by.organisation):
        organisations.require(by, "members_manage", workspace)
        row, _ = Terms.objects.update_or_create(id=workspace, defaults=values)
        log.append("request.terms_set", by=by, subject=workspace, workspace=workspace, detail=values)
    return row


def latest(request: Request, under: Terms | None = None) -> datetime.datetime:
    """The last moment to which this request may be extended. Call inside `tenancy.within`."""
    tier = {1: tiers.ONE, 2: tiers.TWO}[request.required]
    most = datetime.timedelta(seconds=(under or terms(request.workspace_id)).extend_most_s)
    return request.opened_at + tiers.waits(tier, is_draft=request.is_draft) + most


def why_not(request: Request, *, by: Principal) -> str:
    """Why this person cannot take more time now, or nothing. Call inside `tenancy.within`."""
    if request.state != Request.State.OPEN or request.expires_at <= requests.database_now():
        return "It is no longer open."
    why = tiers.why_not(by, required=request.required, requesters=votes.barred(request), workspace=request.workspace_id)
    if why:
        return why
    return "It was put off as far as this workspace allows." if request.expires_at >= latest(request) else ""


def extend(*, by: Principal, request_id: str) -> Request:
    """Some more time for everybody. Raises NotFound, AlreadyDecided, Expired, NotEligible or NoMoreTime."""
    with tenancy.within(by.organisation):
        request = requests.held(by=by, request_id=request_id)
        votes.check(request, by=by, plan_digest=request.plan.digest)
        under = terms(request.workspace_id)
        last = latest(request, under)
        until = min(request.expires_at + datetime.timedelta(seconds=under.extend_s), last)
        if until <= request.expires_at:
            raise NoMoreTime(
                "This request was put off as far as this workspace allows.",
                rule="approval terms",
                current=request.expires_at.isoformat(),
                limit=last.isoformat(),
                who="whoever holds members_manage",
                next_step="Decide, or let it expire; the agent may propose it again.",
            )
        Request.objects.filter(id=request.id).update(expires_at=until)
        with connection.cursor() as cursor:
            due = "update agents_work set due_at = clock_timestamp() + (%s - moment()) where kind = 'request.expire' and subject = %s"
            cursor.execute(due, [until, request.id])
        added = int((until - request.expires_at).total_seconds() // 60)
        remarks.add(request, by=by, kind=Remark.Kind.EXTENSION, text=f"took {added} min more, until {until:%H:%M} UTC")
        requests.record(request, by=by, event="request.extended", before=request.expires_at.isoformat(), until=until.isoformat())
        request.refresh_from_db()
    return request
