"""Identical requests: what makes them so, that each is decided by itself, and that nothing else slips in among them."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from agents import contracts, organisations, policies, stops, tools
from agents.models import Agent
from approvals import batches, inbox, requests, stances, votes
from approvals.models import Request, Vote
from audit import log, tenancy
from controlplane import deciding, gate
from tests import world as worlds
from tests.world import World

ODD = """
@id("odd") forbid (principal, action == Action::"pay", resource) when { context.args.amount == 77 } unless { context.approvals >= 1 };
"""


def reversible(world: World, **changes: Any) -> None:
    """From now on a payment can be taken back, and its preview says what the balance becomes."""
    with tenancy.within(world.organisation):
        known = next(row.preview for row in tools.active(world.workspace.id) if row.tool.name == "pay")
    preview = {**(known or {}), "set": {"/balance": {"argument": "amount"}}, "amount": {"argument": "amount", "currency": "USD"}}
    classification = {"is_reversible": True, "preview": preview, **changes}
    tools.confirm(by=world.people["olga"], name="pay", workspace=world.workspace, classification=classification)
    world.publish()


def asks(world: World, amount: int = 50, account: str = "a", **order: Any) -> gate.Admission:
    said = world.start(**order).call("pay", {"account": account, "amount": amount})
    assert said.status == "pending_approval"
    return said


def lines(world: World, name: str = "ann", **more: Any) -> list[batches.Line]:
    by = world.people[name]
    with tenancy.within(world.organisation):
        found = inbox.needing(by=by, workspace=world.workspace.id)
        return batches.lines(found, **{"since": requests.database_now(), "beyond": None, "most": 100, **more})


def key(world: World, said: gate.Admission) -> str:
    with tenancy.within(world.organisation):
        return batches.key_of(requests.get(said.approval, by=world.people["ann"]))


def inside(world: World, said: gate.Admission, name: str = "ann") -> set[str]:
    """The ids of what this person may decide together with that."""
    with tenancy.within(world.organisation):
        found = batches.members(key(world, said), by=world.people[name], workspace=world.workspace.id)
        return {row.id for row in found} if found is not None else set()


def ballots(*given: gate.Admission) -> list[deciding.Ballot]:
    return [deciding.Ballot(said.approval, said.plan) for said in given]


def decide(world: World, *given: gate.Admission, name: str = "ann", verdict: str = "APPROVE", reason: str = "") -> list[str]:
    """What became of each, decided as one batch under the name of the first: its state, or the code of the refusal."""
    by, chosen = world.people[name], ballots(*given)
    done = deciding.batch(by=by, workspace=world.workspace.id, key=key(world, given[0]), ballots=chosen, verdict=verdict, reason=reason)
    return said_of(done)


def said_of(done: list[deciding.Outcome]) -> list[str]:
    return [outcome.refused.code if outcome.refused else outcome.request.state if outcome.request else "" for outcome in done]


def change(said: gate.Admission, **changes: Any) -> None:
    Request.objects.filter(id=said.approval).update(**changes)


# What is identical ----------------------------------------------------------------------------------------------------


def test_identical_requests_are_one_line_that_tells_of_all_of_them(world: World) -> None:
    reversible(world)
    first, second, third = (asks(world, amount, account) for amount, account in ((50, "a"), (60, "b"), (70, "c")))
    two = asks(world, 600)
    with tenancy.within(world.organisation):
        change(second, expires_at=F("expires_at") - timedelta(minutes=20))
        change(third, opened_at=F("opened_at") - timedelta(minutes=30))
        rows = Request.objects.in_bulk()
    found = {line.first: line for line in lines(world)}
    assert set(found) == {second.approval, two.approval}, "the most urgent one stands for all"
    line = found[second.approval]
    assert (line.number, found[two.approval].number) == (3, 1)
    assert (line.oldest, line.soonest) == (rows[third.approval].opened_at, rows[second.approval].expires_at)
    assert line.key == key(world, first) == key(world, third)
    assert inside(world, first) == {first.approval, second.approval, third.approval}
    assert inside(world, first, "ben") == inside(world, first)
    assert inside(world, first, "olga") == set(), "whoever asked decides none of them"


def another_version(world: World) -> gate.Admission:
    reversible(world, risk="medium")
    return asks(world)


def another_rule(world: World) -> gate.Admission:
    return asks(world, 77)


def another_set(world: World) -> gate.Admission:
    policies.activate(
        by=world.people["olga"], policy_set=policies.propose(by=world.people["sam"], workspace=world.workspace, text=worlds.POLICIES + ODD)
    )
    return asks(world)


def another_agent(world: World) -> gate.Admission:
    olga = world.people["olga"]
    clerk = contracts.register(
        by=olga, workspace=world.workspace, slug="clerk", name="Clerk", owner=world.members["olga"], stage=Agent.Stage.GATED
    )
    goal = contracts.Goal(purpose="Look after accounts.", never=["Never pay twice."], output="A sentence.")
    pinning = contracts.Pinning(prompt="You look after accounts.", tools=["pay", "get_account"], models=["scripted:idle"])
    contracts.publish(by=olga, agent=clerk, goal=goal, pinning=pinning)
    return asks(world, agent="clerk")


def two_humans(world: World) -> gate.Admission:
    said = asks(world)
    with tenancy.within(world.organisation):
        change(said, required=2)  # under the very rules of the others
    return said


def a_proposal(world: World) -> gate.Admission:
    said = asks(world)
    with tenancy.within(world.organisation):
        change(said, is_draft=True)
    return said


def snoozed(world: World) -> gate.Admission:
    said = asks(world)
    stances.snooze(by=world.people["ann"], request_id=said.approval, length="30 min")
    return said


def asked_for_by_the_reader(world: World) -> gate.Admission:
    said = asks(world)
    with tenancy.within(world.organisation):
        change(said, requesters=[world.people["ann"].person])
    return said


def over_in_fact(world: World) -> gate.Admission:
    said = asks(world)
    with tenancy.within(world.organisation):
        change(said, expires_at=F("opened_at") - timedelta(seconds=1))
    return said


@pytest.mark.parametrize(
    "other",
    [
        another_version,
        another_rule,
        another_set,
        another_agent,
        two_humans,
        a_proposal,
        snoozed,
        asked_for_by_the_reader,
        over_in_fact,
    ],
)
def test_what_differs_in_this_falls_out_and_is_not_decided_with_the_others(world: World, other: Callable[[World], gate.Admission]) -> None:
    reversible(world)
    sam, olga = world.people["sam"], world.people["olga"]
    policies.activate(by=olga, policy_set=policies.propose(by=sam, workspace=world.workspace, text=worlds.POLICIES + ODD))
    one = asks(world, 50, "a")
    different, same = other(world), asks(world, 51, "b") if other is snoozed else None
    assert inside(world, one) == {one.approval} | ({same.approval} if same else set())
    assert decide(world, one, different)[1] == "conflict"
    assert world.request(different.approval).state == "OPEN"
    assert world.events("request.voted", subject=different.approval) == []


def test_what_cannot_be_taken_back_is_never_folded(world: World) -> None:
    plain = [asks(world, 50, account) for account in "ab"]
    reversible(world)
    alike = [asks(world, 50, account) for account in "ab"]
    assert sorted(line.number for line in lines(world)) == [1, 1, 2]
    assert inside(world, plain[0]) == set()
    assert inside(world, alike[0]) == {said.approval for said in alike}
    assert decide(world, *plain) == ["conflict"] * 2


@pytest.mark.parametrize("scope", ["organisation", "workspace", "agent", "tool", "connector", "run"])
def test_what_is_stopped_is_in_no_batch(world: World, scope: str) -> None:
    reversible(world)
    one, other = asks(world), asks(world, 51, "b")
    with tenancy.within(world.organisation):
        tool = tools.get("pay", workspace=world.workspace)
        run = requests.get(one.approval, by=world.people["ann"]).run_id
    target = {"workspace": world.workspace.id, "agent": world.agent.id, "tool": tool.id, "connector": tool.connector_id, "run": run}
    stop = stops.engage(by=world.people["sam"], scope=scope, target=target.get(scope, ""), reason="drill")
    left = {other.approval} if scope == "run" else set()
    assert inside(world, other) == left
    assert sorted(line.number for line in lines(world)) == [1, 1], "each stands by itself and is hidden from nobody"
    assert decide(world, one, verdict="DENY", reason="No.") == ["conflict"]
    stops.release(by=world.people["olga"], stop=stop)
    assert inside(world, other) == {one.approval, other.approval}


def test_lines_are_folded_before_they_are_cut_into_pages(world: World) -> None:
    run = world.start()
    alone = [run.call("pay", {"account": "a", "amount": amount}) for amount in (20, 21, 22)]  # not to be taken back
    reversible(world)
    alike = [asks(world, amount) for amount in range(50, 54)]
    with tenancy.within(world.organisation):
        since = requests.database_now()
    seen: list[batches.Line] = []
    while page := lines(world, since=since, beyond=(seen[-1].urgency, seen[-1].first) if seen else None, most=1):
        seen += page
        assert len(seen) <= 4
    assert sorted(line.number for line in seen) == [1, 1, 1, 4]
    assert {line.first for line in seen if line.number == 1} == {said.approval for said in alone}
    assert {line.first for line in seen if line.number == 4} < {said.approval for said in alike}


# Deciding -------------------------------------------------------------------------------------------------------------


def test_each_is_a_vote_of_its_own_and_its_entries_tell_how_many_one_click_decided(world: World) -> None:
    reversible(world)
    given = [asks(world, 50, account) for account in "abc"]
    assert decide(world, *given) == ["APPROVED"] * 3
    for said in given:
        assert world.events(subject=said.approval) == ["request.opened", "request.checked", "request.voted", "request.approved"]
        with tenancy.within(world.organisation):
            bodies = [entry.body for entry in log.entries(subject=said.approval) if entry.event in {"request.voted", "request.approved"}]
        assert all('"together":3' in body for body in bodies)
    alone = asks(world)
    assert decide(world, alone) == ["APPROVED"]
    with tenancy.within(world.organisation):
        assert not any("together" in entry.body for entry in log.entries(subject=alone.approval))


def test_a_denial_of_several_needs_one_reason_and_each_agent_gets_it(world: World) -> None:
    reversible(world)
    given = [asks(world, 50, account) for account in "ab"]
    with pytest.raises(requests.ReasonNeeded):
        decide(world, *given, verdict="DENY", reason=" ")
    assert world.events("request.voted") == []
    assert decide(world, *given, verdict="DENY", reason="Duplicate") == ["DENIED"] * 2
    for said in given:
        told = gate.standing(world.organisation, said.call).refusal
        assert told is not None
        assert told["reason"] == "Duplicate"


def test_one_that_cannot_be_decided_keeps_none_of_the_others(world: World) -> None:
    reversible(world)
    good, stale, moved, last = (asks(world, 50, account) for account in "abca")
    world.bank.accounts["c"]["balance"] += 1
    chosen = [*ballots(good), deciding.Ballot(stale.approval, "0" * 64), *ballots(moved, last)]
    done = deciding.batch(by=world.people["ann"], workspace=world.workspace.id, key=key(world, good), ballots=chosen, verdict="APPROVE")
    assert said_of(done) == ["APPROVED", "plan_changed", "plan_changed", "APPROVED"]
    assert world.request(stale.approval).state == world.request(moved.approval).state == "OPEN"
    assert world.request(moved.approval).plan.digest != moved.plan, "people are shown the new plan"


def test_two_people_at_once_decide_each_once(world: World) -> None:
    reversible(world)
    given = [asks(world, amount, account) for amount in (50, 60) for account in "abc"]
    start, told = threading.Barrier(2), dict[str, list[str]]()

    def click(name: str) -> None:
        start.wait()
        told[name] = decide(world, *(given if name == "ann" else given[::-1]), name=name)
        connection.close()

    threads = [threading.Thread(target=click, args=[name]) for name in ("ann", "ben")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = [*told["ann"], *told["ben"]]
    assert answers.count("APPROVED") == len(given)
    assert set(answers) <= {"APPROVED", "already_decided", "conflict"}, "decided by the other: meanwhile, or before they began"
    with tenancy.within(world.organisation):
        assert Vote.objects.count() == len(given)


def test_at_most_twenty_five_and_never_none(world: World) -> None:
    reversible(world)
    said = asks(world)
    for many in (0, batches.MOST + 1):
        for act in (
            lambda chosen: deciding.each(by=world.people["ann"], ballots=chosen, verdict="APPROVE"),
            lambda chosen: deciding.batch(
                by=world.people["ann"], workspace=world.workspace.id, key=key(world, said), ballots=chosen, verdict="APPROVE"
            ),
        ):
            with pytest.raises(organisations.Conflict) as refused:
                act(ballots(said) * many)
            assert (refused.value.current, refused.value.limit) == (many, 25)
    assert world.request(said.approval).state == "OPEN"


def test_several_may_differ_where_each_is_named_but_none_may_take_two(world: World) -> None:
    plain = asks(world)  # cannot be taken back
    reversible(world)
    other, two = asks(world), asks(world, 600)
    done = deciding.each(by=world.people["ann"], ballots=ballots(plain, other, two), verdict="DENY", reason="No.")
    assert said_of(done) == ["DENIED", "DENIED", "conflict"]
    assert "two humans" in str(done[2].refused)
    assert world.events("request.voted", subject=two.approval) == []


def test_who_may_not_decide_decides_none_and_a_foreign_id_is_like_an_unknown_one(world: World, elsewhere: World) -> None:
    reversible(world)
    said = asks(world)
    for name in ("vera", "olga", "ada"):
        with pytest.raises(organisations.Forbidden):
            decide(world, said, name=name)
    with tenancy.within(world.organisation):
        change(said, requesters=[world.people["ann"].person])
    assert said_of(deciding.each(by=world.people["ann"], ballots=ballots(said), verdict="APPROVE")) == ["not_eligible"]
    strange = [deciding.Ballot(said.approval, said.plan), deciding.Ballot("APR-0000000000", said.plan)]
    done = deciding.each(by=elsewhere.people["ann"], ballots=strange, verdict="APPROVE")
    refusals = [outcome.refused.as_dict() | {"current": ""} for outcome in done if outcome.refused]
    assert refusals[0] == refusals[1]
    assert refusals[0]["code"] == "not_found"
    assert isinstance(done[0].refused, organisations.NotFound)
    assert not isinstance(done[0].refused, votes.NotEligible)
    assert world.request(said.approval).state == "OPEN"
