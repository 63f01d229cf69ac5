"""Tools of MCP servers: the official server in both eras, the tape upstream, and servers that answer what no server should."""

import dataclasses
import itertools
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ToolAnnotations
from pydantic import Field

from controlplane import egress
from controlplane.connectors import interface, mcp
from tests.controlplane import scripted

_names = itertools.count()


def upstream(url: str, **changes) -> interface.Upstream:
    """Each is somebody else's connector unless an identity is given."""
    given = {
        "kind": "mcp",
        "slug": "orders",
        "url": url,
        "headers": {},
        "timeout_s": 5.0,
        "allow_private": True,
        "identity": f"CON-{next(_names)}",
    }
    return interface.Upstream(**{**given, **changes})


def call(to: interface.Upstream, operation: str, arguments: dict[str, Any], **changes) -> interface.Outbound:
    return interface.Outbound(
        **{
            "upstream": to,
            "operation": operation,
            "arguments": arguments,
            "idempotency_key": "remit-1",
            "call_id": "C-1",
            "detail": {},
            **changes,
        }
    )


# The official server --------------------------------------------------------------------------------------------------------------------


class Shop:
    """An MCP server with orders in it, and what it was sent."""

    def __init__(self, **options: Any) -> None:
        self.orders = {"#W1": {"order_id": "#W1", "status": "pending", "items": [{"sku": "a"}]}}
        self.seen: list[dict[str, str]] = []
        self.lock = threading.Lock()
        served = MCPServer("shop")

        @served.tool(title="Order", annotations=ToolAnnotations(read_only_hint=True))
        def get_order(order_id: str) -> dict[str, Any]:
            """An order."""
            return dict(self.orders[order_id])

        @served.tool()
        def cancel_order(order_id: str, reason: str, ctx: Context) -> str:
            """Cancels an order."""
            self.orders[order_id] = {**self.orders[order_id], "status": "cancelled", "reason": reason}
            return json.dumps(self.orders[order_id])

        @served.tool()
        async def slow_report(pages: int, ctx: Context) -> str:
            """Reports its progress before it answers."""
            for page in range(pages):
                await ctx.report_progress(page, pages)
            return f"{pages} pages"

        @served.tool()
        def in_region(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})], amount: int = 0) -> str:
            """Wants its region in a header as well."""
            return f"{region} {amount}"

        app = served.streamable_http_app(**options)

        async def noting(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
                with self.lock:
                    self.seen.append(headers)
            await app(scope, receive, send)

        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/mcp"
        self.server = uvicorn.Server(uvicorn.Config(noting, log_level="critical", lifespan="on", ws="none", timeout_graceful_shutdown=1))
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.listener.close()


@contextmanager
def shop(**options: Any) -> Iterator[Shop]:
    running = Shop(**options)
    try:
        yield running
    finally:
        egress.client.close()
        running.stop()


ERAS = {
    "stateless, asked for": ("", {}),
    "stateless, pinned": ("2026-07-28", {}),
    "sessions over event streams": ("2025-11-25", {}),
    "sessions over JSON": ("2025-06-18", {"json_response": True}),
    "handshake without sessions": ("2025-11-25", {"stateless_http": True}),
}


@pytest.fixture(scope="module", params=ERAS)
def era(request) -> Iterator[tuple[str, Shop]]:
    protocol, options = ERAS[request.param]
    with shop(**options) as running:
        yield protocol, running


def test_the_era_is_found_out_once():
    with shop() as running:
        to = upstream(running.url)
        for _ in range(3):
            assert not mcp.send(call(to, "get_order", {"order_id": "#W1"})).is_error
        assert [headers["mcp-method"] for headers in running.seen] == ["server/discover", "tools/call", "tools/call", "tools/call"]
        assert not any("mcp-session-id" in headers for headers in running.seen)


def test_the_official_servers_tools_are_discovered(era):
    protocol, running = era
    found = {one.name: one for one in mcp.discover(upstream(running.url, protocol=protocol))}
    assert set(found) == {"get_order", "cancel_order", "slow_report", "in_region"}
    assert found["get_order"].hints == {"readOnlyHint": True}
    assert (found["get_order"].title, found["get_order"].description) == ("Order", "An order.")
    assert found["get_order"].input_schema["required"] == ["order_id"]
    assert found["in_region"].detail == {"mirrored": [{"path": ["region"], "token": "Region"}]}


def test_the_official_server_is_called(era):
    protocol, running = era
    to = upstream(running.url, protocol=protocol, headers={"Authorization": "Bearer connector-secret", "X-Run": "R-1"})
    read = mcp.send(call(to, "get_order", {"order_id": "#W1"}, connector_class="E0"))
    assert not read.is_error
    assert read.result["structuredContent"]["order_id"] == "#W1"
    assert json.loads(interface.text_of(read))["items"] == [{"sku": "a"}]
    written = mcp.send(call(to, "cancel_order", {"order_id": "#W1", "reason": "no longer needed ü"}))
    assert json.loads(interface.text_of(written))["reason"] == "no longer needed ü"
    assert interface.text_of(mcp.send(call(to, "slow_report", {"pages": 3}))) == "3 pages"
    detail = {"mirrored": [{"path": ["region"], "token": "Region"}]}
    assert interface.text_of(mcp.send(call(to, "in_region", {"region": "Zürich ", "amount": 3}, detail=detail))) == "Zürich  3"
    last = running.seen[-1]
    assert (last["authorization"], last["x-run"], last["idempotency-key"]) == ("Bearer connector-secret", "R-1", "remit-1")


def test_what_the_official_server_refuses_is_an_answer_that_is_an_error(era):
    protocol, running = era
    to = upstream(running.url, protocol=protocol)
    assert mcp.send(call(to, "get_order", {"order_id": "#none"})).is_error
    assert mcp.send(call(to, "get_order", {"wrong": 1})).is_error
    assert mcp.send(call(to, "no_such_tool", {})).is_error


def test_threads_share_a_greeting_and_get_their_own_answers(era):
    protocol, running = era
    to = upstream(running.url, protocol=protocol)
    before = len(running.seen)
    with futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: interface.text_of(mcp.send(call(to, "slow_report", {"pages": n}))), range(40)))
    assert answers == [f"{n} pages" for n in range(40)]
    assert len(running.seen) - before <= 42, "one greeting of at most two messages, then a message a call"


def test_a_session_is_shared_by_calls_of_different_runs_and_by_nobody_else():
    with shop() as running:
        to = upstream(running.url, protocol="2025-11-25", identity="CON-shared")
        for run in range(3):
            mcp.send(
                call(
                    upstream(running.url, protocol="2025-11-25", identity="CON-shared", headers={"x-tape-run": f"R-{run}"}),
                    "get_order",
                    {"order_id": "#W1"},
                )
            )
        mcp.send(call(upstream(running.url, protocol="2025-11-25", identity="CON-other"), "get_order", {"order_id": "#W1"}))
        mcp.send(
            call(
                upstream(running.url, protocol="2025-11-25", identity="CON-shared", headers={"authorization": "Bearer b"}),
                "get_order",
                {"order_id": "#W1"},
            )
        )
        mcp.send(call(to, "get_order", {"order_id": "#W1"}))
        sessions = [headers["mcp-session-id"] for headers in running.seen if "idempotency-key" in headers]
        assert sessions[0] == sessions[1] == sessions[2] == sessions[5]
        assert len(set(sessions)) == 3


def test_a_forgotten_session_is_agreed_on_again_and_the_call_is_made_once():
    calls: list[str] = []

    def script(talk: scripted.Talk) -> None:
        while (raw := talk.request()) is not None:
            head, _, body = raw.partition(b"\r\n\r\n")
            message = json.loads(body)
            if message["method"] == "initialize":
                talk.say(_json({"protocolVersion": "2025-11-25"}, message["id"], b"mcp-session-id: s%d\r\n" % len(calls)))
            elif "id" not in message:
                talk.say(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
            else:
                session = next(line.split(b": ")[1].decode() for line in head.split(b"\r\n") if line.startswith(b"mcp-session-id"))
                calls.append(session)
                if session == "s0" and len(calls) == 2:
                    talk.say(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                else:
                    talk.say(_json(DONE, message["id"]))

    with scripted.server(script) as server:
        to = upstream(server.url, protocol="2025-11-25")
        assert [mcp.send(call(to, "t", {})).is_error for _ in range(3)] == [False] * 3
        assert calls == ["s0", "s0", "s2", "s2"]


# Servers that answer what no server should ----------------------------------------------------------------------------------------------

STREAM = b"text/event-stream"
DONE = {"content": [{"type": "text", "text": "done"}], "isError": False}


def _json(result: Any, number: Any, headers: bytes = b"", **message: Any) -> bytes:
    body = json.dumps({"jsonrpc": "2.0", "id": number, "result": result} | message).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n%s" % (headers, len(body), body)


def _raw(body: bytes, status: bytes = b"200 OK", kind: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (status, kind, len(body), body)


@contextmanager
def saying(answer) -> Iterator[tuple[scripted.Server, interface.Upstream]]:
    """A stateless server that answers every request with `answer(id)`."""

    def script(talk: scripted.Talk) -> None:
        while (raw := talk.request()) is not None:
            talk.say(answer(json.loads(raw.partition(b"\r\n\r\n")[2])["id"]))

    with scripted.server(script) as server:
        yield server, upstream(server.url, protocol="2026-07-28")


def _result(**result: Any):
    return lambda number: _json(result, number)


UNKNOWN = {
    "not JSON": lambda number: _raw(b"done"),
    "nothing": lambda number: _raw(b""),
    "a duplicate key": lambda number: _raw(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[],"content":[]}}' % number),
    "not a number": lambda number: _raw(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[],"x":NaN}}' % number),
    "a NUL character": lambda number: _raw(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"\\u0000"}]}}' % number),
    "nested too deep": lambda number: _raw(b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (number, b"[" * 5000 + b"]" * 5000)),
    "another's id": lambda number: _json(DONE, number + 1),
    "its id as text": lambda number: _json(DONE, str(number)),
    "no id": lambda number: _json(DONE, None),
    "true for an id": lambda number: _json(DONE, True),
    "a batch": lambda number: _raw(b'[{"jsonrpc":"2.0","id":%d,"result":{"content":[]}}]' % number),
    "a result and an error": lambda number: _json(DONE, number, error={"code": 1, "message": "x"}),
    "another protocol": lambda number: _json(DONE, number, jsonrpc="1.0"),
    "a result that is a list": lambda number: _json([], number),
    "no content": _result(isError=False),
    "content that is text": _result(content="done"),
    "content without types": _result(content=[{"text": "done"}]),
    "an error flag that is text": _result(content=[], isError="false"),
    "a task nobody asked for": _result(resultType="task", task={}),
    "accepted, and no more": lambda number: b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
    "a redirect": lambda number: b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
    "a redirect that answers": lambda number: _json(DONE, number).replace(b"200 OK", b"302 Found"),
    "a broken server": lambda number: _raw(b"{}", b"500 Internal Server Error"),
    "a gateway": lambda number: _raw(b"", b"504 Gateway Timeout"),
    "a stream without our answer": lambda number: _raw(b'data: {"jsonrpc":"2.0","method":"ping"}\n\n', kind=STREAM),
    "a stream of nonsense": lambda number: _raw(b"data: nonsense\n\n", kind=STREAM),
    "a stream that breaks off": lambda number: _raw(b'data: {"jsonrpc":"2.0","id":%d,"result":{"content":[]}}\n' % number, kind=STREAM),
    "nine million bytes": lambda number: _raw(b'"' + b"a" * 9_000_000 + b'"'),
}  # fmt: skip


@pytest.mark.parametrize("fault", UNKNOWN)
def test_an_answer_that_cannot_be_trusted_leaves_the_call_in_doubt(fault):
    with saying(UNKNOWN[fault]) as (server, to):
        with pytest.raises(interface.Unknown):
            mcp.send(call(to, "t", {}))
        assert len(server.requests) == 1


REFUSED = {
    "a JSON-RPC error": lambda number: _raw(b'{"jsonrpc":"2.0","id":%d,"error":{"code":-32602,"message":"no such order"}}' % number),
    "a JSON-RPC error by HTTP": lambda number: _raw(
        b'{"jsonrpc":"2.0","id":null,"error":{"code":-32020,"message":"mismatch"}}', b"400 Bad Request"
    ),
    "an error without words": lambda number: _raw(b'{"jsonrpc":"2.0","id":%d,"error":7}' % number),
    "who are you?": lambda number: _raw(b"<html>", b"401 Unauthorized", b"text/html"),
    "not for you": lambda number: _raw(b"", b"403 Forbidden"),
    "too much": lambda number: _raw(b"{}", b"429 Too Many Requests"),
    "a tool's own error": _result(content=[{"type": "text", "text": "no"}], isError=True),
    "a question to the user": _result(resultType="input_required", inputRequests={}),
}


@pytest.mark.parametrize("refusal", REFUSED)
def test_what_a_server_refuses_was_not_done_and_is_an_answer(refusal):
    with saying(REFUSED[refusal]) as (server, to):
        answer = mcp.send(call(to, "t", {}))
        assert answer.is_error
        assert answer.result["isError"]
        assert answer.result["content"]
        assert len(server.requests) == 1


def test_only_what_a_tool_result_is_made_of_is_kept():
    with saying(
        _result(
            content=[{"type": "image", "data": "aGk=", "mimeType": "image/png"}],
            structuredContent={"a": 1},
            _meta={"x": 1},
            resultType="complete",
            ttlMs=1,
        )
    ) as (_, to):
        assert mcp.send(call(to, "t", {})).result == {
            "content": [{"type": "image", "data": "aGk=", "mimeType": "image/png"}], "structuredContent": {"a": 1}, "isError": False,
        }  # fmt: skip


def test_other_messages_in_a_stream_are_passed_over_and_the_stream_need_not_end():
    def script(talk: scripted.Talk) -> None:
        while (raw := talk.request()) is not None:
            number = json.loads(raw.partition(b"\r\n\r\n")[2])["id"]
            talk.say(b"HTTP/1.1 200 OK\r\ncontent-type: Text/Event-Stream; charset=utf-8\r\n\r\n")
            talk.say(b": hello\r\nevent: message\r\nid: 1\r\ndata:\r\n\r\n")
            for message in (
                {"method": "notifications/progress"},
                {"id": number, "method": "sampling/createMessage"},
                {"id": number + 1, "result": DONE},
            ):
                talk.say(b"data: %s\n\n" % json.dumps({"jsonrpc": "2.0"} | message).encode())
            half = json.dumps({"jsonrpc": "2.0", "id": number, "result": DONE}, indent=1).encode().split(b"\n")
            talk.say(b"\n".join(b"data:" + line for line in half) + b"\n\n")
            talk.until_the_client_leaves()

    with scripted.server(script) as server:
        to = upstream(server.url, protocol="2026-07-28")
        began = time.monotonic()
        assert [interface.text_of(mcp.send(call(to, "t", {}))) for _ in range(2)] == ["done", "done"]
        assert time.monotonic() - began < 2
        server.wait_for(lambda: server.ended == 2)


def test_a_server_that_cannot_be_greeted_was_not_sent_the_call():
    with scripted.server(scripted.always(_raw(b"nonsense"))) as server:
        for protocol in ("", "2025-11-25"):
            with pytest.raises(interface.NotSent):
                mcp.send(call(upstream(server.url, protocol=protocol), "t", {}))
        assert not any(b"tools/call" in request for request in server.requests)
    with scripted.server(scripted.always(_raw(b"", b"401 Unauthorized"))) as server, pytest.raises(interface.NotSent, match="401"):
        mcp.send(call(upstream(server.url), "t", {}))


def test_a_server_that_is_slow_to_greet_holds_nobody_longer_than_their_time():
    release = threading.Event()
    with scripted.server(lambda talk: release.wait(10) and None) as server:
        to = upstream(server.url, timeout_s=0.4, protocol="2025-11-25")
        began = time.monotonic()
        with futures.ThreadPoolExecutor(4) as pool:
            for one in [pool.submit(mcp.send, call(to, "t", {})) for _ in range(4)]:
                with pytest.raises(interface.NotSent):
                    one.result()
        assert time.monotonic() - began < 3
        release.set()


def test_a_caller_in_a_hurry_does_not_wait_for_the_greeting_of_one_who_is_not():
    release = threading.Event()
    with scripted.server(lambda talk: release.wait(10) and None) as server, futures.ThreadPoolExecutor(1) as pool:
        patient = upstream(server.url, timeout_s=6.0, protocol="2025-11-25")
        waiting = pool.submit(mcp.send, call(patient, "t", {}))
        server.wait_for(lambda: server.connections == 1)
        began = time.monotonic()
        with pytest.raises(interface.NotSent):
            mcp.send(call(dataclasses.replace(patient, timeout_s=0.2), "t", {}))
        assert time.monotonic() - began < 2
        release.set()
        with pytest.raises(interface.NotSent):
            waiting.result()


def test_arguments_that_are_not_json_are_not_sent():
    with saying(lambda number: _json(DONE, number)) as (server, to):
        for argument in (2**70, {1, 2}, "\ud800"):
            with pytest.raises(interface.NotSent):
                mcp.send(call(to, "t", {"a": argument}))
        assert server.requests == []


def test_the_request_carries_the_key_the_connectors_headers_and_nothing_of_the_callers():
    with saying(lambda number: _json(DONE, number)) as (server, _):
        mcp.send(
            call(upstream(server.url, protocol="2026-07-28", headers={"Authorization": "Bearer ours", "x-tape-run": "R-1"}), "t", {"a": 1})
        )
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        assert set(lines) == {
            "host", "accept-encoding", "authorization", "x-tape-run", "content-type", "accept", "content-length",
            "mcp-protocol-version", "mcp-method", "mcp-name", "idempotency-key",
        }  # fmt: skip
        assert (lines["authorization"], lines["idempotency-key"], lines["mcp-name"]) == ("Bearer ours", "remit-1", "t")
        assert json.loads(body)["params"]["_meta"]["remit/idempotency-key"] == "remit-1"


# Discovery ------------------------------------------------------------------------------------------------------------------------------

TOOL = {"name": "t", "description": "d", "inputSchema": {"type": "object"}}
BAD_LISTS = {
    "a name with a space": {"tools": [TOOL | {"name": "a b"}]},
    "a name that looks like another": {"tools": [TOOL | {"name": "canc\u0435l"}]},
    "an empty name": {"tools": [TOOL | {"name": ""}]},
    "a name too long": {"tools": [TOOL | {"name": "a" * 129}]},
    "a name with a line": {"tools": [TOOL | {"name": "a\n"}]},
    "no name": {"tools": [{"inputSchema": {}}]},
    "a duplicate": {"tools": [TOOL, TOOL]},
    "no schema": {"tools": [{"name": "t"}]},
    "a schema that is text": {"tools": [TOOL | {"inputSchema": "object"}]},
    "an output schema that is text": {"tools": [TOOL | {"outputSchema": "object"}]},
    "a tool that is text": {"tools": ["t"]},
    "tools that are not a list": {"tools": {"t": TOOL}},
    "pages in a circle": {"tools": [], "nextCursor": "again"},
    "a cursor that is a number": {"tools": [], "nextCursor": 7},
}


@pytest.mark.parametrize("fault", BAD_LISTS)
def test_a_list_of_tools_that_cannot_be_taken_over_is_refused(fault):
    with saying(lambda number: _json(BAD_LISTS[fault], number)) as (server, to):
        with pytest.raises(interface.DiscoveryFailed):
            mcp.discover(to)
        assert len(server.requests) <= 2


@pytest.mark.parametrize("answer", [*UNKNOWN.values(), *list(REFUSED.values())[:6]])
def test_whatever_goes_wrong_in_discovery_is_a_refusal(answer):
    with saying(answer) as (_, to), pytest.raises(interface.DiscoveryFailed):
        mcp.discover(to)


def test_pages_are_followed_to_their_end_and_no_further():
    pages = itertools.count()

    def page(number: int) -> bytes:
        n = next(pages)
        return _json({"tools": [TOOL | {"name": f"t{n}"}]} | ({} if n == 2 else {"nextCursor": f"c{n}"}), number)

    with saying(page) as (_, to):
        assert [one.name for one in mcp.discover(to)] == ["t0", "t1", "t2"]
    with saying(lambda number: _json({"tools": [], "nextCursor": f"c{number}"}, number)) as (server, to):
        with pytest.raises(interface.DiscoveryFailed, match="pages"):
            mcp.discover(to)
        assert len(server.requests) == mcp.PAGES


def test_annotations_are_kept_as_hints_and_only_when_they_are_claims():
    annotations = {"readOnlyHint": True, "destructiveHint": "no", "title": "T", "x": True}
    with saying(lambda number: _json({"tools": [TOOL | {"annotations": annotations, "description": None}]}, number)) as (_, to):
        (found,) = mcp.discover(to)
    assert (found.hints, found.title, found.description, found.output_schema) == ({"readOnlyHint": True}, "T", "", None)


# Previews and read-backs ----------------------------------------------------------------------------------------------------------------

SPEC = {
    "tool": "get_order",
    "arguments": {"order_id": {"argument": "order_id"}},
    "entity": "order/{order_id}",
    "set": {
        "/status": {"value": "cancelled"},
        "/reason": {"argument": "reason"},
        "/note": {"argument": "note"},
        "/items/0/sku": {"value": "b"},
    },
}


def test_a_preview_reads_the_present_state_and_writes_the_change_into_a_copy():
    with shop() as running:
        made = mcp.preview(call(upstream(running.url), "cancel_order", {"order_id": "#W1", "reason": "late"}), SPEC)
        assert made == interface.Preview(
            entity="order/#W1",
            before={"order_id": "#W1", "status": "pending", "items": [{"sku": "a"}]},
            after={"order_id": "#W1", "status": "cancelled", "items": [{"sku": "b"}], "reason": "late"},
        )
        assert running.orders["#W1"]["status"] == "pending"
        assert not any("idempotency-key" in headers for headers in running.seen), "a preview is not the call"


def test_without_a_spec_there_is_no_preview():
    assert mcp.preview(call(upstream("http://127.0.0.1:9/"), "cancel_order", {}), None) is None


def test_a_present_state_that_cannot_be_read_is_a_refusal_and_not_an_empty_change():
    with shop() as running:
        to = upstream(running.url)
        with pytest.raises(interface.PreviewFailed):
            mcp.preview(call(to, "cancel_order", {"order_id": "#none"}), SPEC)
        for spec in (
            {**SPEC, "set": {"/nowhere/deep": {"value": 1}}},
            {**SPEC, "set": {"/items/7": {"value": 1}}},
            {**SPEC, "tool": "slow_report", "arguments": {"pages": {"value": 1}}},
        ):
            with pytest.raises(interface.PreviewFailed):
                mcp.preview(call(to, "cancel_order", {"order_id": "#W1"}), spec)
        faulty: tuple[dict[str, Any], ...] = (
            {},
            {"tool": "get_order", "arguments": {"order_id": 7}},
            {"tool": "get_order", "arguments": {"order_id": {}}},
            {"tool": "get_order", "set": []},
        )
        for spec in faulty:
            with pytest.raises(interface.PreviewFailed):
                mcp.preview(call(to, "cancel_order", {"order_id": "#W1"}), spec)
    failed = {"content": [{"type": "text", "text": '{"status": "unavailable"}'}], "isError": True}
    with saying(lambda number: _json(failed, number)) as (_, to), pytest.raises(interface.PreviewFailed):
        mcp.preview(call(to, "cancel_order", {"order_id": "#W1"}), {"tool": "get_order"})
    with pytest.raises(interface.PreviewFailed):
        mcp.preview(call(upstream("http://127.0.0.1:9/mcp"), "cancel_order", {"order_id": "#W1"}), SPEC)


def test_a_look_up_answers_only_when_the_upstream_shows_that_it_happened():
    found = {"content": [{"type": "text", "text": '{"results": [{"key": "remit-1"}]}'}]}
    empty = {"content": [{"type": "text", "text": '{"results": []}'}]}
    read_back = {"tool": "find", "arguments": {"key": {"idempotency_key": True}}, "found": "/results/0"}
    for result, happened in ((found, True), (empty, False), (found | {"isError": True}, False)):
        with saying(lambda number, result=result: _json(result, number)) as (server, to):
            answer = mcp.look_up(call(to, "pay", {}, detail={"read_back": read_back}))
            assert (answer is not None) is happened
            assert json.loads(server.requests[0].partition(b"\r\n\r\n")[2])["params"]["arguments"] == {"key": "remit-1"}
            assert mcp.look_up(call(to, "pay", {})) is None


# The tape upstream ----------------------------------------------------------------------------------------------------------------------

SHARED = Path(__file__).resolve().parents[3] / "shared" / "inputs"


@pytest.mark.skipif(not (SHARED / "tools" / "tape_upstream.py").exists(), reason="the recorded runs are not here")
def test_the_tape_upstream_answers_as_recorded(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SHARED / "tools"), *sys.path])
    import runs as recorded  # type: ignore[import-not-found]  # noqa: PLC0415
    import tape_upstream  # type: ignore[import-not-found]  # noqa: PLC0415

    run = next(iter(recorded.read_jsonl(str(SHARED / "retail" / "runs.jsonl"))))
    tape, server = tape_upstream.serve([run], recorded.load_tools(str(SHARED / "retail" / "tools.json")), None, 0)
    try:
        to = upstream(f"http://127.0.0.1:{server.server_port}/mcp", headers={"x-tape-run": run["run_id"]})
        assert {one.name for one in mcp.discover(to)} == set(tape.tools)
        for one in recorded.calls(run):
            answer = mcp.send(call(to, one["tool"], one["args"]))
            assert (interface.text_of(answer), answer.is_error) == (one.get("result") or "", bool(one.get("error")))
        assert len(tape.log) == len(list(recorded.calls(run)))
    finally:
        server.shutdown()
        server.server_close()
