"""Who gets past which door: every route, knocked at by nobody, by a member of another workspace, by an agent, and by whoever may."""

import json
import secrets
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.middleware.csrf import get_token
from django.test import Client
from django.urls import URLPattern

from agents import identity, organisations, policies, seats
from approvals import denials
from audit import log, tenancy
from budgets import caps
from controlplane import urls
from tests import world as worlds
from tests.controlplane import api_knocking as knocking
from tests.controlplane.api_knocking import API, ask
from tests.controlplane.browsing import signed_in
from tests.world import World

DESK = {"workspace": "desk"}
AGENT = {"slug": "clerk", "name": "Clerk"}
CONNECTOR = {"slug": "second", "kind": "mcp", "url": "https://upstream.example/mcp"}
# (method, route as urls.py writes it, the address, a good body, who may). {..} is filled in from what is there.
DOORS: list[tuple[str, str, str, Any, str]] = [
    ("GET", "runs", "runs?workspace=desk", None, "vera"),
    ("POST", "runs", "runs", {**DESK, "agent": "teller"}, "olga"),
    ("GET", "runs/<str:identifier>", "runs/{run}", None, "vera"),
    ("GET", "runs/<str:identifier>/calls", "runs/{run}/calls", None, "vera"),
    ("GET", "runs/<str:identifier>/steps", "runs/{run}/steps", None, "vera"),
    ("POST", "runs/<str:identifier>/finish", "runs/{run}/finish", {}, "sam"),
    ("GET", "approvals", "approvals?workspace=desk", None, "ann"),
    ("GET", "approvals/<str:identifier>", "approvals/{approval}", None, "ann"),
    (
        "POST",
        "approvals/<str:identifier>/votes",
        "approvals/{approval}/votes",
        {"verdict": "deny", "plan": "{plan}", "reason": "No."},
        "ann",
    ),
    (
        "POST",
        "approvals/decide",
        "approvals/decide",
        {"verdict": "deny", "reason": "No.", "items": [{"id": "{batched}", "plan": "{batched_plan}"}]},
        "ann",
    ),
    ("POST", "approvals/<str:identifier>/check", "approvals/{sent}/check", None, "ann"),
    ("POST", "approvals/<str:identifier>/claim", "approvals/{sent}/claim", None, "ann"),
    ("POST", "approvals/<str:identifier>/unclaim", "approvals/{sent}/unclaim", None, "ann"),
    ("POST", "approvals/<str:identifier>/hand-over", "approvals/{sent}/hand-over", {"to": "ben"}, "ann"),
    ("POST", "approvals/<str:identifier>/extend", "approvals/{sent}/extend", None, "ann"),
    ("POST", "approvals/<str:identifier>/comments", "approvals/{sent}/comments", {"text": "Hello."}, "ada"),
    ("POST", "approvals/<str:identifier>/send-back", "approvals/{sent}/send-back", {"plan": "{sent_plan}", "expected": "less"}, "ann"),
    ("POST", "approvals/<str:identifier>/withdraw", "approvals/{taken}/withdraw", {"reason": "Not needed."}, "olga"),
    ("PUT", "approval-terms", "approval-terms?workspace=desk", {"extend_s": 60, "extend_most_s": 120, "rounds": 1}, "olga"),
    ("GET", "denials", "denials?workspace=desk", None, "ada"),
    ("POST", "denials/<str:identifier>/lift", "denials/{denial}/lift", None, "ann"),
    ("GET", "raises", "raises", None, "fiona"),
    ("POST", "raises/<str:identifier>/agree", "raises/{raise}/agree", None, "olga"),
    ("POST", "raises/<str:identifier>/decline", "raises/{other_raise}/decline", {"reason": "No."}, "olga"),
    ("PUT", "raise-threshold", "raise-threshold", {**DESK, "micros": 0}, "fiona"),
    ("GET", "budgets", "budgets", None, "fiona"),
    ("PUT", "budgets/<str:level>/<str:subject>", "budgets/agent/teller", {"cap_micros": 1}, "fiona"),
    ("GET", "prices", "prices", None, "fiona"),
    ("PUT", "prices/<path:item>", "prices/a:b", {**DESK, "input_micros": 1, "output_micros": 1}, "fiona"),
    ("GET", "audit", "audit", None, "ada"),
    ("GET", "audit/export", "audit/export", None, "ada"),
    ("GET", "audit/<str:identifier>", "audit/{entry}", None, "ada"),
    ("GET", "stops", "stops", None, "vera"),
    ("POST", "stops", "stops", {"scope": "tool", "target": "pay", "reason": "drill"}, "sam"),
    ("POST", "stops/<str:identifier>/release", "stops/{stop}/release", {}, "sam"),
    ("GET", "connectors", "connectors?workspace=desk", None, "vera"),
    ("POST", "connectors", "connectors", {**DESK, **CONNECTOR}, "olga"),
    ("POST", "connectors/<str:slug>/discover", "connectors/bank/discover", DESK, "olga"),
    ("GET", "tools", "tools?workspace=desk", None, "vera"),
    ("POST", "tools/<str:name>/confirm", "tools/slow_read/confirm", {**DESK, "is_write": False}, "olga"),
    ("POST", "tools/<str:name>/retire", "tools/slow_read/retire", DESK, "olga"),
    ("POST", "directory", "directory", {**DESK, "kind": "order", "owners": {"1": "a"}}, "olga"),
    ("GET", "policies", "policies?workspace=desk", None, "ada"),
    ("POST", "policies", "policies", {**DESK, "cedar": '@id("a") permit (principal, action, resource);'}, "ann"),
    ("GET", "policies/<str:identifier>", "policies/{policy}", None, "ada"),
    ("POST", "policies/<str:identifier>/activate", "policies/{draft}/activate", {}, "sam"),
    ("GET", "agents", "agents?workspace=desk", None, "vera"),
    ("POST", "agents", "agents", {**DESK, **AGENT}, "olga"),
    ("GET", "agents/<str:slug>", "agents/teller?workspace=desk", None, "vera"),
    ("PATCH", "agents/<str:slug>", "agents/teller", {**DESK, "draft_only": True}, "olga"),
    ("POST", "agents/<str:slug>/versions", "agents/teller/versions", {**DESK, "tools": []}, "olga"),
    ("GET", "agents/<str:slug>/keys", "agents/teller/keys?workspace=desk", None, "olga"),
    ("POST", "agents/<str:slug>/keys", "agents/teller/keys", DESK, "olga"),
    ("PUT", "agents/<str:slug>/limits", "agents/teller/limits", {**DESK, "steps": 5}, "olga"),
    ("POST", "keys/<str:identifier>/revoke", "keys/{key}/revoke", {}, "olga"),
    ("POST", "capabilities/<str:identifier>/revoke", "capabilities/{capability}/revoke", {}, "sam"),
    ("GET", "members", "members", None, "vera"),
    ("POST", "members", "members", {**DESK, "username": "{username}", "name": "Nora", "role": "viewer"}, "olga"),
    ("PUT", "members/<str:identifier>/roles", "members/{member}/roles", {**DESK, "roles": ["viewer", "finance"]}, "olga"),
    ("POST", "members/<str:identifier>/deactivate", "members/{member}/deactivate", {}, "olga"),
    ("GET", "workspaces", "workspaces", None, "vera"),
]
# What concerns the whole organisation is seen by a member of any workspace: only what theirs is, or what is no secret among members.
SEEN_BY_ANY_MEMBER = {"stops", "members", "workspaces"}
# What an agent's own key may look at, besides what is its own.
AGENTS_OWN = {
    ("GET", "runs"),
    ("POST", "runs"),
    ("GET", "tools"),
    ("GET", "agents/<str:slug>"),
    ("GET", "runs/<str:identifier>"),
    ("GET", "runs/<str:identifier>/calls"),
    ("GET", "runs/<str:identifier>/steps"),
    ("POST", "runs/<str:identifier>/finish"),
}


def test_every_route_is_in_the_table() -> None:
    public = {"schema", "docs", r"[\s\S]*"}
    routed = {str(found.pattern) for found in urls.api if isinstance(found, URLPattern)} - public
    assert {route for _, route, _, _, _ in DOORS} == routed


@pytest.fixture(scope="module")
def world(django_db_setup: None) -> World:
    return worlds.make()


@pytest.fixture(scope="module")
def names(world: World) -> dict[str, str]:
    """What the addresses name."""
    run = world.start()
    held = knocking.propose(run.token, "pay", {"account": "a", "amount": 50}).body
    tokens = knocking.tokens(world)
    asked = [knocking.propose(run.token, "pay", {"account": "a", "amount": amount}).body for amount in (51, 52, 53, 54)]
    no = {"verdict": "deny", "plan": asked[0]["plan"], "reason": "No.", "scope": "run"}
    ask("POST", f"{API}/approvals/{asked[0]['approval']}/votes", tokens["ann"], no)
    stop = ask("POST", f"{API}/stops", tokens["olga"], {"scope": "connector", "target": "bank", "reason": "x"}).body["id"]
    draft = ask("POST", f"{API}/policies", tokens["ann"], {**DESK, "cedar": worlds.POLICIES}).body["id"]
    key = ask("POST", f"{API}/agents/teller/keys", tokens["olga"], DESK).body
    system = organisations.system(world.organisation, "tests")
    spare = organisations.add_member(by=system, user=get_user_model().objects.create_user(f"spare-{secrets.token_hex(4)}"), name="spare")
    seats.grant(by=system, member=spare, workspace=world.workspace, role="viewer")
    seats.grant(by=system, member=world.members["fiona"], workspace=world.other, role="finance")
    caps.put_threshold(by=system, workspace=world.workspace.id, micros=0)
    waits = []
    for level, target in (("agent", world.agent.id), ("workspace", world.workspace.id)):
        for by, micros in ((system, 10**12), (world.people["fiona"], 10**13)):
            done = caps.put(by=by, workspace=world.workspace.id, level=level, target=target, period="month", cap_micros=micros)
        waits.append(done.id)
    with tenancy.within(world.organisation):
        entry = log.entries(event="call.held", subject=held["call"]).get().id
        denial = denials.standing(workspace=world.workspace.id).get().id
        policy = policies.listed(world.workspace.id).last()
    assert policy is not None
    return {
        "run": run.run.id,
        "approval": held["approval"],
        "plan": held["plan"],
        "sent": asked[1]["approval"],
        "sent_plan": asked[1]["plan"],
        "taken": asked[2]["approval"],
        "batched": asked[3]["approval"],
        "batched_plan": asked[3]["plan"],
        "denial": denial,
        "entry": entry,
        "stop": stop,
        "policy": policy.id,
        "draft": draft,
        "key": key["id"],
        "capability": str(run.run.capability_id),
        "raise": waits[0],
        "other_raise": waits[1],
        "member": spare.id,
        "username": f"nora-{secrets.token_hex(4)}",
        "agent key": key["key"],
    }


@pytest.fixture(scope="module")
def stranger(world: World) -> str:
    """The token of somebody who owns the other workspace and has no seat in this one."""
    system, user = organisations.system(world.organisation, "tests"), get_user_model().objects.create_user(f"lars-{secrets.token_hex(4)}")
    member = organisations.add_member(by=system, user=user, name="lars")
    for role in ("owner", "approver", "auditor"):
        seats.grant(by=system, member=member, workspace=world.other, role=role, until=worlds.soon() if role == "auditor" else None)
    return identity.issue(by=system, member=member).token


def knock(names: dict[str, str], door: tuple[str, str, str, Any, str], token: str) -> knocking.Reply:
    method, _, path, body, _ = door
    return ask(method, f"{API}/{path.format(**names)}", token, filled(body, names))


def filled(body: Any, names: dict[str, str]) -> Any:
    """A body with what it names."""
    if isinstance(body, dict):
        return {name: filled(value, names) for name, value in body.items()}
    if isinstance(body, list):
        return [filled(value, names) for value in body]
    return body.format(**names) if isinstance(body, str) and body.startswith("{") else body


def written(door: tuple[str, str, str, Any, str]) -> str:
    return f"{door[0]} {door[1]}"


@pytest.mark.parametrize("door", DOORS, ids=written)
def test_nobody_gets_in_without_a_credential(names: dict[str, str], door: tuple[str, str, str, Any, str]) -> None:
    assert knock(names, door, "").code == "unauthenticated"


@pytest.mark.parametrize("door", DOORS, ids=written)
def test_a_member_of_another_workspace_sees_and_changes_nothing_here(
    world: World, names: dict[str, str], stranger: str, door: tuple[str, str, str, Any, str]
) -> None:
    before = world.events()
    reply = knock(names, door, stranger)
    if reply.status == 200 and door[0] == "GET":
        secret = {value for name, value in names.items() if name != "member"} | {world.workspace.id, world.agent.id}
        assert door[1] in SEEN_BY_ANY_MEMBER or not any(value in reply.raw.decode() for value in secret), reply.raw
    else:
        several = [item["problem"]["code"] for item in reply.body["items"]] if door[1] == "approvals/decide" else []
        assert set(several or [reply.code]) <= {"forbidden", "not_found", "not_eligible"}, reply
        assert world.events() == before


@pytest.mark.parametrize("door", [door for door in DOORS if (door[0], door[1]) not in AGENTS_OWN], ids=written)
def test_an_agent_governs_nothing(world: World, names: dict[str, str], door: tuple[str, str, str, Any, str]) -> None:
    before = world.events()
    reply = knock(names, door, world.start().token)
    assert reply.code in {"forbidden", "not_found"}, reply
    assert [event for event in world.events()[len(before) :] if event not in {"run.started", "key.issued", "capability.issued"}] == []


def test_whoever_may_gets_in_and_each_change_leaves_an_entry(world: World, names: dict[str, str]) -> None:
    """In the order of the table, so that a door that ends something comes after those that need it."""
    tokens = knocking.tokens(world)
    last = {"finish", "revoke", "retire", "deactivate", "activate", "stops"}
    for door in sorted(DOORS, key=lambda door: door[1].rpartition("/")[2] in last):
        before = len(world.events())
        reply = knock(names, door, tokens[door[4]])
        assert reply.status in {200, 201}, (door, reply)
        assert door[0] == "GET" or len(world.events()) > before, door


def test_a_session_reads_and_changes_things_only_with_its_csrf_token(world: World) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(get_user_model().objects.get(pk=world.people["olga"].user), backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(f"{API}/runs?workspace=desk").status_code == 200
    order = json.dumps({**DESK, "agent": "teller"})
    refused = client.post(f"{API}/runs", order, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    token = get_token(refused.wsgi_request)
    client.cookies["csrftoken"] = token
    begun = client.post(f"{API}/runs", order, content_type="application/json", headers={"X-CSRFToken": token})
    assert begun.status_code == 201


def test_one_of_two_humans_signs_in_freshly_at_this_door_too() -> None:
    fresh = worlds.make()
    held = fresh.start().call("pay", {"account": "a", "amount": 600})
    client = signed_in(fresh, "ann")
    votes, vote = f"{API}/approvals/{held.approval}/votes", {"verdict": "approve", "plan": held.plan}
    refused = client.post(votes, json.dumps(vote), content_type="application/json")
    assert refused.status_code == 403
    assert refused.json()["code"] == "fresh_sign_in"
    assert fresh.events("request.voted", subject=held.approval) == []
    client.post("/accounts/reauthenticate/", {"password": "a long password here"})
    assert client.post(votes, json.dumps(vote), content_type="application/json").status_code == 200
    no = json.dumps({**vote, "verdict": "deny", "reason": "No."})
    assert signed_in(fresh, "ben").post(votes, no, content_type="application/json").status_code == 200, "a no needs no password"


def test_the_last_owner_and_the_last_approver_are_not_let_go() -> None:
    fresh = worlds.make()
    system, members, tokens = organisations.system(fresh.organisation, "tests"), fresh.members, knocking.tokens(fresh)

    def let_go(name: str, *, by: str) -> knocking.Reply:
        return ask("POST", f"{API}/members/{members[name].id}/deactivate", tokens[by])

    seats.grant(by=system, member=members["cleo"], workspace=fresh.workspace, role="viewer")
    assert [let_go(name, by="olga").status for name in ("ann", "ben")] == [200, 200]
    for name in ("olga", "cleo"):
        before = fresh.events()
        assert let_go(name, by="olga").code == "conflict"
        assert fresh.events() == before
    seats.grant(by=system, member=members["vera"], workspace=fresh.workspace, role="owner")
    assert let_go("olga", by="vera").body["is_active"] is False
