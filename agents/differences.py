"""What other rules would change in access: gained, lost, loosened, tightened. Judged at the borders that the rules of both sides name."""

from collections.abc import Iterable
from dataclasses import dataclass

from agents import access, tools
from agents.models import Agent

WORDS = ("Gained", "Lost", "Loosened", "Tightened", "Both ways")


@dataclass(frozen=True, slots=True)
class Difference:
    """One cell that changes. `word` is one of WORDS."""

    agent: Agent
    before: access.Access
    after: access.Access
    word: str


def between(before: access.Ground, after: access.Ground, agents: Iterable[Agent], columns: list[tools.Facts]) -> list[Difference]:
    """Every cell that differs, the gained and loosened first. Call inside `tenancy.within`."""
    found = []
    for agent in agents:
        for column in columns:
            old, new = access.access(before, agent, column.name), access.access(after, agent, column.name)
            if differs(old, new):
                found.append(Difference(agent, old, new, _word(before, after, agent, old, new)))
    order = ("Gained", "Loosened", "Both ways", "Tightened", "Lost")
    return sorted(found, key=lambda each: (order.index(each.word), each.agent.slug, each.after.tool))


def differs(before: access.Access, after: access.Access) -> bool:
    """Do the rules say something else? Words and rule texts may change without it."""
    cases = [(one.when, one.tier) for one in before.cases] != [(one.when, one.tier) for one in after.cases]
    limits = {rule.id: rule.text for rule in before.limits} != {rule.id: rule.text for rule in after.limits}
    return cases or limits or (before.word, before.lowest, before.highest) != (after.word, after.lowest, after.highest)


def _word(before: access.Ground, after: access.Ground, agent: Agent, old: access.Access, new: access.Access) -> str:
    if not old.is_possible and new.is_possible:
        return "Gained"
    if old.is_possible and not new.is_possible:
        return "Lost"
    steps = _steps(before, after, agent, old, new)
    if min(steps) < 0 < max(steps):
        return "Both ways"
    return "Loosened" if min(steps) < 0 else "Tightened" if max(steps) > 0 else "Both ways"


def _steps(before: access.Ground, after: access.Ground, agent: Agent, old: access.Access, new: access.Access) -> list[int]:
    """How many tiers further each example is from going through alone; the ends of the ranges where there are no examples."""
    at = access.TIERS.index
    found = [at(new.lowest) - at(old.lowest), at(new.highest) - at(old.highest)]
    for case in (*old.cases, *new.cases):
        was = access.access_with(before, agent, old.tool, dict(case.example))
        now = access.access_with(after, agent, new.tool, dict(case.example))
        if was.word in access.TIERS and now.word in access.TIERS:
            found.append(at(now.word) - at(was.word))
    extra = len(new.limits) - len(old.limits)  # a rule about circumstances only ever holds something back
    return [*found, (extra > 0) - (extra < 0)]
