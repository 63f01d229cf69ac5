"""How a call stands, as a tool result: for the program in structuredContent, for the model in a sentence that says what to do next."""

from collections.abc import Mapping
from typing import Any

import orjson

from audit import outcomes
from controlplane import gate
from controlplane.mcp import frames, listing

POLL_MS = 1000
_NAMES_SHOWN = 50
_WAITING = {
    "pending_approval": "Held until people decide; nothing was sent. Call approvals_wait with this call id. Do not propose it again.",
    "running": "Under way. Call approvals_wait with this call id for its result. Do not propose it again.",
    "drafted": "Kept as a proposal for people to decide; nothing was sent. Go on without its result, and do not propose it again.",
}


def result_of(admission: gate.Admission) -> dict[str, Any]:
    """The upstream's own answer unchanged where there is one; else the standing, which is an error unless it is still open."""
    if admission.result is not None:
        answered: dict[str, Any] = admission.result
        return answered
    told = {**(admission.refusal or {}), "status": admission.status, "call": admission.call}
    if admission.approval:
        told |= {"approval": admission.approval, "plan": admission.plan, "expires_at": admission.expires_at}
    if admission.status not in _WAITING:
        return _result(_sentence(told), told, is_error=admission.status != "applied")  # applied without a result: it is no longer kept
    if admission.status != "drafted":
        told |= {"poll_after_ms": POLL_MS, "wait_with": listing.WAIT}
    return _result(_WAITING[admission.status], told, is_error=False)


def refused(refusal: outcomes.Refused) -> dict[str, Any]:
    """A refusal before there was a call of its own: a key in use, a run that is over for keys, somebody else's call."""
    told = {**refusal.as_dict(), "status": "refused"}
    return _result(_sentence(told), told, is_error=True)


def unknown_tool(admission: gate.Admission) -> frames.Rejected | None:
    """The protocol's own error for a tool that is not there, with the tools that are: in `data`, and in words for clients that drop it."""
    refusal = admission.refusal or {}
    if admission.status != "refused" or refusal.get("code") != "unknown_tool":
        return None
    names = [str(name) for name in refusal.get("tools", ())]
    shown = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
    message = f"{refusal['message']} You may use: {shown or 'none'}."
    return frames.Rejected(frames.INVALID_PARAMS, message, code="unknown_tool", status=200, data={**refusal, "call": admission.call})


def _sentence(told: Mapping[str, Any]) -> str:
    said = [str(told.get("message") or f"This call is {str(told['status']).replace('_', ' ')}.")]
    said += [f"Rule: {told['rule']}."] if told.get("rule") else []
    return " ".join(said + ([f"Next: {told['next']}"] if told.get("next") else []))


def _result(sentence: str, told: dict[str, Any], *, is_error: bool) -> dict[str, Any]:
    text = f"{sentence}\n{orjson.dumps(told).decode()}"
    return {"content": [{"type": "text", "text": text}], "structuredContent": told, "isError": is_error}
