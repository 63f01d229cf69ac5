"""Effective access: what each agent could do with each tool now, whatever its arguments. The engine that decides at run time is asked.

What is not known before a call (its arguments) stays open: Cedar evaluates every clause of every rule with those values unknown. Where the
borders between outcomes can be read off the rules, the engine is asked on both sides of each; where not, the answer is a range of tiers.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import cedarpy
import orjson
from cedarpy import pst

from agents import cedar, conditions, policy_trees, tools, vocabulary
from agents.models import Agent
from audit import outcomes

TIERS = ("AUTO", "ONE", "TWO", "REFUSED")
CIRCUMSTANCES = ("subject", "owners", "unknown_objects", "calls", "writes", "hour", "weekday", "day")
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
    `cases` says which argument values lead to which tier, where that can be computed.
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
    cases: tuple[conditions.Case, ...] = ()

    @property
    def is_possible(self) -> bool:
        """Can any call of it get further than a refusal?"""
        return self.lowest != "REFUSED"

    @property
    def is_limited(self) -> bool:
        """Does it hang on the arguments, or on what the run is about?"""
        return self.is_possible and (self.word == "DEPENDS" or bool(self.limits))


@dataclass(frozen=True, slots=True)
class Ground:
    """What every cell of a workspace rests on. `bar` and `tier` are the examination's own: what comes before the rules, and after them."""

    organisation: str
    compiled: cedar.Compiled | outcomes.Refused | None
    hour: int
    weekday: int
    day: int
    pinned: Mapping[str, Mapping[str, tools.Facts]]  # agent -> name -> the active version it means
    bar: Callable[[Agent, tools.Facts], outcomes.Refused | None]
    tier: Callable[[tools.Facts, str, str], str]


def matrix(ground: Ground, agents: Iterable[Agent], columns: Sequence[tools.Facts]) -> list[tuple[Agent, list[Access]]]:
    """Every agent with every tool."""
    return [(agent, [access(ground, agent, column.name) for column in columns]) for agent in agents]


def access(ground: Ground, agent: Agent, name: str) -> Access:
    """The gate's checks in its order, for one agent and one tool."""
    tool = ground.pinned.get(agent.id, {}).get(name)
    if tool is None:
        return _closed(agent, name, "NOT_PINNED", "The agent's version does not name this tool, so the gate does not know it.")
    barred = ground.bar(agent, tool)
    if barred is not None:
        return _closed(agent, tool.name, "REFUSED", barred.message)
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
    seen = _looked_at(compiled, tool.name)
    blank = dataclasses.replace(facts, **{name: "" for name in _PRINCIPAL if name not in seen})
    hour, weekday = (ground.hour if "hour" in seen else 0), (ground.weekday if "weekday" in seen else 1)
    day = ground.day if "day" in seen else vocabulary.NEVER
    found = _cell(_Asked(compiled, blank, ground.organisation, tool.version, tool.name, agent.stage, hour, weekday, day, ground.tier))
    return replace(found, agent=agent.slug)


def access_with(
    ground: Ground, agent: Agent, name: str, given: Mapping[str, Any], subject: Sequence[str] = (), hour: int | None = None
) -> Access:
    """The same when some arguments are known. What the rules look at beyond them stays open, as it does in `access`."""
    known = dataclasses.replace(ground, hour=ground.hour if hour is None else hour)
    found = access(known, agent, name)
    compiled = ground.compiled
    if not (given or subject) or (not found.rules and not found.limits) or not isinstance(compiled, cedar.Compiled):
        return found
    tool = ground.pinned[agent.id][name]
    facts = vocabulary.AgentFacts(
        slug=agent.slug, category=agent.category, stage=agent.stage, workspace=agent.workspace_id, owner=agent.owner_id
    )
    if not set(found.on) - {"day"} <= set(given):
        return found
    arguments = conditions.filled(tools.schema(tool.input_schema), given)
    request = vocabulary.Request(
        agent=facts,
        action=name,
        arguments=arguments,
        subject=frozenset(subject),
        hour=known.hour,
        weekday=known.weekday,
        day=known.day,
    )
    said = compiled.decide(request)
    tier = ground.tier(tool, agent.stage, said.tier)
    rules = tuple(compiled.policies[id] for id in said.policies if id in compiled.policies)
    why = said.reasons if tier != "AUTO" else ()
    if tier != said.tier:
        why = (*why, _STAGES.get(agent.stage, _READS))
    return Access(agent.slug, name, tier, tier, tier, why, rules, found.limits if tier != "REFUSED" else ())


@dataclass(frozen=True, slots=True)
class _Asked:
    """Everything that an outcome depends on, and nothing else: agents that the rules do not tell apart share it."""

    compiled: cedar.Compiled
    facts: vocabulary.AgentFacts  # what the rules cannot see is blank
    organisation: str
    version: str  # of the tool
    name: str
    stage: str
    hour: int
    weekday: int
    day: int
    tier: Callable[[tools.Facts, str, str], str]


@functools.lru_cache(maxsize=8192)
def _cell(asked: _Asked) -> Access:
    compiled, name, stage = asked.compiled, asked.name, asked.stage
    tool = tools.version(asked.organisation, asked.version)
    fresh, anyhow = _verdicts(compiled, asked.facts, name, asked.hour, asked.weekday)
    cases = _cases(asked, tool, fresh)
    lowest, highest = asked.tier(tool, stage, fresh.lowest), asked.tier(tool, stage, fresh.highest)
    if cases:
        said = sorted({each.tier for each in cases}, key=TIERS.index)
        lowest, highest = said[0], said[-1]
    limits = tuple(compiled.policies[id] for id in anyhow.open if id not in fresh.open) if lowest != "REFUSED" else ()
    named = fresh.open or (fresh.firm if lowest != "AUTO" else ())
    why = tuple(dict.fromkeys(compiled.policies[id].why for id in named if compiled.policies[id].why))
    if lowest != fresh.lowest and not fresh.open:
        why = (*why, _STAGES.get(stage, _READS))
    if lowest == highest == "REFUSED" and not why:
        why = ("No rule permits it.",)
    word = lowest if lowest == highest else "DEPENDS"
    rules = tuple(compiled.policies[id] for id in named)
    return Access("", name, word, lowest, highest, why, rules, limits, fresh.on, cases if lowest != highest else ())


def _cases(asked: _Asked, tool: tools.Facts, fresh: Verdict) -> tuple[conditions.Case, ...]:
    def tier(arguments: Mapping[str, Any]) -> str:
        request = vocabulary.Request(
            agent=asked.facts,
            action=tool.name,
            arguments=arguments,
            hour=asked.hour,
            weekday=asked.weekday,
            day=asked.day,
            stage=asked.facts.stage,
        )
        return asked.tier(tool, asked.stage, asked.compiled.decide(request).tier)

    return conditions.cases(asked.compiled, hang=fresh.open, schema=tools.schema(tool.input_schema), tier=tier) if fresh.open else ()


_PRINCIPAL = tuple(field.name for field in dataclasses.fields(vocabulary.AgentFacts))


@functools.lru_cache(maxsize=1024)
def _looked_at(compiled: cedar.Compiled, tool: str) -> frozenset[str]:
    """Which facts of an agent, and of the hour, the rules of a tool can see: agents alike in these have the same outcome."""
    trees = [compiled.policies[id].tree for id in compiled.slice(tool)]
    return frozenset().union(*(_seen(tree) for tree in trees))


def _seen(tree: pst.Template) -> frozenset[str]:
    read: list[str] = []
    bare = 0
    for node in policy_trees.nodes(tree):
        match node:
            case pst.GetAttr(base=pst.Var(name="principal" | "context"), attr=name):
                read.append(name)
            case pst.Var(name="principal" | "context"):
                bare += 1
    if bare > len(read):  # the whole is compared, not one of its facts
        return frozenset((*_PRINCIPAL, *CIRCUMSTANCES, "args"))
    return frozenset(read) if isinstance(tree.principal, pst.ScopeAny) else frozenset((*read, "slug"))


def visible(compiled: cedar.Compiled, request: vocabulary.Request) -> tuple[Any, ...]:
    """What the rules of its tool can see of a request: two that are alike in this have the same outcome."""
    seen = _looked_at(compiled, request.action)
    facts = [getattr(request.agent, name) if name in seen else "" for name in _PRINCIPAL]
    about = [getattr(request, name) if name in seen else None for name in CIRCUMSTANCES]
    shown = {name: request.arguments.get(name) for name in _arguments(compiled, request.action)} if "args" in seen else {}
    return (*facts, *about, request.stage, orjson.dumps(shown, default=str, option=orjson.OPT_SORT_KEYS))


@functools.lru_cache(maxsize=1024)
def _arguments(compiled: cedar.Compiled, tool: str) -> frozenset[str]:
    """The arguments that the rules of a tool name; all of them where one looks at the arguments as a whole."""
    rules = [compiled.policies[id] for id in compiled.slice(tool)]
    whole = any(conditions.is_whole(rule) for rule in rules)
    return conditions.names(compiled, tool) if whole else frozenset(name for rule in rules for name in conditions.mentioned(rule))


_READS = "People approve changes; a read that the rules do not let pass alone is refused."
_STAGES = {
    "DRAFT": "The agent is in stage Draft: a write becomes a proposal that a person may apply.",
    "NARROW": "The agent is in stage Narrow: every write needs at least one human.",
}


def _closed(agent: Agent, tool: str, word: str, why: str) -> Access:
    return Access(agent.slug, tool, word, "REFUSED", "REFUSED", (why,))


@functools.lru_cache(maxsize=8192)
def _verdicts(compiled: cedar.Compiled, agent: vocabulary.AgentFacts, tool: str, hour: int, weekday: int) -> tuple[Verdict, Verdict]:
    """(in a fresh run now with any arguments, in any circumstances)."""
    fresh = {"subject": [], "owners": [], "unknown_objects": False, "calls": 0, "writes": 0, "hour": hour, "weekday": weekday}
    fresh["day"] = _unknown("day")  # a rule that ends on a day says so in the cell
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
    yield from conditions.mentioned(policy)
    for node in policy_trees.nodes(policy.tree):
        match node:
            case pst.GetAttr(base=pst.Var(name="context"), attr=name) if isinstance(known.get(name), dict):
                yield name


def under(known: Ground, compiled: cedar.Compiled) -> Ground:
    """The same ground under other rules: what a proposed version would change."""
    return replace(known, compiled=compiled)
