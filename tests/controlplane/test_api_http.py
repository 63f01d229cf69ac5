"""The doors as a stranger finds them: a real server, real sockets, bytes that no client library would send."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from audit import log, tenancy
from tests import world as worlds
from tests.controlplane import api_knocking as knocking
from tests.world import World

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def port(django_db_setup: None) -> Iterator[int]:
    with knocking.served() as number:
        yield number


@pytest.fixture(scope="module")
def world(django_db_setup: None) -> World:
    return worlds.make()


def raw(port: int, request: bytes) -> tuple[int, dict[str, Any]]:
    """(status, JSON) of one exchange written by hand."""
    with socket.create_connection(("127.0.0.1", port), 30) as wire:
        wire.sendall(request)
        answer = http.client.HTTPResponse(wire)
        answer.begin()
        return answer.status, json.loads(answer.read() or b"{}")


def head(method: str, path: str, token: str, *lines: str) -> bytes:
    named = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", "connection: close", f"authorization: Bearer {token}", *lines, "", ""]
    return "\r\n".join(named).encode("latin-1")


def test_a_call_over_http_is_answered_and_repeated(world: World, port: int) -> None:
    token = world.start().token
    body = json.dumps({"tool": "get_account", "arguments": {"account": "a"}}).encode()
    lines = ("content-type: application/json", f"content-length: {len(body)}", "idempotency-key: k-1")
    first = raw(port, head("POST", "/api/v1/calls", token, *lines) + body)
    assert (first[0], first[1]["status"]) == (200, "applied")
    assert raw(port, head("POST", "/api/v1/calls", token, *lines) + body) == first


def exchange(port: int, request: bytes) -> tuple[int, str]:
    """(status, the request's id as the answer names it)."""
    with socket.create_connection(("127.0.0.1", port), 30) as wire:
        wire.sendall(request)
        answer = http.client.HTTPResponse(wire)
        answer.begin()
        answer.read()
        return answer.status, answer.headers["x-request-id"]


def test_each_entry_tells_the_door_the_address_and_the_request_it_came_in_by(world: World, port: int) -> None:
    """Over both servers' ways in: the hot door, which has its own, and Django's. A call's entries, a run's, and a page's."""
    run = world.start()
    body = json.dumps({"tool": "get_account", "arguments": {"account": "b"}}).encode()
    lines = ("content-type: application/json", f"content-length: {len(body)}", "idempotency-key: k-9", "x-request-id: upstream-7")
    assert exchange(port, head("POST", "/api/v1/calls", run.token, *lines) + body) == (200, "upstream-7")
    ended = b"{}"
    lines = ("content-type: application/json", "content-length: 2", "x-request-id: <b>no id</b>", "x-forwarded-for: 203.0.113.9")
    status, named = exchange(port, head("POST", f"/api/v1/runs/{run.run.id}/finish", run.token, *lines) + ended)
    assert status == 200
    assert named.startswith("REQ-")
    with tenancy.within(world.organisation):
        told = {entry.event: entry.origin for entry in log.entries(run=run.run.id)}
    here = {"address": "127.0.0.1", "door": "api"}
    assert told["call.admitted"] == told["call.answered"] == {**here, "request": "upstream-7"}
    assert told["run.finished"] == {**here, "request": named}  # no proxy of ours: what it says about others is not believed
    assert told["run.started"] == {}  # by the test itself, through no door


def test_two_requests_of_one_thread_do_not_mix(world: World, port: int) -> None:
    run = world.start()
    for number in range(12):  # more than there are threads
        body = json.dumps({"tool": "get_account", "arguments": {"account": "abc"[number % 3]}}).encode()
        lines = (
            "content-type: application/json",
            f"content-length: {len(body)}",
            f"idempotency-key: m{number}",
            f"x-request-id: id-{number}",
        )
        assert exchange(port, head("POST", "/api/v1/calls", run.token, *lines) + body)[0] == 200
    with tenancy.within(world.organisation):
        admitted = [entry.origin["request"] for entry in log.entries(run=run.run.id, event="call.admitted")][::-1]
    assert admitted == [f"id-{number}" for number in range(12)]


@pytest.mark.parametrize("path", ["/api/v1/calls", "/api/v1/runs"])
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"tool":"a","tool":"b"}', 400, "duplicate_key"),
        (b"[" * 100_000, 400, "too_deep"),
        (b'{"a":' + b"1" * 70_000 + b"}", 400, "integer_out_of_range"),
        (b'"' + b"x" * (2 << 20) + b'"', 413, "too_large"),
        (b"\xff\xfe", 400, "not_utf8"),
    ],
    ids=["duplicate", "deep", "digits", "large", "utf16"],
)
def test_bad_bytes_are_refused_with_their_code(world: World, port: int, path: str, body: bytes, status: int, code: str) -> None:
    token = world.start().token if path.endswith("calls") else knocking.tokens(world)["olga"]
    sent = head("POST", path, token, "content-type: application/json", f"content-length: {len(body)}") + body
    answer = raw(port, sent)
    assert (answer[0], answer[1]["code"]) == (status, code)


def test_a_body_in_chunks_is_read_like_any_other(world: World, port: int) -> None:
    run = {"agent": "teller", "workspace": "desk"}
    body = json.dumps(run).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
    begun = raw(
        port,
        head("POST", "/api/v1/runs", knocking.tokens(world)["olga"], "content-type: application/json", "transfer-encoding: chunked")
        + chunks,
    )
    assert begun[0] == 201
    body = json.dumps({"tool": "get_account", "arguments": {"account": "a"}}).encode()
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    called = raw(
        port, head("POST", "/api/v1/calls", begun[1]["token"], "content-type: application/json", "transfer-encoding: chunked") + chunks
    )
    assert called[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/runs/%00",
        "/api/v1/runs/%ED%A0%80",
        "/api/v1/runs/%FF%FE",
        "/api/v1/calls/%00",
        "/api/v1/calls/%ED%A0%80",
        "/api/v1/runs?agent=%FF",
        "/api/v1/%00",
        "/api/v1/runs/..%2f..%2f",
        "/api/v1/calls/?wait=%00",
    ],
)
def test_odd_addresses_never_break_anything(world: World, port: int, path: str) -> None:
    answer = raw(port, head("GET", path, knocking.tokens(world)["olga"]))
    assert answer[0] in {400, 404, 422}
    assert answer[1]["code"] in {"nul_character", "lone_surrogate", "not_utf8", "not_found", "invalid_request"}


def test_two_keys_in_one_request_are_none(world: World, port: int) -> None:
    body = b'{"tool":"get_account","arguments":{}}'
    lines = ("content-type: application/json", f"content-length: {len(body)}", "idempotency-key: a", "idempotency-key: b")
    answer = raw(port, head("POST", "/api/v1/calls", world.start().token, *lines) + body)
    assert (answer[0], answer[1]["code"]) == (400, "invalid_idempotency_key")


def test_more_agents_wait_than_there_are_threads_and_everybody_else_is_served(world: World, port: int) -> None:
    run, vote = world.start(), {"verdict": "deny", "reason": "No."}
    held = [knocking.propose(run.token, "pay", {"account": "a", "amount": 20 + number}).body for number in range(8)]
    answers: list[tuple[int, dict[str, Any]]] = []
    waiting = [
        threading.Thread(target=lambda call=call: answers.append(raw(port, head("GET", f"/api/v1/calls/{call}?wait=30", run.token))))
        for call in [one["call"] for one in held]
    ]
    for thread in waiting:
        thread.start()
    began = time.monotonic()
    assert raw(port, head("GET", f"/api/v1/runs/{run.run.id}", run.token))[0] == 200
    assert time.monotonic() - began < 5
    token = knocking.tokens(world)["ann"]
    for one in held:
        knocking.ask("POST", f"/api/v1/approvals/{one['approval']}/votes", token, {**vote, "plan": one["plan"]})
    for thread in waiting:
        thread.join(30)
    assert [(status, answer["status"]) for status, answer in answers] == [(200, "denied")] * len(held)


def test_the_documentation_needs_nothing_from_elsewhere(port: int) -> None:
    wire = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    wire.request("GET", "/api/v1/docs")
    page = wire.getresponse()
    text = page.read().decode()
    assert page.status == 200
    assert "http://" not in text.replace("http://127.0.0.1", "")
    assert "https://" not in text
    assert "<script>" not in text
    for address in [part.split('"')[0].replace("&amp;", "&") for part in text.split('src="')[1:]]:
        wire.request("GET", address)
        found = wire.getresponse()
        found.read()
        assert found.status == 200, address
