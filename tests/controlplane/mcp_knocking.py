"""Knocks at the MCP door as an ASGI server does: whole requests in, status, headers and JSON out."""

import asyncio
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from approvals import votes
from controlplane import hop, recovery
from controlplane.mcp import endpoint
from tests import world as worlds

STATELESS = "2026-07-28"
META = {"io.modelcontextprotocol/protocolVersion": STATELESS, "io.modelcontextprotocol/clientCapabilities": {}}
TASKS: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: Any

    @property
    def result(self) -> dict[str, Any]:
        assert (self.status, "result" in self.body) == (200, True), self
        return dict(self.body["result"])

    @property
    def facts(self) -> dict[str, Any]:
        return dict(self.result["structuredContent"])

    @property
    def error(self) -> dict[str, Any]:
        assert set(self.body) == {"jsonrpc", "id", "error"}, self
        return dict(self.body["error"])

    @property
    def code(self) -> str:
        return str(self.error["data"]["code"])


@dataclass
class Knock:
    """One caller. `stateless` sends what the newer era requires; headers given to a call replace those, None leaves one out."""

    token: str
    stateless: bool = False
    capabilities: dict[str, Any] = field(default_factory=dict)
    ids: Iterable[int] = field(default_factory=lambda: itertools.count(1))

    def ask(self, method: str, params: dict[str, Any] | None = None, *, headers: dict[str, str | None] | None = None, **more: Any) -> Reply:
        """One request; `more` replaces members of the message."""
        params = dict(params or {})
        sent: dict[str, str | None] = {}
        if self.stateless:
            name = params.get("name", params.get("taskId"))
            sent = {"mcp-protocol-version": STATELESS, "mcp-method": method, "mcp-name": name if isinstance(name, str) else None}
            params["_meta"] = {**META, "io.modelcontextprotocol/clientCapabilities": self.capabilities, **params.get("_meta", {})}
        message = {"jsonrpc": "2.0", "id": next(iter(self.ids)), "method": method, "params": params, **more}
        return self.post(json.dumps(message).encode(), {**sent, **(headers or {})})

    def call(
        self, name: str, arguments: Any = None, *, meta: dict[str, Any] | None = None, headers: dict[str, str | None] | None = None
    ) -> Reply:
        params = {"name": name, "arguments": {} if arguments is None else arguments, **({"_meta": meta} if meta else {})}
        return self.ask("tools/call", params, headers=headers)

    def post(
        self, body: bytes, headers: dict[str, str | None] | None = None, *, method: str = "POST", twice: tuple[str, str] | None = None
    ) -> Reply:
        """Raw bytes; `twice` adds a header beside the one that is there."""
        usual = {
            "authorization": f"Bearer {self.token}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
        }
        named = {name: value for name, value in {**usual, **(headers or {})}.items() if value is not None}
        raw = [(name.encode(), value.encode("latin-1")) for name, value in named.items()]
        return asyncio.run(_exchange(method, raw + ([(twice[0].encode(), twice[1].encode())] if twice else []), body))


async def _exchange(method: str, headers: list[tuple[bytes, bytes]], body: bytes) -> Reply:
    scope = {"type": "http", "method": method, "path": "/mcp", "query_string": b"", "headers": headers}
    said: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    await hop.hot(endpoint.serve, scope, receive, send)
    start, rest = said
    text = rest["body"]
    return Reply(start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, json.loads(text) if text else None)


def approve_and_send(world: worlds.World, facts: dict[str, Any], *names: str) -> None:
    """People approve the plan; a worker takes it from there."""
    for name in names or ("ann",):
        votes.cast(by=world.people[name], request_id=facts["approval"], verdict="APPROVE", plan_digest=facts["plan"])
    recovery.resume(world.organisation, facts["call"])
