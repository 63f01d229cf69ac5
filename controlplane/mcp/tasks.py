"""The tasks extension: a held call is a task under the call's own id. Nothing is kept for it that the call does not already say."""

import datetime
from typing import Any

from agents import organisations
from agents.models import Call
from controlplane import gate, hop
from controlplane.mcp import answers, callers, eras, frames

_MESSAGES = {
    "pending_approval": "Waiting for people to decide.",
    "running": "Approved; being carried out.",
    "drafted": "Kept as a proposal; waiting for people to decide.",
}


def task(call: Call, admission: gate.Admission) -> dict[str, Any]:
    """The task as it stands. A refusal is a completed task whose result is an error: `failed` is for errors of the protocol."""
    moved = call.finished_at or call.created_at
    shape: dict[str, Any] = {
        "taskId": call.id,
        "createdAt": _instant(call.created_at),
        "lastUpdatedAt": _instant(moved),
        "ttlMs": None,
        "pollIntervalMs": answers.POLL_MS,
    }
    if admission.status in _MESSAGES:
        return {**shape, "status": "working", "statusMessage": _MESSAGES[admission.status]}
    unknown = answers.unknown_tool(admission)
    if unknown:
        return {
            **shape,
            "status": "failed",
            "statusMessage": unknown.message,
            "error": {"code": unknown.error, "message": unknown.message, "data": unknown.data},
        }
    return {**shape, "status": "completed", "result": {"resultType": "complete", **answers.result_of(admission)}}


def get(asked: callers.Asked) -> hop.Answer:
    """The task of one of the caller's own calls."""
    call = _known(asked)
    return frames.result(asked.frame.id, asked.era.stamped(task(call, gate.standing(asked.principal.organisation, call.id))))


def cancel(asked: callers.Asked) -> hop.Answer:
    """Acknowledged, as the extension asks, and nothing more: what people were asked to decide stays asked, and the answer says so."""
    call = _known(asked)
    status = gate.standing(asked.principal.organisation, call.id).status
    note = "A call that people are deciding on is not withdrawn by its agent; deny it in Remit, or end the run."
    meta = {"remit/call": call.id, "remit/status": status, "remit/cancelled": False, "remit/note": note}
    return frames.result(asked.frame.id, asked.era.stamped({}, meta=meta))


def update(asked: callers.Asked) -> hop.Answer:
    """Acknowledged: Remit never asks the agent's client for input, so there is nothing to take."""
    _known(asked)
    return frames.result(asked.frame.id, asked.era.stamped({}))


def _known(asked: callers.Asked) -> Call:
    eras.require_tasks(asked.era)
    identifier = asked.frame.params.get("taskId")
    try:
        return callers.own_call(asked.principal, identifier if isinstance(identifier, str) else "")
    except organisations.NotFound as missing:
        raise frames.Rejected(frames.INVALID_PARAMS, "There is no such task.", status=200, recorded=False, code=missing.code) from None


def _instant(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
