"""Requests: asking people about a plan, what waits, a new plan when the target changed, and the end when nobody decides in time.

What people decide is in `votes`; what they may answer besides is in `ends` (sent back, withdrawn), `deadlines` (more time), `stances` (who
is on it or set it aside) and `remarks` (comments).
"""

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.db import connection
from django.db.models import F, Prefetch, QuerySet

from agents import organisations, runs, stops
from agents.models import Call, Run, Stop, ToolVersion
from agents.organisations import Principal
from approvals import brakes, sight, tiers
from approvals.models import Plan, Request
from audit import ids, log, moments, outcomes, tenancy
from audit.moments import Moment


class AlreadyDecided(outcomes.Refused):
    code = "already_decided"


class ReasonNeeded(outcomes.Refused):
    code = "reason_needed"


class Expired(outcomes.Refused):
    code = "expired"


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asks, and of whom."""

    title: str
    tier: str
    is_draft: bool
    policies: Sequence[str]
    reasons: Sequence[str]
    policy_set: str
    tool_version: str
    owner_person: str
    starter_person: str


def open_request(*, by: log.Actor, call: Call, plan: Plan, question: Question) -> Request:
    """Hold the call and ask. Call inside the transaction that made the plan."""
    expires = database_now() + tiers.waits(question.tier, is_draft=question.is_draft)
    request = Request.objects.create(
        id=ids.new("APR"),
        workspace_id=call.run.workspace_id,
        run=call.run,
        call=call,
        plan=plan,
        title=question.title,
        required=tiers.REQUIRED[question.tier],
        is_draft=question.is_draft,
        policies=list(question.policies),
        reasons=list(question.reasons),
        policy_set_id=question.policy_set,
        tool_version_id=question.tool_version,
        expires_at=expires,
        requesters=tiers.requesters(
            owner_person=question.owner_person, starter_person=question.starter_person, policy_set=question.policy_set
        ),
    )
    held = Call.State.DRAFTED if question.is_draft else Call.State.HELD
    Call.objects.filter(id=call.id, state=Call.State.ADMITTED).update(state=held, tier=question.tier)
    if not question.is_draft:
        Run.objects.filter(id=call.run_id, state__in=[Run.State.RUNNING, Run.State.QUEUED]).update(state=Run.State.WAITING)
    _schedule_expiry(request)
    detail = {
        "call": call.id,
        "tool": call.name,
        "plan": plan.digest,
        "required": request.required,
        "draft": question.is_draft,
        "policies": list(question.policies),
        "expires_at": expires.isoformat(),
    }
    log.append(
        "call.drafted" if question.is_draft else "call.held",
        by=by,
        subject=call.id,
        workspace=request.workspace_id,
        run=call.run_id,
        detail={"request": request.id, "tool": call.name, "plan": plan.digest},
    )
    log.append("request.opened", by=by, subject=request.id, workspace=request.workspace_id, run=call.run_id, detail=detail)
    return request


def database_now() -> datetime.datetime:
    """The clock of the record: what people were asked, and until when, goes by it. A page has one now."""
    return tenancy.once(("now",), moments.now)


def _schedule_expiry(request: Request) -> None:
    with connection.cursor() as cursor:
        cursor.execute("delete from agents_work where kind = 'call.recover' and subject = %s", [request.call_id])
        cursor.execute(
            "insert into agents_work (organisation_id, id, kind, subject, due_at, fence, attempts, rings) "
            "values (%s, %s, 'request.expire', %s, clock_timestamp() + (%s - moment()), 0, 0, 1)",
            [request.organisation_id, ids.new("WRK"), request.id, request.expires_at],
        )


def get(identifier: str, *, by: Principal) -> Request:
    """A request that the principal may see. Absent and forbidden look the same. Call inside `tenancy.within`."""
    # Two small joins: one over all nine tables takes the planner longer than both take to answer.
    tool = Prefetch("tool_version", ToolVersion.objects.select_related("tool__connector"))
    whole = Request.objects.select_related("plan", "call", "run__agent__owner").prefetch_related(tool)
    request = whole.filter(id=identifier).first()
    if request is None or not sight.of_run(request.run, by=by):
        raise organisations.NotFound("There is no such request.", rule="request", current=identifier[:40], next_step="List the requests.")
    return request


def waiting_for(*, by: Principal, workspace: str, state: str = Request.State.OPEN) -> QuerySet[Request]:
    """The workspace's requests in a state that the principal may see, oldest first. Raises Forbidden. Call inside `tenancy.within`."""
    found = Request.objects.filter(sight.requests(by, workspace)).select_related("plan", "call", "run__agent")
    found = found.prefetch_related("votes__member")
    return (found.filter(state=state) if state else found).order_by("opened_at", "id")


def held(*, by: Principal, request_id: str) -> Request:
    """The request, its call and its run, locked in the gate's order. Raises NotFound. Call inside `tenancy.within`."""
    request = get(request_id, by=by)
    runs.lock(request.run_id)
    Call.objects.select_for_update().get(id=request.call_id)
    return Request.objects.select_for_update(of=("self",)).select_related("plan", "call", "run__agent").get(id=request_id)


def check_open(request: Request) -> None:
    """Raises AlreadyDecided or Expired. Call inside `tenancy.within`."""
    if request.state != Request.State.OPEN:
        raise AlreadyDecided(
            f"This request is {request.get_state_display().lower()} already.",
            rule="request state",
            current=request.state,
            limit="OPEN",
            who="whoever decided it",
            next_step="Look at the decision.",
        )
    if request.expires_at <= database_now():
        raise Expired(
            "This request expired; it counts as denied.",
            rule="expiry",
            current=request.expires_at.isoformat(),
            limit="in time",
            next_step="The agent may propose it again.",
        )


def waited(request: Request) -> None:
    """Time spent waiting for people is not held against the run. A draft keeps nobody waiting, and waiting ends with the decision."""
    if request.is_draft or request.state != Request.State.OPEN:
        return
    waited = int((database_now() - request.opened_at).total_seconds() * 1000)
    Run.objects.filter(id=request.run_id).update(waited_ms=F("waited_ms") + waited)


def record(request: Request, *, by: Principal, event: str, **detail: object) -> None:
    """The entry of something that people did with a request."""
    log.append(
        event,
        by=by,
        subject=request.id,
        workspace=request.workspace_id,
        run=request.run_id,
        detail={"call": request.call_id, "tool": request.call.name, **detail},
    )


def expire(*, by: Principal, request_id: str) -> bool:
    """Nobody decided in time: that is a no, and the agent is told. False when it was decided, or is not due."""
    with tenancy.within(by.organisation):
        request = Request.objects.select_related("run").filter(id=request_id).first()
        if request is None:
            return False
        runs.lock(request.run_id)
        call = Call.objects.select_for_update().get(id=request.call_id)
        request = Request.objects.select_for_update().get(id=request_id)
        if request.state not in {Request.State.OPEN, Request.State.APPROVED} or request.expires_at > database_now():
            return False
        refusal = Expired(
            "Nobody decided in time, so it was denied.",
            rule=f"request {request.id}",
            current="expired",
            limit=request.expires_at.isoformat(),
            who="the approvers of this workspace",
            next_step="Propose it again, or hand over.",
        )
        waited(request)
        return runs.settle(
            by=by,
            run=request.run_id,
            call=request.call_id,
            outcome=runs.Outcome(state=Call.State.EXPIRED, event="request.expired", refusal=refusal.as_dict(), wake=True),
            detail={"request": request.id, "tool": call.name},
        )


def of_call(call: str) -> Request | None:
    """The newest request of a call. Call inside `tenancy.within`."""
    return Request.objects.filter(call_id=call).select_related("plan").order_by("-opened_at").first()


def of_run(run: str) -> QuerySet[Request]:
    """Every request of a run in order. Call inside `tenancy.within`."""
    return Request.objects.filter(run_id=run).select_related("plan").order_by("opened_at", "id")


def open_under(scope: str, target: str) -> QuerySet[Request]:
    """The open requests that a stop switch on this target (an id) would hold. Call inside `tenancy.within`."""
    found = Request.objects.filter(state=Request.State.OPEN)
    if scope in {Stop.Scope.TOOL, Stop.Scope.CONNECTOR, Stop.Scope.KEY}:
        return found.filter(**{brakes.LOOKUPS[Stop.Scope(scope)]: target})
    return found.filter(run_id__in=stops.runs_under(scope, target).values("id"))


def replan(*, by: log.Actor, request_id: str, build: Callable[[Call], Plan]) -> Request:
    """The target changed while people looked: the request gets a new plan, and votes on the old one count no more. No-op once decided."""
    with tenancy.within(by.organisation):
        request = Request.objects.select_related("plan", "run").get(id=request_id)
        runs.lock(request.run_id)
        call = Call.objects.select_for_update().get(id=request.call_id)
        request = Request.objects.select_for_update(of=("self",)).select_related("plan").get(id=request_id)
        if request.state == Request.State.OPEN:
            before, plan = request.plan, build(call)
            Request.objects.filter(id=request_id).update(plan=plan, checked_at=Moment())
            detail = {"call": request.call_id, "before": before.digest, "plan": plan.digest}
            log.append("request.replanned", by=by, subject=request.id, workspace=request.workspace_id, run=request.run_id, detail=detail)
            request.refresh_from_db()
    return request


def checked(*, by: Principal, request_id: str) -> None:
    """The target was read again and is as planned."""
    with tenancy.within(by.organisation):
        request = get(request_id, by=by)
        Request.objects.filter(id=request_id, state=Request.State.OPEN).update(checked_at=Moment())
        record(request, by=by, event="request.checked", plan=request.plan.digest)


def plan_seen(request: Request, digest: str) -> Plan | None:
    """The plan of this request's call that bore a digest. Call inside `tenancy.within`."""
    return Plan.objects.filter(call_id=request.call_id, digest=digest).first() if digest else None
