"""Who may decide about what: people by tools, by the permissions and the rules that count when a person votes."""

from dataclasses import dataclass

from agents import seats
from agents.models import Member
from approvals import tiers
from controlplane.console.cells import Field
from controlplane.console.frame import Place

TIERS = ("ONE", "TWO")


@dataclass(frozen=True, slots=True)
class Line:
    """One person: the tiers they may decide in for each tool that needs people; `not_for` are their agents; `cooling` bars for a day."""

    member: Member
    decides: tuple[frozenset[str], ...]
    not_for: tuple[str, ...]
    cooling: bool


@dataclass(frozen=True, slots=True)
class Table:
    """`tools` are those that need people for some call of some agent, with the tiers that occur."""

    tools: tuple[tuple[str, frozenset[str]], ...]
    lines: tuple[Line, ...]


def table(place: Place, found: Field) -> Table:
    """Everybody who may decide anything here. Call inside `tenancy.within`."""
    needs: dict[str, set[str]] = {}
    for cell in found.cells:
        said = {case.tier for case in cell.access.cases} or {cell.access.lowest, cell.access.highest}
        if said & set(TIERS) and cell.tool.is_write:
            needs.setdefault(cell.tool.name, set()).update(said & set(TIERS))
    holders = {
        tier: {member.id: member for member in seats.holding(tiers.PERMISSION[tiers.REQUIRED[tier]], place.workspace.id)} for tier in TIERS
    }
    active = found.stage.active
    cooling = set(tiers.requesters(owner_person="", starter_person="", policy_set=active.id if active else ""))
    people = sorted(
        {member.id: member for each in holders.values() for member in each.values()}.values(), key=lambda member: (member.name, member.id)
    )
    lines = tuple(
        Line(
            member,
            tuple(frozenset(tier for tier in tiers_ if member.id in holders[tier]) for tiers_ in needs.values()),
            tuple(agent.slug for agent, _ in found.rows if agent.owner.person == member.person),
            member.person in cooling,
        )
        for member in people
    )
    return Table(tuple((name, frozenset(said)) for name, said in needs.items()), lines)
