"""The other doors, noun by noun: what each does, who may, and that another organisation's things are not there."""

import csv
import hashlib
import io
import json
import secrets
from typing import Any

import pytest

from agents import organisations, seats
from audit import log, tenancy
from controlplane.connectors import interface
from tests import world as worlds
from tests.controlplane import api_knocking as knocking
from tests.controlplane.api_knocking import API, Reply, ask, propose
from tests.world import World

IN_DESK = {"workspace": "desk"}


class Desk:
    """The doors as each of the cast finds them."""

    def __init__(self, world: World) -> None:
        self.world, self.tokens = world, knocking.tokens(world)

    def ask(self, who: str, method: str, path: str, body: Any = None) -> Reply:
        return ask(method, f"{API}{path}", self.tokens.get(who, who), body)

    def get(self, who: str, path: str) -> Any:
        reply = self.ask(who, "GET", path)
        assert reply.status == 200, reply
        assert reply.headers["cache-control"] == "no-store"
        return reply.body

    def post(self, who: str, path: str, body: Any = None, *, status: int = 200, method: str = "POST") -> Any:
        reply = self.ask(who, method, path, body)
        assert reply.status == status, reply
        return reply.body

    def refused(self, who: str, method: str, path: str, body: Any = None) -> str:
        return self.ask(who, method, path, body).code


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


# Runs -----------------------------------------------------------------------------------------------------------------------------------


def test_a_run_is_started_for_somebody_and_its_token_acts_for_it_alone(desk: Desk) -> None:
    order = {"agent": "teller", "reference": "T-1", "subject": ["customer-a"], "tools": ["get_account"], "bindings": {"account": ["a"]}}
    begun = desk.post("olga", "/runs", {**IN_DESK, **order}, status=201)
    assert begun.keys() >= {"id", "token", "state", "agent", "url"}
    assert propose(begun["token"], "get_account", {"account": "a"}).status == 200
    assert propose(begun["token"], "get_account", {"account": "b"}).code == "out_of_scope"
    shown = desk.get("vera", f"/runs/{begun['id']}")
    assert shown["capability"]["subject"] == ["customer-a"]
    assert (shown["steps"], shown["limits"]["tool_calls"], shown["loop_flagged"]) == (2, 50, False)
    assert "token" not in shown
    assert desk.get(begun["token"], f"/runs/{begun['id']}")["id"] == begun["id"]
    assert [tool["name"] for tool in desk.get(begun["token"], "/tools")["items"]] == ["get_account"]


def test_runs_are_started_by_those_who_may(desk: Desk, elsewhere: World) -> None:
    order = {**IN_DESK, "agent": "teller"}
    assert desk.refused("vera", "POST", "/runs", order) == "forbidden"
    assert desk.refused("olga", "POST", "/runs", {**IN_DESK, "agent": "nobody"}) == "not_found"
    assert desk.refused("olga", "POST", "/runs", {"agent": "teller", "workspace": elsewhere.workspace.id}) == "not_found"
    assert desk.refused("olga", "POST", "/runs", {"agent": "teller", "workspace": "lab"}) == "not_found"
    assert desk.refused("olga", "POST", "/runs", {"workspace": "desk"}) == "invalid_request"
    run = desk.post("olga", "/runs", order, status=201)["token"]
    assert desk.refused(run, "POST", "/runs", {}) == "forbidden"
    key = desk.post("olga", "/agents/teller/keys", IN_DESK, status=201)["key"]
    assert desk.refused(key, "POST", "/runs", {"subject": ["customer-a"]}) == "forbidden"
    assert desk.post(key, "/runs", {"tools": ["get_account"]}, status=201)["agent"] == "teller"


def test_lists_come_in_pages_that_neither_skip_nor_repeat(desk: Desk) -> None:
    made = [desk.world.start().run.id for _ in range(5)][::-1]
    seen: list[str] = []
    after = ""
    while True:
        page = desk.get("vera", f"/runs?workspace=desk&limit=2{after}")
        seen += [run["id"] for run in page["items"]]
        if not page["next"]:
            break
        after = f"&after={page['next']}"
        desk.world.start()  # what is added meanwhile is on an earlier page
    assert seen == made


def test_runs_are_filtered_by_state_and_agent(desk: Desk) -> None:
    first, second = desk.world.start(), desk.world.start()
    desk.post(first.token, f"/runs/{first.run.id}/finish", {"summary": "Nothing to do."})
    assert [run["id"] for run in desk.get("vera", "/runs?workspace=desk&state=SUCCEEDED")["items"]] == [first.run.id]
    assert [run["id"] for run in desk.get("vera", "/runs?workspace=desk&state=RUNNING&agent=teller")["items"]] == [second.run.id]
    assert desk.get("vera", "/runs?workspace=desk&agent=nobody")["items"] == []
    assert [run["id"] for run in desk.get(second.token, "/runs")["items"]] == [second.run.id]


def test_the_calls_of_a_run_are_listed_redacted_with_what_was_decided(desk: Desk) -> None:
    run, secret = desk.world.start(), "ghp_" + "a1B2" * 9
    propose(run.token, "pay", {"account": "a", "amount": 5, "note": secret})
    propose(run.token, "nope", {})
    reply = desk.ask("vera", "GET", f"/runs/{run.run.id}/calls")
    applied, refused = reply.body["items"]
    assert (applied["number"], applied["tool"], applied["state"], applied["tier"], applied["settled_micros"]) == (
        1,
        "pay",
        "APPLIED",
        "AUTO",
        10_000,
    )
    assert (refused["state"], refused["refusal"]["code"]) == ("REFUSED", "unknown_tool")
    assert secret.encode() not in reply.raw
    assert desk.get("vera", f"/runs/{run.run.id}/steps") == {"items": [], "next": ""}


def test_people_stop_a_run_and_agents_finish_it(desk: Desk) -> None:
    run, stopped = desk.world.start(), desk.world.start()
    assert desk.post(run.token, f"/runs/{run.run.id}/finish", {"outcome": "handed_off", "summary": "x"})["state"] == "HANDED_OFF"
    assert desk.post(run.token, f"/runs/{run.run.id}/finish")["state"] == "HANDED_OFF"
    assert desk.refused("vera", "POST", f"/runs/{stopped.run.id}/finish", {}) == "forbidden"
    assert desk.refused(run.token, "POST", f"/runs/{stopped.run.id}/finish", {}) == "not_found"
    assert desk.post("olga", f"/runs/{stopped.run.id}/finish", {})["state"] == "STOPPED"
    assert desk.world.events("run.stopped") == ["run.stopped"]


# Approvals ------------------------------------------------------------------------------------------------------------------------------


def test_an_approver_reads_the_changes_and_decides_on_that_plan_only(desk: Desk) -> None:
    held = propose(desk.world.start().token, "pay", {"account": "a", "amount": 50}).body
    (listed,) = desk.get("ann", "/approvals?workspace=desk")["items"]
    assert (listed["id"], listed["tier"], listed["votes"]) == (held["approval"], "ONE", [])
    shown = desk.get("ann", f"/approvals/{held['approval']}")
    assert shown["plan"] == held["plan"]
    assert (shown["tool"], shown["arguments"]) == ("pay", {"account": "a", "amount": 50})
    assert shown["reasons"] == ["A payment above 10 needs a person."]
    votes = f"/approvals/{held['approval']}/votes"
    assert desk.refused("ann", "POST", votes, {"verdict": "approve", "plan": "another"}) == "plan_changed"
    assert desk.refused("ann", "POST", votes, {"verdict": "deny", "plan": shown["plan"]}) == "reason_needed"
    assert desk.refused("ann", "POST", votes, {"verdict": "maybe", "plan": shown["plan"]}) == "invalid_request"
    assert desk.refused("olga", "POST", votes, {"verdict": "approve", "plan": shown["plan"]}) == "not_eligible"
    assert desk.refused("vera", "POST", votes, {"verdict": "approve", "plan": shown["plan"]}) == "not_found"
    decided = desk.post("ann", votes, {"verdict": "approve", "plan": shown["plan"]})
    assert (decided["state"], [vote["member"] for vote in decided["votes"]]) == ("APPROVED", ["ann"])
    assert desk.refused("ben", "POST", votes, {"verdict": "approve", "plan": shown["plan"]}) == "already_decided"
    assert desk.get("ann", "/approvals?workspace=desk")["items"] == []
    assert [one["id"] for one in desk.get("ann", "/approvals?workspace=desk&state=APPROVED")["items"]] == [held["approval"]]


def test_a_plan_is_put_off_sent_back_and_denied_for_the_run_at_the_door(desk: Desk) -> None:
    run = desk.world.start()
    held = propose(run.token, "pay", {"account": "a", "amount": 50}).body
    one = f"/approvals/{held['approval']}"
    before = desk.get("ann", one)["expires_at"]
    assert desk.post("ann", f"{one}/extend")["expires_at"] > before
    assert desk.post("ann", f"{one}/claim")["claim"]["member"] == "ann"
    assert desk.refused("ben", "POST", f"{one}/unclaim") == "conflict"
    assert desk.post("ann", f"{one}/unclaim")["claim"] is None
    given = desk.post("ann", f"{one}/hand-over", {"to": "ben"})["claim"]
    assert (given["member"], given["handed_by"]) == ("ben", "ann")
    assert desk.post("ben", f"{one}/claim")["claim"]["handed_by"] is None
    assert desk.refused("ann", "POST", f"{one}/hand-over", {"to": "ada"}) == "not_eligible"
    assert desk.refused("ann", "POST", f"{one}/hand-over", {"to": "ann"}) == "conflict"
    assert desk.refused("ann", "POST", f"{one}/hand-over", {"to": "nobody"}) == "not_found"
    assert desk.refused("ann", "POST", f"{one}/hand-over", {}) == "invalid_request"
    assert desk.post("ann", f"{one}/check")["checked_at"]
    assert desk.post("ann", f"{one}/comments", {"text": "Looks odd."}, status=201)["kind"] == "COMMENT"
    hint = {"plan": held["plan"], "field": "/amount", "expected": "at most 40"}
    assert desk.post("ann", f"{one}/send-back", hint)["state"] == "SENT_BACK"
    again = propose(run.token, "pay", {"account": "a", "amount": 40}).body
    no = {"verdict": "deny", "plan": again["plan"], "reason": "No.", "scope": "run"}
    desk.post("ann", f"/approvals/{again['approval']}/votes", no)
    (denial,) = desk.get("ann", "/denials?workspace=desk")["items"]
    assert propose(run.token, "pay", {"account": "a", "amount": 40}).code == "denied_before"
    desk.post("ann", f"/denials/{denial['id']}/lift")
    assert propose(run.token, "pay", {"account": "a", "amount": 40}).body["status"] == "pending_approval"


def test_an_agent_never_sees_or_decides_a_request(desk: Desk) -> None:
    run = desk.world.start()
    held = propose(run.token, "pay", {"account": "a", "amount": 50}).body
    assert desk.refused(run.token, "GET", f"/approvals/{held['approval']}") == "not_found"
    vote = {"verdict": "approve", "plan": held["plan"]}
    assert desk.refused(run.token, "POST", f"/approvals/{held['approval']}/votes", vote) == "not_found"


# Money ----------------------------------------------------------------------------------------------------------------------------------


def test_caps_are_set_by_whoever_holds_the_purse_and_seen_with_what_is_left(desk: Desk) -> None:
    cap = {"period": "month", "cap_micros": 25_000}
    assert desk.post("fiona", "/budgets/agent/teller", cap, method="PUT")["left_micros"] == 25_000
    assert desk.post("fiona", f"/budgets/workspace/{desk.world.workspace.id}", cap, method="PUT")["subject"] == desk.world.workspace.id
    propose(desk.world.start().token, "pay", {"account": "a", "amount": 5})
    balances = {(one["level"], one["subject"]): one for one in desk.get("fiona", "/budgets")["items"]}
    assert balances["agent", desk.world.agent.id]["spent_micros"] == 10_000
    assert balances["agent", desk.world.agent.id]["left_micros"] == 15_000
    assert desk.refused("ann", "PUT", "/budgets/agent/teller", cap) == "forbidden"
    assert desk.refused("ann", "GET", "/budgets") == "forbidden"
    assert desk.refused("fiona", "PUT", "/budgets/organisation/organisation", cap) == "forbidden"  # she has no say in the lab
    assert desk.refused("fiona", "PUT", "/budgets/run/R-1", cap) == "not_found"
    assert desk.refused("fiona", "PUT", "/budgets/agent/nobody", cap) == "not_found"
    assert desk.refused("fiona", "PUT", "/budgets/agent/teller", {"cap_micros": -1}) == "invalid_request"
    assert desk.refused("fiona", "PUT", "/budgets/agent/teller", {"cap_micros": 2**60}) == "integer_out_of_range"


def test_a_raise_above_the_threshold_waits_for_a_second_person(desk: Desk) -> None:
    low, high = {"cap_micros": 1_000_000}, {"cap_micros": 20_000_000_000}
    assert desk.post("fiona", "/budgets/agent/teller", low, method="PUT")["waits"] is None
    said = desk.post("fiona", "/budgets/agent/teller", high, method="PUT")
    assert (said["cap_micros"], said["waits"]["cap_micros"], said["waits"]["state"]) == (1_000_000, 20_000_000_000, "OPEN")
    assert (said["waits"]["before_micros"], said["waits"]["before_period"]) == (1_000_000, "month")
    waits = said["waits"]["id"]
    assert waits in [each["id"] for each in desk.get("olga", "/raises")["items"]]
    assert desk.refused("fiona", "POST", f"/raises/{waits}/agree") == "forbidden"
    assert desk.post("olga", f"/raises/{waits}/agree")["state"] == "AGREED"
    balances = {(one["level"], one["subject"]): one for one in desk.get("fiona", "/budgets")["items"]}
    assert balances[("agent", desk.world.agent.id)]["cap_micros"] == 20_000_000_000
    assert desk.refused("olga", "POST", f"/raises/{waits}/agree") == "conflict"
    again = desk.post("fiona", "/budgets/agent/teller", {"cap_micros": 30_000_000_000}, method="PUT")["waits"]["id"]
    assert desk.post("olga", f"/raises/{again}/decline", {"reason": "Enough."})["state"] == "DECLINED"


def test_a_cap_on_the_organisation_takes_the_permission_in_every_workspace(desk: Desk) -> None:
    system = organisations.system(desk.world.organisation, "tests")
    seats.grant(by=system, member=desk.world.members["fiona"], workspace=desk.world.other, role="finance")
    told = desk.post("fiona", "/budgets/organisation/organisation", {"cap_micros": 5, "period": "day"}, method="PUT")
    assert (told["subject"], told["cap_micros"], told["period"]) == (desk.world.organisation, 5, "day")


def test_prices_have_versions(desk: Desk) -> None:
    price = {**IN_DESK, "input_micros": 1_250_000, "output_micros": 10_000_000, "source": "the provider's page"}
    assert desk.post("fiona", "/prices/openrouter:meta/llama-4", price, method="PUT")["version"] == 1
    assert desk.post("fiona", "/prices/openrouter:meta/llama-4", price | {"input_micros": 1}, method="PUT")["version"] == 2
    (listed,) = desk.get("fiona", "/prices")["items"]
    assert (listed["item"], listed["version"], listed["input_micros"]) == ("openrouter:meta/llama-4", 2, 1)
    assert desk.refused("ann", "PUT", "/prices/x:y", price) == "forbidden"


# The log --------------------------------------------------------------------------------------------------------------------------------


def test_the_log_is_read_filtered_and_reading_is_entered(desk: Desk) -> None:
    run = desk.world.start()
    call = propose(run.token, "get_account", {"account": "a"}).body["call"]
    page = desk.get("ada", f"/audit?subject={call}")
    assert [entry["event"] for entry in page["items"]] == ["call.answered", "call.admitted"]
    assert all(entry["run"] == run.run.id and entry["sentence"] for entry in page["items"])
    assert {entry["event"] for entry in desk.get("ada", f"/audit?event=call.*&run={run.run.id}")["items"]} == {
        "call.answered",
        "call.admitted",
    }
    shown = desk.get("ada", f"/audit/{page['items'][0]['id']}")
    assert hashlib.sha256(b"\x00" + shown["canonical"].encode()).hexdigest() == shown["leaf"]
    assert desk.world.events("audit.read") == ["audit.read"] * 3


def test_the_log_is_for_those_who_may_and_only_of_their_workspaces(desk: Desk) -> None:
    world = desk.world
    assert desk.refused("vera", "GET", "/audit") == "forbidden"
    assert desk.refused("ann", "GET", "/audit/export") == "forbidden"
    assert desk.refused(world.start().token, "GET", "/audit") == "forbidden"
    workspaces = {entry["workspace"] for entry in desk.get("ada", "/audit?limit=200")["items"]}
    assert workspaces == {world.workspace.id}
    with tenancy.within(world.organisation):
        of_nobody = log.entries(event="organisation.created").get().id
    assert desk.refused("ada", "GET", f"/audit/{of_nobody}") == "not_found"
    world.seat("ada", "auditor", workspace=world.other)
    assert desk.get("ada", f"/audit/{of_nobody}")["event"] == "organisation.created"
    assert desk.refused("ada", "GET", f"/audit?workspace={world.organisation}") == "not_found"


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_the_log_leaves_as_a_file_in_pieces(desk: Desk, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.exports._PIECE", 3)
    reply = desk.ask("ada", "GET", f"/audit/export?format={kind}")
    assert (reply.status, reply.headers["content-disposition"].endswith(f'.{kind}"')) == (200, True)
    with tenancy.within(desk.world.organisation):
        kept = {entry.id: entry.body for entry in log.entries(workspace=desk.world.workspace.id)}
    if kind == "jsonl":
        bodies = reply.raw.decode().splitlines()
        found = {json.loads(body)["id"]: body for body in bodies}
    else:
        rows = list(csv.DictReader(io.StringIO(reply.raw.decode())))
        bodies = [row["body"] for row in rows]
        found = {row["id"]: row["body"] for row in rows}
    assert len(bodies) == len(found)
    assert found == kept
    assert desk.world.events("audit.exported") == ["audit.exported"]


# Stopping -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["organisation", "workspace", "agent", "tool", "connector", "key", "run"])
def test_everything_can_be_stopped_by_name_and_let_go_by_another(desk: Desk, scope: str) -> None:
    run = desk.world.start()
    names = {
        "organisation": "",
        "workspace": "desk",
        "agent": "teller",
        "tool": "get_account",
        "connector": "bank",
        "key": run.principal.key,
        "run": run.run.id,
    }
    stop = desk.post("olga", "/stops", {"scope": scope, "target": names[scope], "reason": "drill"}, status=201)
    assert propose(run.token, "get_account", {"account": "a"}).code == "stopped"
    assert [one["id"] for one in desk.get("vera", "/stops")["items"]] == [stop["id"]]
    assert desk.refused("olga", "POST", "/stops", {"scope": scope, "target": names[scope], "reason": "again"}) == "conflict"
    assert desk.refused("olga", "POST", f"/stops/{stop['id']}/release", {}) == "forbidden"
    assert desk.refused("vera", "POST", f"/stops/{stop['id']}/release", {}) == "forbidden"
    assert desk.post("sam", f"/stops/{stop['id']}/release")["released_by"] == desk.world.members["sam"].id
    assert propose(run.token, "get_account", {"account": "a"}).status == 200


def test_stops_are_for_those_who_may_stop(desk: Desk, elsewhere: World) -> None:
    stop = {"scope": "agent", "target": "teller", "reason": "x"}
    assert desk.refused("ann", "POST", "/stops", stop) == "forbidden"
    assert desk.refused(desk.world.start().token, "POST", "/stops", stop) == "forbidden"
    assert desk.refused("olga", "POST", "/stops", stop | {"target": elsewhere.agent.id}) == "not_found"
    assert desk.refused("olga", "POST", "/stops", {"scope": "organisation", "target": elsewhere.organisation, "reason": "x"}) == "not_found"


# Tools ----------------------------------------------------------------------------------------------------------------------------------


def test_a_connector_is_registered_discovered_and_its_tools_confirmed(desk: Desk) -> None:
    world = desk.world
    connector = {
        "workspace": "lab",
        "slug": "second",
        "kind": "mcp",
        "url": world.bank.url,
        "headers": {"x-key": "{secret.api}"},
        "secrets": {"api": "s3cr3t-value"},
        "timeout_s": 3,
        "allow_private": True,
    }
    assert desk.refused("olga", "POST", "/connectors", connector) == "forbidden"
    seats.grant(by=organisations.system(world.organisation, "tests"), member=world.members["olga"], workspace=world.other, role="builder")
    made = desk.ask("olga", "POST", "/connectors", connector)
    assert made.status == 201
    assert b"s3cr3t" not in made.raw
    assert desk.refused("olga", "POST", "/connectors", connector) == "conflict"
    assert desk.refused("vera", "POST", "/connectors/second/discover", {"workspace": "lab"}) == "forbidden"
    found = desk.post("olga", "/connectors/second/discover", {"workspace": "lab"})["tools"]
    assert {tool["name"]: tool["state"] for tool in found} == dict.fromkeys(["close_account", "get_account", "pay", "slow_read"], "DRAFT")
    facts = {
        "workspace": "lab",
        "is_write": False,
        "risk": "low",
        "reversible": True,
        "data_domain": "bank",
        "connector_class": "E0",
        "price_micros": 0,
        "subjects": {},
        "preview": None,
        "redact": ["iban"],
    }
    confirmed = desk.post("olga", "/tools/get_account/confirm", facts)
    assert (confirmed["state"], confirmed["is_write"], confirmed["redact"]) == ("ACTIVE", False, ["iban"])
    assert desk.refused("olga", "POST", "/tools/pay/confirm", {"workspace": "lab", "is_write": True, "connector_class": "E0"}) == "conflict"
    listed = {tool["name"]: tool["state"] for tool in desk.get("olga", "/tools?workspace=lab&limit=200")["items"]}
    assert listed["get_account"] == "ACTIVE"
    assert [one["slug"] for one in desk.get("olga", "/connectors?workspace=lab")["items"]] == ["second"]
    desk.post("olga", "/tools/get_account/retire", {"workspace": "lab"})
    listed = {tool["name"]: tool["state"] for tool in desk.get("olga", "/tools?workspace=lab")["items"]}
    assert listed["get_account"] == "RETIRED"


def test_an_upstream_that_cannot_be_asked_is_a_problem_of_its_own(desk: Desk) -> None:
    connector = {**IN_DESK, "slug": "gone", "kind": "mcp", "url": "http://127.0.0.1:9/mcp", "allow_private": True}
    desk.post("olga", "/connectors", connector, status=201)
    assert desk.refused("olga", "POST", "/connectors/gone/discover", IN_DESK) == interface.DiscoveryFailed.code


def test_pages_of_tools_follow_their_names(desk: Desk) -> None:
    first = desk.get("vera", "/tools?workspace=desk&limit=3")
    second = desk.get("vera", f"/tools?workspace=desk&limit=3&after={first['next']}")
    assert [tool["name"] for tool in first["items"] + second["items"]] == ["close_account", "get_account", "pay", "slow_read"]
    assert second["next"] == ""


# Rules and agents -----------------------------------------------------------------------------------------------------------------------


def test_rules_are_proposed_checked_and_put_in_force(desk: Desk) -> None:
    made = desk.post("ann", "/policies", {**IN_DESK, "cedar": '@id("all") permit (principal, action, resource);'}, status=201)
    assert (made["number"], made["state"]) == (2, "DRAFT")
    assert desk.refused("ann", "POST", f"/policies/{made['id']}/activate", {}) == "forbidden"
    assert desk.refused("fiona", "POST", f"/policies/{made['id']}/activate", {}) == "not_found"
    assert desk.post("sam", f"/policies/{made['id']}/activate")["state"] == "ACTIVE"
    assert [one["state"] for one in desk.get("ada", "/policies?workspace=desk")["items"]] == ["ACTIVE", "RETIRED"]
    assert desk.get("ada", f"/policies/{made['id']}")["cedar"].startswith("@id")
    wrong = desk.ask(
        "ann", "POST", "/policies", {**IN_DESK, "cedar": "permit (principal, action, resource) when { context.args.amuont > 1 };"}
    )
    assert (wrong.code, len(wrong.body["problems"]) > 0) == ("policy_rejected", True)


def test_an_agent_is_registered_published_given_a_key_and_limits(desk: Desk) -> None:
    agent = {
        **IN_DESK,
        "slug": "clerk",
        "name": "Clerk",
        "category": "open",
        "stage": "GATED",
        "purpose": "Files.",
        "never": ["Burn."],
        "output": "text",
    }
    assert desk.refused("ann", "POST", "/agents", agent) == "forbidden"
    made = desk.post("olga", "/agents", agent, status=201)
    assert (made["owner"], made["contract"]["number"], made["contract"]["tools"]) == ("olga", 1, [])
    assert desk.refused("olga", "POST", "/agents", agent) == "conflict"
    version = {**IN_DESK, "prompt": "You file.", "tools": ["get_account"], "models": ["scripted:a", "scripted:b"], "model": "scripted:b"}
    published = desk.post("olga", "/agents/clerk/versions", version, status=201)
    assert (published["never"], published["models"], published["tools"]) == (["Burn."], ["scripted:b", "scripted:a"], ["get_account"])
    assert desk.refused("olga", "POST", "/agents/clerk/versions", version | {"tools": ["nope"]}) == "not_found"
    assert desk.post("olga", "/agents/clerk/limits", {**IN_DESK, "steps": 3, "micros": 4}, method="PUT")["steps"] == 3
    assert desk.get("vera", "/agents/clerk?workspace=desk")["limits"]["micros"] == 4
    assert desk.refused("fiona", "PUT", "/agents/clerk/limits", {**IN_DESK, "steps": 3}) == "forbidden"
    assert desk.refused("olga", "PUT", "/agents/clerk/limits", {**IN_DESK, "steps": 2**40}) == "invalid_request"
    issued = desk.post("olga", "/agents/clerk/keys", {**IN_DESK, "label": "ci", "expires_in_s": 60}, status=201)
    assert propose(issued["key"], "get_account", {"account": "a"}).status == 200
    (listed,) = desk.get("olga", "/agents/clerk/keys?workspace=desk")["items"]
    assert (listed["id"], listed["label"]) == (issued["id"], "ci")
    assert desk.refused("vera", "POST", f"/keys/{issued['id']}/revoke", {}) == "not_found"
    assert desk.post("olga", f"/keys/{issued['id']}/revoke")["revoked_at"]
    assert propose(issued["key"], "get_account", {"account": "a"}).code == "unauthenticated"
    assert desk.post("olga", "/agents/clerk", {**IN_DESK, "stage": "DRAFT", "draft_only": True}, method="PATCH")["stage"] == "DRAFT"
    assert desk.refused("vera", "PATCH", "/agents/clerk", {**IN_DESK, "stage": "GATED"}) == "forbidden"
    assert desk.refused("olga", "PATCH", "/agents/clerk", {**IN_DESK, "stage": "WIDER"}) == "invalid_request"
    assert [one["slug"] for one in desk.get("vera", "/agents?workspace=desk")["items"]] == ["clerk", "teller"]


def test_an_agent_without_a_contract_is_not_published(desk: Desk) -> None:
    desk.post("olga", "/agents", {**IN_DESK, "slug": "blank", "name": "Blank"}, status=201)
    assert desk.refused("olga", "POST", "/agents/blank/versions", {**IN_DESK, "tools": []}) == "conflict"
    assert desk.refused("olga", "POST", "/runs", {**IN_DESK, "agent": "blank"}) == "not_published"
    assert desk.refused("olga", "POST", "/agents", {**IN_DESK, "slug": "half", "name": "x", "purpose": "y", "never": []}) == "conflict"
    assert [one["slug"] for one in desk.get("vera", "/agents?workspace=desk")["items"]] == ["blank", "teller"]  # all of it or nothing


def test_a_capability_is_revoked_by_whoever_may_stop_runs(desk: Desk) -> None:
    run = desk.world.start()
    path = f"/capabilities/{run.run.capability_id}/revoke"
    assert desk.refused("vera", "POST", path, {}) == "not_found"
    assert desk.post("sam", path)["revoked_at"]
    assert propose(run.token, "get_account", {"account": "a"}).code == "out_of_scope"


# People ---------------------------------------------------------------------------------------------------------------------------------


def test_people_are_added_seated_and_let_go(desk: Desk) -> None:
    username = f"nora-{secrets.token_hex(3)}"
    person = {**IN_DESK, "username": username, "name": "Nora", "role": "viewer"}
    assert desk.refused("ann", "POST", "/members", person) == "forbidden"
    made = desk.post("olga", "/members", person, status=201)
    assert made["seats"] == [{"workspace": desk.world.workspace.id, "role": "viewer", "until": None}]
    assert desk.refused("olga", "POST", "/members", person) == "conflict"
    roles = f"/members/{made['id']}/roles"
    assert desk.refused("vera", "PUT", roles, {**IN_DESK, "roles": ["owner"]}) == "forbidden"
    seated = desk.post(
        "olga", roles, {**IN_DESK, "roles": ["auditor", "finance"], "until": {"auditor": worlds.soon().isoformat()}}, method="PUT"
    )
    assert sorted(seat["role"] for seat in seated["seats"]) == ["auditor", "finance"]
    mine = f"/members/{desk.world.members['olga'].id}/roles"
    assert desk.refused("olga", "PUT", mine, {**IN_DESK, "roles": ["owner", "approver"]}) == "forbidden"
    assert desk.post("olga", f"/members/{made['id']}/deactivate")["is_active"] is False
    assert made["id"] in {one["id"] for one in desk.get("vera", "/members?limit=200")["items"]}
    assert [one["slug"] for one in desk.get("vera", "/workspaces")["items"]] == ["desk"]


def test_whoever_is_let_go_is_refused_at_once(desk: Desk) -> None:
    desk.post("olga", f"/members/{desk.world.members['vera'].id}/deactivate")
    assert desk.refused("vera", "GET", "/runs?workspace=desk") == "unauthenticated"


# Other organisations --------------------------------------------------------------------------------------------------------------------


def test_what_is_another_organisations_is_answered_with_the_same_bytes_as_what_never_was(desk: Desk, elsewhere: World) -> None:
    there, stranger = Desk(elsewhere), elsewhere.start()
    held = propose(stranger.token, "pay", {"account": "a", "amount": 50}).body
    stop = there.post("olga", "/stops", {"scope": "agent", "target": "teller", "reason": "x"}, status=201)["id"]
    policy = there.get("olga", "/policies?workspace=desk")["items"][0]["id"]
    with tenancy.within(elsewhere.organisation):
        entry = log.entries(event="call.held").get().id
    member, capability = elsewhere.members["vera"].id, stranger.run.capability_id
    vote = {"verdict": "approve", "plan": held["plan"]}
    pairs: list[tuple[str, str, Any]] = [
        ("GET", f"/runs/{stranger.run.id}", None),
        ("GET", f"/runs/{stranger.run.id}/calls", None),
        ("GET", f"/runs/{stranger.run.id}/steps", None),
        ("POST", f"/runs/{stranger.run.id}/finish", {}),
        ("GET", f"/calls/{held['call']}", None),
        ("GET", f"/approvals/{held['approval']}", None),
        ("POST", f"/approvals/{held['approval']}/votes", vote),
        ("POST", f"/approvals/{held['approval']}/extend", None),
        ("POST", f"/approvals/{held['approval']}/check", None),
        ("POST", f"/approvals/{held['approval']}/claim", None),
        ("POST", f"/approvals/{held['approval']}/unclaim", None),
        ("POST", f"/approvals/{held['approval']}/hand-over", {"to": "ben"}),
        ("POST", f"/approvals/{held['approval']}/send-back", {"plan": held["plan"], "expected": "less"}),
        ("POST", f"/approvals/{held['approval']}/withdraw", {"reason": "x"}),
        ("POST", f"/approvals/{held['approval']}/comments", {"text": "x"}),
        ("GET", f"/audit/{entry}", None),
        ("POST", f"/stops/{stop}/release", {}),
        ("GET", f"/policies/{policy}", None),
        ("POST", f"/policies/{policy}/activate", {}),
        ("POST", f"/keys/{stranger.principal.key}/revoke", {}),
        ("POST", f"/capabilities/{capability}/revoke", {}),
        ("POST", f"/members/{member}/deactivate", {}),
        ("PUT", f"/budgets/agent/{elsewhere.agent.id}", {"cap_micros": 1}),
        ("PUT", f"/budgets/workspace/{elsewhere.workspace.id}", {"cap_micros": 1}),
    ]
    for method, path, body in pairs:
        foreign = path.split("/")[3 if path.startswith("/budgets") else 2]
        never = foreign.partition("-")[0] + "-" + "0" * len(foreign.partition("-")[2])
        told, absent = desk.ask("olga", method, path, body), desk.ask("olga", method, path.replace(foreign, never), body)
        assert (told.status, told.code, told.raw) == (404, "not_found", absent.raw), path
    assert elsewhere.request(held["approval"]).state == "OPEN"


def test_an_address_that_is_none_is_a_problem_too(desk: Desk) -> None:
    for path in ("/", "/nothing", "/runs/", "/runs/x/y/z", "/calls/x/y", "/nowhere/%00"):
        assert desk.refused("olga", "GET", path) == "not_found", path
