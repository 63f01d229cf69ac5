"""Ends of a request that are no decision: sent back to the agent with a hint, or withdrawn by whoever stands behind the agent."""

from dataclasses import dataclass

from agents import organisations, runs
from agents.models import Call, Member
from agents.organisations import Principal
from approvals import deadlines, remarks, requests, votes
from approvals.models import Remark, Request
from audit import outcomes, redaction, tenancy
from audit.moments import Moment


class SentBack(outcomes.Refused):
    code = "sent_back"


class TooManyRounds(outcomes.Refused):
    code = "too_many_rounds"


class Withdrawn(outcomes.Refused):
    code = "withdrawn"


@dataclass(frozen=True, slots=True)
class Hint:
    """What a person wants to see changed: which field, what they expect there, and why."""

    field: str
    expected: str
    note: str = ""

    @property
    def sentence(self) -> str:
        said = f"{self.field or 'the call'} should be {self.expected}"
        return f"{said}. {self.note}" if self.note else said


def rounds(request: Request) -> int:
    """How often this tool's calls were sent back in this run. Call inside `tenancy.within`."""
    return Request.objects.filter(run_id=request.run_id, call__name=request.call.name, state=Request.State.SENT_BACK).count()


def send_back(*, by: Principal, request_id: str, plan_digest: str, hint: Hint) -> Request:
    """No decision: the agent gets the hint as a refusal and may propose again, a bounded number of times.

    Raises what `votes.cast` raises, ReasonNeeded for a hint that expects nothing, or TooManyRounds.
    """
    hint = Hint(*(redaction.redact_text(text.replace("\0", "").strip())[:500] for text in (hint.field, hint.expected, hint.note)))
    with tenancy.within(by.organisation):
        request = requests.held(by=by, request_id=request_id)
        votes.check(request, by=by, plan_digest=plan_digest)
        if not hint.expected:
            raise requests.ReasonNeeded(
                "The agent needs to know what you expect.",
                rule="hint",
                current="empty",
                limit="what you expect",
                next_step="Say what it should be.",
            )
        done, most = rounds(request), deadlines.terms(request.workspace_id).rounds
        if done >= most:
            raise TooManyRounds(
                f"This was sent back {done} times in this run.",
                rule="approval terms",
                current=done,
                limit=most,
                who="whoever holds members_manage",
                next_step="Approve it, or deny it with a reason.",
            )
        refusal = SentBack(
            f"{by.name or by.id} sent this back: {hint.sentence}",
            rule=f"request {request.id}",
            current=hint.field,
            limit=hint.expected,
            who=by.name or by.id,
            next_step="Correct what the hint names and propose the call again; it is not denied.",
            field=hint.field,
            expected=hint.expected,
            note=hint.note,
            round=done + 1,
            rounds=most,
        )
        remarks.add(request, by=by, kind=Remark.Kind.HINT, text=hint.sentence)
        _end(request, by=by, state=Request.State.SENT_BACK, note=hint.sentence, event="request.sent_back", refusal=refusal)
        request.refresh_from_db()
    return request


def behind(request: Request, by: Principal) -> bool:
    """Whether this person stands behind the agent's call: owns the agent or started the run. Call inside `tenancy.within`."""
    if by.kind != "person" or not by.person:
        return False
    owner = Member.objects.filter(id=request.run.agent.owner_id).values_list("person", flat=True).first()
    return by.person in {owner, request.run.starter_person}


def withdraw(*, by: Principal, request_id: str, reason: str) -> Request:
    """The agent's owner, or whoever started its run, takes the question back; the agent is told. Raises Forbidden or ReasonNeeded."""
    with tenancy.within(by.organisation):
        request = requests.held(by=by, request_id=request_id)
        if not behind(request, by):
            raise organisations.Forbidden(
                "Only the agent's owner or whoever started its run withdraws a request.",
                rule="withdrawal",
                current=by.id,
                limit="owner or starter",
                who="the agent's owner",
                next_step="Deny it, or leave it to them.",
            )
        requests.check_open(request)
        if not reason.strip():
            raise requests.ReasonNeeded(
                "Say why: the agent receives it.", rule="reason", current="empty", limit="a sentence", next_step="Say why."
            )
        reason = redaction.redact_text(reason.replace("\0", ""))[:2000]
        refusal = Withdrawn(
            f"{by.name or by.id} withdrew this: {reason}",
            rule=f"request {request.id}",
            current="withdrawn",
            limit="a request that stands",
            who=by.name or by.id,
            next_step="Do not repeat it; choose another way or hand over.",
            reason=reason,
        )
        _end(request, by=by, state=Request.State.WITHDRAWN, note=reason, event="request.withdrawn", refusal=refusal)
        request.refresh_from_db()
    return request


def _end(request: Request, *, by: Principal, state: str, note: str, event: str, refusal: outcomes.Refused) -> None:
    Request.objects.filter(id=request.id).update(state=state, decided_at=Moment(), note=note)
    requests.waited(request)
    requests.record(request, by=by, event=event, plan=request.plan.digest)
    runs.settle(
        by=by,
        run=request.run_id,
        call=request.call_id,
        outcome=runs.Outcome(state=Call.State.VOID, event="call.voided", refusal=refusal.as_dict(), note=note[:500], wake=True),
        detail={"request": request.id, "tool": request.call.name},
    )
