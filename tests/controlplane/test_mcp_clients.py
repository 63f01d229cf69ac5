"""The official MCP client against the real server over real sockets, in every mode it has; and what a socket can do that no client does."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import httpx2
import mcp_types
import pytest
from mcp import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from approvals import requests
from audit import tenancy
from tests import world as worlds
from tests.controlplane.mcp_knocking import META, STATELESS, approve_and_send

ROOT = Path(__file__).resolve().parents[2]
MODES = ["legacy", "auto", STATELESS]
KEY: Any = {"remit/idempotency-key": "k"}
HELD = {"account": "a", "amount": 50}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = int(probe.getsockname()[1])
    command = [
        str(Path(sys.executable).parent / "granian"),
        "--interface",
        "asgi",
        "--host",
        "127.0.0.1",
        "--port",
        str(number),
        "controlplane.asgi:application",
    ]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "REMIT_WEB_THREADS": "6"}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        until = time.monotonic() + 60
        while True:
            assert server.poll() is None, server.stderr.read().decode()[-3000:] if server.stderr else ""
            assert time.monotonic() < until, "the server did not open its port"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", number), 0.2):
                break
            time.sleep(0.05)
        yield number
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture
def run(world: worlds.World) -> worlds.RunUnderTest:
    return world.start(reference="T-1")


@contextlib.asynccontextmanager
async def client(port: int, token: str, mode: str, extensions: Sequence[ClientExtension] = ()) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}, timeout=60) as http,
        Client(
            streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=http), mode=mode, extensions=list(extensions)
        ) as connected,
    ):
        yield connected


def waiting(world: worlds.World) -> list[Any]:
    with tenancy.within(world.organisation):
        return list(requests.waiting_for(by=world.people["ann"], workspace=world.workspace.id))


def approve_what_comes(world: worlds.World) -> threading.Thread:
    """A person who approves the first request that appears."""

    def decide() -> None:
        while not (found := waiting(world)):
            time.sleep(0.05)
        approve_and_send(world, {"approval": found[0].id, "plan": found[0].plan.digest, "call": found[0].call_id})

    person = threading.Thread(target=decide)
    person.start()
    return person


@pytest.mark.parametrize("mode", MODES)
def test_the_official_client_lists_reads_is_held_and_receives_the_result(port: int, run: worlds.RunUnderTest, mode: str) -> None:
    async def talk() -> None:
        async with client(port, run.token, mode) as agent:
            assert agent.protocol_version == ("2025-11-25" if mode == "legacy" else STATELESS)
            listed = await agent.list_tools()
            assert [tool.name for tool in listed.tools] == ["approvals_wait", "close_account", "get_account", "pay", "slow_read"]
            read = await agent.call_tool("get_account", {"account": "a"})
            assert read.structured_content == run.world.bank.accounts["a"]
            held = (await agent.call_tool("pay", HELD)).structured_content
            assert held["status"] == "pending_approval"
            await asyncio.to_thread(approve_and_send, run.world, held)
            paid = await agent.call_tool("approvals_wait", {"call": held["call"], "seconds": 20})
            assert paid.structured_content["balance"] == 950
            assert not paid.is_error
            again = await agent.call_tool("pay", {"account": "a", "amount": 5}, meta=KEY)
            assert again.structured_content == (await agent.call_tool("pay", {"account": "a", "amount": 5}, meta=KEY)).structured_content

    asyncio.run(talk())
    assert [arguments["amount"] for _, arguments, _ in run.world.bank.writes()] == [50, 5]


@pytest.mark.parametrize("mode", MODES)
def test_the_official_client_reads_refusals_and_sees_the_tools_there_are(port: int, run: worlds.RunUnderTest, mode: str) -> None:
    async def talk() -> None:
        async with client(port, run.token, mode) as agent:
            refused = await agent.call_tool("pay", {"account": "a", "amount": 901})
            assert refused.is_error
            assert refused.structured_content["code"] == "policy_denied"
            with pytest.raises(MCPError) as caught:
                await agent.call_tool("transfer_everything", {})
            assert caught.value.error.code == -32602
            assert caught.value.error.data["tools"] == ["close_account", "get_account", "pay", "slow_read"]

    asyncio.run(talk())
    assert not run.world.bank.writes()


@pytest.mark.parametrize("mode", MODES)
def test_the_official_client_with_a_bad_token_gets_nowhere(port: int, run: worlds.RunUnderTest, mode: str) -> None:
    async def talk() -> None:
        async with client(port, run.token[:-2] + "xx", mode) as agent:
            await agent.list_tools()

    with pytest.raises(BaseException) as caught:  # noqa: PT011
        asyncio.run(talk())
    assert "bearer token" in "".join(str(error) for error in leaves(caught.value))


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors that a group of groups holds."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


class Handle(mcp_types.Result):
    """What the tasks extension answers a held call with."""

    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    poll_interval_ms: int


class Poll(mcp_types.Request[dict[str, Any], str]):
    method: str = "tasks/get"
    params: dict[str, Any]
    name_param = "taskId"


class Polled(mcp_types.Result):
    status: str
    result: dict[str, Any] | None = None


class Tasks(ClientExtension):
    """The extension as a client would write it: poll until the task is done."""

    identifier = "io.modelcontextprotocol/tasks"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Handle, resolve=self.resolve)]

    async def resolve(self, handle: Handle, context: ClaimContext) -> mcp_types.CallToolResult:
        while True:
            polled = await context.session.send_request(Poll(params={"taskId": handle.task_id}), Polled)
            self.seen.append(polled.status)
            if polled.status != "working":
                return mcp_types.CallToolResult.model_validate(polled.result)
            await asyncio.sleep(handle.poll_interval_ms / 10_000)


@pytest.mark.parametrize("mode", ["auto", STATELESS])
def test_a_client_with_the_tasks_extension_simply_gets_the_result(port: int, run: worlds.RunUnderTest, mode: str) -> None:
    tasks = Tasks()

    async def talk() -> mcp_types.CallToolResult:
        async with client(port, run.token, mode, [tasks]) as agent:
            return await agent.call_tool("pay", HELD)

    person = approve_what_comes(run.world)
    paid = asyncio.run(talk())
    person.join()
    assert paid.structured_content["balance"] == 950
    assert tasks.seen[-1] == "completed"


def test_a_hundred_agents_wait_while_others_work(port: int, run: worlds.RunUnderTest) -> None:
    """Far more waits than threads, and reads are still answered."""

    async def talk() -> None:
        async with client(port, run.token, STATELESS) as agent:
            held = (await agent.call_tool("pay", HELD)).structured_content
            waits = [asyncio.create_task(agent.call_tool("approvals_wait", {"call": held["call"], "seconds": 40})) for _ in range(24)]
            await asyncio.sleep(0.5)
            began = time.monotonic()
            assert (await agent.call_tool("get_account", {"account": "b"})).structured_content["balance"] == 1000
            assert time.monotonic() - began < 10
            assert not any(wait.done() for wait in waits)
            await asyncio.to_thread(approve_and_send, run.world, held)
            assert {(await wait).structured_content["balance"] for wait in waits} == {950}

    asyncio.run(talk())


# Sockets --------------------------------------------------------------------------------------------------------------------------------


def head(token: str, *more: str) -> bytes:
    lines = ["POST /mcp HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}", "Content-Type: application/json", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def answers(connection: socket.socket, count: int) -> list[tuple[int, dict[str, Any] | None]]:
    """That many HTTP answers off the wire."""
    reader, found = connection.makefile("rb"), []
    for _ in range(count):
        status, length = int(reader.readline().split()[1]), 0
        while (line := reader.readline().strip().lower()) != b"":
            length = int(line.partition(b":")[2]) if line.startswith(b"content-length:") else length
        body = reader.read(length)
        found.append((status, json.loads(body) if body else None))
    return found


PING = b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}'


def test_a_body_that_trickles_in_is_one_message(port: int, run: worlds.RunUnderTest) -> None:
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(head(run.token, "Transfer-Encoding: chunked"))
        for byte in PING:
            connection.sendall(b"1\r\n%c\r\n" % byte)
        connection.sendall(b"0\r\n\r\n")
        assert answers(connection, 1) == [(200, {"jsonrpc": "2.0", "id": 1, "result": {}})]


def test_pipelined_requests_are_each_answered_by_themselves(port: int, run: worlds.RunUnderTest) -> None:
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        one = head(run.token, f"Content-Length: {len(PING)}") + PING
        other = b'{"jsonrpc": "2.0", "id": null, "method": "ping"}'
        connection.sendall(one + head(run.token, f"Content-Length: {len(other)}") + other + one)
        assert [status for status, _ in answers(connection, 3)] == [200, 400, 200]


@pytest.mark.parametrize("twice", ["Mcp-Name: get_account", "Mcp-Method: tools/list", "MCP-Protocol-Version: 2025-11-25"])
def test_the_server_does_not_hide_a_header_sent_twice(port: int, run: worlds.RunUnderTest, twice: str) -> None:
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "pay", "arguments": {"account": "a", "amount": 5}, "_meta": META},
    }
    body = json.dumps(message).encode()
    headers = [f"Content-Length: {len(body)}", f"MCP-Protocol-Version: {STATELESS}", "Mcp-Method: tools/call", "Mcp-Name: pay"]
    for order in ([*headers, twice], [twice, *headers]):
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            connection.sendall(head(run.token, *order) + body)
            status, answer = answers(connection, 1)[0]
            assert (status, answer["error"]["code"] if answer else None) == (400, -32020)
    assert not run.world.bank.writes()


def test_half_a_body_does_nothing(port: int, run: worlds.RunUnderTest) -> None:
    body = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "pay", "arguments": {"account": "a", "amount": 5}}}
    ).encode()
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(head(run.token, f"Content-Length: {len(body) + 20}") + body)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(5)
        with contextlib.suppress(OSError):
            connection.recv(4096)
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(head(run.token, f"Content-Length: {len(PING)}") + PING)
        assert answers(connection, 1)[0][0] == 200
    assert not run.world.bank.writes()


def test_a_body_larger_than_a_door_is_refused(port: int, run: worlds.RunUnderTest) -> None:
    body = b" " * ((1 << 20) + 1)
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(head(run.token, f"Content-Length: {len(body)}") + body)
        assert answers(connection, 1)[0][0] == 413
