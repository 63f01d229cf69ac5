"""What a scripted model knows: the messages it was given, read as calls and their outcomes. It remembers nothing else."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controlplane.connectors.models.completion import Completion, Message, Tool

Script = Callable[[Sequence[Message], Sequence[Tool]], Completion]
WAIT = "approvals_wait"
_scripts: dict[str, Script] = {}

OURS = {"applied", "failed", "pending_approval", "denied", "expired", "void", "in_doubt", "drafted", "refused", "proposed"}
DENIALS = {"denied", "expired", "void"}


def named(name: str) -> Callable[[Script], Script]:
    """Registers a script. A name is taken once."""

    def register(script: Script) -> Script:
        if _scripts.setdefault(name, script) is not script:
            raise ValueError(f"two scripts are called {name}")
        return script

    return register


def find(name: str) -> Script | None:
    return _scripts.get(name)


def names() -> list[str]:
    return sorted(_scripts)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call: applied, pending, denied, drafted, in_doubt or refused (by the gate or by the system)."""

    state: str
    value: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    id: str
    tool: str
    arguments: Mapping[str, Any]
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class Transcript:
    """The conversation so far, as far as a script needs it."""

    brief: str
    asked: tuple[Asked, ...]
    offered: frozenset[str]

    def all(self, tool: str) -> list[Asked]:
        return [each for each in self.asked if each.tool == tool and each.outcome is not None]

    def settled(self, tool: str) -> Outcome | None:
        """The last call of the tool, after the waiting that followed it. None if it was never called."""
        found: Outcome | None = None
        held = ""
        for each in self.asked:
            if each.outcome is None:
                continue
            if each.tool == tool or (each.tool == WAIT and held and str(each.arguments.get("call")) == held):
                found = each.outcome
                held = str(found.value.get("call", "") or held)
        return found


def read(messages: Sequence[Message], tools: Sequence[Tool]) -> Transcript:
    results = {str(message.get("call_id")): outcome(message) for message in messages if message.get("role") == "tool"}
    asked = [
        Asked(str(call["id"]), str(call["tool"]), call.get("arguments") or {}, results.get(str(call["id"]))) for call in _calls(messages)
    ]
    # A prompt speaks of tickets and columns in general: the particular ones are in what the user said.
    brief = "\n".join(str(message.get("text") or "") for message in messages if message.get("role") == "user")
    return Transcript(brief=brief, asked=tuple(asked), offered=frozenset(str(tool.get("name", "")) for tool in tools))


def outcome(message: Message) -> Outcome:
    """Reads a tool message: the gate's own words where it held or refused the call, else what the system answered."""
    result = message.get("result")
    said = structured(result if isinstance(result, Mapping) else {}, str(message.get("text") or ""))
    status, inner = str(said.get("status") or ""), said.get("result")
    code = str(said.get("code") or "")
    reason = _first(said, "reason", "message", "detail", "title") or str(message.get("text") or "")
    failed = isinstance(result, Mapping) and bool(result.get("isError"))
    if status in DENIALS or code in DENIALS or code.startswith("approval_"):
        return Outcome("denied", said, code or status, reason)
    if status == "pending_approval":
        return Outcome("pending", said, code, reason)
    if status in {"drafted", "in_doubt"}:
        return Outcome(status, said, code, reason)
    if status in OURS and isinstance(inner, Mapping):
        failed = failed or bool(inner.get("isError"))
        said = structured(inner, "")
        code, reason = str(said.get("code") or code), _first(said, "reason", "message", "detail") or reason
    return Outcome("refused" if failed or status in {"failed", "refused"} else "applied", said, code, reason)


def structured(result: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The structured half of an MCP result, or its text where that is a JSON object."""
    found = result.get("structuredContent")
    if isinstance(found, Mapping):
        return dict(found)
    for written in [*(str(part.get("text", "")) for part in result.get("content") or [] if isinstance(part, Mapping)), text]:
        try:
            value = json.loads(written)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    return {}


def say(text: str, *, reasoning: str = "") -> Completion:
    return Completion(text=text, reasoning=reasoning)


def call(seen: Transcript, tool: str, arguments: dict[str, Any], *, text: str = "", reasoning: str = "") -> Completion:
    """One call. Its id is its place in the conversation, so the same conversation always gives the same id."""
    return Completion(text=text, reasoning=reasoning, calls=[{"id": f"call_{len(seen.asked) + 1}", "tool": tool, "arguments": arguments}])


def wait(seen: Transcript, held: Outcome) -> Completion:
    """Waits for the people who decide, if the gate offers a way to; else ends the turn and is asked again later."""
    ticket = str(held.value.get("call") or "")
    if WAIT in seen.offered and ticket:
        return call(seen, WAIT, {"call": ticket}, text="The change waits for a person to approve it.")
    return say("The change waits for a person to approve it. I go on when they have decided.")


def first(pattern: str, *texts: str) -> str:
    """The first match in the first text that has one, or ""."""
    for text in texts:
        found = re.search(pattern, text)
        if found:
            return found.group(1) if found.groups() else found.group(0)
    return ""


def _calls(messages: Sequence[Message]) -> Iterator[Mapping[str, Any]]:
    for message in messages:
        if message.get("role") == "assistant":
            yield from message.get("calls") or []


def _first(said: Mapping[str, Any], *names: str) -> str:
    return next((str(said[name]) for name in names if said.get(name)), "")
