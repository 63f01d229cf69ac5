"""Whether what needs people can be decided at all: how many may be one human, how many two, and what that means for each agent."""

from dataclasses import dataclass

from agents import contracts, seats
from agents.models import Member
from controlplane.console.frame import Place


@dataclass(frozen=True, slots=True)
class Coverage:
    """`stuck` are agents whose requests nobody, or not two people, could decide: their owner never does."""

    ones: tuple[Member, ...]
    twos: tuple[Member, ...]
    stuck: tuple[tuple[str, str], ...]

    @property
    def persons(self) -> int:
        """Two accounts of one human are one person."""
        return len({member.person for member in self.ones})

    @property
    def pairs(self) -> int:
        return len({member.person for member in self.twos})

    @property
    def words(self) -> str:
        """In one sentence."""
        if not self.ones:
            return "Nobody can approve: every request is denied when its time is over."
        who = f"{self.persons} {'person' if self.persons == 1 else 'people'} can approve"
        two = "can be decided" if self.pairs > 1 else "can not be decided"
        return f"{who}; a two-human request {two}."


def check(place: Place) -> Coverage:
    """Call inside `tenancy.within`."""
    ones = tuple(seats.holding("approvals_decide", place.workspace.id))
    twos = tuple(seats.holding("approvals_decide_two", place.workspace.id))
    stuck: list[tuple[str, str]] = []
    for agent in contracts.in_use(place.workspace.id):
        one = {member.person for member in ones} - {agent.owner.person}
        two = {member.person for member in twos} - {agent.owner.person}
        if not one:
            stuck.append((agent.slug, "nobody but its owner could approve"))
        elif len(two) < 2:
            stuck.append((agent.slug, "a two-human request could not be decided"))
    return Coverage(ones, twos, tuple(stuck))
