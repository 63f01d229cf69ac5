"""The smallest MCP server there is: raw ASGI, no state. Its own cost is next to nothing, so a ratio shows the whole price of the gate."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
TOOLS = [
    {"name": "echo", "description": "Returns its text.", "inputSchema": SCHEMA, "annotations": {"readOnlyHint": True}},
    {"name": "store", "description": "Stores its text.", "inputSchema": SCHEMA, "annotations": {"readOnlyHint": False}},
]


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The JSON-RPC reply to one request."""
    method, parameters = request.get("method"), request.get("params") or {}
    reply: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
    if method == "initialize":
        version = parameters.get("protocolVersion", "2025-06-18")
        return reply | {
            "result": {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": "echo", "version": "1"}}
        }
    if method == "ping":
        return reply | {"result": {}}
    if method == "tools/list":
        return reply | {"result": {"tools": TOOLS}}
    if method == "tools/call":
        text = "echo:" + parameters.get("arguments", {}).get("text", "")
        return reply | {"result": {"content": [{"type": "text", "text": text}], "isError": False}}
    return reply | {"error": {"code": -32601, "message": "no such method"}}


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), bool(message.get("more_body"))
    request = json.loads(body) if body else {}
    status, raw = (200, json.dumps(answer(request)).encode()) if "id" in request else (202, b"")
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": raw})
