"""Knocks at the REST doors as an ASGI server does: the whole product behind it, hot doors and Django alike, in this process."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents import identity
from audit import log, tenancy
from controlplane import asgi
from tests import world as worlds

API = "/api/v1"
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def code(self) -> str:
        """Of the problem that this must be."""
        assert self.headers["content-type"] == "application/problem+json", self
        problem = self.body
        assert (problem["status"], problem["type"].rpartition("#")[2]) == (self.status, problem["code"])
        assert all(isinstance(problem[name], str) and problem[name] for name in ("title", "detail"))
        return str(problem["code"])

    @property
    def pointer(self) -> str:
        return str(self.body.get("pointer") or self.body["faults"][0]["pointer"])


def tokens(world: worlds.World) -> dict[str, str]:
    """A personal token for each of the cast."""
    return {name: identity.issue(by=person, member=world.members[name]).token for name, person in world.people.items()}


def ask(
    method: str, path: str, token: str = "", body: Any = None, *, raw: bytes | None = None, headers: dict[str, str | None] | None = None
) -> Reply:
    """One request; `raw` instead of `body` for what is no JSON. A header of None is left out."""
    sent = raw if raw is not None else json.dumps(body).encode() if body is not None else b""
    usual: dict[str, str | None] = {"host": "testserver", "content-length": str(len(sent))}
    usual |= {"content-type": "application/json"} if body is not None or raw is not None else {}
    usual |= {"authorization": f"Bearer {token}"} if token else {}
    named = {name: value for name, value in {**usual, **(headers or {})}.items() if value is not None}
    return asyncio.run(_exchange(method, path, [(name.encode(), value.encode("latin-1")) for name, value in named.items()], sent))


async def _exchange(method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> Reply:
    place, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": urllib.parse.unquote(place, errors="surrogateescape"),
        "query_string": query.encode("latin-1"),
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
        "scheme": "http",
    }
    said: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    await asgi.application(scope, receive, send)
    given = {name.decode().lower(): value.decode("latin-1") for name, value in said[0]["headers"]}
    return Reply(said[0]["status"], given, b"".join(message.get("body", b"") for message in said[1:]))


def propose(token: str, tool: str, arguments: Any, *, key: str = "", **more: Any) -> Reply:
    headers: dict[str, str | None] = {"idempotency-key": key} if key else {}
    return ask("POST", f"{API}/calls", token, {"tool": tool, "arguments": arguments, **more}, headers=headers)


def refused_inputs(world: worlds.World) -> list[dict[str, Any]]:
    """The details of the entries about input that was not acceptable, oldest first."""
    with tenancy.within(world.organisation):
        return [json.loads(entry.body)["detail"] for entry in log.entries(event="input.refused")][::-1]


@contextlib.contextmanager
def served() -> Iterator[int]:
    """The port of a real server on this test's database, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    command = [
        sys.executable,
        "-m",
        "granian",
        "--interface",
        "asgi",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "controlplane.asgi:application",
    ]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "REMIT_WEB_THREADS": "4"}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while True:
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < until, "the server did not open its port"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(5)
