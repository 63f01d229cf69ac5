"""What a run was pinned to, and whether that is still what its agent would be given now."""

from collections.abc import Sequence
from dataclasses import dataclass

from agents import contracts, policies, runs
from agents.models import AgentVersion, Call, Run

PARTS = {"prompt": "prompt", "model_names": "models", "purpose": "purpose", "never": "what it must never do", "output": "output"}


@dataclass(frozen=True, slots=True)
class Pinned:
    """`changed` are the parts that the agent's newest version has otherwise; `rules` the set that decided last, "" when none did."""

    newest: int
    changed: Sequence[str]
    rules: str
    rules_hold: bool


def of(run: Run, calls: Sequence[Call]) -> Pinned:
    """The run's version beside the agent's newest, and its rules beside those in force. Call inside `tenancy.within`."""
    own = run.agent_version
    newest = contracts.versions(run.agent).first() or own
    rules = next((found for call in reversed(calls) if (found := _rules(call))), "")
    active, _ = policies.in_force(run.organisation_id, run.workspace_id) if rules else (None, None)
    return Pinned(newest.number, _changed(own, newest), rules, active is not None and active.id == rules)


def _changed(own: AgentVersion, newest: AgentVersion) -> list[str]:
    if own.id == newest.id:
        return []
    found = [word for name, word in PARTS.items() if getattr(own, name) != getattr(newest, name)]
    was, now = (dict(version.pins.values_list("name", "tool_version_id")) for version in (own, newest))
    tools = sum(was.get(name) != now.get(name) for name in was.keys() | now.keys())
    return found + ([f"{tools} tool{'' if tools == 1 else 's'}"] if tools else [])


def _rules(call: Call) -> str:
    decided = runs.kept(call.decision)
    decision = decided.get("decision") if isinstance(decided, dict) else None
    return str(decision.get("policy_set", "")) if isinstance(decision, dict) else ""
