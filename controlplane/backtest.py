"""What other rules would have said of calls that were made: the engine asked again with what it was asked then. Changes nothing.

The arguments are the redacted ones that were kept. A call that cannot be asked about again is counted as such, never assumed unchanged.
"""

import datetime
import json
import time
from dataclasses import dataclass, field, replace
from typing import Any

from agents import access, cedar, policies, tools, usage, vocabulary
from controlplane import examination

MOST_CALLS = 5000
SECONDS = 2.0
SHOWN = 20
_HUMAN_NO = frozenset({"DENIED"})


@dataclass(slots=True)
class Move:
    """Calls whose outcome would be another one. `denied` of them were denied by a person then."""

    before: str
    after: str
    calls: int = 0
    denied: int = 0
    shown: list[usage.Past] = field(default_factory=list)

    @property
    def is_looser(self) -> bool:
        return access.TIERS.index(self.after) < access.TIERS.index(self.before)


@dataclass(slots=True)
class Backtest:
    """`asked` calls were asked about again; `unclear` could not be. `whole` is false when the bound or the time was reached first."""

    days: int
    asked: int = 0
    unclear: int = 0
    whole: bool = True
    seconds: float = 0.0
    moves: list[Move] = field(default_factory=list)

    @property
    def changed(self) -> int:
        return sum(move.calls for move in self.moves)


def run(
    *, organisation: str, workspace: str, now: datetime.datetime, days: int, current: cedar.Compiled, proposed: cedar.Compiled
) -> Backtest:
    """The newest calls of so many days under both sets of rules. Call inside `tenancy.within`."""
    found, begun = Backtest(days), time.monotonic()
    moves: dict[tuple[str, str], Move] = {}
    known: dict[Any, tuple[str, str]] = {}
    past = usage.past(organisation, workspace, since=now - datetime.timedelta(days=days), most=MOST_CALLS + 1)
    for number, call in enumerate(past):
        if number >= MOST_CALLS or time.monotonic() - begun > SECONDS:
            found.whole = False
            break
        request = _request(call, current, proposed)
        if request is None:
            found.unclear += 1
            continue
        tool = tools.version(organisation, call.tool_version)
        key = (tool.version, *access.visible(current, request), *access.visible(proposed, request))
        if key not in known:
            known[key] = _tier(current, request, tool), _tier(proposed, request, tool)
        before, after = known[key]
        found.asked += 1
        if before != after:
            move = moves.setdefault((before, after), Move(before, after))
            move.calls += 1
            move.denied += call.state in _HUMAN_NO
            if len(move.shown) < SHOWN or (call.state in _HUMAN_NO and len(move.shown) < 2 * SHOWN):
                move.shown.append(call)
    order = access.TIERS.index
    found.moves = sorted(moves.values(), key=lambda move: (order(move.after) - order(move.before), -move.calls))
    found.seconds = round(time.monotonic() - begun, 2)
    return found


def _tier(rules: cedar.Compiled, request: vocabulary.Request, tool: tools.Facts) -> str:
    return examination.tier_of(tool, request.stage, rules.decide(request).tier)[0]


def _request(call: usage.Past, current: cedar.Compiled, proposed: cedar.Compiled) -> vocabulary.Request | None:
    """The question as it was asked then; None when it cannot be asked again."""
    try:
        arguments = json.loads(call.arguments)
        request = policies.asked(call.decision, arguments)
    except ValueError:
        return None
    if request is None or not isinstance(arguments, dict):
        return None
    if call.name not in current.vocabulary.tools or call.name not in proposed.vocabulary.tools:
        return None
    request = replace(request, action=call.name, stage=request.stage or request.agent.stage)
    try:
        current.vocabulary.context(request)
    except ValueError:  # a redacted value is no longer of its type
        return None
    return request
