"""One JSON-RPC message as it arrives, and the shapes an answer takes. Knows neither eras nor tools.

Strict where the standard is: whatever is not exactly one request or one notification is refused, and never half understood.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from audit import strict
from controlplane import hop

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
_MEMBERS = frozenset({"jsonrpc", "id", "method", "params"})
_LONGEST_ID, _LONGEST_METHOD = 256, 128
_NOT_JSON = (strict.Malformed, strict.NotUtf8)  # exactly these; their siblings are JSON that nobody should act on


class Rejected(Exception):
    """A message that is not acted upon: the JSON-RPC error, the HTTP status, and whether it is written down as refused input."""

    def __init__(
        self, error: int, message: str, *, code: str, status: int = 400, recorded: bool = True, data: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.error, self.message, self.status, self.recorded = error, message, status, recorded
        self.data = {**(data or {}), "code": code}


@dataclass(frozen=True, slots=True)
class Frame:
    """A request, or a notification (which has no id). `meta` is its `_meta`."""

    id: int | str | None
    method: str
    params: dict[str, Any]
    meta: dict[str, Any]


def read(body: bytes) -> Frame:
    """The one message in the body. Raises Rejected for everything else."""
    try:
        message = strict.parse(body)
    except strict.Malformed as malformed:
        error = PARSE_ERROR if type(malformed) in _NOT_JSON else INVALID_REQUEST
        status = 413 if isinstance(malformed, strict.TooLarge) else 400
        raise Rejected(error, malformed.message, code=malformed.code, status=status, data=malformed.details) from None
    if isinstance(message, list):
        raise Rejected(INVALID_REQUEST, "Batches are not accepted; send each message by itself.", code="batch")
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise Rejected(INVALID_REQUEST, "The body must be one JSON-RPC 2.0 message.", code="not_json_rpc")
    if not message.keys() <= _MEMBERS:
        raise Rejected(INVALID_REQUEST, "A request has no members but jsonrpc, id, method and params.", code="unknown_member")
    method, params = message.get("method"), message.get("params")
    if not isinstance(method, str) or not 0 < len(method) <= _LONGEST_METHOD:
        raise Rejected(INVALID_REQUEST, "The method must be a string.", code="method")
    params = {} if params is None else params  # some clients write an absent value as null
    meta = params.get("_meta", {}) if isinstance(params, dict) else None
    if not isinstance(meta, dict):
        raise Rejected(INVALID_REQUEST, "The params and their _meta must be objects.", code="params")
    return Frame(_identifier(message, method), method, params, meta)


def _identifier(message: dict[str, Any], method: str) -> int | str | None:
    if "id" not in message:
        if not method.startswith("notifications/"):  # whoever sends it believes that something was done
            raise Rejected(INVALID_REQUEST, "A request needs an id.", code="id")
        return None
    identifier = message["id"]
    if isinstance(identifier, str) and len(identifier) <= _LONGEST_ID:
        return identifier
    if isinstance(identifier, int) and not isinstance(identifier, bool):
        return identifier
    raise Rejected(INVALID_REQUEST, "The id must be an integer or a short string.", code="id")


def result(identifier: int | str | None, value: dict[str, Any]) -> hop.Answer:
    return hop.Answer(200, orjson.dumps({"jsonrpc": "2.0", "id": identifier, "result": value}))


def rejection(identifier: int | str | None, rejected: Rejected) -> hop.Answer:
    error = {"code": rejected.error, "message": rejected.message, "data": rejected.data}
    return hop.Answer(rejected.status, orjson.dumps({"jsonrpc": "2.0", "id": identifier, "error": error}))
