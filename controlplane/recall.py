"""What the gate was told for a run's key and a tool, kept by this process for the next such call: that call then asks one question less.

Nothing is trusted for being kept. `gate_admit` admits a call only when the epoch under which all of this was read is the one in force
(agents/sql/epoch.sql), under the lock of the stop switches: a revoked key, a stop or a new rule counts from the moment it is committed.
Only a read that is let through is answered from here; for whatever else there is to say, all is read anew, the key first.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

_MOST = 512  # some 10 KB each
_LARGEST_DOCUMENT = 16_384  # a connector's own description comes with what is read of it


@dataclass(frozen=True, slots=True)
class Recalled:
    """The row behind the key, and what the gate reads before it decides."""

    row: dict[str, Any]
    context: dict[str, Any]


_kept: OrderedDict[tuple[str, str], Recalled] = OrderedDict()
_lock = threading.Lock()


def of(key: str, name: str) -> Recalled | None:
    """What was kept for a key's id and a tool's name."""
    with _lock:
        found = _kept.get((key, name))
        if found is not None:
            _kept.move_to_end((key, name))
        return found


def keep(key: str, name: str, row: dict[str, Any], context: dict[str, Any], *, calls: int, writes: int) -> None:
    """Keep it for the next call of this tool; the run has made so many by now."""
    if len(context["pin"]["connector"]["document"]) > _LARGEST_DOCUMENT:
        return
    told = {**context, "run": {**context["run"], "tool_calls": calls, "writes": writes}}
    with _lock:
        _kept[key, name] = Recalled(row, told)
        _kept.move_to_end((key, name))
        while len(_kept) > _MOST:
            _kept.popitem(last=False)


def drop(key: str, name: str) -> None:
    """It does not stand any more."""
    with _lock:
        _kept.pop((key, name), None)
