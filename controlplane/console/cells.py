"""Cells of the access matrix with what a person should notice about them: long unused, changed by the rules in force."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils import timezone

from agents import access, cedar, differences, policies, tools, usage
from agents.access import Access
from agents.models import Agent, PolicySet
from controlplane import rehearsal
from controlplane.console.frame import Place

USE = datetime.timedelta(days=90)  # how far back use is counted
MONTH = datetime.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Cell:
    """One agent and one tool. `idle` are the days since its last use, or since it was pinned when it was never used."""

    agent: Agent
    tool: tools.Facts
    access: Access
    before: Access | None = None
    use: usage.Pair | None = None
    pinned_at: datetime.datetime | None = None
    idle: int = 0
    is_unused: bool = False
    is_cut: bool = False  # only its newest runs were looked at

    @property
    def is_changed(self) -> bool:
        return self.before is not None


@dataclass(frozen=True, slots=True)
class Field:
    """Every cell of some agents and some tools, and what they rest on."""

    rows: Sequence[tuple[Agent, Sequence[Cell]]]
    columns: Sequence[tools.Facts]
    stage: rehearsal.Rehearsal
    before: PolicySet | None

    @property
    def cells(self) -> list[Cell]:
        return [cell for _, row in self.rows for cell in row]

    @property
    def fits(self) -> bool:
        return isinstance(self.stage.compiled, cedar.Compiled)


def field(place: Place, agents: Sequence[Agent], columns: Sequence[tools.Facts], *, unused_days: int = usage.UNUSED.days) -> Field:
    """The cells, marked. The number of queries does not depend on how many there are."""
    stage = rehearsal.prepare(place.organisation.id, place.workspace.id)
    ground, now = stage.ground(), timezone.now()
    known = policies.in_force_before(place.workspace.id)
    older = policies.read(place.organisation.id, known) if known else None
    earlier = access.under(ground, older) if isinstance(older, cedar.Compiled) else None
    used, cut = usage.by_pair(place.organisation.id, place.workspace.id, since=now - USE)
    since = usage.pinned_since(place.workspace.id)

    def cell(agent: Agent, tool: tools.Facts, found: Access) -> Cell:
        if found.word == "NOT_PINNED":
            return Cell(agent, tool, found)
        was = access.access(earlier, agent, tool.name) if earlier else None
        use, pinned = used.get((agent.id, tool.name)), since.get((agent.id, tool.name))
        last = use.last if use else pinned
        idle = (now - last).days if last else 0
        changed = was if was is not None and differences.differs(was, found) else None
        return Cell(agent, tool, found, changed, use, pinned, idle, idle >= unused_days, use is None and agent.id in cut)

    rows = [
        (agent, [cell(agent, tool, found) for tool, found in zip(columns, row, strict=True)])
        for agent, row in access.matrix(ground, agents, columns)
    ]
    return Field(rows, columns, stage, known)
