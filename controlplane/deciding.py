"""A person's click on Approve: what they looked at is read again first, so that what they approve is what there is.

If the target moved, nothing is decided: the request gets a new plan, and the person is shown it (412). The network is asked before the
transaction that votes, never inside it; when the call is sent, everything is checked once more (`recovery.resume`, `gate_intend`).
"""

import datetime

from agents import runs, tools
from agents.models import PolicySet
from agents.organisations import Principal
from approvals import brakes, denials, plans, requests, rules, tiers, votes
from approvals.models import Request, Vote
from audit import tenancy, vault
from controlplane import effects, examination, gate, recovery
from controlplane.connectors import interface


def vote(
    *, by: Principal, request_id: str, verdict: str, plan_digest: str, reason: str = "", denial: denials.Scope = denials.THIS_CALL
) -> Request:
    """`votes.cast`, after the target of an approval was read again. Raises what it raises."""
    if verdict == Vote.Verdict.APPROVE:
        _look_first(by=by, request_id=request_id, plan_digest=plan_digest)
    return votes.cast(by=by, request_id=request_id, verdict=verdict, plan_digest=plan_digest, reason=reason, denial=denial)


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
