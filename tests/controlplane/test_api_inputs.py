"""What must not get in: at the hot door and at the others each bad input has its own code, leaves an entry, and reaches nothing."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests import world as worlds
from tests.controlplane import api_knocking as knocking
from tests.controlplane.api_knocking import API, ask
from tests.world import World

DEEP = b'{"tool":"t","arguments":' + b"[" * 1000 + b"]" * 1000 + b"}"
LONG = json.dumps({"tool": "t", "arguments": "x" * (300 * 1024)}).encode()
HUGE = json.dumps({"tool": "t", "arguments": "x" * (1 << 20)}).encode()
KEYS = json.dumps({"tool": "t", "arguments": {f"k{n}": 1 for n in range(10_001)}}).encode()
ITEMS = json.dumps({"tool": "t", "arguments": [1] * 1001}).encode()

BODIES = [
    (b" ", 400, "malformed_json"),
    (b"{", 400, "malformed_json"),
    (b'{"tool":"t","arguments":{}} {}', 400, "malformed_json"),
    (b"{'tool':'t'}", 400, "malformed_json"),
    (b'{"tool":"t","arguments":{},"tool":"u"}', 400, "duplicate_key"),
    (b'{"tool":"t","arguments":{"a":{"b":1,"b":2}}}', 400, "duplicate_key"),
    (b'{"tool":"t","arguments":NaN}', 400, "not_finite"),
    (b'{"tool":"t","arguments":-Infinity}', 400, "not_finite"),
    (b'{"tool":"t","arguments":1e999}', 400, "not_finite"),
    (b'{"tool":"t","arguments":18446744073709551616}', 400, "integer_out_of_range"),
    (b'{"tool":"t","arguments":' + b"9" * 5000 + b"}", 400, "integer_out_of_range"),
    (DEEP, 400, "too_deep"),
    (LONG, 400, "string_too_long"),
    (HUGE, 413, "too_large"),
    (KEYS, 400, "too_many_keys"),
    (ITEMS, 400, "array_too_long"),
    (b'{"tool":"\xff","arguments":{}}', 400, "not_utf8"),
    (b'{"tool":"t\x00","arguments":{}}', 400, "nul_character"),
    (b'{"tool":"t\\u0000","arguments":{}}', 400, "nul_character"),
    (b'{"tool":"t","arguments":{"\\ud800":1}}', 400, "lone_surrogate"),
    (b"[]", 422, "invalid_request"),
    (b"null", 422, "invalid_request"),
    (b'"text"', 422, "invalid_request"),
    (b"1", 422, "invalid_request"),
    (b'{"nobody/knows~this":1}', 422, "unknown_field"),
]
KINDS = [
    None,
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonp",
    "application/json; charset=latin-1",
]
DOORS = ["calls", "runs"]


def named(case: tuple[bytes, int, str]) -> str:
    return f"{case[2]}-{case[0][:16].decode('ascii', 'replace')}"


@pytest.fixture(scope="module")
def world(django_db_setup: None) -> World:
    """One for the module: what is refused changes nothing but the log."""
    return worlds.make()


@pytest.fixture(scope="module")
def holders(world: World) -> dict[str, str]:
    """Who may knock at each door."""
    return {"calls": world.start().token, "runs": knocking.tokens(world)["olga"]}


@pytest.fixture
def entered(world: World) -> Callable[[], list[dict[str, Any]]]:
    """The refused inputs that this test has caused."""
    before = len(knocking.refused_inputs(world))
    return lambda: knocking.refused_inputs(world)[before:]


Entered = Callable[[], list[dict[str, Any]]]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", BODIES, ids=named)
def test_a_bad_body_is_refused_by_its_own_code_and_entered(
    world: World, entered: Entered, holders: dict[str, str], door: str, case: tuple[bytes, int, str]
) -> None:
    raw, status, code = case
    calls = world.events("call.*")
    reply = ask("POST", f"{API}/{door}", holders[door], raw=raw)
    assert (reply.status, reply.code) == (status, code)
    (entry,) = entered()
    assert (entry["code"], entry["path"]) == (code, f"{API}/{door}")
    assert world.events("call.*") == calls


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", KINDS)
def test_only_json_is_accepted(entered: Entered, holders: dict[str, str], door: str, kind: str | None) -> None:
    reply = ask("POST", f"{API}/{door}", holders[door], {"tool": "get_account", "arguments": {}}, headers={"content-type": kind})
    assert (reply.status, reply.code) == (415, "unsupported_media_type")
    assert [entry["code"] for entry in entered()] == ["unsupported_media_type"]


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", 'Application/JSON; charset="UTF-8"'])
def test_json_is_accepted_however_it_is_spelt(holders: dict[str, str], kind: str) -> None:
    reply = ask(
        "POST", f"{API}/calls", holders["calls"], {"tool": "get_account", "arguments": {"account": "a"}}, headers={"content-type": kind}
    )
    assert reply.status == 200


@pytest.mark.parametrize("door", DOORS)
def test_nobody_learns_anything_without_a_key_and_nothing_is_entered(entered: Entered, door: str) -> None:
    for headers in ({}, {"authorization": "Bearer "}, {"authorization": "Bearer remit_x"}, {"authorization": "Basic b2xnYTpvbGdh"}):
        reply = ask("POST", f"{API}/{door}", raw=DEEP, headers=dict(headers))
        assert (reply.status, reply.code, reply.headers["www-authenticate"]) == (401, "unauthenticated", "Bearer")
    assert entered() == []


def test_an_unknown_field_is_named_by_a_pointer(holders: dict[str, str]) -> None:
    call = {"tool": "get_account", "arguments": {}, "no/such~field": True}
    assert ask("POST", f"{API}/calls", holders["calls"], call).pointer == "/no~1such~0field"
    run = {"agent": "teller", "workspace": "desk", "admin": True}
    assert ask("POST", f"{API}/runs", holders["runs"], run).pointer == "/admin"


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"agent": 1}, "/agent"),
        ({"agent": None}, "/agent"),
        ({"agent": ["teller"]}, "/agent"),
        ({"expires_in_s": "60"}, "/expires_in_s"),
        ({"expires_in_s": True}, "/expires_in_s"),
        ({"expires_in_s": 1.5}, "/expires_in_s"),
        ({"expires_in_s": 0}, "/expires_in_s"),
        ({"expires_in_s": 2**53 - 1}, "/expires_in_s"),
        ({"subject": "customer-a"}, "/subject"),
        ({"subject": [1]}, "/subject/0"),
        ({"tools": {"pay": 1}}, "/tools"),
        ({"bindings": {"account": "a"}}, "/bindings/account"),
        ({"hosted": "yes"}, "/hosted"),
        ({"hosted": 1}, "/hosted"),
        ({"reference": "x" * 201}, "/reference"),
        ({"options": []}, "/options"),
    ],
)
def test_no_text_becomes_a_number_and_no_number_a_text(world: World, holders: dict[str, str], fields: dict[str, Any], pointer: str) -> None:
    started = world.events("run.started")
    reply = ask("POST", f"{API}/runs", holders["runs"], {"agent": "teller", "workspace": "desk", **fields})
    assert (reply.status, reply.code, reply.pointer) == (422, "invalid_request", pointer)
    assert world.events("run.started") == started


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"arguments": {}}, "/tool"),
        ({"tool": 1, "arguments": {}}, "/tool"),
        ({"tool": "t"}, "/arguments"),
        ({"tool": "t", "arguments": {}, "run": 1}, "/run"),
    ],
)
def test_a_proposal_names_its_tool_and_has_arguments(holders: dict[str, str], body: dict[str, Any], pointer: str) -> None:
    reply = ask("POST", f"{API}/calls", holders["calls"], body)
    assert (reply.status, reply.code, reply.pointer) == (422, "invalid_request", pointer)


@pytest.mark.parametrize("arguments", ["text", '{"account": "a"}', 1, None, [], True, 1.5])
def test_arguments_that_are_no_object_are_the_schemas_matter_and_a_recorded_call(
    world: World, holders: dict[str, str], arguments: Any
) -> None:
    reply = knocking.propose(holders["calls"], "get_account", arguments)
    assert (reply.status, reply.code, reply.pointer) == (422, "invalid_arguments", "")
    assert world.events(subject=reply.body["call"]) == ["call.refused"]
    assert not [item for item in world.bank.arrived if item[1] == arguments]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/runs/%00", 400, "nul_character"),
        ("/runs/a%00b/calls", 400, "nul_character"),
        ("/calls/%00", 400, "nul_character"),
        ("/calls/%ED%A0%80", 400, "lone_surrogate"),
        ("/runs/%FF", 400, "lone_surrogate"),
        ("/runs?agent=%00", 400, "nul_character"),
        ("/runs?agent=%FF", 400, "not_utf8"),
        ("/runs?agent=%ED%A0%80", 400, "not_utf8"),
        ("/calls/C-1?wait=%00", 400, "nul_character"),
        ("/calls/C-1?wait=%ED%A0%80", 400, "not_utf8"),
        ("/runs?state=SLEEPING", 422, "invalid_request"),
        ("/runs?limit=0", 422, "invalid_request"),
        ("/runs?limit=201", 422, "invalid_request"),
        ("/runs?limit=1e3", 422, "invalid_request"),
        ("/runs?limit=" + "9" * 5000, 422, "invalid_request"),
        ("/runs?limit=1&limit=2", 422, "invalid_request"),
        ("/runs?workspace=desk&after=nonsense", 422, "invalid_request"),
        ("/runs?workspace=desk&after=WyJ4IiwieSJd", 422, "invalid_request"),
        ("/runs?workspace=desk&after=WzEsMl0", 422, "invalid_request"),
        ("/runs?workspace=desk&after=%F0%9F%92%A5", 422, "invalid_request"),
        ("/runs?owner=olga", 422, "unknown_field"),
        ("/runs/R-1?expand=all", 422, "unknown_field"),
        ("/audit?since=yesterday", 422, "invalid_request"),
        ("/audit/export?format=parquet", 422, "invalid_request"),
        ("/calls/C-1?wait=-1", 422, "invalid_request"),
        ("/calls/C-1?wait=61", 422, "invalid_request"),
        ("/calls/C-1?wait=1.5", 422, "invalid_request"),
        ("/calls/C-1?wait=%D9%A3", 422, "invalid_request"),
        ("/calls/C-1?poll=1", 422, "unknown_field"),
    ],
)
def test_a_bad_address_is_refused_by_its_own_code_and_entered(
    entered: Entered, holders: dict[str, str], path: str, status: int, code: str
) -> None:
    reply = ask("GET", f"{API}{path}", holders["runs"])
    assert (reply.status, reply.code) == (status, code)
    assert [entry["code"] for entry in entered()] == [code]


METHODS = [
    ("DELETE", "/runs", "GET, POST"),
    ("POST", "/runs/R-1", "GET"),
    ("OPTIONS", "/runs", "GET, POST"),
    ("GET", "/calls", "POST"),
    ("PUT", "/calls/C-1", "GET"),
    ("TRACE", "/audit", "GET"),
]


@pytest.mark.parametrize(("method", "path", "allowed"), METHODS)
def test_another_method_is_refused_and_the_right_ones_are_named(holders: dict[str, str], method: str, path: str, allowed: str) -> None:
    reply = ask(method, f"{API}{path}", holders["runs"])
    assert (reply.status, reply.code, reply.headers["allow"]) == (405, "method_not_allowed", allowed)


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "schlüssel", "a\tb", "\x7f"])
def test_an_idempotency_key_is_visible_ascii(entered: Entered, holders: dict[str, str], key: str) -> None:
    reply = ask("POST", f"{API}/calls", holders["calls"], {"tool": "get_account", "arguments": {}}, headers={"idempotency-key": key})
    assert (reply.status, reply.code) == (400, "invalid_idempotency_key")
    assert [entry["pointer"] for entry in entered()] == ["Idempotency-Key"]


SHAPES: list[tuple[str, dict[str, Any]]] = [
    ("/agents", {"slug": "Not A Slug", "name": "x"}),
    ("/connectors", {"slug": "x", "kind": "mcp", "url": "file:///etc/passwd"}),
    ("/connectors", {"slug": "x", "kind": "mcp", "url": "https://x", "headers": {"x\r\ny": "z"}}),
    ("/connectors", {"slug": "x", "kind": "mcp", "url": "https://x", "headers": {"x": "a\nb"}}),
    ("/members", {"username": "a b", "name": "x", "role": "viewer"}),
    ("/members", {"username": "ab", "name": "x", "role": "king"}),
    ("/directory", {"kind": "order", "owners": {"1": 2}}),
    ("/stops", {"scope": "world", "reason": "x"}),
    ("/tools/pay/confirm", {"is_write": "true"}),
]


@pytest.mark.parametrize(("path", "body"), SHAPES)
def test_every_door_checks_its_own_shape(entered: Entered, holders: dict[str, str], path: str, body: dict[str, Any]) -> None:
    reply = ask("POST", f"{API}{path}", holders["runs"], body if path == "/stops" else {"workspace": "desk", **body})
    assert (reply.status, reply.code) == (422, "invalid_request")
    assert len(entered()) == 1


def test_a_bulk_load_may_be_eight_mebibytes_and_no_more(holders: dict[str, str]) -> None:
    owners = {f"order-{n:06d}": f"customer-{n}" for n in range(60_000)}
    reply = ask("POST", f"{API}/directory", holders["runs"], {"workspace": "desk", "kind": "order", "owners": owners})
    assert (reply.status, reply.body) == (200, {"objects": 60_000})
    reply = ask("POST", f"{API}/directory", holders["runs"], raw=b" " * (9 << 20))
    assert (reply.status, reply.code) == (413, "too_large")
