"""Votes: who may decide a request, what they decided, and what follows. Deny beats approve; enough approvals hand the call to a worker."""

from collections.abc import Iterable

from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef, QuerySet, Subquery

from agents import contracts, organisations, runs, seats
from agents.models import Call, Member, Run
from agents.organisations import Principal
from approvals import brakes, denials, requests, tiers
from approvals.models import Plan, Request, Vote
from audit import ids, outcomes, redaction, tenancy
from audit.moments import Moment


class PlanChanged(outcomes.Refused):
    code = "plan_changed"


class NotEligible(outcomes.Refused):
    code = "not_eligible"


class Denied(outcomes.Refused):
    code = "denied"


def cast(  # noqa: PLR0913 - what a ballot says
    *,
    by: Principal,
    request_id: str,
    verdict: str,
    plan_digest: str,
    reason: str = "",
    denial: denials.Scope = denials.THIS_CALL,
    together: int = 1,
) -> Request:
    """One person's decision. With enough approvals the call is handed to a worker; one denial ends it and tells the agent why.

    `together` says how many requests the same click decides; the entries tell it where that is more than this one.

    Raises NotFound, NotEligible, AlreadyDecided, Expired, PlanChanged (the digest is not the one that is open), ReasonNeeded, or Stopped
    for an approval under a stop switch: a stop holds what waits, and a denial is possible all the same.
    """
    if verdict not in Vote.Verdict.values:
        raise organisations.Conflict(
            f"There is no verdict {verdict}.",
            rule="verdict",
            current=verdict,
            limit=", ".join(Vote.Verdict.values),
            next_step="Approve or deny.",
        )
    beside = {"together": together} if together > 1 else {}
    with tenancy.within(by.organisation):
        request = requests.held(by=by, request_id=request_id)
        check(request, by=by, plan_digest=plan_digest)
        if verdict == Vote.Verdict.APPROVE:
            brakes.check(request)
        check_reason(verdict, reason)
        try:
            with transaction.atomic():
                Vote.objects.create(
                    id=ids.new("V"),
                    request=request,
                    member_id=by.id,
                    person=by.person,
                    verdict=verdict,
                    plan_digest=plan_digest,
                    reason=redaction.redact_text(reason)[:2000],
                )
        except IntegrityError as error:
            raise has_voted(by) from error
        requests.record(request, by=by, event="request.voted", verdict=verdict, plan=plan_digest, **beside)
        if verdict == Vote.Verdict.DENY:
            _deny(request, by=by, reason=reason, denial=denial, beside=beside)
        elif (
            request.votes.filter(verdict=Vote.Verdict.APPROVE, plan_digest=plan_digest).values("person").distinct().count()
            >= request.required
        ):
            _approve(request, by=by, beside=beside)
        request.refresh_from_db()
    return request


def has_voted(by: Principal) -> requests.AlreadyDecided:
    """The refusal of a second vote on one plan."""
    return requests.AlreadyDecided(
        "You have voted on this already.", rule="one vote per person", current=by.person, limit=1, next_step="Nothing to do."
    )


def check_reason(verdict: str, reason: str) -> None:
    """Raises ReasonNeeded for a denial that does not say why."""
    if verdict == Vote.Verdict.DENY and not reason.strip():
        raise requests.ReasonNeeded(
            "A denial needs a reason: the agent receives it.", rule="reason", current="empty", limit="a sentence", next_step="Say why."
        )


def check(request: Request, *, by: Principal, plan_digest: str) -> None:
    """Whether this person may decide this plan now.

    Raises AlreadyDecided, Expired, NotEligible or PlanChanged. Call inside `tenancy.within`.
    """
    requests.check_open(request)
    why = tiers.why_not(by, required=request.required, requesters=barred(request), workspace=request.workspace_id)
    if why:
        raise NotEligible(
            why,
            rule="eligibility",
            current=by.id,
            limit=tiers.PERMISSION[request.required],
            who="another eligible person",
            next_step="Leave it to somebody else.",
        )
    if plan_digest != request.plan.digest:
        raise PlanChanged(
            "The plan changed since you looked.",
            rule="plan digest",
            current=plan_digest[:80],
            limit=request.plan.digest,
            next_step="Read the new changes and decide again.",
            plan=request.plan.digest,
        )


def _approve(request: Request, *, by: Principal, beside: dict[str, int]) -> None:
    Request.objects.filter(id=request.id).update(state=Request.State.APPROVED, decided_at=Moment())
    Call.objects.filter(id=request.call_id).update(state=Call.State.APPROVED)
    requests.waited(request)
    requests.record(request, by=by, event="request.approved", plan=request.plan.digest, **beside)
    with connection.cursor() as cursor:
        cursor.execute("select work_ring(%s, 'call.resume', %s)", [by.organisation, request.call_id])


def _deny(request: Request, *, by: Principal, reason: str, denial: denials.Scope, beside: dict[str, int]) -> None:
    Request.objects.filter(id=request.id).update(state=Request.State.DENIED, decided_at=Moment(), note=redaction.redact_text(reason)[:2000])
    requests.waited(request)
    refusal = Denied(
        f"A person denied this: {reason}",
        rule=f"request {request.id}",
        current="denied",
        limit=f"{request.required} approvals",
        who=by.name or by.id,
        next_step=denials.NEXT[denial.scope],
        reason=reason,
        scope=denial.scope,
    )
    runs.settle(
        by=by,
        run=request.run_id,
        call=request.call_id,
        outcome=runs.Outcome(state=Call.State.DENIED, event="request.denied", refusal=refusal.as_dict(), note=reason, wake=True),
        detail={"request": request.id, "tool": request.call.name, "scope": denial.scope, "ends_run": denial.ends_run, **beside},
    )
    denials.remember(request, by=by, scope=denial.scope, reason=redaction.redact_text(reason)[:2000])
    if denial.ends_run:
        summary = f"{by.name or by.id} denied {request.call.name} and ended the run: {reason}"
        runs.end(by=by, run=request.run, state=Run.State.STOPPED, summary=summary, event="run.stopped")


def of(request: Request) -> QuerySet[Vote]:
    """The votes on a request in order. Call inside `tenancy.within`."""
    return Vote.objects.filter(request=request).select_related("member").order_by("at", "id")


def decidable(*, by: Principal, workspace: str) -> QuerySet[Request]:
    """The open requests that this person may decide now, the one with least time left first. Call inside `tenancy.within`."""
    allowed = [number for number, permission in tiers.PERMISSION.items() if organisations.may(by, permission, workspace)]
    found = Request.objects.filter(workspace_id=workspace, state=Request.State.OPEN, required__in=allowed, expires_at__gt=Moment())
    digest = Plan.objects.filter(id=OuterRef(OuterRef("plan_id"))).values("digest")  # read for those that have a vote, not joined to all
    own = Vote.objects.filter(request=OuterRef("id"), member_id=by.id, plan_digest=Subquery(digest))
    found = found.exclude(requesters__contains=[by.person]).exclude(Exists(own))
    theirs = contracts.owned(by)
    if theirs:  # also those that came to be theirs since
        found = found.exclude(run__agent_id__in=theirs)
    return found.select_related("plan", "call", "run__agent").prefetch_related("votes__member").order_by("expires_at", "id")


def eligible(request: Request) -> list[Member]:
    """The people who may decide this request, by name, also those who have. Call inside `tenancy.within`."""
    found = seats.holding(tiers.PERMISSION[request.required], request.workspace_id)
    out = barred(request)
    return [member for member in found if member.person not in out]


def barred(request: Request) -> list[str]:
    """The persons who may not decide it: who asked for it, and who owns its agent by now. Call inside `tenancy.within`."""
    return [*request.requesters, request.run.agent.owner.person]


def others(request: Request, found: Iterable[Member], cast: Iterable[Vote], *, by: Principal) -> list[Member]:
    """Those of the people who may decide it who still can, after these votes on the plan that is open, and are somebody else."""
    done = {vote.person for vote in cast if vote.plan_digest == request.plan.digest} | {by.person}
    return [member for member in found if member.person not in done]


def with_vote_of(name: str) -> Exists:
    """Whether people of this name approved something in the run of an outer query over runs. Call inside `tenancy.within`."""
    members = [identifier for identifier, named in organisations.names().items() if named.lower() == name.lower()]
    voted = Vote.objects.filter(request__run_id=OuterRef("id"), verdict=Vote.Verdict.APPROVE, member_id__in=members)
    return Exists(voted)
