"""Tools at the MCP door: what is listed, what a call is answered with, and how a held call is waited for."""

import json
import threading
import time
from typing import Any

import pytest

from agents import contracts, identity, runs, tools
from agents.models import Agent, Run
from approvals import requests, votes
from audit import tenancy
from controlplane import hop
from controlplane.mcp import endpoint, listing
from tests import world as worlds
from tests.controlplane.mcp_knocking import TASKS, Knock, approve_and_send

HELD = {"account": "a", "amount": 50}


@pytest.fixture
def run(world: worlds.World) -> worlds.RunUnderTest:
    return world.start(reference="T-1")


@pytest.fixture
def knock(run: worlds.RunUnderTest) -> Knock:
    return Knock(run.token)


@pytest.fixture
def modern(run: worlds.RunUnderTest) -> Knock:
    return Knock(run.token, stateless=True, capabilities=TASKS)


def names(reply: Any) -> list[str]:
    return [tool["name"] for tool in reply.result["tools"]]


# Lists ----------------------------------------------------------------------------------------------------------------------------------


def test_the_list_is_what_this_run_may_use_in_order_and_the_tool_to_wait_with(world: worlds.World, knock: Knock) -> None:
    assert names(knock.ask("tools/list")) == ["approvals_wait", "close_account", "get_account", "pay", "slow_read"]
    narrow = world.start(tools=["get_account"])
    assert names(Knock(narrow.token).ask("tools/list")) == ["approvals_wait", "get_account"]


def test_annotations_are_ours_and_schemas_are_the_stored_ones(knock: Knock) -> None:
    listed = {tool["name"]: tool for tool in knock.ask("tools/list").result["tools"]}
    assert listed["pay"]["annotations"] == {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False}
    assert listed["get_account"]["annotations"] == {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True}
    assert listed["pay"]["inputSchema"]["additionalProperties"] is False
    assert (listed["pay"]["title"], listed["pay"]["description"]) == ("Pay", "Move money out of an account.")


def test_the_stateless_list_is_private_and_not_kept(run: worlds.RunUnderTest) -> None:
    result = Knock(run.token, stateless=True).ask("tools/list").result
    assert (result["resultType"], result["ttlMs"], result["cacheScope"]) == ("complete", 0, "private")
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "remit"


def test_what_a_drifted_tool_was_is_no_longer_listed(world: worlds.World, knock: Knock) -> None:
    with tenancy.within(world.organisation):
        tools.retire(by=world.people["olga"], name="pay", workspace=world.workspace)
    assert "pay" not in names(knock.ask("tools/list"))


def test_an_agents_own_key_lists_and_calls_in_the_run_that_is_open(world: worlds.World) -> None:
    key = identity.issue(by=world.people["olga"], agent=world.agent)
    knock = Knock(key.token)
    assert "pay" in names(knock.ask("tools/list"))
    first, second = (knock.call("get_account", {"account": name}).result["_meta"]["remit/call"] for name in "ab")
    with tenancy.within(world.organisation):
        assert len({run.id for run in Run.objects.filter(calls__id__in=[first, second])}) == 1


def test_an_agent_without_a_version_is_told_so(world: worlds.World) -> None:
    agent = contracts.register(
        by=world.people["olga"], workspace=world.workspace, slug="blank", name="Blank", owner=world.members["olga"], stage=Agent.Stage.GATED
    )
    knock = Knock(identity.issue(by=world.people["olga"], agent=agent).token)
    assert knock.ask("tools/list").code == "not_published"
    assert knock.call("pay", HELD).facts["code"] == "not_published"


def test_the_upstreams_wish_for_headers_stays_behind() -> None:
    schema = {
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}, "x-mcp-header": {"const": {"x-mcp-header": 1}}},
        "anyOf": [{"x-mcp-header": "X"}],
    }
    left = json.loads(listing._schema(json.dumps(schema)))
    assert left == {
        "type": "object",
        "properties": {"region": {"type": "string"}, "x-mcp-header": {"const": {"x-mcp-header": 1}}},
        "anyOf": [{}],
    }


# Calls ----------------------------------------------------------------------------------------------------------------------------------


def test_a_read_is_answered_with_the_upstreams_own_result(world: worlds.World, knock: Knock) -> None:
    result = knock.call("get_account", {"account": "a"}).result
    assert result["structuredContent"] == world.bank.accounts["a"]
    assert result["isError"] is False
    assert json.loads(result["content"][0]["text"]) == world.bank.accounts["a"]
    assert result["_meta"]["remit/status"] == "applied"


def test_an_error_of_the_upstream_is_passed_on_unchanged(knock: Knock) -> None:
    result = knock.call("get_account", {"account": "nobody"}).result
    assert (result["isError"], result["content"]) == (True, [{"type": "text", "text": "no such account"}])
    assert result["_meta"]["remit/status"] == "failed"


def test_a_held_call_says_what_it_waits_for_and_with_what(world: worlds.World, knock: Knock) -> None:
    reply = knock.call("pay", HELD)
    facts = reply.facts
    assert reply.result["isError"] is False
    assert set(facts) == {"status", "call", "approval", "plan", "expires_at", "poll_after_ms", "wait_with"}
    assert (facts["status"], facts["wait_with"]) == ("pending_approval", "approvals_wait")
    assert facts["call"] in reply.result["content"][0]["text"]
    assert not world.bank.writes()


def test_waiting_answers_with_the_calls_own_result(world: worlds.World, knock: Knock) -> None:
    facts = knock.call("pay", HELD).facts
    still = knock.call("approvals_wait", {"call": facts["call"], "seconds": 1})
    assert still.facts == facts
    approve_and_send(world, facts)
    answered = knock.call("approvals_wait", {"call": facts["call"]}).result
    assert answered["structuredContent"]["balance"] == 950
    assert answered["_meta"]["remit/status"] == "applied"
    assert len(world.bank.writes()) == 1


def test_waiting_ends_when_people_decide(world: worlds.World, knock: Knock) -> None:
    facts = knock.call("pay", HELD).facts
    decide = threading.Timer(0.4, approve_and_send, (world, facts))
    decide.start()
    began = time.monotonic()
    answered = knock.call("approvals_wait", {"call": facts["call"], "seconds": 30})
    decide.join()
    assert answered.result["structuredContent"]["balance"] == 950
    assert time.monotonic() - began < 15


def test_a_denial_reaches_the_agent_with_its_reason(world: worlds.World, knock: Knock) -> None:
    facts = knock.call("pay", HELD).facts
    votes.cast(by=world.people["ann"], request_id=facts["approval"], verdict="DENY", plan_digest=facts["plan"], reason="Not this month.")
    reply = knock.call("approvals_wait", {"call": facts["call"]})
    assert reply.result["isError"] is True
    assert (reply.facts["status"], reply.facts["code"], reply.facts["call"]) == ("denied", "denied", facts["call"])
    assert "Not this month." in reply.result["content"][0]["text"]
    assert not world.bank.writes()


def test_nobody_waits_for_a_call_of_somebody_else(world: worlds.World, elsewhere: worlds.World, knock: Knock) -> None:
    facts = knock.call("pay", HELD).facts
    strangers = [world.start(), elsewhere.start()]
    for stranger in strangers:
        reply = Knock(stranger.token).call("approvals_wait", {"call": facts["call"]})
        absent = Knock(stranger.token).call("approvals_wait", {"call": "C-0000000000"})
        assert reply.result["isError"] is True
        assert reply.facts["code"] == "not_found"
        assert {**reply.facts, "current": ""} == {**absent.facts, "current": ""}


@pytest.mark.parametrize(
    "arguments", [{}, {"call": 5}, {"call": "C-1", "seconds": 0}, {"call": "C-1", "seconds": 46}, {"call": "C-1", "more": 1}, [], "C-1"]
)
def test_waiting_for_something_odd_is_explained(knock: Knock, arguments: Any) -> None:
    reply = knock.call("approvals_wait", arguments)
    assert reply.result["isError"] is True
    assert reply.facts["code"] == "invalid_arguments"
    assert reply.facts["faults"]


def test_waiting_holds_no_thread(world: worlds.World, run: worlds.RunUnderTest) -> None:
    facts = Knock(run.token).call("pay", HELD).facts
    body = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "approvals_wait", "arguments": {"call": facts["call"]}}}
    )
    said = endpoint.serve(
        hop.Request("POST", "/mcp", {}, {"authorization": f"Bearer {run.token}", "content-type": "application/json"}, body.encode())
    )
    assert isinstance(said, hop.Wait)
    assert said.look() is None
    assert said.seconds == 25


def test_a_refusal_is_a_result_that_names_rule_and_next_step(knock: Knock) -> None:
    reply = knock.call("pay", {"account": "a", "amount": 901})
    assert reply.result["isError"] is True
    assert (reply.facts["status"], reply.facts["code"], reply.facts["rule"]) == ("refused", "policy_denied", "never-above")
    text = reply.result["content"][0]["text"]
    assert "never-above" in text
    assert reply.facts["next"] in text
    assert reply.facts["call"].startswith("C-")


@pytest.mark.parametrize(
    "arguments", [{"account": "a", "amount": "5"}, {"account": "a", "amount": 5, "memo": "x"}, {"amount": 5}, ["a", 5], "a", 7, True]
)
def test_arguments_that_do_not_fit_are_explained_to_the_model(world: worlds.World, knock: Knock, arguments: Any) -> None:
    reply = knock.call("pay", arguments)
    assert reply.result["isError"] is True
    assert reply.facts["code"] == "invalid_arguments"
    assert all(set(fault) == {"pointer", "expected", "got"} for fault in reply.facts["faults"])
    assert not world.bank.writes()


def test_an_unknown_tool_is_answered_with_the_tools_there_are(world: worlds.World) -> None:
    run = world.start(tools=["get_account", "pay"])
    for knock in (Knock(run.token), Knock(run.token, stateless=True)):
        reply = knock.call("transfer_everything", {"to": "me"})
        assert (reply.status, reply.error["code"], reply.code) == (200, -32602, "unknown_tool")
        assert reply.error["data"]["tools"] == ["get_account", "pay"]
        assert "get_account, pay" in reply.error["message"]
        assert "close_account" not in json.dumps(reply.body)


@pytest.mark.parametrize("params", [{}, {"name": 5}, {"name": ""}, {"name": None}])
def test_a_call_of_nothing_is_refused(knock: Knock, params: dict[str, Any]) -> None:
    assert knock.ask("tools/call", params).error["code"] == -32602


def test_a_draft_is_kept_and_the_agent_goes_on(world: worlds.World, knock: Knock) -> None:
    with tenancy.within(world.organisation):
        Agent.objects.filter(id=world.agent.id).update(stage=Agent.Stage.DRAFT)
    reply = knock.call("pay", {"account": "a", "amount": 5})
    assert reply.result["isError"] is False
    assert reply.facts["status"] == "drafted"
    assert not world.bank.writes()


def test_a_closed_run_says_stop(world: worlds.World, run: worlds.RunUnderTest, knock: Knock) -> None:
    runs.end(by=world.people["olga"], run=run.run, state="STOPPED", summary="Enough.", event="run.stopped")
    assert knock.call("get_account", {"account": "a"}).facts["code"] == "run_over"


# Repeats --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["header", "meta"])
def test_the_same_key_is_the_same_call(world: worlds.World, knock: Knock, where: str) -> None:
    said: dict[str, Any] = {"headers": {"idempotency-key": "k-1"}} if where == "header" else {"meta": {"remit/idempotency-key": "k-1"}}
    first = knock.call("pay", {"account": "a", "amount": 5}, **said)
    again = knock.call("pay", {"account": "a", "amount": 5}, **said)
    assert first.result == again.result
    assert len(world.bank.writes()) == 1
    other = knock.call("pay", {"account": "a", "amount": 6}, **said)
    assert other.result["isError"] is True
    assert other.facts["code"] == "idempotency_conflict"
    assert len(world.bank.writes()) == 1


def test_a_held_call_repeated_is_one_question(knock: Knock) -> None:
    assert knock.call("pay", HELD).facts == knock.call("pay", HELD).facts


@pytest.mark.parametrize("key", ["", 5, None, "x" * 256, "a\nb"])
def test_a_key_that_is_none_is_refused(world: worlds.World, knock: Knock, key: Any) -> None:
    reply = knock.call("pay", {"account": "a", "amount": 5}, meta={"remit/idempotency-key": key})
    if key is None:
        assert reply.facts["balance"] == 995  # null is as good as absent
    else:
        assert (reply.status, reply.code) == (400, "idempotency_key")
        assert not world.bank.writes()


def test_two_keys_for_one_call_are_refused(world: worlds.World, knock: Knock) -> None:
    reply = knock.call("pay", {"account": "a", "amount": 5}, meta={"remit/idempotency-key": "a"}, headers={"idempotency-key": "b"})
    assert reply.code == "idempotency_key"
    assert not world.bank.writes()


# Holding and tasks ----------------------------------------------------------------------------------------------------------------------


def test_a_client_that_asks_is_held_until_people_decide(world: worlds.World, knock: Knock) -> None:
    def decide() -> None:
        while not (found := [request for request in waiting(world) if request.call.name == "pay"]):
            time.sleep(0.02)
        approve_and_send(world, {"approval": found[0].id, "plan": found[0].plan.digest, "call": found[0].call_id})

    person = threading.Thread(target=decide)
    person.start()
    reply = knock.call("pay", HELD, meta={"remit/hold-seconds": 20})
    person.join()
    assert reply.facts["balance"] == 950


def waiting(world: worlds.World) -> list[Any]:
    with tenancy.within(world.organisation):
        return list(requests.waiting_for(by=world.people["ann"], workspace=world.workspace.id))


@pytest.mark.parametrize("seconds", ["5", True, -1, [], {}])
def test_an_odd_hold_is_refused(knock: Knock, seconds: Any) -> None:
    assert knock.call("pay", HELD, meta={"remit/hold-seconds": seconds}).status == 400


def test_a_hold_is_bounded(run: worlds.RunUnderTest) -> None:
    params = {"name": "pay", "arguments": HELD, "_meta": {"remit/hold-seconds": 9_999}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    said = endpoint.serve(
        hop.Request("POST", "/mcp", {}, {"authorization": f"Bearer {run.token}", "content-type": "application/json"}, body)
    )
    assert isinstance(said, hop.Wait)
    assert said.seconds == 25


def test_a_held_call_is_a_task_to_a_client_that_takes_tasks(world: worlds.World, modern: Knock) -> None:
    task = modern.call("pay", HELD).result
    assert (task["resultType"], task["status"], task["ttlMs"]) == ("task", "working", None)
    assert task["taskId"] == task["_meta"]["remit/call"]
    assert task["createdAt"].endswith("Z")
    assert task["pollIntervalMs"] == 1000
    polled = modern.ask("tasks/get", {"taskId": task["taskId"]}).result
    assert (polled["resultType"], polled["status"]) == ("complete", "working")
    request = waiting(world)[0]
    approve_and_send(world, {"approval": request.id, "plan": request.plan.digest, "call": task["taskId"]})
    done = modern.ask("tasks/get", {"taskId": task["taskId"]}).result
    assert (done["resultType"], done["status"], done["result"]["structuredContent"]["balance"]) == ("complete", "completed", 950)


def test_a_denied_task_is_completed_with_the_refusal(world: worlds.World, modern: Knock) -> None:
    task = modern.call("pay", HELD).result["taskId"]
    request = waiting(world)[0]
    votes.cast(by=world.people["ann"], request_id=request.id, verdict="DENY", plan_digest=request.plan.digest, reason="No.")
    done = modern.ask("tasks/get", {"taskId": task}).result
    assert (done["status"], done["result"]["isError"], done["result"]["structuredContent"]["code"]) == ("completed", True, "denied")


def test_a_read_is_no_task(modern: Knock) -> None:
    assert modern.call("get_account", {"account": "a"}).result["resultType"] == "complete"


def test_cancelling_is_acknowledged_and_says_that_the_question_stays(world: worlds.World, modern: Knock) -> None:
    task = modern.call("pay", HELD).result["taskId"]
    cancelled = modern.ask("tasks/cancel", {"taskId": task}).result
    assert cancelled["resultType"] == "complete"
    assert cancelled["_meta"]["remit/cancelled"] is False
    assert len(waiting(world)) == 1
    assert modern.ask("tasks/get", {"taskId": task}).result["status"] == "working"
    assert modern.ask("tasks/update", {"taskId": task, "inputResponses": {}}).result["resultType"] == "complete"


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
def test_tasks_are_for_clients_that_declare_them_and_for_their_own_calls(
    world: worlds.World, elsewhere: worlds.World, run: worlds.RunUnderTest, modern: Knock, method: str
) -> None:
    task = modern.call("pay", HELD).result["taskId"]
    undeclared = Knock(run.token, stateless=True).ask(method, {"taskId": task})
    assert (undeclared.status, undeclared.error["code"]) == (400, -32021)
    assert undeclared.error["data"]["requiredCapabilities"] == TASKS
    for stranger in (world.start(), elsewhere.start()):
        assert Knock(stranger.token, stateless=True, capabilities=TASKS).ask(method, {"taskId": task}).error["code"] == -32602
    for odd in ("C-0000000000", 5, None, ""):
        assert modern.ask(method, {"taskId": odd}).error["code"] == -32602
    assert modern.ask(method, {"taskId": task}, headers={"mcp-name": "C-OTHER"}).error["code"] == -32020


def test_a_client_without_tasks_gets_the_pending_answer_in_the_stateless_era(run: worlds.RunUnderTest) -> None:
    reply = Knock(run.token, stateless=True).call("pay", HELD)
    assert (reply.result["resultType"], reply.facts["status"]) == ("complete", "pending_approval")
