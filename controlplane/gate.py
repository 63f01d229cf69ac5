"""The one way through. An agent's proposal is recorded, examined in a fixed order, held for people where the rules say so,
written down as an intent, and only then sent. Read this file first; each act it names is one hop away.

    T1  gate_admit   record the call; what was decided upon still stands, caps, loops and money, in one transaction with the entry
    --  network      a write's target is read (effects.dry_run)
    T2               the plan is stored; AUTO goes on, ONE and TWO are held
    T3  gate_intend  everything is checked again; the effect's row commits before anything is sent
    --  network      effects.apply, under the call's idempotency key
    T4  gate_settle  what came of it: call, effect, money, loop guard, entry

Lock order: stop lock (shared), run, call, request, windows leaf to root, work. The network is never called inside a transaction.
A refusal is an outcome: it is recorded, and it tells the agent what to do next. No flag skips a check.
"""

import dataclasses
import datetime
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, OperationalError, connection

from agents import identity, policies, runs, tools
from agents.answers import IdempotencyConflict, InProgress
from agents.models import Call, Run, Work
from agents.organisations import Principal
from approvals import denials, plans, requests, tiers
from approvals.models import Plan
from audit import canonical, functions, ids, log, redaction, tenancy, vault
from audit.moments import Moment
from controlplane import effects, examination, outbox, recall, unsent
from controlplane.connectors import interface

RECOVER_S = 150.0  # an admitted call left alone this long belonged to a process that died
_STALE = "RG001"  # gate_admit: what was decided upon changed meanwhile
_ATTEMPTS = 8  # an import of tools is a change a moment


@dataclass(frozen=True, slots=True)
class Admission:
    """How a call stands: applied, failed, refused, pending_approval, drafted, running, in_doubt, denied, expired or void."""

    call: str
    status: str
    result: Any = None
    refusal: dict[str, Any] | None = None
    approval: str = ""
    plan: str = ""
    expires_at: str = ""
    is_replay: bool = False


def admit(proposal: examination.Proposal) -> Admission:
    """Put one tool call through the gate and say how it stands.

    Raises NotFound for a run that is not the caller's, IdempotencyConflict, InProgress.
    """
    proposal = proposal if proposal.key else dataclasses.replace(proposal, key=ids.new("C"))
    opened = proposal.opened

    def attempt() -> Admission:
        """What was read with the key is good for one."""
        nonlocal opened
        read, opened = opened, None
        return _admit(proposal, examination.found(read.context, proposal.run) if read else examination.context_of(proposal))

    return decided(proposal.principal, attempt)


def admit_recalled(proposal: examination.Proposal) -> Admission | None:
    """The same by what was kept of an earlier call, for a read that is let through.

    None when there is anything else to say, or when what was kept does not stand any more: then all is read anew, the key first.
    """
    opened = proposal.opened
    assert opened is not None
    assert opened.context is not None
    examined = examination.examine(proposal, opened.context)
    if examined.refusal or examined.tool is None or examined.tool.is_write:
        return None
    try:
        return _record(proposal, examined)
    except _Outdated:
        recall.drop(_asked(proposal))
        return None


def _admit(proposal: examination.Proposal, context: dict[str, Any]) -> Admission:
    if context["call"]:
        return _repeat(proposal, context, context["call"])
    if context["twin"]:  # the same call is waiting for people already: one question, not two
        return standing(proposal.principal.organisation, context["twin"], is_replay=True)
    return _record(proposal, examination.examine(proposal, context))


def decided(by: Principal, attempt: Callable[[], Admission]) -> Admission:
    """Decide, and again when what was decided upon changed before T1, the key first.

    Raises Unauthenticated for a key that is over by now; InProgress when it does not come to rest.
    """
    for number in range(_ATTEMPTS):
        if number:
            identity.check(by)
        try:
            return attempt()
        except DatabaseError as error:
            if not _is_stale(error):
                raise
    raise InProgress(
        "The rules changed while this was decided.",
        rule="decision",
        current="changed",
        limit="unchanged",
        next_step="Propose it again with the same key.",
    )


class _Outdated(Exception):
    """What was recalled does not stand, or the kept connection was cut meanwhile, as by a restart. Nothing was recorded."""


def _is_stale(error: DatabaseError) -> bool:
    return getattr(error.__cause__, "sqlstate", "") == _STALE


def _asked(proposal: examination.Proposal) -> recall.Asked:
    return proposal.principal.organisation, proposal.principal.key, proposal.name


def _admitted(proposal: examination.Proposal, asked: dict[str, Any], sealed: bytes | None) -> dict[str, Any]:
    """T1. Raises _Outdated."""
    try:
        verdict: dict[str, Any] = functions.ask("select gate_admit(%s::jsonb, %s)", functions.parameters(asked), sealed)
    except DatabaseError as error:
        if not (proposal.opened and proposal.opened.is_recalled and (_is_stale(error) or isinstance(error, OperationalError))):
            raise
        if isinstance(error, OperationalError):
            connection.close()  # whoever reads anew opens another
        raise _Outdated from error
    return verdict


def _record(proposal: examination.Proposal, examined: examination.Examined) -> Admission:
    """T1, then the part that fits the verdict."""
    context, tool, decision = examined.context, examined.tool, examined.decision
    organisation, call, arguments = proposal.principal.organisation, ids.new("C"), proposal.arguments
    redacted = redaction.redact(arguments, fields=tool.redact if tool else frozenset())
    facts = {
        "tool": proposal.name[:200],
        "version": tool.version if tool else "",
        "write": bool(tool and tool.is_write),
        "tier": examined.tier,
        "policies": list(decision.policies) if decision else [],
        "policy_set": decision.policy_set if decision else "",
        "fingerprint": proposal.fingerprint,
        "key": proposal.principal.key,
        "amount": (tool.price_micros or 0) if tool else 0,
    }
    asked = {
        **examination.asked(proposal.principal, proposal.run, examined),
        "call": call,
        "key": proposal.key,
        "kind": Call.Kind.TOOL,
        "name": proposal.name[:200],
        "tool_version": tool.version if tool else None,
        "is_write": bool(tool and tool.is_write),
        "draft_only": context["agent"]["draft_only"],
        "amount": facts["amount"],
        "price_version": 0,
        "tokens": 0,
        "recover_s": int(RECOVER_S),
        "body_digest": proposal.body_digest,
        "fingerprint": proposal.fingerprint,
        "arguments": canonical.text(redacted)[: runs.STORED],
        "audit_text": log.detail_text(facts),
    }
    sealed = (
        vault.seal(canonical.encode(arguments), aad=f"{organisation}/{call}/arguments")
        if tool and tool.is_write and not examined.refusal
        else None
    )
    verdict = _admitted(proposal, asked, sealed)
    if verdict["verdict"] == "REPLAY":
        return _repeat(proposal, context, {"id": verdict["call"], "body_digest": verdict["body_digest"]})
    if verdict["verdict"] == "REFUSED" or tool is None:
        return Admission(call=call, status="refused", refusal=verdict["refusal"])
    if verdict["verdict"] == "DRAFT" and not examined.draft:  # at its cap
        examined = dataclasses.replace(examined, draft=True, tier=tiers.tier_for(policy_tier=examined.tier, stage="", is_draft=True))
    if proposal.opened and not (tool.is_write or tool.subjects or decision is None or decision.is_paced):
        recall.keep(_asked(proposal), proposal.opened.row, context)
    return proceed(proposal.principal, examined, call, arguments)


def proceed(principal: Principal, examined: examination.Examined, call: str, arguments: dict[str, Any]) -> Admission:
    """After T1: a read is sent at once; a write is planned, and sent or held."""
    tool = examined.tool
    assert tool is not None
    assert examined.decision is not None
    sending = sending_of(principal.organisation, examined.context, tool, call)
    if not tool.is_write:
        return settled(sending, effects.read(sending, arguments))
    sent = effects.outbound(sending, arguments)
    try:
        target = effects.dry_run(sent, tool)
    except (interface.PreviewFailed, interface.NotSent, interface.Unknown) as error:
        return settled(sending, unsent.unplanned(str(error)))
    if target.facts.get("would_fail"):
        return settled(sending, unsent.futile(tool, target))
    plan = _planned(principal, examined, sending, sent, target)
    if plan is None or examined.tier != tiers.AUTO:
        return standing(principal.organisation, call)
    return send(
        sending,
        sent,
        plan=plan.digest,
        decision=examined.decision,
        scopes=examination.scopes(examined.context, principal.organisation, principal.key),
    )


def _planned(
    principal: Principal, examined: examination.Examined, sending: effects.Sending, sent: interface.Outbound, target: plans.Target
) -> Plan | None:
    """T2: the plan, and the question to people where they must agree. None when the call or its run ended while the target was read."""
    tool, arguments = sending.tool, sent.arguments
    with tenancy.within(principal.organisation, durable=True):
        run = runs.lock(sending.run)
        call = Call.objects.select_related("run").select_for_update(of=("self",)).get(id=sending.call)
        if call.state != Call.State.ADMITTED:
            return None
        if run.state in Run.OVER and not examined.draft:
            settled(sending, unsent.run_over(run))
            return None
        denied = denials.answer(call) if examined.tier != tiers.AUTO else None
        if denied is not None:  # people decided about its like before: nobody is asked again
            settled(sending, denied)
            return None
        plan = plans.build(tool=tool, arguments=arguments, target=target, terms=_terms(sending, sent, examined))
        if examined.tier != tiers.AUTO:
            title = plans.sentence(tool=tool, arguments=arguments, target=target)
            requests.open_request(by=principal, call=call, plan=plan, question=_question(examined, title))
    return plan


def sending_of(organisation: str, context: dict[str, Any], tool: tools.Facts, call: str) -> effects.Sending:
    run, agent = context["run"], context["agent"]
    variables = {"run.id": run["id"], "run.reference": run["reference"], "agent.slug": agent["slug"], "agent.id": agent["id"]}
    actor = Principal(kind="agent", id=agent["id"], organisation=organisation)
    return effects.Sending(
        organisation=organisation,
        run=run["id"],
        call=call,
        actor=actor,
        tool=tool,
        connector=context["pin"]["connector"],
        variables=variables,
    )


def _terms(sending: effects.Sending, sent: interface.Outbound, examined: examination.Examined) -> plans.Terms:
    assert examined.decision is not None
    return plans.Terms(
        organisation=sending.organisation,
        run=sending.run,
        call=sending.call,
        connector=sending.connector,
        outbound_digest=effects.outbound_digest(sent),
        policy_set=examined.decision.policy_set,
        policy_digest=examined.decision.digest,
        tier=examined.tier,
        amount_micros=sending.tool.price_micros or 0,
    )


def _question(examined: examination.Examined, title: str) -> requests.Question:
    decision, agent, run = examined.decision, examined.context["agent"], examined.context["run"]
    assert decision is not None
    assert examined.tool is not None
    return requests.Question(
        title=title,
        tier=examined.tier,
        is_draft=examined.draft,
        policies=decision.policies,
        reasons=decision.reasons,
        policy_set=decision.policy_set,
        tool_version=examined.tool.version,
        owner_person=agent["owner_person"],
        starter_person=run["starter_person"],
    )


def send(
    sending: effects.Sending, sent: interface.Outbound, *, plan: str, decision: policies.Decision, scopes: list[list[str]]
) -> Admission:
    """T3, the network, T4."""
    asked = {
        "organisation": sending.organisation,
        "call": sending.call,
        "plan_digest": plan,
        "outbound_digest": effects.outbound_digest(sent),
        "effect_key": sending.key,
        "policy_set": decision.policy_set,
        "required": decision.required,
        "lease_s": str(sending.lease_s),
        "scopes": scopes,
        "amount": sending.tool.price_micros or 0,
    }
    intended = functions.ask("select gate_intend(%s::jsonb)", functions.parameters(asked))
    if intended["verdict"] == "CONSUMED":
        return standing(sending.organisation, sending.call)
    if intended["verdict"] != "INTENDED":
        return settled(
            sending,
            runs.Outcome(
                state=Call.State.VOID, event="call.voided", refusal=intended["refusal"], note=intended["refusal"]["message"], wake=True
            ),
        )
    return settled(sending, effects.apply(sending, sent))


def settled(sending: effects.Sending, outcome: runs.Outcome) -> Admission:
    """T4, and how the call stands after it."""
    detail = {"tool": sending.tool.name, "key": sending.key} if sending.tool.is_write else {"tool": sending.tool.name}
    if not runs.settle(by=sending.actor, run=sending.run, call=sending.call, outcome=outcome, detail=detail):
        return standing(sending.organisation, sending.call)
    return Admission(
        call=sending.call,
        status=_STATUS[Call.State(outcome.state)],
        result=outcome.result,
        refusal=dict(outcome.refusal) if outcome.refusal else None,
    )


def _repeat(proposal: examination.Proposal, context: dict[str, Any], recorded: dict[str, Any]) -> Admission:
    """The same key again: the recorded answer. Another body under it is a conflict; one that is still under way says so."""
    if recorded["body_digest"] != proposal.body_digest:
        raise IdempotencyConflict(
            "This idempotency key was used for another call.",
            rule="idempotency key",
            current=proposal.key[:80],
            limit="one body per key",
            next_step="Use a new key for a new call.",
            call=recorded["id"],
        )
    organisation = proposal.principal.organisation
    admission = standing(organisation, recorded["id"], is_replay=True)
    if admission.status != "running":
        return admission
    _ring_if_left_behind(organisation, recorded["id"])
    raise InProgress(
        "This call is still under way.",
        rule="idempotency key",
        current="running",
        limit="finished",
        next_step="Ask again in a second, with the same key.",
        call=recorded["id"],
    )


def _ring_if_left_behind(organisation: str, call: str) -> None:
    """A free read is nobody's work when its process dies. Whoever asks for it again, long after, has it given up by a worker."""
    long_ago = Moment() - datetime.timedelta(seconds=RECOVER_S)
    with tenancy.within(organisation):
        if Call.objects.filter(id=call, state=Call.State.ADMITTED, is_write=False, created_at__lt=long_ago).exists():
            outbox.enqueue(organisation=organisation, kind=Work.Kind.RECOVER, subject=call)


_STATUS = {
    Call.State.ADMITTED: "running",
    Call.State.REFUSED: "refused",
    Call.State.HELD: "pending_approval",
    Call.State.DRAFTED: "drafted",
    Call.State.APPROVED: "pending_approval",
    Call.State.SENDING: "running",
    Call.State.APPLIED: "applied",
    Call.State.FAILED: "failed",
    Call.State.IN_DOUBT: "in_doubt",
    Call.State.DENIED: "denied",
    Call.State.EXPIRED: "expired",
    Call.State.VOID: "void",
}


def standing(organisation: str, call_id: str, *, is_replay: bool = False) -> Admission:
    """How a recorded call stands, with the exact result it was answered with."""
    with tenancy.within(organisation):
        call = Call.objects.get(id=call_id)
        request = requests.of_call(call_id) if call.state in {Call.State.HELD, Call.State.DRAFTED, Call.State.APPROVED} else None
    return Admission(
        call=call.id,
        status=_STATUS[Call.State(call.state)],
        result=runs.exact_result(call),
        refusal=json.loads(call.refusal) if call.refusal else None,
        approval=request.id if request else "",
        plan=request.plan.digest if request else "",
        expires_at=request.expires_at.isoformat() if request else "",
        is_replay=is_replay,
    )
