"""Model calls through the same gate: pinned models, stop switches, policy, limits, worst-case money, settled by the provider's count."""

import functools
import math
from dataclasses import asdict, dataclass
from typing import Any

from agents import identity, policies, runs, stops, vocabulary
from agents.models import Call
from agents.organisations import Principal
from audit import canonical, functions, ids, log, outcomes, redaction, tenancy
from budgets import prices, reservations
from controlplane import examination, gate
from controlplane.connectors import interface, models

_BYTES_PER_TOKEN = 3  # fewer than any tokenizer in use needs on prose; what the provider counts above it is booked as overrun
_OVERHEAD_TOKENS = 200


class UnknownModel(outcomes.Refused):
    code = "unknown_model"


class ProviderFailed(outcomes.Refused):
    code = "provider_failed"


@dataclass(frozen=True, slots=True)
class Asked:
    """One turn that an agent asks of a model."""

    principal: Principal
    run: str
    key: str
    request: models.ModelRequest

    @property
    def name(self) -> str:
        return f"{self.request.provider}:{self.request.model}"

    @property
    def body_digest(self) -> str:
        return canonical.digest([self.name, list(self.request.messages), self.request.max_output_tokens], domain="remit model call v1")

    @property
    def input_tokens(self) -> int:
        """An upper estimate of what the provider will count."""
        size = len(canonical.encode([list(self.request.messages), list(self.request.tools)]))
        return math.ceil(size / _BYTES_PER_TOKEN) + _OVERHEAD_TOKENS


def ask(asked: Asked) -> gate.Admission:
    """Put one model call through the gate. An applied admission's result is the completion as a dictionary.

    A repeat of the key is answered from the record. Raises NotFound, InProgress.
    """
    return gate.decided(asked.principal, functools.partial(_ask, asked))


def _ask(asked: Asked) -> gate.Admission:
    organisation = asked.principal.organisation
    context = examination.read(organisation, agent=asked.principal.id, run=asked.run, key=asked.key, name=asked.name)
    if context["call"]:
        return _repeat(asked, context["call"]["id"])
    examined, quote = _examine(asked, context)
    decided = examined.decision
    facts = {
        "model": asked.name,
        "policies": list(decided.policies) if decided else [],
        "policy_set": decided.policy_set if decided else "",
        "amount": quote.amount if quote else 0,
        "input_tokens": asked.input_tokens,
        "max_output_tokens": asked.request.max_output_tokens,
        "key": asked.principal.key,
    }
    call = ids.new("C")
    record = {
        **examination.asked(asked.principal, asked.run, examined),
        "call": call,
        "key": asked.key,
        "kind": Call.Kind.MODEL,
        "name": asked.name,
        "tool_version": None,
        "is_write": False,
        "draft_only": False,
        "amount": quote.amount if quote else 0,
        "price_version": quote.price_version if quote else 0,
        "tokens": asked.input_tokens + asked.request.max_output_tokens,
        "recover_s": int(gate.RECOVER_S),
        "body_digest": asked.body_digest,
        "fingerprint": asked.body_digest,
        "arguments": canonical.text(
            {"messages": len(asked.request.messages), "max_output_tokens": asked.request.max_output_tokens, "digest": asked.body_digest}
        ),
        "audit_text": log.detail_text(facts),
    }
    verdict = functions.ask("select gate_admit(%s::jsonb, %s)", functions.parameters(record), None)
    if verdict["verdict"] == "REPLAY":
        return _repeat(asked, verdict["call"])
    if verdict["verdict"] == "REFUSED":
        return gate.Admission(call=call, status="refused", refusal=verdict["refusal"])
    return _complete(asked, call, quote.price_version if quote else 0, quote.amount if quote else 0)


def _examine(asked: Asked, context: dict[str, Any]) -> tuple[examination.Examined, prices.Quote | None]:
    organisation, agent, pinned = asked.principal.organisation, context["agent"], context["run"]["models"] or []
    try:
        if asked.name not in pinned:
            raise UnknownModel(
                f"This agent may not use {asked.name[:80]!r}.",
                rule="registered and pinned",
                current=asked.name[:200],
                limit=f"{len(pinned)} models",
                who="whoever manages this agent",
                next_step="Use one of the models listed.",
                models=pinned,
            )
        stops.check(context["stops"], examination.scopes(context, organisation, asked.principal.key))
        capability = (
            dict(context["capability"], tools=None) if context["capability"] else None
        )  # a capability's tools say nothing about models
        identity.check_scope(agent=agent, capability=capability, tool=asked.name, is_write=False, arguments={})
        request = vocabulary.Request(
            agent=vocabulary.AgentFacts(
                slug=agent["slug"], category=agent["category"], stage=agent["stage"], workspace=agent["workspace"], owner=agent["owner"]
            ),
            action=vocabulary.MODEL,
            arguments={"messages": len(asked.request.messages), "max_output_tokens": asked.request.max_output_tokens},
            model=asked.name.replace(":", "/", 1),
            calls=context["run"]["tool_calls"],
            writes=context["run"]["writes"],
            hour=context["hour"],
            weekday=context["weekday"],
            day=context["day"],
        )
        decision = examination.decide(organisation, context, request)
        if not decision.allowed or decision.tier != "AUTO":
            denied = policies.denied(decision, tool=asked.name)
            return examination.Examined(context, denied, request=request, decision=decision, tier=decision.tier), None
        with tenancy.within(organisation, read_only=True):
            quote = prices.worst_case(asked.name, input_tokens=asked.input_tokens, max_output_tokens=asked.request.max_output_tokens)
    except outcomes.Refused as refused:
        return examination.Examined(context, refused), None
    return examination.Examined(context, None, request=request, decision=decision, tier=decision.tier), quote


def _complete(asked: Asked, call: str, price_version: int, reserved: int) -> gate.Admission:
    organisation = asked.principal.organisation
    try:
        completion = models.complete(asked.request)
    except (models.ProviderRefused, models.RateLimited, interface.NotSent) as error:
        return _settle(asked, call, _failed(str(error), actual=0))
    except interface.Unknown as error:  # it may have been served and billed: the whole hold is booked
        return _settle(asked, call, _failed(str(error), actual=reserved))
    used = completion.usage
    with tenancy.within(organisation, read_only=True):
        actual = (
            prices.cost(asked.name, version=price_version, input_tokens=used["input_tokens"], output_tokens=used["output_tokens"])
            if price_version
            else 0
        )
    counted = used["input_tokens"] + used["output_tokens"] > 0
    return _settle(
        asked,
        call,
        runs.Outcome(
            state=Call.State.APPLIED,
            event="call.answered",
            result=asdict(completion),
            actual_micros=actual if counted else reserved,
            is_estimated=not counted,
            tokens=used["input_tokens"] + used["output_tokens"],
        ),
    )


def _failed(why: str, *, actual: int) -> runs.Outcome:
    refusal = ProviderFailed(
        "The model provider did not answer.",
        rule="provider",
        current=redaction.redact_text(why)[:300],
        limit="an answer",
        who="whoever runs the provider",
        next_step="Try again later, or use another pinned model.",
    )
    return runs.Outcome(
        state=Call.State.FAILED,
        event="call.failed",
        refusal=refusal.as_dict(),
        is_error=True,
        actual_micros=actual,
        is_estimated=actual > 0,
        note=why[:300],
    )


def _settle(asked: Asked, call: str, outcome: runs.Outcome) -> gate.Admission:
    actor = Principal(kind="agent", id=asked.principal.id, organisation=asked.principal.organisation)
    if not runs.settle(by=actor, run=asked.run, call=call, outcome=outcome, detail={"model": asked.name}):
        return gate.standing(asked.principal.organisation, call)
    return gate.Admission(
        call=call,
        status="applied" if outcome.state == Call.State.APPLIED else "failed",
        result=outcome.result,
        refusal=dict(outcome.refusal) if outcome.refusal else None,
    )


def _repeat(asked: Asked, call: str) -> gate.Admission:
    """A turn asked again by the owner of the run: the recorded answer; left open by a dead worker, asked once more under the same hold."""
    standing = gate.standing(asked.principal.organisation, call, is_replay=True)
    if standing.status != "running":
        return standing
    with tenancy.within(asked.principal.organisation, read_only=True):
        hold = reservations.of_call(call)
    return _complete(asked, call, hold.price_version if hold else 0, hold.amount if hold else 0)
