"""Who may decide, how a question ends, and what each end does to the call, the money and the agent."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F

from agents import contracts, organisations, runs, seats
from agents.models import Call
from agents.organisations import Principal
from approvals import plans, requests, votes
from approvals.models import Plan, Request, Vote
from audit import tenancy
from budgets import reservations
from controlplane import gate, recovery
from tests.world import World


def held(world: World, amount: int = 50) -> gate.Admission:
    said = world.start().call("pay", {"account": "a", "amount": amount})
    assert said.status == "pending_approval"
    return said


def vote(world: World, name: str, said: gate.Admission, verdict: str = "APPROVE", *, plan: str = "", reason: str = "") -> Request:
    return votes.cast(by=world.people[name], request_id=said.approval, verdict=verdict, plan_digest=plan or said.plan, reason=reason)


def reserved(world: World) -> int:
    with tenancy.within(world.organisation):
        return reservations.balance("agent", world.agent.id).reserved


@pytest.mark.parametrize(
    ("name", "why"),
    [("olga", "asked for this run"), ("sam", "changed the rules"), ("fiona", ""), ("vera", ""), ("ada", "approvals_decide")],
)
def test_the_requester_the_rule_changer_and_the_unentitled_may_not_decide(world: World, name: str, why: str) -> None:
    said = held(world)
    with pytest.raises((votes.NotEligible, organisations.NotFound)) as refused:
        vote(world, name, said)
    assert why in str(refused.value)
    assert world.request(said.approval).state == "OPEN"


def test_whoever_comes_to_own_the_agent_while_a_request_waits_may_not_decide_it(world: World) -> None:
    """Vera decided nothing when she got the agent; a role that she gets later does not make her its judge."""
    said, system = held(world), organisations.system(world.organisation, "tests")
    contracts.change_owner(by=system, agent=world.agent, owner=world.members["vera"])
    seats.grant(by=system, member=world.members["vera"], workspace=world.workspace, role="approver")
    vera = world.people["vera"]
    with pytest.raises(votes.NotEligible, match="own its agent"):
        vote(world, "vera", said)
    with tenancy.within(world.organisation):
        opened = requests.get(str(said.approval), by=vera)
        able = {member.name for member in votes.eligible(opened)}
        assert "vera" not in able
        assert {"ann", "ben"} <= able
        assert opened not in votes.decidable(by=vera, workspace=world.workspace.id)
        assert opened in votes.decidable(by=world.people["ann"], workspace=world.workspace.id)
    contracts.change_owner(by=system, agent=world.agent, owner=world.members["olga"])
    assert vote(world, "vera", said).state == "APPROVED"


def test_two_accounts_of_one_human_count_once(world: World) -> None:
    said = held(world, 600)
    twin = world.people["ann"].person
    with tenancy.within(world.organisation):
        type(world.members["ben"]).objects.filter(id=world.members["ben"].id).update(person=twin)
    vote(world, "ann", said)
    ben = Principal(**{**{field: getattr(world.people["ben"], field) for field in Principal.__slots__}, "person": twin})
    with pytest.raises(requests.AlreadyDecided):
        votes.cast(by=ben, request_id=said.approval, verdict="APPROVE", plan_digest=said.plan)
    assert world.request(said.approval).state == "OPEN"


def test_an_approval_of_another_digest_is_refused_with_the_one_that_is_open(world: World) -> None:
    said = held(world)
    with pytest.raises(votes.PlanChanged) as refused:
        vote(world, "ann", said, plan="0" * 64)
    assert refused.value.details["plan"] == said.plan


def test_a_denial_needs_a_reason_returns_the_money_and_ends_the_call(world: World) -> None:
    said = held(world)
    assert reserved(world) == 10_000
    with pytest.raises(requests.ReasonNeeded):
        vote(world, "ann", said, "DENY")
    vote(world, "ann", said, "DENY", reason="Wrong account.")
    assert reserved(world) == 0
    standing = gate.standing(world.organisation, said.call)
    assert standing.status == "denied"
    assert standing.refusal
    assert standing.refusal["reason"] == "Wrong account."
    with pytest.raises(requests.AlreadyDecided):
        vote(world, "ben", said)
    assert recovery.resume(world.organisation, said.call).status == "denied"
    assert world.bank.writes() == []


def test_one_denial_beats_an_approval(world: World) -> None:
    said = held(world, 600)
    vote(world, "ann", said)
    vote(world, "ben", said, "DENY", reason="No.")
    assert gate.standing(world.organisation, said.call).status == "denied"


def test_nobody_deciding_in_time_is_a_no(world: World) -> None:
    said = held(world)
    assert not requests.expire(by=organisations.system(world.organisation), request_id=said.approval)
    with tenancy.within(world.organisation):
        Request.objects.filter(id=said.approval).update(expires_at=F("opened_at") - timedelta(seconds=1))
    with pytest.raises(requests.Expired):
        vote(world, "ann", said)
    assert requests.expire(by=organisations.system(world.organisation), request_id=said.approval)
    assert (gate.standing(world.organisation, said.call).status, world.request(said.approval).state, reserved(world)) == (
        "expired",
        "EXPIRED",
        0,
    )


def test_an_approval_that_expired_before_it_was_used_is_void(world: World) -> None:
    said = held(world)
    vote(world, "ann", said)
    with tenancy.within(world.organisation):
        Request.objects.filter(id=said.approval).update(expires_at=F("opened_at") - timedelta(seconds=1))
    assert recovery.resume(world.organisation, said.call).status == "void"
    assert world.bank.writes() == []


def test_an_approver_who_left_before_it_was_sent_counts_no_more(world: World) -> None:
    said = held(world)
    vote(world, "ann", said)
    organisations.deactivate(by=organisations.system(world.organisation), member=world.members["ann"])
    assert recovery.resume(world.organisation, said.call).status == "void"


def test_a_role_taken_away_before_it_was_sent_counts_no_more(world: World) -> None:
    said = held(world)
    vote(world, "ann", said)
    seats.remove(by=organisations.system(world.organisation), member=world.members["ann"], workspace=world.workspace, role="approver")
    assert recovery.resume(world.organisation, said.call).status == "void"


def test_fifty_clicks_of_one_person_are_one_vote_and_one_effect(world: World) -> None:
    said = held(world)
    outcomes: list[str] = []
    start = threading.Barrier(10)

    def click() -> None:
        start.wait()
        for _ in range(5):
            try:
                vote(world, "ann", said)
                outcomes.append("voted")
            except requests.AlreadyDecided:
                outcomes.append("already")
        recovery.resume(world.organisation, said.call)
        connection.close()

    threads = [threading.Thread(target=click) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("voted") == 1
    assert len(outcomes) == 50
    assert len(world.bank.writes()) == 1
    with tenancy.within(world.organisation):
        assert Vote.objects.filter(request_id=said.approval).count() == 1


def test_the_diff_shows_the_real_target_and_the_digest_binds_it(world: World) -> None:
    said = held(world)
    with tenancy.within(world.organisation):
        plan = Plan.objects.get(call_id=said.call)
    assert plan.entity == "account/a"
    assert plan.before_digest
    assert plans.holds(plan, outbound_digest="other", policy_set="", tool_version="") == "What would be sent is not what was planned."
    plan.body = plan.body.replace('"amount_micros":10000', '"amount_micros":1')
    assert plans.holds(plan, outbound_digest="other", policy_set="", tool_version="") == "The stored plan does not match its digest."


def test_a_run_that_ends_withdraws_what_it_had_waiting(world: World) -> None:
    run = world.start()
    said = run.call("pay", {"account": "a", "amount": 50})
    runs.end(by=world.people["olga"], run=run.run, state="STOPPED", summary="Not needed.", event="run.stopped")
    assert (gate.standing(world.organisation, said.call).status, world.request(said.approval).state, reserved(world)) == (
        "void",
        "WITHDRAWN",
        0,
    )
    assert not runs.end(by=world.people["olga"], run=run.run, state="SUCCEEDED", summary="Again.")
    assert world.events(subject=said.approval) == ["request.opened", "request.withdrawn"]
    assert world.events(subject=said.call) == ["call.admitted", "call.held", "call.voided"]
    told = gate.standing(world.organisation, said.call).refusal
    assert told
    assert told["code"] == "run_over"


def waited(world: World, said: gate.Admission) -> timedelta:
    with tenancy.within(world.organisation):
        return timedelta(milliseconds=Call.objects.select_related("run").get(id=said.call).run.waited_ms)


def an_hour_ago(world: World, said: gate.Admission) -> None:
    with tenancy.within(world.organisation):
        Request.objects.filter(id=said.approval).update(opened_at=F("opened_at") - timedelta(hours=1))


def test_waiting_for_people_is_not_held_against_the_run_and_counts_once(world: World) -> None:
    said = held(world)
    an_hour_ago(world, said)
    vote(world, "ann", said)
    assert timedelta(hours=1) <= waited(world, said) < timedelta(hours=1.5)
    with tenancy.within(world.organisation):
        Request.objects.filter(id=said.approval).update(expires_at=F("opened_at") + timedelta(seconds=1))
    assert requests.expire(by=organisations.system(world.organisation), request_id=said.approval)
    assert waited(world, said) < timedelta(hours=1.5)


def test_a_draft_keeps_no_run_waiting(world: World) -> None:
    contracts.change(by=world.people["olga"], agent=world.agent, changes={"stage": "DRAFT"})
    said = world.start().call("pay", {"account": "a", "amount": 5})
    an_hour_ago(world, said)
    vote(world, "ann", said)
    assert waited(world, said) == timedelta()


def test_a_stage_lowered_while_people_decide_stops_the_write(world: World) -> None:
    said = held(world)
    vote(world, "ann", said)
    contracts.change(by=world.people["olga"], agent=world.agent, changes={"stage": "READ_ONLY"})
    assert recovery.resume(world.organisation, said.call).status == "void"
    assert world.bank.writes() == []


def test_every_act_of_a_request_leaves_its_entry(world: World) -> None:
    said = held(world, 600)
    vote(world, "ann", said)
    vote(world, "ben", said)
    recovery.resume(world.organisation, said.call)
    assert world.events(subject=said.approval) == ["request.opened", "request.voted", "request.voted", "request.approved"]
    assert world.events(subject=said.call) == ["call.admitted", "call.held", "effect.intended", "effect.applied"]
