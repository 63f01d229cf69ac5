"""Effective access: what each agent could do with each tool now, whatever its arguments. The engine that decides at run time is asked.

What is not known before a call (its arguments) stays open: Cedar evaluates every clause of every rule with those values unknown, and the
answer is a range of tiers. A range is said as a range, with the rules that it hangs on.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import cedarpy
import orjson
from cedarpy import pst

from agents import cedar, policies, policy_trees, tools, vocabulary
from agents.models import Agent, PolicySet, Stop
from audit import outcomes

TIERS = ("AUTO", "ONE", "TWO", "REFUSED")
CIRCUMSTANCES = ("subject", "owners", "unknown_objects", "calls", "writes", "hour", "weekday")
Holds = Literal["ALWAYS", "NEVER", "OPEN"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say at the least and at the most. `open` are the rules that it hangs on, `on` the values they look at."""

    lowest: str
    highest: str
    firm: tuple[str, ...]
    open: tuple[str, ...]
    on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """One cell: an agent and a tool. `word` is AUTO, ONE, TWO, REFUSED, NOT_PINNED or DEPENDS.

    It holds for a run just begun, about no customer in particular, at this hour; `limits` are the rules that may be stricter otherwise.
    """

    agent: str
    tool: str
    word: str
    lowest: str
    highest: str
    why: tuple[str, ...] = ()
    rules: tuple[cedar.Policy, ...] = ()
    limits: tuple[cedar.Policy, ...] = ()
    on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ground:
    """What every cell of a workspace rests on."""

    organisation: str
    workspace: str
    active: PolicySet | None
    compiled: cedar.Compiled | outcomes.Refused | None
    engaged: Sequence[Stop]
    hour: int
    weekday: int
    tier_for: Callable[..., str]  # raises the policy's tier by the agent's stage; approvals knows how


def matrix(ground: Ground, agents: Iterable[Agent], columns: Sequence[tools.Facts]) -> list[tuple[Agent, list[Access]]]:
    """Every agent with every tool. Call inside `tenancy.within`."""
    found = []
    for agent in agents:
        pinned = {tool.name: tool for tool in tools.pinned(agent.version_id)} if agent.version_id else {}
        found.append((agent, [access(ground, agent, column, pinned.get(column.name)) for column in columns]))
    return found


def who_can(ground: Ground, agents: Iterable[Agent], tool: tools.Facts) -> list[tuple[Agent, Access]]:
    """The agents that may call a tool at all, now. Call inside `tenancy.within`."""
    rows = [(agent, cells[0]) for agent, cells in matrix(ground, agents, [tool])]
    return [(agent, cell) for agent, cell in rows if cell.word not in {"NOT_PINNED", "REFUSED"}]


def access(ground: Ground, agent: Agent, column: tools.Facts, tool: tools.Facts | None) -> Access:
    """The gate's checks in its order, for one agent and one tool; `tool` is the version it is pinned to, if it is."""
    if tool is None:
        return _closed(agent, column.name, "NOT_PINNED", "The agent's version does not name this tool, so the gate does not know it.")
    for holds, bar in _barred(ground, agent, tool):
        if holds:
            return _closed(agent, tool.name, "REFUSED", bar)
    compiled = ground.compiled
    if not isinstance(compiled, cedar.Compiled):
        reason = (
            "No policy set is active in this workspace."
            if compiled is None
            else "The active policy set no longer fits the registered tools."
        )
        return _closed(agent, tool.name, "REFUSED", reason)
    facts = vocabulary.AgentFacts(
        slug=agent.slug, category=agent.category, stage=agent.stage, workspace=agent.workspace_id, owner=agent.owner_id
    )
    fresh, anyhow = _verdicts(compiled, facts, tool.name, ground.hour, ground.weekday)
    lowest, highest = (_raised(ground, agent, tool, tier) for tier in (fresh.lowest, fresh.highest))
    limits = tuple(compiled.policies[id] for id in anyhow.open if id not in fresh.open) if lowest != "REFUSED" else ()
    named = fresh.open or (fresh.firm if lowest != "AUTO" else ())
    why = tuple(dict.fromkeys(compiled.policies[id].why for id in named if compiled.policies[id].why))
    if lowest != fresh.lowest and not fresh.open:
        why = (*why, _STAGES.get(agent.stage, "People approve changes; a read that the rules do not let pass alone is refused."))
    if lowest == highest == "REFUSED" and not why:
        why = ("No rule permits it.",)
    word = lowest if lowest == highest else "DEPENDS"
    return Access(agent.slug, tool.name, word, lowest, highest, why, tuple(compiled.policies[id] for id in named), limits, fresh.on)


_STAGES = {
    "DRAFT": "The agent is in stage Draft: a write becomes a proposal that a person may apply.",
    "NARROW": "The agent is in stage Narrow: every write needs at least one human.",
}


def _closed(agent: Agent, tool: str, word: str, why: str) -> Access:
    return Access(agent.slug, tool, word, "REFUSED", "REFUSED", (why,))


def _barred(ground: Ground, agent: Agent, tool: tools.Facts) -> Iterator[tuple[bool, str]]:
    """What bars a call before any rule is asked."""
    covered = {
        ("organisation", ground.organisation),
        ("workspace", ground.workspace),
        ("agent", agent.id),
        ("tool", tool.tool),
        ("connector", tool.connector),
    }
    for stop in ground.engaged:
        yield (stop.scope, stop.target) in covered, f"Stopped by a person: {stop.reason}"
    yield agent.state != Agent.State.ACTIVE, "The agent is paused or retired."
    yield tool.is_write and agent.stage == Agent.Stage.READ_ONLY, "The agent is read-only, and this tool writes."
    yield tool.price_micros is None, "The tool has no price, and what has no price is refused."


def _raised(ground: Ground, agent: Agent, tool: tools.Facts, tier: str) -> str:
    if not tool.is_write:
        return tier if tier == "AUTO" else "REFUSED"
    return ground.tier_for(policy_tier=tier, stage=agent.stage, is_draft=agent.stage == Agent.Stage.DRAFT)


@functools.lru_cache(maxsize=8192)
def _verdicts(compiled: cedar.Compiled, agent: vocabulary.AgentFacts, tool: str, hour: int, weekday: int) -> tuple[Verdict, Verdict]:
    """(in a fresh run now with any arguments, in any circumstances)."""
    fresh = {"subject": [], "owners": [], "unknown_objects": False, "calls": 0, "writes": 0, "hour": hour, "weekday": weekday}
    return _verdict(compiled, agent, tool, fresh), _verdict(compiled, agent, tool, {name: _unknown(name) for name in CIRCUMSTANCES})


def _unknown(name: str) -> dict[str, Any]:
    return {"__extn": {"fn": "unknown", "arg": name}}


def _verdict(compiled: cedar.Compiled, agent: vocabulary.AgentFacts, tool: str, known: Mapping[str, Any]) -> Verdict:
    said: list[str] = []
    firm: list[str] = []
    open_: list[str] = []
    for approvals in range(3):
        context = {**known, "approvals": approvals, "stage": agent.stage, "args": _unknown("args")}
        held = _held(compiled, agent, tool, context)
        forbids = {id: how for id, how in held.items() if compiled.policies[id].effect == "forbid"}
        permits = {id: how for id, how in held.items() if compiled.policies[id].effect == "permit"}
        if "ALWAYS" in forbids.values() or not {"ALWAYS", "OPEN"} & set(permits.values()):
            said.append("DENY")
            firm += [id for id, how in forbids.items() if how == "ALWAYS"]
        elif "ALWAYS" in permits.values() and "OPEN" not in forbids.values():
            said.append("ALLOW")
            break
        else:
            said.append("OPEN")
            open_ += [id for id, how in held.items() if how == "OPEN" and (id in forbids or "ALWAYS" not in permits.values())]
    lowest = next((TIERS[at] for at, answer in enumerate(said) if answer != "DENY"), "REFUSED")
    highest = next((TIERS[at] for at, answer in enumerate(said) if answer == "ALLOW"), "REFUSED")
    hang = tuple(dict.fromkeys(open_))
    return Verdict(
        lowest,
        highest,
        tuple(dict.fromkeys(firm)),
        hang,
        tuple(sorted({value for id in hang for value in _looks_at(compiled.policies[id], known)})),
    )


def _held(compiled: cedar.Compiled, agent: vocabulary.AgentFacts, tool: str, context: Mapping[str, Any]) -> dict[str, Holds]:
    """Which rules of the tool's slice hold, as far as that can be known. A rule holds when all its clauses do."""
    handle, clauses = _clauses(compiled, tool)
    asked = {
        "principal": f"Agent::{orjson.dumps(agent.slug).decode()}",
        "action": f'Action::"{tool}"',
        "resource": f'Tool::"{tool}"',
        "context": orjson.dumps(context).decode(),
    }
    entities = orjson.dumps(compiled.vocabulary.entities(agent=agent, action=tool)).decode()
    answer = cedarpy.is_authorized_partial(asked, handle, entities)
    true, unclear = set(answer.diagnostics.reasons), set(answer.diagnostics.nontrivial_residuals)
    broken = any(answer.diagnostics.errors)
    held: dict[str, Holds] = {}
    for id, parts in clauses.items():
        if all(part in true for part in parts):
            held[id] = "ALWAYS"
        elif broken or all(part in true or part in unclear for part in parts):
            held[id] = "OPEN"
        else:
            held[id] = "NEVER"
    return held


@functools.lru_cache(maxsize=1024)
def _clauses(compiled: cedar.Compiled, tool: str) -> tuple[cedarpy.PolicySet, dict[str, tuple[str, ...]]]:
    """Each rule taken apart into permits of one clause, so that one clause that surely fails settles the rule whatever the others are."""
    trees: dict[str, pst.Template] = {}
    parts: dict[str, tuple[str, ...]] = {}
    for id in compiled.slice(tool):
        tree = compiled.policies[id].tree
        single = [clause for whole in tree.clauses for clause in _apart(whole)]
        pieces = [replace(tree, clauses=(clause,)) for clause in single] or [tree]
        named = {f"{id}.{at}": replace(piece, id=f"{id}.{at}", effect="permit") for at, piece in enumerate(pieces)}
        trees |= named
        parts[id] = tuple(named)
    handle = cedarpy.PolicySet.from_pst(pst.PolicySet(templates=pst.FrozenMap(), static_policies=pst.FrozenMap(trees), template_links=()))
    return handle, parts


def _apart(clause: Any) -> Iterator[Any]:
    """`when { a && b }` is two clauses, and so is `unless { a || b }`."""
    splits = "and" if isinstance(clause, pst.When) else "or"
    match clause.expr:
        case pst.BinaryOp(op=op, left=left, right=right) if op == splits:
            yield from _apart(replace(clause, expr=left))
            yield from _apart(replace(clause, expr=right))
        case _:
            yield clause


def _looks_at(policy: cedar.Policy, known: Mapping[str, Any]) -> Iterator[str]:
    """The unknown values that a rule looks at, as people name them: amount, hour."""
    for node in policy_trees.nodes(policy.tree):
        match node:
            case pst.GetAttr(base=pst.GetAttr(base=pst.Var(name="context"), attr="args"), attr=name):
                yield name
            case pst.HasAttr(base=pst.GetAttr(base=pst.Var(name="context"), attr="args"), attrs=attributes):
                yield attributes[0]
            case pst.GetAttr(base=pst.Var(name="context"), attr=name) if isinstance(known.get(name), dict):
                yield name


def ground(*, organisation: str, workspace: str, engaged: Sequence[Stop], clock: tuple[int, int], tier_for: Callable[..., str]) -> Ground:
    """What the workspace's cells rest on: its rules in force, its stops, the hour. Call inside `tenancy.within`."""
    active, compiled = policies.in_force(organisation, workspace)
    return Ground(organisation, workspace, active, compiled, engaged, *clock, tier_for=tier_for)


def under(known: Ground, compiled: cedar.Compiled) -> Ground:
    """The same ground under other rules: what a proposed version would change."""
    return replace(known, compiled=compiled)
