"""The checks before the gate's first transaction, in order: registered and pinned, schema, stop switches, scope and stage, price, policy.

What the database must decide atomically (stops again, caps, loops, money) is in `sql/admit.sql`. The first refusal ends the examination.
"""

import functools
from dataclasses import dataclass
from typing import Any

from agents import identity, policies, runs, stops, tools, vocabulary
from agents.organisations import NotFound, Principal
from approvals import tiers
from audit import canonical, functions, outcomes, redaction, tenancy
from budgets import prices
from controlplane import recall


@dataclass(frozen=True, slots=True)
class Opened:
    """What a run's own key was answered with: all that the gate reads before it decides, for this very proposal."""

    row: dict[str, Any]  # behind the key
    context: dict[str, Any] | None
    fingerprint: str
    is_recalled: bool = False  # of an earlier call: good for a read that is let through, and for nothing else


@dataclass(frozen=True)
class Proposal:
    """What an agent asks for. `key` makes a repeat of the request the same call. `opened` was read with the agent's key."""

    principal: Principal
    run: str
    name: str
    arguments: Any
    key: str = ""
    opened: Opened | None = None

    @functools.cached_property
    def body_digest(self) -> str:
        return canonical.digest([self.name, self.arguments], domain="remit proposal v1")

    @functools.cached_property
    def fingerprint(self) -> str:
        return self.opened.fingerprint if self.opened else runs.fingerprint(self.name, self.arguments)


@dataclass(frozen=True, slots=True)
class Examined:
    """What the checks before T1 found."""

    context: dict[str, Any]
    refusal: outcomes.Refused | None
    tool: tools.Facts | None = None
    request: vocabulary.Request | None = None
    decision: policies.Decision | None = None
    tier: str = ""
    draft: bool = False


def read(  # noqa: PLR0913 - one question to the database
    organisation: str, *, agent: str, run: str, key: str = "", name: str = "", fingerprint: str = "", arguments: Any = None
) -> dict[str, Any]:
    """What the gate reads before it decides: agent, run, pin, capability, policy, stops, this key's record, whose objects are named."""
    context: dict[str, Any] | None = functions.ask(
        "select gate_context(%s, %s, %s, %s, %s, %s, %s)", organisation, agent, run, key, name, fingerprint, canonical.text(arguments)
    )
    return found(context, run)


def context_of(proposal: Proposal) -> dict[str, Any]:
    """The same for a proposal. Raises NotFound for a run that is not its principal's."""
    by = proposal.principal
    return read(
        by.organisation,
        agent=by.id,
        run=proposal.run,
        key=proposal.key,
        name=proposal.name,
        fingerprint=proposal.fingerprint,
        arguments=proposal.arguments,
    )


def open_with(organisation: str, key_row: str, *, call: str, name: str, arguments: Any) -> tuple[dict[str, Any] | None, Opened | None]:
    """(the row behind a key, and for a run's own what the gate reads for this proposal), in one round trip. Nothing is compared yet."""
    fingerprint = runs.fingerprint(name, arguments)
    asked = (organisation, key_row, call, name, fingerprint, canonical.text(arguments))
    answer = functions.ask_first("select gate_open(%s, %s, %s, %s, %s, %s)", *asked)
    return answer["knock"], Opened(answer["knock"], answer["context"], fingerprint) if "context" in answer else None


def recalled(organisation: str, key_row: str, *, name: str, arguments: Any) -> Opened | None:
    """The same of the call before, with no question asked."""
    kept = recall.of((organisation, key_row, name))
    return Opened(kept.row, kept.context, runs.fingerprint(name, arguments), is_recalled=True) if kept else None


def found(context: dict[str, Any] | None, run: str) -> dict[str, Any]:
    """The context, or NotFound."""
    if context is None:
        raise NotFound("There is no such run.", rule="run", current=run[:40], next_step="Start a run, or use the key of this one.")
    return context


def examine(proposal: Proposal, context: dict[str, Any]) -> Examined:
    """The checks in order, up to those that only the database can make atomically. The first refusal ends them."""
    organisation, agent = proposal.principal.organisation, context["agent"]
    tool = _resolve(organisation, context, proposal.name)
    if isinstance(tool, outcomes.Refused):
        return Examined(context, tool)
    try:
        tools.validate_arguments(tool, proposal.arguments)
        bar(organisation, context, tool, proposal.arguments, key=proposal.principal.key)
    except outcomes.Refused as refused:
        return Examined(context, refused, tool)
    asked = request_of(organisation, context, tool, proposal.arguments)
    decision = decide(organisation, context, asked)
    if not decision.allowed:
        return Examined(context, policies.denied(decision, tool=tool.name), tool, asked, decision, tier=tiers.REFUSED)
    tier, draft = tier_of(tool, agent["stage"], decision.tier)
    if tier == tiers.REFUSED:
        return Examined(context, policies.denied(decision, tool=tool.name), tool, asked, decision, tier=tiers.REFUSED)
    return Examined(context, None, tool, asked, decision, tier=tier, draft=draft)


def bar(organisation: str, context: dict[str, Any], tool: tools.Facts, arguments: dict[str, Any], *, key: str = "") -> None:
    """What bars a call before any rule is asked: a stop, its scope and stage, a missing price. Raises Stopped, OutOfScope, Unpriced."""
    stops.check(context["stops"], scopes(context, organisation, key))
    identity.check_scope(
        agent=context["agent"], capability=context["capability"], tool=tool.name, is_write=tool.is_write, arguments=arguments
    )
    if tool.price_micros is None:
        raise prices.Unpriced(
            f"{tool.name} has no price.",
            rule="price",
            current="unpriced",
            limit="a price",
            who="whoever holds tools_manage",
            next_step="Have the tool confirmed with its price.",
        )


def tier_of(tool: tools.Facts, stage: str, policy_tier: str) -> tuple[str, bool]:
    """(how many humans after the stage has had its say, whether the write becomes a proposal).

    People approve changes: a read that the rules do not let pass alone is refused.
    """
    draft = tool.is_write and stage == "DRAFT"
    if not tool.is_write:
        return (policy_tier if policy_tier == tiers.AUTO else tiers.REFUSED), False
    return tiers.tier_for(policy_tier=policy_tier, stage=stage, is_draft=draft), draft


def asked(principal: Principal, run: str, examined: Examined) -> dict[str, Any]:
    """What gate_admit is told of every call: who asks, in which run, what was decided, and for how long that stands."""
    agent, decision, request = examined.context["agent"], examined.decision, examined.request
    return {
        "organisation": principal.organisation,
        "run": run,
        "actor_id": principal.id,
        "tier": examined.tier,
        "draft": examined.draft,
        "decision": canonical.text(redaction.redact(policies.as_record(decision, request))) if decision and request else "{}",
        "refusal": examined.refusal.as_dict() if examined.refusal else None,
        "epoch": examined.context["epoch"],
        "until": examined.context["until"],
        "by_key": principal.key,
        "owner": agent["owner"],
        "owner_name": agent["owner_name"],
    }


def _resolve(organisation: str, context: dict[str, Any], name: str) -> tools.Facts | outcomes.Refused:
    pin = context["pin"]
    if pin and pin["active"]:
        return tools.version(organisation, pin["version"])
    with tenancy.within(organisation):
        return tools.unknown(name, listed=tools.usable(context["run"]["version"], context["capability"]))


def scopes(context: dict[str, Any], organisation: str, key: str) -> list[list[str]]:
    """Every stop switch that could hold this call."""
    agent, pin = context["agent"], context["pin"]
    held = [
        ["organisation", organisation],
        ["workspace", agent["workspace"]],
        ["agent", agent["id"]],
        ["run", context["run"]["id"]],
        ["key", key],
    ]
    return held + ([["tool", pin["tool"]], ["connector", pin["connector"]["id"]]] if pin else [])


def request_of(organisation: str, context: dict[str, Any], tool: tools.Facts, arguments: dict[str, Any]) -> vocabulary.Request:
    agent, capability = context["agent"], context["capability"] or {}
    owned = context["owned"] or {"owners": (), "unknown": bool(tool.subjects)}  # not asked is not known
    return vocabulary.Request(
        agent=vocabulary.AgentFacts(
            slug=agent["slug"], category=agent["category"], stage=agent["stage"], workspace=agent["workspace"], owner=agent["owner"]
        ),
        action=tool.name,
        arguments=arguments,
        subject=frozenset(capability.get("subject", ())),
        owners=frozenset(owned["owners"]),
        unknown_objects=owned["unknown"],
        calls=context["run"]["tool_calls"],
        writes=context["run"]["writes"],
        hour=context["hour"],
        weekday=context["weekday"],
        day=context["day"],
    )


def decide(organisation: str, context: dict[str, Any], request: vocabulary.Request, approvals: int | None = None) -> policies.Decision:
    return policies.decide(
        organisation=organisation,
        workspace=context["agent"]["workspace"],
        policy=context["policy"],
        registry=context["registry"],
        request=request,
        approvals=approvals,
    )
