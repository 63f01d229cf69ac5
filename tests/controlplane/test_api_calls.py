"""Calls over REST: what an agent is answered, how a repeat is answered, and how it waits for people."""

import asyncio
import datetime
import json
import threading
import time

import pytest
from django.utils import timezone

from agents import identity, runs, stops, tools
from agents.models import Agent, Call, Capability, Key, Organisation
from audit import tenancy
from budgets import caps, limits
from controlplane import hop, recovery
from controlplane.api import calls as doors
from tests.controlplane import api_knocking as knocking
from tests.controlplane.api_knocking import API, ask, propose
from tests.world import World

HELD = {"account": "a", "amount": 50}
SMALL = {"account": "a", "amount": 5}


def show(token: str, call: str, wait: int | None = None) -> knocking.Reply:
    return ask("GET", f"{API}/calls/{call}" + (f"?wait={wait}" if wait is not None else ""), token)


def test_a_read_is_answered_with_its_result(world: World) -> None:
    run = world.start()
    reply = propose(run.token, "get_account", {"account": "a"})
    assert (reply.status, reply.body["status"]) == (200, "applied")
    assert reply.body["result"]["structuredContent"]["balance"] == 1000
    shown = show(run.token, reply.body["call"]).body
    assert (shown["tool"], shown["run"], shown["number"], shown["tier"]) == ("get_account", run.run.id, 1, "AUTO")
    assert shown["fingerprint"] == runs.fingerprint("get_account", {"account": "a"})
    assert shown["result"] == reply.body["result"]


def test_an_error_of_the_upstream_is_a_failed_call_with_its_result(world: World) -> None:
    reply = propose(world.start().token, "get_account", {"account": "nobody"})
    assert (reply.status, reply.body["status"], reply.body["result"]["isError"]) == (200, "failed", True)


def test_an_upstream_that_is_not_there_is_a_problem_that_says_that_nothing_happened(world: World) -> None:
    with tenancy.within(world.organisation):
        connector = tools.get_connector("bank", workspace=world.workspace)
        type(connector).objects.filter(id=connector.id).update(url="http://127.0.0.1:9/mcp")
    reply = propose(world.start().token, "get_account", {"account": "a"})
    assert (reply.status, reply.code, reply.body["outcome"]) == (502, "upstream_failed", "failed")


def test_a_held_call_says_where_it_waits_and_is_sent_once_people_agreed(world: World) -> None:
    run = world.start()
    held = propose(run.token, "pay", HELD)
    assert held.status == 202
    assert held.body["status"] == "pending_approval"
    assert held.body.keys() >= {"call", "approval", "plan", "expires_at", "poll_after_ms", "url", "wait"}
    with tenancy.within(world.organisation):
        organisation = Organisation.objects.get()
    assert held.body["url"].endswith(f"/{organisation.slug}/desk/approvals/{held.body['approval']}")
    assert show(run.token, held.body["call"]).body["url"] == held.body["url"]
    vote = {"verdict": "approve", "plan": held.body["plan"], "reason": ""}
    voted = ask("POST", f"{API}/approvals/{held.body['approval']}/votes", knocking.tokens(world)["ann"], vote)
    assert (voted.status, voted.body["state"]) == (200, "APPROVED")
    recovery.resume(world.organisation, held.body["call"])
    shown = show(run.token, held.body["call"]).body
    assert (shown["status"], shown["result"]["structuredContent"]["balance"]) == ("applied", 950)


def test_a_denial_reaches_the_agent_with_its_reason(world: World) -> None:
    run = world.start()
    held = propose(run.token, "pay", HELD).body
    vote = {"verdict": "deny", "plan": held["plan"], "reason": "Not this month."}
    ask("POST", f"{API}/approvals/{held['approval']}/votes", knocking.tokens(world)["ann"], vote)
    shown = show(run.token, held["call"])
    assert (shown.status, shown.body["status"], shown.body["code"]) == (200, "denied", "denied")
    assert "Not this month." in shown.body["detail"]
    again = propose(run.token, "pay", HELD)
    assert again.status == 202  # another question, not the answer to the old one
    assert again.body["call"] != held["call"]


def test_the_same_question_is_asked_once(world: World) -> None:
    run = world.start()
    first, second = (propose(run.token, "pay", HELD) for _ in range(2))
    assert first.body["call"] == second.body["call"]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"


def test_a_repeat_under_the_same_key_is_answered_from_the_record(world: World) -> None:
    run = world.start()
    first, second = (propose(run.token, "pay", SMALL, key="k-1") for _ in range(2))
    assert (first.status, second.status) == (200, 200)
    assert first.body == second.body
    assert (first.headers.get("idempotent-replayed"), second.headers["idempotent-replayed"]) == (None, "true")
    assert len(world.bank.writes()) == 1


def test_a_refusal_is_repeated_too(world: World) -> None:
    run = world.start()
    first, second = (propose(run.token, "delete_everything", {}, key="k-1") for _ in range(2))
    assert (first.status, first.code, first.body) == (second.status, second.code, second.body)
    assert second.headers["idempotent-replayed"] == "true"


def test_another_body_under_the_same_key_is_a_conflict(world: World) -> None:
    run = world.start()
    call = propose(run.token, "pay", SMALL, key="k-1").body["call"]
    reply = propose(run.token, "pay", {**SMALL, "amount": 6}, key="k-1")
    assert (reply.status, reply.code, reply.body["call"]) == (422, "idempotency_conflict", call)
    assert len(world.bank.writes()) == 1


def test_a_key_whose_call_is_under_way_says_when_to_ask_again(world: World) -> None:
    run = world.start()
    asking = threading.Thread(target=propose, args=(run.token, "slow_read", {}), kwargs={"key": "k-1"})
    asking.start()
    try:
        until = time.monotonic() + 5
        while not world.events("call.admitted"):
            assert time.monotonic() < until
            time.sleep(0.01)
        reply = propose(run.token, "slow_read", {}, key="k-1")
    finally:
        world.bank.gate.set()
        asking.join()
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (409, "idempotency_in_progress", "1")


def test_waiting_holds_no_thread_and_ends_with_the_decision(world: World) -> None:
    run = world.start()
    held = propose(run.token, "pay", HELD).body
    request = hop.Request("GET", f"{API}/calls/{held['call']}", {"wait": "25"}, {"authorization": f"Bearer {run.token}"}, b"", "wait=25")
    waits = [doors.show(request) for _ in range(hop.POOL.threads + 1)]
    assert all(isinstance(wait, hop.Wait) and wait.look() is None for wait in waits)
    vote = {"verdict": "approve", "plan": held["plan"], "reason": ""}
    ask("POST", f"{API}/approvals/{held['approval']}/votes", knocking.tokens(world)["ann"], vote)
    recovery.resume(world.organisation, held["call"])
    found = [wait.look() for wait in waits if isinstance(wait, hop.Wait)]
    assert [json.loads(answer.body or b"")["status"] for answer in found if answer] == ["applied"] * len(waits)


def test_a_wait_that_sees_no_decision_says_how_it_stands(world: World) -> None:
    run = world.start()
    held = propose(run.token, "pay", HELD).body
    began = time.monotonic()
    shown = show(run.token, held["call"], wait=1)
    assert 0.9 < time.monotonic() - began < 10
    assert (shown.status, shown.body["status"]) == (200, "pending_approval")


def test_people_see_the_record_without_the_secrets_and_the_agent_its_exact_result(world: World) -> None:
    secret = "ghp_" + "a1B2" * 9
    with world.bank.lock:
        world.bank.accounts["a"]["note"] = secret
    run = world.start()
    reply = propose(run.token, "get_account", {"account": "a"})
    assert secret in reply.raw.decode()
    assert secret in show(run.token, reply.body["call"]).raw.decode()
    seen = show(knocking.tokens(world)["vera"], reply.body["call"])
    assert (seen.status, seen.body["result"]["structuredContent"]["balance"]) == (200, 1000)
    assert secret not in seen.raw.decode()


# Who may ask ---------------------------------------------------------------------------------------------------------------------------


def test_a_revoked_key_is_refused_at_once_and_leaves_an_entry(world: World) -> None:
    run = world.start()
    with tenancy.within(world.organisation):
        key = Key.objects.get(id=run.principal.key)
    identity.revoke(by=world.people["olga"], key=key)
    reply = propose(run.token, "get_account", {"account": "a"})
    assert (reply.status, reply.code, reply.headers["www-authenticate"]) == (401, "unauthenticated", "Bearer")
    assert world.events("key.refused") == ["key.refused"]
    assert world.bank.arrived == []


def test_an_expired_key_is_refused(world: World) -> None:
    run = world.start()
    with tenancy.within(world.organisation):
        Key.objects.filter(id=run.principal.key).update(expires_at=timezone.now() - datetime.timedelta(seconds=1))
    assert propose(run.token, "get_account", {"account": "a"}).code == "unauthenticated"


@pytest.mark.parametrize("ended", ["expires_at", "revoked_at"])
def test_a_capability_that_is_over_lets_nothing_through(world: World, ended: str) -> None:
    run = world.start()
    with tenancy.within(world.organisation):
        Capability.objects.filter(id=run.run.capability_id).update(**{ended: timezone.now() - datetime.timedelta(days=1)})
    reply = propose(run.token, "get_account", {"account": "a"})
    assert (reply.status, reply.code) == (403, "out_of_scope")
    assert world.events(subject=reply.body["call"]) == ["call.refused"]
    assert world.bank.arrived == []


def test_only_agents_propose(world: World) -> None:
    reply = propose(knocking.tokens(world)["olga"], "get_account", {"account": "a"})
    assert (reply.status, reply.code) == (403, "forbidden")


def test_a_runs_key_acts_in_its_own_run_only(world: World, elsewhere: World) -> None:
    run, other, foreign = world.start(), world.start(), elsewhere.start()
    assert propose(run.token, "get_account", {"account": "a"}, run=run.run.id).status == 200
    refused = [
        propose(run.token, "get_account", {"account": "a"}, run=named) for named in (other.run.id, foreign.run.id, "R-0000000000", "x")
    ]
    assert {(reply.status, reply.code) for reply in refused} == {(404, "not_found")}
    assert len({reply.raw for reply in refused}) == 1


def test_an_agents_key_acts_in_the_run_it_names_or_in_its_open_one(world: World, elsewhere: World) -> None:
    key = identity.issue(by=world.people["olga"], agent=world.agent).token
    run = world.start()
    named = propose(key, "get_account", {"account": "a"}, run=run.run.id)
    assert show(key, named.body["call"]).body["run"] == run.run.id
    first, second = (propose(key, "get_account", {"account": account}) for account in "ab")
    opened = {show(key, reply.body["call"]).body["run"] for reply in (first, second)}
    assert len(opened) == 1
    assert opened != {run.run.id}
    refused = [propose(key, "get_account", {"account": "a"}, run=name) for name in (elsewhere.start().run.id, "R-0000000000")]
    assert {reply.raw for reply in refused} == {refused[0].raw}
    assert refused[0].code == "not_found"


def test_a_foreign_call_and_one_that_never_was_look_the_same(world: World, elsewhere: World) -> None:
    run = world.start()
    foreign = propose(elsewhere.start().token, "get_account", {"account": "a"}).body["call"]
    sibling = propose(world.start().token, "get_account", {"account": "a"}).body["call"]
    replies = [show(run.token, identifier) for identifier in (foreign, sibling, "C-00000000000000", "no-id", "")]
    replies += [show(knocking.tokens(world)["fiona"], foreign)]
    assert {reply.code for reply in replies} == {"not_found"}
    assert len({reply.raw for reply in replies}) == 1


# What the gate says --------------------------------------------------------------------------------------------------------------------


def test_each_refusal_of_the_gate_has_its_status(world: World) -> None:
    run = world.start(tools=["get_account", "pay"], bindings={"account": ["a", "b"]})
    expected = {
        "unknown_tool": (404, ("delete_everything", {})),
        "invalid_arguments": (422, ("pay", {"account": "a", "amount": "5"})),
        "out_of_scope": (403, ("get_account", {"account": "c"})),
        "policy_denied": (403, ("pay", {"account": "a", "amount": 901})),
    }
    for code, (status, (tool, arguments)) in expected.items():
        reply = propose(run.token, tool, arguments)
        assert (reply.status, reply.code) == (status, code)
        assert reply.body["next"]
        shown = show(run.token, reply.body["call"])
        assert (shown.status, shown.body["status"], shown.body["code"], shown.body["detail"]) == (
            200,
            "refused",
            code,
            reply.body["detail"],
        )
    assert propose(run.token, "delete_everything", {}).body["tools"] == ["get_account", "pay"]
    stop = stops.engage(by=world.people["sam"], scope="agent", target="teller", reason="drill")
    reply = propose(run.token, "get_account", {"account": "a"})
    assert (reply.status, reply.code) == (423, "stopped")
    assert stop.id in reply.body["next"]


def test_reached_caps_and_finished_runs_have_their_status(world: World) -> None:
    limits.put(by=world.people["olga"], agent=world.agent, values={"tool_calls": 1})
    run = world.start()
    told = [propose(run.token, "get_account", {"account": account}) for account in "abc"]
    assert told[0].status == 200
    assert (told[1].status, told[1].code) == (429, "limit_reached")
    assert (told[2].status, told[2].code) == (409, "run_over")


def test_a_spent_budget_and_a_loop_have_their_status(world: World) -> None:
    caps.put(by=world.people["fiona"], workspace=world.workspace.id, level="agent", target=world.agent.id, period="total", cap_micros=9_999)
    reply = propose(world.start().token, "pay", SMALL)
    assert (reply.status, reply.code) == (402, "budget_exceeded")
    run = world.start()
    told = [propose(run.token, "get_account", {"account": "a"}) for _ in range(7)]
    assert (told[-1].status, told[-1].code) == (409, "no_progress")


def test_a_draft_is_kept_as_a_proposal(world: World) -> None:
    with tenancy.within(world.organisation):
        Agent.objects.filter(id=world.agent.id).update(stage=Agent.Stage.DRAFT)
    reply = propose(world.start().token, "pay", SMALL)
    assert (reply.status, reply.body["status"]) == (202, "drafted")
    with tenancy.within(world.organisation):
        assert Call.objects.get(id=reply.body["call"]).state == Call.State.DRAFTED
    assert world.bank.writes() == []


def test_a_client_that_asks_for_much_at_once_is_answered_for_each(world: World) -> None:
    """The doors are entered from many threads at once; nothing is shared between them but the pool."""
    run = world.start()

    async def storm() -> list[int]:
        async def one(number: int) -> int:
            body = json.dumps({"tool": "get_account", "arguments": {"account": "abc"[number % 3]}}).encode()
            headers = {"authorization": f"Bearer {run.token}", "content-type": "application/json"}
            answer = await hop.enter(doors.propose, hop.Request("POST", f"{API}/calls", {}, headers, body))
            return int(answer.status)

        return list(await asyncio.gather(*(one(number) for number in range(12))))

    assert set(asyncio.run(storm())) <= {200, 409}
