"""Up to which amount fewer people would have been needed: found by asking the engine that decides, never by reading the rules ourselves."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agents import cedar, policies, runs, tools, vocabulary
from approvals import tiers
from approvals.models import Request

_NUMBER = re.compile(r"(?<![\w.])\d{1,15}(?![\w.])")
_ORDER = {tiers.AUTO: 0, tiers.ONE: 1, tiers.TWO: 2, tiers.REFUSED: 3}
MOST_ARGUMENTS, MOST_LITERALS, SAMPLES = 3, 40, 16


@dataclass(frozen=True, slots=True)
class Bound:
    """With `argument` at this value or less, all else equal, the rules in force would say `tier`."""

    argument: str
    tier: str
    most: int


def of(request: Request, tool: tools.Facts) -> list[Bound]:
    """The bounds of each whole-number argument under the rules in force; none where they cannot be computed.

    Call inside `tenancy.within`.
    """
    arguments = runs.kept(request.call.arguments)
    _, compiled = policies.in_force(request.organisation_id, request.workspace_id)
    question = policies.asked(request.call.decision, arguments) if isinstance(arguments, dict) else None
    if question is None or not isinstance(compiled, cedar.Compiled) or request.is_draft:
        return []
    found: list[Bound] = []
    for name in numbers(tool, arguments):
        found += _bounds(request, compiled, question, name, _least(tool, name))
    return found


def numbers(tool: tools.Facts, arguments: Mapping[str, Any]) -> list[str]:
    """The first few arguments that are whole numbers, in the order of the schema."""
    named = tools.schema(tool.input_schema).get("properties", {})
    whole = [name for name in named if named[name].get("type") == "integer"]
    return [name for name in whole if isinstance(arguments.get(name), int) and not isinstance(arguments[name], bool)][:MOST_ARGUMENTS]


def _least(tool: tools.Facts, name: str) -> int:
    least = tools.schema(tool.input_schema)["properties"][name].get("minimum", 0)
    return least if isinstance(least, int) else 0


def _bounds(request: Request, compiled: cedar.Compiled, question: vocabulary.Request, name: str, least: int) -> list[Bound]:
    value = question.arguments[name]
    literals = {int(found) for id in compiled.slice(question.action) for found in _NUMBER.findall(compiled.policies[id].text)}

    def rank(at: int) -> int:
        said = compiled.decide(replace(question, arguments={**question.arguments, name: at}))
        tier = tiers.tier_for(policy_tier=said.tier, stage=request.run.agent.stage, is_draft=False)
        return _ORDER[tier if said.allowed else tiers.REFUSED]

    if value <= least or len(literals) > MOST_LITERALS:
        return []
    points = sorted({least, value} | {near for one in literals for near in (one - 1, one, one + 1) if least <= near <= value})
    ranks = [rank(at) for at in points]
    if ranks != sorted(ranks):  # less is not always easier here, so there is no bound to speak of
        return []
    found = []
    for tier in (tiers.AUTO, tiers.ONE):
        most = _most(rank, points, ranks, _ORDER[tier])
        if _ORDER[tier] < ranks[-1] and most is not None and _holds(rank, least, most, _ORDER[tier]):
            found.append(Bound(name, tier, most))
    return found


def _most(rank: Callable[[int], int], points: list[int], ranks: list[int], wanted: int) -> int | None:
    """The largest value of this rank, between the last point that has it and the first that has not."""
    below = [at for at, one in zip(points, ranks, strict=True) if one == wanted]
    if not below:
        return None
    low = below[-1]
    high = next((at for at in points if at > low), low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if rank(middle) <= wanted else (low, middle)
    return low


def _holds(rank: Callable[[int], int], least: int, most: int, wanted: int) -> bool:
    step = max((most - least) // SAMPLES, 1)
    return all(rank(at) <= wanted for at in range(least, most + 1, step))
