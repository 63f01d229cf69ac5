"""The narrowest rule that would have let a request pass: an exception to the rules that held it, in words and in Cedar, with a back-test.

It is proposed and never put in force here; somebody else activates it (`agents.policies`). Never for what cannot be taken back, what takes
two humans, or what carries secrets.
"""

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents import cedar, conditions, organisations, policies, runs, tools, vocabulary
from agents.models import PolicySet, Workspace
from agents.organisations import Principal
from approvals import bounds, requests, tiers, votes
from approvals.models import Request
from audit import outcomes, tenancy

MOST_DAYS, USUAL_DAYS = 90, 30
MOST_TESTED = 2000


class NoRule(outcomes.Refused):
    code = "no_rule"


@dataclass(frozen=True, slots=True)
class Draft:
    """The whole text that would be proposed. `clause` is what is new in it, `words` says the same in English."""

    text: str
    clause: str
    words: str
    exceptions: tuple[str, ...]
    argument: str
    limit: int | None
    until: datetime.date
    compiled: cedar.Compiled


@dataclass(frozen=True, slots=True)
class BackTest:
    """What the rule would have done with the last 30 days' requests of this tool and agent."""

    approved: int
    saved: Sequence[Request]
    denied: int
    wrong: Sequence[Request]


def why_not(request: Request, tool: tools.Facts, holding: Sequence[cedar.Policy] | None = None) -> str:
    """Why no rule is offered for this request, or nothing. `holding` saves reading the rules in force. Call inside `tenancy.within`."""
    if request.required != 1 or not tool.is_reversible:
        return f"What {'takes two humans' if request.required != 1 else 'cannot be taken back'} is not made automatic from here."
    if tool.redact or "[redacted" in request.call.arguments:
        return "It carries secrets."
    if request.is_draft:
        return "It is held by the agent's stage or purse, and no rule lifts those."
    if not isinstance(runs.kept(request.call.arguments), dict):
        return "Its arguments are too long to be kept whole, and a rule is no wider than what people see."
    if holding is None:
        holding = _holding(request, policies.in_force(request.organisation_id, request.workspace_id)[1])
    return "" if holding else "No rule holds it that an exception could lift."


def _holding(request: Request, compiled: cedar.Compiled | cedar.PolicyRejected | None) -> list[cedar.Policy]:
    if not isinstance(compiled, cedar.Compiled):
        return []
    found = [compiled.policies[id] for id in request.policies if id in compiled.policies]
    return [policy for policy in found if policy.effect == "forbid"]


def _arguments(request: Request) -> dict[str, Any]:
    found = runs.kept(request.call.arguments)
    return found if isinstance(found, dict) else {}


def number(request: Request, tool: tools.Facts) -> str:
    """The whole-number argument that a rule would bound; "" when there is none."""
    return next(iter(bounds.numbers(tool, _arguments(request))), "")


def draft(request: Request, tool: tools.Facts, *, limit: int | None = None, until: datetime.date | None = None) -> Draft:
    """The proposal for this request, no wider than it. Raises NoRule or cedar.PolicyRejected. Call inside `tenancy.within`."""
    active, current = policies.in_force(request.organisation_id, request.workspace_id)
    holding = _holding(request, current)
    why = why_not(request, tool, holding)
    today = requests.database_now().date()
    until = until or today + datetime.timedelta(days=USUAL_DAYS)
    arguments, argument = _arguments(request), number(request, tool)
    limit = arguments[argument] if argument and limit is None else limit
    if argument and not 0 <= (limit or 0) <= arguments[argument]:
        why = why or f"A rule reaches no further than this request: {argument} {arguments[argument]} at most."
    if not today <= until <= today + datetime.timedelta(days=MOST_DAYS):
        why = why or f"A rule ends within {MOST_DAYS} days."
    if why:
        raise NoRule(why, rule="narrowest rule", current=request.id, limit="as narrow as this request", next_step="Approve it alone.")
    assert active is not None  # something held the request
    clause, words = _clause(request, tool, argument, limit, until)
    text = active.cedar
    for policy in holding:
        text = text.replace(policy.text, _with(policy.text, clause, request.id))
    registry = policies.registry_of(request.workspace_id)
    compiled = cedar.compile(text, policies.words_of(request.organisation_id, request.workspace_id, registry))
    question = policies.asked(request.call.decision, {**arguments, **({argument: limit} if argument else {})})
    said = compiled.decide(replace(question, day=vocabulary.day(today))) if question else None
    if said is None or tiers.tier_for(policy_tier=said.tier, stage=request.run.agent.stage, is_draft=False) != tiers.AUTO:
        raise NoRule(
            "Something besides these rules asks for a person: the agent's stage, or another rule.",
            rule="narrowest rule",
            current=said.tier if said else "",
            limit=tiers.AUTO,
            next_step="Approve it alone.",
        )
    return Draft(text, clause, words, tuple(policy.id for policy in holding), argument, limit, until, compiled)


def _clause(request: Request, tool: tools.Facts, argument: str, limit: int | None, until: datetime.date) -> tuple[str, str]:
    slug, name = request.run.agent.slug, request.call.name
    parts = [f'principal == Agent::"{slug}"', f'action == Action::"{name}"']
    said = f"{slug} may call {name} without asking"
    if argument:
        parts += [f"context.args has {argument}", f"context.args.{argument} <= {limit}"]
        said += f" while {conditions.called(argument)} is {conditions.said(argument, limit or 0)} or less"
    for choice, value in _choices(tool, _arguments(request)):
        parts += [f"context.args has {choice}", f"context.args.{choice} == {json.dumps(value)}"]
        said += f" and {choice} is {value}"
    return " && ".join([*parts, f"context.day <= {vocabulary.day(until)}"]), f"{said}, until {until:%d %b %Y}."


def _choices(tool: tools.Facts, arguments: dict[str, Any]) -> list[tuple[str, str]]:
    """The arguments that are one of a few words: the rule holds for this word only."""
    named = tools.schema(tool.input_schema).get("properties", {})
    return [(name, arguments[name]) for name in named if named[name].get("enum") and isinstance(arguments.get(name), str)]


def _with(text: str, clause: str, request: str) -> str:
    return f"{text.rstrip().removesuffix(';')}\n// an exception that {request} asked for\nunless {{ {clause} }};"


def back_test(request: Request, found: Draft) -> BackTest:
    """Ask the proposed rules about what people decided within 30 days. Call inside `tenancy.within`."""
    since = requests.database_now() - datetime.timedelta(days=30)
    rows = Request.objects.filter(
        workspace_id=request.workspace_id,
        opened_at__gt=since,
        run__agent_id=request.run.agent_id,
        call__name=request.call.name,
        state__in=[*Request.PASSED, Request.State.DENIED],
    ).select_related("call", "run__agent")
    saved: list[Request] = []
    wrong: list[Request] = []
    approved = denied = 0
    for row in rows.order_by("-opened_at", "-id")[:MOST_TESTED]:
        is_auto = _would_pass(row, found)
        if row.state == Request.State.DENIED:
            denied += 1
            wrong += [row] if is_auto else []
        else:
            approved += 1
            saved += [row] if is_auto else []
    return BackTest(approved, saved, denied, wrong)


def _would_pass(row: Request, found: Draft) -> bool:
    arguments = runs.kept(row.call.arguments)
    question = policies.asked(row.call.decision, arguments) if isinstance(arguments, dict) else None
    if question is None:
        return False
    said = found.compiled.decide(replace(question, day=vocabulary.day(min(row.opened_at.date(), found.until))))
    return said.allowed and tiers.tier_for(policy_tier=said.tier, stage=row.run.agent.stage, is_draft=False) == tiers.AUTO


def approve_and_propose(
    *, by: Principal, request_id: str, plan_digest: str, limit: int | None, until: datetime.date | None, comment: str = ""
) -> PolicySet:
    """Approve this once, and propose the rule for somebody else to activate; both or neither.

    Raises what `votes.cast` and `policies.propose` raise, and NoRule.
    """
    with tenancy.within(by.organisation):
        request = requests.held(by=by, request_id=request_id)
        votes.check(request, by=by, plan_digest=plan_digest)
        organisations.require(by, "policies_propose", request.workspace_id)
        tool = tools.version(request.organisation_id, request.tool_version_id)
        found = draft(request, tool, limit=limit, until=until)
        workspace = Workspace.objects.get(id=request.workspace_id)
        row = policies.propose(by=by, workspace=workspace, text=found.text)
        requests.record(request, by=by, event="request.rule_proposed", policy_set=row.id, words=found.words, plan=plan_digest)
        votes.cast(by=by, request_id=request_id, verdict="APPROVE", plan_digest=plan_digest, reason=comment)
    return row
