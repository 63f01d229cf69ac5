"""Whose address an entry tells: the peer's, or what our own proxy saw; and that whatever is said there stays inert and bounded."""

import json
from typing import Any

import pytest
from django.conf import settings

from audit import canonical, ids, log, origin, tenancy
from controlplane import origins
from tests.controlplane import browsing
from tests.world import World


def scope(path: str = "/api/v1/runs", **headers: bytes) -> dict[str, Any]:
    return {
        "path": path,
        "headers": [(name.replace("_", "-").encode(), value) for name, value in headers.items()],
        "client": ("10.1.2.3", 9),
    }


@pytest.mark.parametrize(("path", "door"), [("/api/v1/runs", "api"), ("/mcp", "mcp"), ("/acme/desk/runs", "pages"), ("/", "pages")])
def test_the_door_is_read_off_the_path(path: str, door: str) -> None:
    assert origins.of(scope(path)).door == door
    assert door in origin.DOORS


def test_behind_our_proxy_the_address_is_the_last_that_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    said = scope(x_forwarded_for=b"1.1.1.1, 203.0.113.9")
    assert origins.of(said).address == "10.1.2.3"
    monkeypatch.setattr(settings, "BEHIND_PROXY", True)
    assert origins.of(said).address == "203.0.113.9"


@pytest.mark.parametrize("named", [b"", b"a b", b"x" * 65, b"<script>", b"\xff\xfe", b'"}'])
def test_what_is_no_id_is_replaced_by_one(named: bytes) -> None:
    assert ids.prefix_of(origins.of(scope(x_request_id=named)).request) == "REQ"


def test_an_entry_with_an_origin_is_canonical_and_one_without_is_as_before(world: World) -> None:
    system = world.people["olga"]
    hostile = origin.Origin("pages", address='"},"x":"\u202e', request="r")
    with origin.arriving(hostile), tenancy.within(world.organisation):
        told = log.append("zone.set", by=system, detail={"zone": "UTC"})
    with tenancy.within(world.organisation):
        plain = log.append("zone.set", by=system, detail={"zone": "UTC"})
        for identifier, expected in ((told, {"address": '"},"x":"\u202e', "door": "pages", "request": "r"}), (plain, {})):
            entry = log.get(identifier)
            assert entry is not None
            assert entry.body == canonical.text(json.loads(entry.body))
            assert entry.origin == expected


def test_the_log_says_by_which_door_and_from_where(world: World) -> None:
    came = origin.Origin("mcp", address="203.0.113.9<b>", request="REQ-7")
    with origin.arriving(came), tenancy.within(world.organisation):
        told = log.append("zone.set", by=world.people["olga"], workspace=world.workspace.id, detail={"zone": "UTC"})
    listed = browsing.text(browsing.visit(world, "ada", "audit?event=zone.set"))
    assert "MCP, 203.0.113.9&lt;b&gt;" in listed
    one = browsing.text(browsing.visit(world, "ada", f"audit/{told}"))
    assert "REQ-7" in one
    assert "203.0.113.9<b>" not in one


def test_every_entry_of_a_call_tells_it_too_whatever_became_of_the_call(world: World) -> None:
    run = world.start()
    with tenancy.within(world.organisation):
        before = set(log.entries().values_list("id", flat=True))
    with origin.arriving(origin.Origin("api", address="203.0.113.9", request="REQ-8")):
        run.call("balance", {"account": "a"}, "read")
        run.call("pay", {"account": "a", "amount": 1}, "sent")
        run.call("pay", {"account": "a", "amount": 50}, "held")
        run.call("pay", {"account": "a"}, "refused")
    with tenancy.within(world.organisation):
        written = [entry for entry in log.entries() if entry.id not in before]
    assert len({entry.event for entry in written}) > 3
    assert {(entry.event, entry.origin.get("request")) for entry in written} == {(entry.event, "REQ-8") for entry in written}
