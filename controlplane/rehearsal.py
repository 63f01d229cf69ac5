"""What the gate would say of a call that nobody makes: the examination itself, asked with an agent as it stands and no run.

Reads only. Caps, loops and money are decided by the database when a call is made, so a rehearsal says nothing about them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone

from agents import access, cedar, policies, stops, tools, vocabulary
from agents.models import Agent, PolicySet
from agents.organisations import Principal
from audit import canonical, functions, outcomes
from controlplane import examination


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a run would be about and what it did before; `hour`, `weekday` and `day` in UTC."""

    hour: int
    weekday: int
    day: int
    subject: tuple[str, ...] = ()
    calls: int = 0
    writes: int = 0


def now() -> Circumstances:
    """A run just begun, about no customer in particular."""
    return Circumstances(*vocabulary.clock(timezone.now()))


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A workspace as the gate would find it: its rules in force, its stops, who is pinned to what. Read once; then it asks nobody."""

    organisation: str
    workspace: str
    active: PolicySet | None
    compiled: cedar.Compiled | outcomes.Refused | None
    registry: int
    engaged: Sequence[Mapping[str, Any]]
    pinned: Mapping[str, Mapping[str, tools.Facts]]
    _owned: dict[tuple[str, str], Any] = field(default_factory=dict)

    def ground(self) -> access.Ground:
        """What the cells of the access matrix rest on."""
        hour, weekday, day = vocabulary.clock(timezone.now())
        return access.Ground(
            organisation=self.organisation,
            compiled=self.compiled,
            hour=hour,
            weekday=weekday,
            day=day,
            pinned=self.pinned,
            bar=self.bar,
            tier=_tier,
        )

    def bar(self, agent: Agent, tool: tools.Facts) -> outcomes.Refused | None:
        """What bars every call of the tool by this agent, whatever its arguments."""
        try:
            examination.bar(self.organisation, self._context(agent, tool), tool, {})
        except outcomes.Refused as refused:
            return refused
        return None

    def examine(self, agent: Agent, name: str, arguments: Any, about: Circumstances) -> examination.Examined:
        """The real examination of a call that is not made. Call inside `tenancy.within`."""
        tool = self.pinned.get(agent.id, {}).get(name)
        context = self._context(agent, tool) | {
            "owned": self._whose(tool, arguments),
            "hour": about.hour,
            "weekday": about.weekday,
            "day": about.day,
        }
        context["run"] |= {"tool_calls": about.calls, "writes": about.writes}
        if about.subject:
            context["capability"] = {"id": "", "subject": list(about.subject), "tools": None, "bindings": {}, "over": False}
        by = Principal(kind="agent", id=agent.id, organisation=self.organisation, workspace=self.workspace)
        return examination.examine(examination.Proposal(principal=by, run="", name=name, arguments=arguments), context)

    def _context(self, agent: Agent, tool: tools.Facts | None) -> dict[str, Any]:
        """As gate_context answers for a run just begun. `agent` carries its owner."""
        return {
            "agent": {
                "id": agent.id,
                "slug": agent.slug,
                "category": agent.category,
                "stage": agent.stage,
                "state": agent.state,
                "draft_only": agent.draft_only,
                "owner": agent.owner_id,
                "owner_person": agent.owner.person,
                "owner_name": agent.owner.name,
                "workspace": agent.workspace_id,
            },
            "run": {"id": "", "version": agent.version_id or "", "tool_calls": 0, "writes": 0},
            "pin": {"version": tool.version, "tool": tool.tool, "active": True, "connector": {"id": tool.connector}} if tool else None,
            "capability": None,
            "stops": self.engaged,
            "policy": {"id": self.active.id, "digest": self.active.digest, "number": self.active.number} if self.active else None,
            "registry": self.registry,
            "owned": None,
            "hour": 0,
            "weekday": 1,
            "day": vocabulary.NEVER,
        }

    def _whose(self, tool: tools.Facts | None, arguments: Any) -> dict[str, Any] | None:
        """The directory's answer, by the gate's own function; one question for all agents of the same tool."""
        if tool is None or not tool.subjects or not isinstance(arguments, dict):
            return None
        told = canonical.text(dict(tool.subjects)), canonical.text(arguments)
        if told not in self._owned:
            self._owned[told] = functions.ask("select owned_by(%s, %s::jsonb, %s::jsonb)", self.organisation, *told)
        found: dict[str, Any] = self._owned[told]
        return found


def prepare(organisation: str, workspace: str) -> Rehearsal:
    """The workspace as it stands. Call inside `tenancy.within`."""
    active, compiled = policies.in_force(organisation, workspace)
    engaged = [
        {"id": stop.id, "scope": stop.scope, "target": stop.target, "reason": stop.reason, "by": stop.engaged_by, "at": stop.engaged_at}
        for stop in stops.engaged()
    ]
    pinned = tools.pinned_by_agent(organisation, workspace)
    return Rehearsal(organisation, workspace, active, compiled, policies.registry_of(workspace), engaged, pinned)


def _tier(tool: tools.Facts, stage: str, policy_tier: str) -> str:
    return examination.tier_of(tool, stage, policy_tier)[0]
