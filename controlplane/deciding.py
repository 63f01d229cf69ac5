"""A person's click on Approve: what they looked at is read again first, so that what they approve is what there is.

If the target moved, nothing is decided: the request gets a new plan, and the person is shown it (412). The network is asked before the
transaction that votes, never inside it; when the call is sent, everything is checked once more (`recovery.resume`, `gate_intend`).
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from agents import organisations, runs, tools
from agents.models import PolicySet
from agents.organisations import Principal
from approvals import batches, brakes, denials, plans, requests, rules, tiers, votes
from approvals.models import Request, Vote
from audit import outcomes, tenancy, vault
from controlplane import effects, examination, gate, recovery
from controlplane.connectors import interface


@dataclass(frozen=True, slots=True)
class Ballot:
    """One of several requests that a person decides with one click, and the digest of the plan that they read."""

    request_id: str
    plan_digest: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one of them: the request as it is now, or why nothing was decided."""

    request_id: str
    request: Request | None = None
    refused: outcomes.Refused | None = None


def vote(  # noqa: PLR0913 - what a ballot says
    *,
    by: Principal,
    request_id: str,
    verdict: str,
    plan_digest: str,
    reason: str = "",
    denial: denials.Scope = denials.THIS_CALL,
    together: int = 1,
) -> Request:
    """`votes.cast`, after the target of an approval was read again. Raises what it raises."""
    if verdict == Vote.Verdict.APPROVE:
        _look_first(by=by, request_id=request_id, plan_digest=plan_digest)
    return votes.cast(
        by=by, request_id=request_id, verdict=verdict, plan_digest=plan_digest, reason=reason, denial=denial, together=together
    )


def each(*, by: Principal, ballots: Sequence[Ballot], verdict: str, reason: str = "") -> list[Outcome]:
    """The same verdict on each of these, one vote and one transaction each: a refusal of one is its outcome and loses none of the others.

    What takes two humans is refused: it is read and decided by itself. Raises Conflict for none or more than `batches.MOST`, Forbidden for
    who decides nowhere, and ReasonNeeded; then nothing was decided.
    """
    _check_all(by, ballots, verdict, reason)
    return [_outcome(by, ballot, verdict, reason, together=len(ballots)) for ballot in ballots]


def batch(*, by: Principal, workspace: str, key: str, ballots: Sequence[Ballot], verdict: str, reason: str = "") -> list[Outcome]:
    """`each`, for what is in that batch of this person's now; everything else is refused. Raises what it raises."""
    _check_all(by, ballots, verdict, reason)
    with tenancy.within(by.organisation):
        inside = batches.belonging(key, [ballot.request_id for ballot in ballots], by=by, workspace=workspace)
    return [
        _outcome(by, ballot, verdict, reason, together=len(ballots))
        if ballot.request_id in inside
        else Outcome(ballot.request_id, refused=_outside(ballot))
        for ballot in ballots
    ]


def approve_and_propose(
    *, by: Principal, request_id: str, plan_digest: str, limit: int | None, until: datetime.date | None, comment: str = ""
) -> PolicySet:
    """`rules.approve_and_propose`, after the target was read again."""
    _look_first(by=by, request_id=request_id, plan_digest=plan_digest)
    return rules.approve_and_propose(by=by, request_id=request_id, plan_digest=plan_digest, limit=limit, until=until, comment=comment)


def check(*, by: Principal, request_id: str) -> Request:
    """Read the target again now, for whoever may decide. The request keeps its plan, gets a new one, or is void.

    Raises NotFound, AlreadyDecided, Expired or NotEligible.
    """
    with tenancy.within(by.organisation):
        request = requests.get(request_id, by=by)
        votes.check(request, by=by, plan_digest=request.plan.digest)
    _look_again(by, request)
    with tenancy.within(by.organisation):
        return requests.get(request_id, by=by)


def _check_all(by: Principal, ballots: Sequence[Ballot], verdict: str, reason: str) -> None:
    with tenancy.within(by.organisation):
        organisations.where(by, tiers.PERMISSION[1])
    if not 1 <= len(ballots) <= batches.MOST:
        raise organisations.Conflict(
            f"One to {batches.MOST} requests are decided together; you chose {len(ballots)}.",
            rule="decided together",
            current=len(ballots),
            limit=batches.MOST,
            next_step="Choose at least one." if not ballots else f"Choose {batches.MOST} at most, then decide the rest.",
        )
    votes.check_reason(verdict, reason)


def _outcome(by: Principal, ballot: Ballot, verdict: str, reason: str, *, together: int) -> Outcome:
    try:
        _check_alone(by, ballot.request_id)
        decided = vote(
            by=by, request_id=ballot.request_id, verdict=verdict, plan_digest=ballot.plan_digest, reason=reason, together=together
        )
    except outcomes.Refused as refused:
        return Outcome(ballot.request_id, refused=refused)
    return Outcome(ballot.request_id, decided)


def _check_alone(by: Principal, request_id: str) -> None:
    """Raises Conflict for what takes two humans, NotFound for what is not there."""
    with tenancy.within(by.organisation):
        if requests.get(request_id, by=by).required > 1:
            raise organisations.Conflict(
                "This takes two humans, so it is not decided together with others.",
                rule="decided together",
                current="two humans",
                limit="one human",
                who="you, and another eligible person",
                next_step="Read it and decide it by itself.",
            )


def _outside(ballot: Ballot) -> organisations.Conflict:
    return organisations.Conflict(
        "This is not, or no longer, one of the requests that you may decide together.",
        rule="decided together",
        current=ballot.request_id[:40],
        limit="open requests of this batch",
        who="you, by itself",
        next_step="Look at the request itself.",
    )


def _look_first(*, by: Principal, request_id: str, plan_digest: str) -> None:
    """Only for a vote that could count: whoever may not decide, or looked at something else, is told so by the vote itself."""
    with tenancy.within(by.organisation):
        request = requests.get(request_id, by=by)
        why_not = tiers.why_not(by, required=request.required, requesters=votes.barred(request), workspace=request.workspace_id)
        held = request.id in brakes.over([request])  # the vote says so, and nothing under a stop is asked anything
    if request.state == Request.State.OPEN and not why_not and not held and request.plan.digest == plan_digest:
        _look_again(by, request)


def _look_again(by: Principal, request: Request) -> None:
    organisation = by.organisation
    call = recovery.load(organisation, request.call_id)
    try:
        arguments = runs.exact_arguments(call)
    except vault.VaultError:  # it ended meanwhile
        return
    context = examination.read(organisation, agent=call.run.agent_id, run=call.run_id, name=call.name, arguments=arguments)
    tool = tools.version(organisation, str(call.tool_version_id))
    if not context["pin"]:
        return  # sending it will say what is wrong
    sending = gate.sending_of(organisation, context, tool, call.id)
    try:
        target = effects.dry_run(effects.outbound(sending, arguments), tool)
    except (interface.PreviewFailed, interface.NotSent, interface.Unknown):
        return
    if target.digest == request.plan.before_digest:
        if target.digest:  # "" where nothing of the target can be read
            requests.checked(by=by, request_id=request.id)
    elif target.facts.get("would_fail"):
        recovery.void(sending, f"The target changed, and now it would fail: {target.facts['would_fail'].get('message', '')}"[:500])
    else:
        requests.replan(
            by=by,
            request_id=request.id,
            build=lambda held: plans.again(request.plan, tool=tool, arguments=arguments, target=target, call=held.id),
        )
