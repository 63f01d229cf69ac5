"""After people decided, and after a crash: approved calls are checked again and sent, intents nobody reported on are settled,
calls left behind are given back.

Workers call these with ids from the work queue; each is safe to call twice.
"""

import dataclasses
from typing import Any

from agents import identity, organisations, runs, stops, tools
from agents.models import Call
from agents.organisations import Principal
from approvals import plans, requests, tiers
from audit import outcomes, tenancy
from controlplane import effects, examination, gate
from controlplane.connectors import interface


class StillInDoubt(Exception):
    """The upstream could not say yet; ask it again later."""


def resume(organisation: str, call_id: str) -> gate.Admission:
    """Apply an approved call: stop, scope, policy with its approvals, target and digest are checked again, then T3 checks all."""
    call = load(organisation, call_id)
    if call.state != Call.State.APPROVED:
        return gate.standing(organisation, call_id)
    with tenancy.within(organisation):
        request = requests.of_call(call_id)
    assert request is not None  # only a request approves a call
    arguments = runs.exact_arguments(call)
    context = examination.read(organisation, agent=call.run.agent_id, run=call.run_id, name=call.name, arguments=arguments)
    tool = tools.version(organisation, str(call.tool_version_id))
    sending = gate.sending_of(organisation, context, tool, call_id) if context["pin"] else None
    if sending is None:
        sending = effects.Sending(
            organisation, call.run_id, call_id, Principal("agent", call.run.agent_id, organisation), tool, {"slug": "", "timeout_ms": 0}, {}
        )
        return void(sending, "The agent may no longer use this tool.")
    scopes = examination.scopes(context, organisation, call.by_key)
    try:
        stops.check(context["stops"], scopes)
    except stops.Stopped as stopped:
        return void(sending, stopped.message, refusal=stopped)
    sent = effects.outbound(sending, arguments)
    decision = examination.decide(
        organisation, context, examination.request_of(organisation, context, tool, arguments), approvals=request.required
    )
    try:
        identity.check_scope(
            agent=context["agent"],
            capability=None if request.is_draft else context["capability"],
            tool=tool.name,
            is_write=True,
            arguments=arguments,
        )
        why = "" if decision.allowed else "The policy no longer allows it."
        why = why or plans.holds(
            request.plan,
            outbound_digest=effects.outbound_digest(sent),
            policy_set=decision.policy_set,
            tool_version=str(context["pin"]["version"]),
        )
        why = why or (
            "" if effects.dry_run(sent, tool).digest == request.plan.before_digest else "The target changed since people looked at it."
        )
    except (interface.PreviewFailed, interface.NotSent, interface.Unknown, identity.OutOfScope) as error:
        why = f"It could not be checked again: {error}"
    if why:
        return void(sending, why)
    decision = dataclasses.replace(decision, tier={1: tiers.ONE, 2: tiers.TWO}[request.required])
    return gate.send(sending, sent, plan=request.plan.digest, decision=decision, scopes=scopes)


def void(sending: effects.Sending, why: str, *, refusal: outcomes.Refused | None = None) -> gate.Admission:
    """What was held is no longer what would happen: the call ends, and the agent is told why."""
    told = refusal.as_dict() if refusal is not None else _changed(why)
    return gate.settled(sending, runs.Outcome(state=Call.State.VOID, event="call.voided", refusal=told, note=why, wake=True))


def _changed(why: str) -> dict[str, Any]:
    return {
        "code": "void",
        "message": why,
        "rule": "checked again before sending",
        "current": "changed",
        "limit": "as approved",
        "who": "",
        "next": "Propose the call again; a new plan will be made.",
    }


def reconcile(organisation: str, call_id: str) -> gate.Admission:
    """An intent whose sender did not report back, settled by what its connector promises. Raises StillInDoubt if asking again may help."""
    call = load(organisation, call_id)
    if call.state not in {Call.State.SENDING, Call.State.IN_DOUBT}:
        return gate.standing(organisation, call_id)
    context = examination.read(organisation, agent=call.run.agent_id, run=call.run_id, name=call.name)
    tool = tools.version(organisation, str(call.tool_version_id))
    if not context["pin"]:
        return gate.standing(organisation, call_id)
    sending = gate.sending_of(organisation, context, tool, call_id)
    with tenancy.within(organisation):
        effect, now = call.effects.get(), requests.database_now()
    sent = effects.outbound(sending, runs.exact_arguments(call))
    scopes = examination.scopes(context, organisation, call.by_key)
    why = _not_again(context["stops"], scopes, planned=effect.outbound_digest, sent=effects.outbound_digest(sent))
    outcome = effects.in_doubt(why) if why else effects.reconcile(sending, sent, intended_at=effect.intended_at, now=now)
    settled = gate.settled(sending, outcome)
    if settled.status == "in_doubt" and tool.connector_class in effects.ASKABLE:
        raise StillInDoubt(call_id)
    return settled


def _not_again(on: list[dict[str, Any]], scopes: list[list[str]], *, planned: str, sent: str) -> str:
    """Why the upstream is not asked now, or nothing: a brake is meant for crashed calls too, and another request proves nothing."""
    try:
        stops.check(on, scopes)
    except stops.Stopped as stopped:
        return stopped.message
    return "" if sent == planned else "What would be sent now is not what was sent then."


def decide_doubt(*, by: Principal, call_id: str, happened: bool, reason: str) -> gate.Admission:
    """A person says whether an effect in doubt took place. Raises NotFound, Forbidden, or Conflict when it is not in doubt."""
    with tenancy.within(by.organisation):
        call = runs.get_call(call_id, by=by)
        organisations.require(by, "approvals_decide", call.run.workspace_id)
    if call.state != Call.State.IN_DOUBT:
        raise organisations.Conflict(
            f"This call is {call.state}, not in doubt.", rule="call state", current=call.state, limit="IN_DOUBT", next_step="Nothing to do."
        )
    text = f"{by.name or by.id} found that this {'took' if happened else 'did not take'} effect: {reason}"
    outcome = runs.Outcome(
        state=Call.State.APPLIED if happened else Call.State.FAILED,
        event="effect.decided",
        result={"content": [{"type": "text", "text": text}], "isError": not happened},
        is_error=not happened,
        actual_micros=call.reserved_micros if happened else 0,
        note=reason,
        wake=True,
    )
    runs.settle(by=by, run=call.run_id, call=call_id, outcome=outcome)
    return gate.standing(by.organisation, call_id)


def adopt(proposal: examination.Proposal, call_id: str) -> gate.Admission:
    """Finish a call that a dead worker left half-way. Only for whoever holds the run's lease now."""
    organisation = proposal.principal.organisation
    call = load(organisation, call_id)
    if call.state == Call.State.SENDING:
        return reconcile(organisation, call_id)
    if call.state == Call.State.ADMITTED:
        context = examination.read(
            organisation, agent=proposal.principal.id, run=proposal.run, name=proposal.name, arguments=proposal.arguments
        )
        examined = examination.examine(proposal, context)
        if examined.refusal is not None:
            return recover(organisation, call_id)
        return gate.proceed(proposal.principal, examined, call_id, proposal.arguments)
    return gate.standing(organisation, call_id)


def recover(organisation: str, call_id: str) -> gate.Admission:
    """A call that was admitted and left behind before anything was sent: it failed, and its money goes back."""
    call = load(organisation, call_id)
    actor = Principal(kind="system", id="recovery", organisation=organisation)
    refusal = effects.UpstreamFailed(
        "The process that carried this call died before anything was sent.",
        rule="recovery",
        current="left behind",
        limit=f"{gate.RECOVER_S:.0f} s",
        next_step="Propose it again.",
    )
    if call.state == Call.State.ADMITTED:
        runs.settle(
            by=actor,
            run=call.run_id,
            call=call_id,
            outcome=runs.Outcome(state=Call.State.FAILED, event="call.recovered", refusal=refusal.as_dict(), is_error=True, wake=True),
        )
    return gate.standing(organisation, call_id)


def load(organisation: str, call_id: str) -> Call:
    with tenancy.within(organisation):
        return Call.objects.select_related("run").get(id=call_id)
