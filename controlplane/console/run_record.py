"""What one run left behind, as plain values: its changes outside in order, and the redacted record of everything that was decided."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents import runs
from agents.models import Call, Effect, Run
from approvals import plans, sight
from approvals.models import Plan, Request
from budgets import prices, reservations
from controlplane.console import changes
from controlplane.console.frame import Place

MOST_EFFECTS, MOST_CALLS = 200, 1000
WHOLE, BEGINNING = 64 * 1024, 4096  # characters: a longer payload is in the record by its beginning


@dataclass(frozen=True, slots=True)
class Outside:
    """One attempt to change something outside, and what its plan says about before and after."""

    effect: Effect
    plan: Plan | None
    rows: Sequence[changes.Row]


def outside(place: Place, run: Run) -> list[Outside]:
    """The run's effects in order, each with the plan it was sent under; one more than is shown, if there is one.

    Before and after are for people who may see the run's requests.
    """
    found = list(runs.effects(run)[: MOST_EFFECTS + 1])
    known = _plans([each.call_id for each in found]) if sight.of_run(run, by=place.principal) else {}
    return [_outside(effect, known.get(effect.call_id, [])) for effect in found]


def _outside(effect: Effect, made: Sequence[Plan]) -> Outside:
    plan = next((each for each in made if each.digest == effect.plan_digest), None)
    return Outside(effect, plan, changes.rows(json.loads(plan.changes)) if plan else [])


def diff(call: Call, effect: Effect | None) -> Outside | None:
    """What the newest plan of a call (or the one it was sent under) would change; None where no plan was made."""
    made = list(plans.of_calls([call.id]))
    plan = next((each for each in made if effect is not None and each.digest == effect.plan_digest), made[-1] if made else None)
    return Outside(effect or Effect(call=call), plan, changes.rows(json.loads(plan.changes))) if plan else None


def _plans(calls: Sequence[str]) -> dict[str, list[Plan]]:
    found: dict[str, list[Plan]] = {}
    for plan in plans.of_calls(calls):
        found.setdefault(plan.call_id, []).append(plan)
    return found


def cost(call: Call) -> dict[str, Any]:
    """What the call was expected to cost, what it did, and at which price."""
    hold = reservations.of_call(call.id)
    result = runs.kept(call.result)
    usage = result.get("usage") if isinstance(result, dict) and call.kind == Call.Kind.MODEL else None
    version = hold.price_version if hold else 0
    return {
        "hold": hold,
        "usage": usage if isinstance(usage, dict) else None,
        "price": prices.versions(call.name).filter(version=version).first() if version else None,
    }


def payload(text: str) -> Any:
    """A payload of the record: its value, or the beginning of a long one and how long it is."""
    return runs.kept(text) if len(text) <= WHOLE else {"beginning": text[:BEGINNING], "characters": len(text)}


def of_call(call: Call) -> dict[str, Any]:
    """A call as it is kept: redacted. The sealed bytes are never part of it."""
    return {
        "id": call.id,
        "key": call.key,
        "number": call.number,
        "kind": call.kind,
        "name": call.name,
        "tool_version": call.tool_version.number if call.tool_version else None,
        "is_write": call.is_write,
        "state": call.state,
        "tier": call.tier,
        "created_at": call.created_at,
        "finished_at": call.finished_at,
        "reserved_micros": call.reserved_micros,
        "settled_micros": call.settled_micros,
        "fingerprint": call.fingerprint,
        "result_digest": call.result_digest,
        "arguments": payload(call.arguments),
        "decision": payload(call.decision),
        "refusal": payload(call.refusal),
        "result": payload(call.result),
    }


def of_run(place: Place, run: Run, calls: Sequence[Call], waits: Sequence[Request], changed: Sequence[Outside]) -> dict[str, Any]:
    """The record of a run. Requests and what they would change are in it for people who may see these, effects for who reads runs."""
    purse = reservations.balance("run", run.id)
    may = sight.of_run(run, by=place.principal)
    return {
        "format": "remit run record v1",
        "run": _fields(run, RUN)
        | {"agent": run.agent.slug, "version": run.agent_version.number, "spent_micros": purse.spent, "reserved_micros": purse.reserved},
        "calls": [of_call(call) for call in calls[:MOST_CALLS]],
        "is_whole": len(calls) <= MOST_CALLS and len(changed) <= MOST_EFFECTS,
        "requests": [_request(each) for each in waits] if may else None,
        "effects": None if run.is_withheld else [_effect(each) for each in changed[:MOST_EFFECTS]],
    }


RUN = (
    "id state title reference is_hosted started_by_kind started_by started_at finished_at waited_ms steps tool_calls writes tokens retries "
    "max_steps max_tool_calls max_tokens max_seconds max_retries max_micros loop_flagged_at summary handed_to"
)
REQUEST = "id state title required is_draft policies reasons policy_set_id tool_version_id opened_at expires_at decided_at checked_at note"
EFFECT = "id state key connector_class required plan_digest outbound_digest intended_at finished_at"


def _fields(row: object, names: str) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names.split()}


def _request(each: Request) -> dict[str, Any]:
    said: Mapping[str, Any] = {"call": each.call_id, "plan_digest": each.plan.digest, "changes": payload(each.plan.changes)}
    votes = [{"member": vote.member.name, "verdict": vote.verdict, "reason": vote.reason, "at": vote.at} for vote in each.votes.all()]
    return _fields(each, REQUEST) | dict(said) | {"votes": votes}


def _effect(each: Outside) -> dict[str, Any]:
    return _fields(each.effect, EFFECT) | {
        "call": each.effect.call_id,
        "tool": each.effect.call.name,
        "changes": payload(each.plan.changes) if each.plan else None,
    }
