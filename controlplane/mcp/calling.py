"""tools/call and approvals_wait: a proposal into the gate, and how the call stands out of it. Every answer names its call."""

import math
from collections.abc import Set as AbstractSet
from typing import Any

from agents import schemas, tools
from audit import outcomes
from controlplane import examination, gate, hop
from controlplane.mcp import answers, callers, frames, listing, tasks

HOLD_S, HOLD_MOST_S = 0.0, 25.0  # how long a held call keeps its request open: not at all, unless the client asks
KEY, HOLD = "remit/idempotency-key", "remit/hold-seconds"
LONGEST_KEY = 255
_OPEN = frozenset({"pending_approval", "running"})
_UNDECIDED = _OPEN | {"drafted"}


def call(asked: callers.Asked) -> hop.Answer | hop.Wait:
    """Put the call through the gate. A refusal is a result, so that the model can read it; only an unknown tool is a protocol error."""
    name, arguments = asked.frame.params.get("name"), asked.frame.params.get("arguments")
    if not isinstance(name, str) or not name:
        raise frames.Rejected(frames.INVALID_PARAMS, "tools/call needs the name of a tool.", code="params")
    arguments = {} if arguments is None else arguments
    seconds, key = _hold_of(asked), _key_of(asked)
    try:
        if name == listing.WAIT:
            return _wait(asked, arguments)
        run = callers.run_of(asked.principal)
        admission = gate.admit(examination.Proposal(principal=asked.principal, run=run, name=name, arguments=arguments, key=key))
    except outcomes.Refused as refused:
        return frames.result(asked.frame.id, asked.era.stamped(answers.refused(refused)))
    if seconds and admission.status in _OPEN:
        return _held(asked, admission.call, seconds, _OPEN)
    return _said(asked, admission)


def _wait(asked: callers.Asked, arguments: Any) -> hop.Wait:
    faults = schemas.faults(listing.WAIT_SCHEMA, arguments, digest=listing.WAIT_DIGEST)
    if faults:
        told = [{"pointer": fault.pointer, "expected": fault.expected, "got": fault.got} for fault in faults]
        raise tools.InvalidArguments(
            f"The arguments of {listing.WAIT} do not fit its schema.", rule=f"schema of {listing.WAIT}", current=f"{len(faults)} faults",
            limit="0 faults", who="whoever proposes the call", next_step="Correct what the faults name.", faults=told,
        )  # fmt: skip
    waited_for = callers.own_call(asked.principal, arguments["call"])
    return _held(asked, waited_for.id, float(arguments.get("seconds", listing.WAIT_USUAL_S)), _UNDECIDED)


def _held(asked: callers.Asked, identifier: str, seconds: float, undecided: AbstractSet[str]) -> hop.Wait:
    organisation = asked.principal.organisation

    def look() -> hop.Answer | None:
        admission = gate.standing(organisation, identifier)
        return None if admission.status in undecided else _said(asked, admission)

    return hop.Wait(look=look, last=lambda: _said(asked, gate.standing(organisation, identifier)), seconds=seconds)


def _said(asked: callers.Asked, admission: gate.Admission) -> hop.Answer:
    unknown = answers.unknown_tool(admission)
    if unknown:
        return frames.rejection(asked.frame.id, unknown)
    # Ours alone: an upstream's `_meta` does not get here, so its result cannot pass for an answer of the gate.
    meta = {"remit/call": admission.call, "remit/status": admission.status}
    if asked.era.tasks and admission.status == "pending_approval" and asked.frame.params["name"] != listing.WAIT:
        task = tasks.task(callers.own_call(asked.principal, admission.call), admission)
        return frames.result(asked.frame.id, asked.era.stamped(task, kind="task", meta=meta))
    return frames.result(asked.frame.id, asked.era.stamped(answers.result_of(admission), meta=meta))


def _hold_of(asked: callers.Asked) -> float:
    seconds = asked.frame.meta.get(HOLD, HOLD_S)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds < 0:
        raise frames.Rejected(frames.INVALID_PARAMS, f"_meta.{HOLD} must be a number of seconds, {HOLD_MOST_S:.0f} at most.", code="params")
    return min(float(seconds), HOLD_MOST_S)


def _key_of(asked: callers.Asked) -> str:
    """The caller's idempotency key, or nothing. Said in two places, it must be the same."""
    said = {key for key in (asked.headers.get("idempotency-key"), asked.frame.meta.get(KEY)) if key is not None}
    if not said:
        return ""
    key = said.pop()
    if said or not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        message = f"The idempotency key must be one printable string of 1 to {LONGEST_KEY} characters."
        raise frames.Rejected(frames.INVALID_PARAMS, message, code="idempotency_key")
    return key
