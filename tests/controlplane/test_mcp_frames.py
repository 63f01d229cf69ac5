"""What does not get in at the MCP door: frames that are not exactly one message, headers that contradict the body, strangers."""

import json
import random
from typing import Any

import pytest

from agents import identity, organisations
from agents.models import Key, Member
from audit import log, tenancy
from tests import world as worlds
from tests.controlplane.mcp_knocking import META, STATELESS, Knock

PAY = {"name": "pay", "arguments": {"account": "a", "amount": 5}}


@pytest.fixture(scope="module")
def there() -> worlds.RunUnderTest:
    return worlds.make().start(reference="frames")


@pytest.fixture(params=["handshake era", "stateless era"])
def knock(request: pytest.FixtureRequest, there: worlds.RunUnderTest) -> Knock:
    return Knock(there.token, stateless=request.param == "stateless era")


def frame(**members: Any) -> bytes:
    """A call that would pay if it got through."""
    whole: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {**PAY, "_meta": META}, **members}
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


GOOD = frame()
MALFORMED: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", -32700, "malformed_json"),
    "not json": (b"pay", -32700, "malformed_json"),
    "half": (GOOD[:-7], -32700, "malformed_json"),
    "two bodies": (GOOD + GOOD, -32700, "malformed_json"),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, -32700, "malformed_json"),
    "utf-16": (GOOD.decode().encode("utf-16"), -32700, "not_utf8"),
    "utf-16 without mark": (GOOD.decode().encode("utf-16-le"), -32600, "nul_character"),
    "not utf-8": (GOOD.replace(b"pay", b"p\xffy"), -32700, "not_utf8"),
    "nul": (GOOD + b"\0", -32600, "nul_character"),
    "escaped nul": (GOOD.replace(b'"pay"', b'"pay\\u0000"'), -32600, "nul_character"),
    "half a surrogate pair": (GOOD.replace(b'"pay"', b'"\\ud800"'), -32600, "lone_surrogate"),
    "method twice": (GOOD.replace(b'"method"', b'"method": "ping", "method"'), -32600, "duplicate_key"),
    "amount twice": (GOOD.replace(b'"amount": 5', b'"amount": 5, "amount": 900'), -32600, "duplicate_key"),
    "nan": (GOOD.replace(b'"amount": 5', b'"amount": NaN'), -32600, "not_finite"),
    "infinite": (GOOD.replace(b'"amount": 5', b'"amount": 1e999'), -32600, "not_finite"),
    "deep": (b"[" * 4000 + b"]" * 4000, -32600, "too_deep"),
    "a batch": (b"[" + GOOD + b"]", -32600, "batch"),
    "an empty batch": (b"[]", -32600, "batch"),
    "a string": (b'"tools/call"', -32600, "not_json_rpc"),
    "null": (b"null", -32600, "not_json_rpc"),
    "no version": (frame(jsonrpc=...), -32600, "not_json_rpc"),
    "version 1.0": (frame(jsonrpc="1.0"), -32600, "not_json_rpc"),
    "version 2": (frame(jsonrpc=2.0), -32600, "not_json_rpc"),
    "one member more": (frame(session="s"), -32600, "unknown_member"),
    "a response": (b'{"jsonrpc": "2.0", "id": 1, "result": {}}', -32600, "unknown_member"),
    "no method": (frame(method=...), -32600, "method"),
    "an empty method": (frame(method=""), -32600, "method"),
    "method is a list": (frame(method=["tools/call"]), -32600, "method"),
    "a long method": (frame(method="x" * 5000), -32600, "method"),
    "no id": (frame(id=...), -32600, "id"),
    "id null": (frame(id=None), -32600, "id"),
    "id float": (frame(id=1.5), -32600, "id"),
    "id whole float": (frame(id=1.0), -32600, "id"),
    "id true": (frame(id=True), -32600, "id"),
    "id object": (frame(id={"a": 1}), -32600, "id"),
    "id list": (frame(id=[1]), -32600, "id"),
    "id huge": (frame(id=10**40), -32600, "integer_out_of_range"),
    "id long": (frame(id="x" * 257), -32600, "id"),
    "params list": (frame(params=["pay"]), -32600, "params"),
    "params string": (frame(params="pay"), -32600, "params"),
    "meta list": (frame(params={**PAY, "_meta": []}), -32600, "params"),
    "meta null": (frame(params={**PAY, "_meta": None}), -32600, "params"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_frame_is_refused_with_its_name_and_nothing_happens(knock: Knock, there: worlds.RunUnderTest, case: str) -> None:
    body, error, code = MALFORMED[case]
    headers: dict[str, str | None] = (
        {"mcp-protocol-version": STATELESS, "mcp-method": "tools/call", "mcp-name": "pay"} if knock.stateless else {}
    )
    before = len(there.world.bank.arrived)
    reply = knock.post(body, headers)
    assert (reply.status, reply.error["code"], reply.code) == (400, error, code)
    assert reply.body["id"] is None
    assert len(there.world.bank.arrived) == before


def test_refused_input_is_written_down_for_whoever_sent_it(there: worlds.RunUnderTest) -> None:
    Knock(there.token).post(b"[]")
    with tenancy.within(there.world.organisation):
        entry = log.entries(event="input.refused", run=there.run.id)[0]
    assert (entry.actor_id, entry.subject) == (there.principal.id, there.principal.key)
    assert json.loads(entry.body)["detail"]["code"] == "batch"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"content-type": "text/plain"}, 415, "content_type"),
        ({"content-type": None}, 415, "content_type"),
        ({"content-type": "application/json; charset=utf-16"}, 415, "content_type"),
        ({"content-type": "application/x-www-form-urlencoded"}, 415, "content_type"),
        ({"accept": "text/html"}, 406, "not_acceptable"),
        ({"accept": "text/event-stream"}, 406, "not_acceptable"),
    ],
)
def test_only_json_is_taken_and_given(there: worlds.RunUnderTest, headers: dict[str, str | None], status: int, code: str) -> None:
    reply = Knock(there.token).ask("ping", headers=headers)
    assert (reply.status, reply.code) == (status, code)


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/*;q=0.8", "APPLICATION/JSON, text/event-stream"])
def test_clients_that_say_less_about_what_they_accept_are_served(there: worlds.RunUnderTest, accept: str | None) -> None:
    assert Knock(there.token).ask("ping", headers={"accept": accept, "content-type": 'Application/JSON; charset="UTF-8"'}).result == {}


# Strangers ------------------------------------------------------------------------------------------------------------------------------


def test_a_stranger_is_told_to_authenticate_before_anything_is_read(there: worlds.RunUnderTest) -> None:
    tampered = there.token[:-1] + ("A" if there.token[-1] != "A" else "B")
    refused: list[dict[str, str | None]] = [
        {"authorization": None},
        {"authorization": "Basic abc"},
        {"authorization": "Bearer nonsense"},
        {"authorization": f"Bearer {tampered}"},
    ]
    for headers in refused:
        reply = Knock(there.token).post(b"not json", headers)
        assert (reply.status, reply.code) == (401, "unauthenticated")
        assert reply.headers["www-authenticate"].startswith("Bearer")


def test_a_revoked_key_is_refused_at_once() -> None:
    run = worlds.make().start()
    assert Knock(run.token).ask("ping").status == 200
    with tenancy.within(run.world.organisation):
        key = Key.objects.get(id=run.principal.key)
        identity.revoke(by=run.world.people["olga"], key=key)
    assert Knock(run.token).ask("ping").status == 401


def test_two_authorizations_are_none(there: worlds.RunUnderTest) -> None:
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}'
    assert Knock(there.token).post(body, twice=("authorization", "Bearer x")).status == 401


def test_a_person_is_sent_to_another_door(there: worlds.RunUnderTest) -> None:
    olga: organisations.Principal = there.world.people["olga"]
    with tenancy.within(there.world.organisation):
        member = Member.objects.get(id=olga.id)
    reply = Knock(identity.issue(by=olga, member=member).token).ask("tools/list")
    assert (reply.status, reply.code) == (403, "forbidden")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example", "file://127.0.0.1", "http://[::1", "//localhost", ""]
)
def test_scripts_of_other_sites_are_not_answered(there: worlds.RunUnderTest, origin: str) -> None:
    assert Knock(there.token).ask("ping", headers={"origin": origin}).status == 403


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "http://localhost:3000", "https://localhost"])
def test_scripts_of_our_own_pages_are(there: worlds.RunUnderTest, origin: str) -> None:
    assert Knock(there.token).ask("ping", headers={"origin": origin}).status == 200


def test_a_host_that_may_be_anything_makes_no_origin_ours(there: worlds.RunUnderTest, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert Knock(there.token).ask("ping", headers={"origin": "https://evil.example"}).status == 403


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS", "HEAD"])
def test_there_is_nothing_but_post(there: worlds.RunUnderTest, method: str) -> None:
    reply = Knock(there.token).post(b"", method=method)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")


# Eras -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2024-11-05", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
    ],
)
def test_the_handshake_agrees_on_a_version_and_makes_no_session(there: worlds.RunUnderTest, wanted: str, given: str) -> None:
    reply = Knock(there.token).ask(
        "initialize", {"protocolVersion": wanted, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    )
    assert reply.result["protocolVersion"] == given
    assert reply.result["serverInfo"]["name"] == "remit"
    assert "mcp-session-id" not in reply.headers


def test_a_session_that_is_named_is_not_looked_at(there: worlds.RunUnderTest) -> None:
    reply = Knock(there.token).ask("tools/list", headers={"mcp-session-id": "of somebody else"})
    assert reply.status == 200
    assert "mcp-session-id" not in reply.headers


def test_the_stateless_era_is_discovered(there: worlds.RunUnderTest) -> None:
    found = Knock(there.token, stateless=True).ask("server/discover").result
    assert found["supportedVersions"] == ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]
    assert (found["resultType"], found["cacheScope"], found["ttlMs"]) == ("complete", "private", 0)
    assert found["capabilities"]["extensions"] == {"io.modelcontextprotocol/tasks": {}}


def test_a_notification_is_taken_and_not_answered(knock: Knock) -> None:
    headers: dict[str, str | None] = {"mcp-protocol-version": STATELESS} if knock.stateless else {}
    reply = knock.post(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}', headers)
    assert (reply.status, reply.body) == (202, None)


@pytest.mark.parametrize("version", ["1900-01-01", "2027-01-01", "nonsense", ""])
def test_a_version_we_do_not_speak_is_answered_with_those_we_do(there: worlds.RunUnderTest, version: str) -> None:
    for meta in ({}, {**META, "io.modelcontextprotocol/protocolVersion": version}):
        reply = Knock(there.token).ask("tools/list", {"_meta": meta}, headers={"mcp-protocol-version": version})
        assert (reply.status, reply.error["code"], reply.error["data"]["requested"]) == (400, -32022, version)
        assert "2026-07-28" in reply.error["data"]["supported"]
        assert "2025-11-25" in reply.error["data"]["supported"]
        assert reply.body["id"] == 1 or isinstance(reply.body["id"], int)
    assert Knock(there.token).post(b'{"jsonrpc": "2.0", "method": "notifications/x"}', {"mcp-protocol-version": version}).status == 400


@pytest.mark.parametrize(("stateless", "status"), [(False, 200), (True, 404)])
@pytest.mark.parametrize("method", ["resources/list", "logging/setLevel", "subscriptions/listen", "tools/Call", "__class__"])
def test_an_unknown_method_is_answered_in_the_way_of_its_era(there: worlds.RunUnderTest, method: str, stateless: bool, status: int) -> None:
    reply = Knock(there.token, stateless=stateless).ask(method)
    assert (reply.status, reply.error["code"]) == (status, -32601)


def test_methods_of_one_era_do_not_exist_in_the_other(there: worlds.RunUnderTest) -> None:
    for method in ("initialize", "ping"):
        assert Knock(there.token, stateless=True).ask(method, {"protocolVersion": "2025-11-25"}).error["code"] == -32601
    for method in ("server/discover", "tasks/get", "tasks/cancel"):
        assert Knock(there.token).ask(method).error["code"] == -32601


@pytest.mark.parametrize("missing", list(META))
def test_the_stateless_era_requires_its_meta(there: worlds.RunUnderTest, missing: str) -> None:
    meta = {name: value for name, value in META.items() if name != missing}
    body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {"_meta": meta}}).encode()
    reply = Knock(there.token).post(body, {"mcp-protocol-version": STATELESS, "mcp-method": "tools/list"})
    assert (reply.status, reply.error["code"], reply.body["id"]) == (400, -32602, 7)


CONTRADICTIONS: dict[str, dict[str, str | None]] = {
    "no version": {"mcp-protocol-version": None},
    "older version": {"mcp-protocol-version": "2025-11-25"},
    "unknown version": {"mcp-protocol-version": "2099-01-01"},
    "no method": {"mcp-method": None},
    "other method": {"mcp-method": "tools/list"},
    "method in capitals": {"mcp-method": "TOOLS/CALL"},
    "empty method": {"mcp-method": ""},
    "no name": {"mcp-name": None},
    "other name": {"mcp-name": "get_account"},
    "name in capitals": {"mcp-name": "PAY"},
    "empty name": {"mcp-name": ""},
    "wrapped other name": {"mcp-name": "=?base64?Z2V0X2FjY291bnQ=?="},
    "torn wrapping": {"mcp-name": "=?base64?cGF5"},
    "not base64": {"mcp-name": "=?base64?!!!?="},
    "name with spaces": {"mcp-name": " pay"},
    "name with a tail": {"mcp-name": "pay, pay"},
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_headers_that_contradict_the_body_are_refused_and_nothing_happens(there: worlds.RunUnderTest, case: str) -> None:
    before = len(there.world.bank.arrived)
    reply = Knock(there.token, stateless=True).ask("tools/call", PAY, headers=CONTRADICTIONS[case])
    assert (reply.status, reply.error["code"]) == (400, -32020)
    assert len(there.world.bank.arrived) == before


@pytest.mark.parametrize("twice", [("mcp-method", "tools/call"), ("mcp-name", "get_account"), ("mcp-protocol-version", STATELESS)])
def test_a_routing_header_sent_twice_is_refused(there: worlds.RunUnderTest, twice: tuple[str, str]) -> None:
    headers: dict[str, str | None] = {"mcp-protocol-version": STATELESS, "mcp-method": "tools/call", "mcp-name": "pay"}
    reply = Knock(there.token).post(GOOD, headers, twice=twice)
    assert (reply.status, reply.error["code"]) == (400, -32020)


def test_a_name_wrapped_for_the_wire_is_unwrapped(there: worlds.RunUnderTest) -> None:
    assert (
        Knock(there.token, stateless=True).ask("tools/call", PAY, headers={"mcp-name": "=?base64?cGF5?="}).result["resultType"]
        == "complete"
    )


def test_an_older_client_may_not_contradict_itself_either(there: worlds.RunUnderTest) -> None:
    assert Knock(there.token).call("pay", PAY["arguments"], headers={"mcp-name": "get_account"}).error["code"] == -32020
    assert Knock(there.token).call("pay", PAY["arguments"], headers={"mcp-method": "tools/list"}).error["code"] == -32020
    assert (
        Knock(there.token).ask("tools/call", {**PAY, "_meta": META}, headers={"mcp-protocol-version": "2025-11-25"}).error["code"] == -32020
    )


def test_no_shuffle_of_bytes_gets_through_or_breaks_the_door(there: worlds.RunUnderTest) -> None:
    """A fixed seed, so that a failure repeats. A mutant may still be a valid request to pay; then it pays what it says, once."""
    dice = random.Random(20260728)
    pieces = [
        b"null",
        b"[",
        b"}",
        b'"',
        b"\\u0000",
        b"1e400",
        b"\xff",
        b'"id": 1.5,',
        b'"method":',
        b"-0",
        b"9" * 30,
        b"\\",
        b"\xef\xbb\xbf",
        b"{}",
    ]
    for _ in range(150):
        mutant = bytearray(GOOD)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(mutant))
            mutant[at : at + dice.randint(0, 6)] = dice.choice(pieces)
        headers: dict[str, str | None] = {"mcp-protocol-version": STATELESS, "mcp-method": "tools/call", "mcp-name": "pay"}
        reply = Knock(there.token).post(
            bytes(mutant), headers if dice.random() < 0.5 else {"mcp-protocol-version": dice.choice(["2025-11-25", "2026-07-28"])}
        )
        assert reply.status in {200, 202, 400, 404}, (bytes(mutant), reply)
        if reply.status == 200:
            assert json.loads(bytes(mutant))["jsonrpc"] == "2.0"
            assert isinstance(json.loads(bytes(mutant))["id"], int | str)
