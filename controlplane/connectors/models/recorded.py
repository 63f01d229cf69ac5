"""A model that answers from a recorded run: its n-th turn is the recording's n-th, with the calls and the usage that stand there."""

import functools
import gzip
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.connectors.models.completion import Completion, ModelRequest, ProviderRefused
from controlplane.connectors.models.scripted import tokens

ROOTS = "REMIT_RECORDINGS"


@dataclass(frozen=True, slots=True)
class Turn:
    """What was said to the assistant since its last turn, and its answer."""

    heard: tuple[str, ...]
    text: str
    calls: tuple[dict[str, Any], ...]
    usage: dict[str, int]


def complete(request: ModelRequest) -> Completion:
    """The turn after those already in the messages; an empty last word when the recording is over. Raises ProviderRefused."""
    path, run_id = str(request.options.get("path") or ""), str(request.options.get("run_id") or "")
    recorded = turns(path=path, run_id=run_id)
    place = sum(1 for message in request.messages if message.get("role") == "assistant")
    if place >= len(recorded):
        return Completion(model=request.model)
    turn = recorded[place]
    return Completion(
        text=turn.text,
        calls=[dict(call) for call in turn.calls],
        usage=dict(turn.usage),
        model=request.model,
        finish_reason="tool_calls" if turn.calls else "stop",
    )


def turns(*, path: str, run_id: str) -> tuple[Turn, ...]:
    """Every assistant turn of one run. Raises ProviderRefused when the file is not one of the allowed ones or has no such run."""
    file = _allowed(path)
    state = file.stat()
    return _turns(str(file), run_id, state.st_mtime_ns, state.st_size)


def _allowed(path: str) -> Path:
    # An agent's options name the file, so without a border they would name any file of this machine.
    roots = [Path(root).resolve() for root in os.environ.get(ROOTS, "").split(os.pathsep) if root]
    if not roots:
        raise ProviderRefused(f"Recordings are off: {ROOTS} names no folder.", code="recordings_off")
    file = Path(path).resolve()
    if not any(file.is_relative_to(root) for root in roots) or not file.is_file():
        raise ProviderRefused(f"There is no recording {path!r} in the folders of {ROOTS}.", code="no_recording")
    return file


@functools.lru_cache(maxsize=64)
def _turns(path: str, run_id: str, _changed_ns: int, _size: int) -> tuple[Turn, ...]:
    # The last two arguments make a changed file a different entry of the cache.
    mark = json.dumps(run_id, ensure_ascii=False).encode()
    opener = gzip.open if path.endswith(".gz") else open
    try:
        with opener(path, "rb") as lines:
            for line in lines:
                if mark in line and (run := json.loads(line)).get("run_id") == run_id:
                    return _assistant_turns(run["steps"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ProviderRefused(f"{path} is not a recording ({type(fault).__name__}).", code="bad_recording") from fault
    raise ProviderRefused(f"{path} has no run {run_id!r}.", code="no_recording")


def _assistant_turns(steps: list[dict[str, Any]]) -> tuple[Turn, ...]:
    done: list[Turn] = []
    heard: list[str] = []
    taken: set[str] = set()
    for place, step in enumerate(steps):
        if step["role"] == "user":
            heard.append(str(step.get("text") or ""))
        elif step["role"] == "assistant":
            calls = tuple(_calls(steps, place + 1, taken))
            done.append(Turn(tuple(heard), str(step.get("text") or ""), calls, _usage(step, calls)))
            heard = []
    return tuple(done)


def _calls(steps: list[dict[str, Any]], start: int, taken: set[str]) -> list[dict[str, Any]]:
    """The assistant's calls up to its next turn. Recorded ids are missing or repeated in a fifth of the runs; ours are unique in a run."""
    found = []
    for step in steps[start:]:
        if step["role"] == "assistant":
            break
        if step["role"] == "call" and step.get("by", "assistant") == "assistant":
            written = str(step.get("id") or "call")
            name = written if step.get("id") and written not in taken else f"{written}_{step['n']}"
            taken.add(name)
            found.append({"id": name, "tool": step["tool"], "arguments": step.get("args") or {}})
    return found


def _usage(step: dict[str, Any], calls: tuple[dict[str, Any], ...]) -> dict[str, int]:
    counted = step.get("tokens")
    if counted:
        return {"input_tokens": counted["in"], "output_tokens": counted["out"], "cached_tokens": 0}
    written = str(step.get("text") or "") + (json.dumps(calls) if calls else "")
    return {"input_tokens": 0, "output_tokens": tokens(written), "cached_tokens": 0}
