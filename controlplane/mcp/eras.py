"""Which revision of MCP a request speaks, and what that revision asks of its headers.

Two eras: with a handshake (2025-03-26 to 2025-11-25), and stateless since 2026-07-28. Both are answered from the request alone.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from controlplane.mcp import frames

STATELESS = "2026-07-28"
HANDSHAKE = ("2025-11-25", "2025-06-18", "2025-03-26")
SUPPORTED = (STATELESS, *HANDSHAKE)
HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION = -32020, -32021, -32022
TASKS = "io.modelcontextprotocol/tasks"
SERVER = {"name": "remit", "title": "Remit", "version": settings.VERSION}
INSTRUCTIONS = (
    "Every call passes Remit's gate. A call that needs a person answers with status pending_approval: nothing was sent yet. Call "
    "approvals_wait with its call id to wait for the decision, and do not propose it again. A refusal names its rule and what to do next."
)
_VERSION, _CAPABILITIES = "io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities"
_NAMED = {"tools/call": "name", "tasks/get": "taskId", "tasks/update": "taskId", "tasks/cancel": "taskId"}
_NOTHING: Mapping[str, Any] = {}
_OPEN, _CLOSE = "=?base64?", "?="


@dataclass(frozen=True, slots=True)
class Era:
    """How to answer this request. `tasks`: its client takes a task for an answer."""

    is_stateless: bool
    tasks: bool = False

    def stamped(self, result: dict[str, Any], *, kind: str = "complete", meta: Mapping[str, Any] = _NOTHING) -> dict[str, Any]:
        """The result with what its revision wants on every result."""
        if self.is_stateless:
            return {**result, "resultType": kind, "_meta": {"io.modelcontextprotocol/serverInfo": SERVER, **meta}}
        return {**result, "_meta": dict(meta)} if meta else result

    def listed(self, result: dict[str, Any]) -> dict[str, Any]:
        """Lists differ from caller to caller and may change with a click: nobody keeps or shares them."""
        return self.stamped({**result, "ttlMs": 0, "cacheScope": "private"} if self.is_stateless else result)


def of(frame: frames.Frame, headers: Mapping[str, str]) -> Era:
    """The era of a request. Raises Rejected when it contradicts itself, lacks what its revision requires, or speaks one we do not."""
    header = headers.get("mcp-protocol-version")
    if _VERSION in frame.meta and frame.meta[_VERSION] != header:
        raise _mismatch("MCP-Protocol-Version", header, frame.meta[_VERSION])
    _mirrored(frame, headers, required=header == STATELESS and frame.id is not None)
    if header is not None and header not in SUPPORTED:
        raise frames.Rejected(
            UNSUPPORTED_VERSION,
            "Unsupported protocol version",
            code="unsupported_protocol_version",
            recorded=False,
            data={"supported": list(SUPPORTED), "requested": header[:64]},
        )
    if header != STATELESS or frame.id is None:
        return Era(is_stateless=header == STATELESS)
    capabilities = frame.meta.get(_CAPABILITIES)
    if _VERSION not in frame.meta or not isinstance(capabilities, dict):
        raise frames.Rejected(frames.INVALID_PARAMS, f"params._meta must carry {_VERSION} and {_CAPABILITIES}.", code="missing_meta")
    extensions = capabilities.get("extensions")
    return Era(is_stateless=True, tasks=isinstance(extensions, dict) and isinstance(extensions.get(TASKS), dict))


def _mirrored(frame: frames.Frame, headers: Mapping[str, str], *, required: bool) -> None:
    """Headers repeat the body so that others may route by them; two truths in one request are refused, in either era."""
    method = headers.get("mcp-method")
    if method != frame.method and (required or method is not None):
        raise _mismatch("Mcp-Method", method, frame.method)
    name, source = headers.get("mcp-name"), _NAMED.get(frame.method)
    wanted = frame.params.get(source) if source else None
    if not isinstance(wanted, str):
        return  # a missing or odd name is answered as what it is: invalid params
    # The tasks extension tells clients to send the name of a task; it does not tell servers to insist.
    missing = name is None and required and frame.method == "tools/call"
    if missing or (name is not None and _decoded(name) != wanted):
        raise _mismatch("Mcp-Name", name, wanted)


def _mismatch(header: str, value: Any, body: Any) -> frames.Rejected:
    message = f"Header mismatch: {header} is {value!r:.80} and the body says {body!r:.80}."
    return frames.Rejected(HEADER_MISMATCH, message, code="header_mismatch", data={"header": header})


def _decoded(value: str) -> str | None:
    """A header value out of its base64 wrapping; None when the wrapping is torn."""
    if not (value.startswith(_OPEN) and value.endswith(_CLOSE) and len(value) >= len(_OPEN) + len(_CLOSE)):
        return value
    payload = value[len(_OPEN) : -len(_CLOSE)]
    try:
        decoded = base64.b64decode(payload, validate=True)
        return decoded.decode() if base64.b64encode(decoded).decode() == payload else None  # one spelling only
    except (binascii.Error, ValueError):
        return None


def initialized(params: Mapping[str, Any]) -> dict[str, Any]:
    """The handshake: the client's version when we speak it, else our newest of that era. No session is made."""
    wanted = params.get("protocolVersion")
    if not isinstance(wanted, str):
        raise frames.Rejected(frames.INVALID_PARAMS, "initialize needs a protocolVersion.", code="params", status=200)
    version = wanted if wanted in HANDSHAKE else HANDSHAKE[0]
    return {
        "protocolVersion": version,
        "capabilities": {"tools": {"listChanged": False}},
        "serverInfo": SERVER,
        "instructions": INSTRUCTIONS,
    }


def discovered(era: Era) -> dict[str, Any]:
    return era.listed(
        {
            "supportedVersions": list(SUPPORTED),
            "capabilities": {"tools": {"listChanged": False}, "extensions": {TASKS: {}}},
            "instructions": INSTRUCTIONS,
        }
    )


def require_tasks(era: Era) -> None:
    """Raises Rejected for a client that did not declare the tasks extension with this very request."""
    if not era.tasks:
        raise frames.Rejected(
            MISSING_CAPABILITY,
            "Missing required client capability",
            code="missing_capability",
            recorded=False,
            data={"requiredCapabilities": {"extensions": {TASKS: {}}}},
        )
