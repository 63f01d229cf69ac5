"""What the gate was told for a run's key and a tool, kept by this process for the next such call: that call then asks one question less.

Nothing is trusted for being kept. `gate_admit` looks at the key itself, and admits a call only when the epoch under which the rest was read
is the one in force (agents/sql/epoch.sql), under the lock of the stop switches: each change counts from the moment it is committed.
Only a read that is let through is answered from here; for whatever else there is to say, all is read anew, the key first.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

_MOST = 512  # some 10 KB each
UNKNOWN = -1
_LARGEST_DOCUMENT = 16_384  # a connector's own description comes with what is read of it


@dataclass(frozen=True, slots=True)
class Recalled:
    """The row behind the key, and what the gate reads before it decides."""

    row: dict[str, Any]
    context: dict[str, Any]


Asked = tuple[str, str, str]  # organisation, the key's id, the tool's name
_kept: OrderedDict[Asked, Recalled] = OrderedDict()
_lock = threading.Lock()


def of(asked: Asked) -> Recalled | None:
    """What was kept."""
    with _lock:
        found = _kept.get(asked)
        if found is not None:
            _kept.move_to_end(asked)
        return found


def keep(asked: Asked, row: dict[str, Any], context: dict[str, Any]) -> None:
    """Keep it for the next such call. How much the run did until then nobody knows yet: `gate_admit` writes it down."""
    if len(context["pin"]["connector"]["document"]) > _LARGEST_DOCUMENT:
        return
    told = {**context, "run": {**context["run"], "tool_calls": UNKNOWN, "writes": UNKNOWN}}
    with _lock:
        _kept[asked] = Recalled(row, told)
        _kept.move_to_end(asked)
        while len(_kept) > _MOST:
            _kept.popitem(last=False)


def drop(asked: Asked) -> None:
    """It does not stand any more."""
    with _lock:
        _kept.pop(asked, None)
