"""Hosted runs: durable steps, waiting for people, dying workers. The models are scripts; everything else is the product."""

import datetime
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db.models.functions import Now

from agents import organisations, runs, stops
from agents.models import Run, Step, Stop, Work
from approvals import requests, votes
from audit import tenancy
from budgets import limits, prices, reservations
from controlplane import effects, outbox, recovery, runner
from controlplane.connectors.models import script
from controlplane.connectors.models.completion import Completion
from tests.world import World

PLANS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "pay-once": [("get_account", {"account": "a"}), ("pay", {"account": "a", "amount": 50})],
    "pay-small": [("pay", {"account": "a", "amount": 5})],
    "secretive": [("pay", {"account": "a", "amount": 5, "note": "token ghp_" + "a1B2" * 9})],
    "endless": [("get_account", {"account": "a"})] * 30,
}


def _register(name: str, plan: Sequence[tuple[str, dict[str, Any]]]) -> None:
    @script.named(name)
    def play(messages: Sequence[Any], tools: Sequence[Any]) -> Completion:
        turn = sum(message["role"] == "assistant" for message in messages)
        if turn < len(plan):
            return Completion(
                text="", reasoning=f"step {turn}", calls=[{"id": f"c{turn}", "tool": plan[turn][0], "arguments": plan[turn][1]}]
            )
        return Completion(text=f"Last: {messages[-1].get('text', '')[:300]}")


for _name, _plan in PLANS.items():
    _register(_name, _plan)


def start(world: World, model: str) -> Run:
    world.publish(models=[f"scripted:{model}"])
    prices.put(
        by=world.people["fiona"], workspace=world.workspace.id, item=f"scripted:{model}", input_micros=1_000_000, output_micros=1_000_000
    )
    return runner.start(
        by=world.people["olga"], workspace=world.workspace, order=runner.Order(agent=world.agent.slug, hosted=True, prompt="Go.")
    ).run


def leases(world: World) -> Iterator[outbox.Lease]:
    """Due work of this organisation. Claiming looks across organisations, so work that other tests left is dropped."""
    while (lease := outbox.claim()) is not None:
        if lease.organisation == world.organisation:
            yield lease
        else:
            outbox.finish(lease)


def work(world: World) -> None:
    for lease in leases(world):
        if lease.kind == "run.advance":
            runner.advance(lease)
        elif lease.kind == "call.resume":
            recovery.resume(lease.organisation, lease.subject)
        outbox.finish(lease)


def reload(world: World, run: Run) -> Run:
    with tenancy.within(world.organisation):
        run.refresh_from_db()
    return run


def steps(world: World, run: Run) -> list[tuple[str, dict[str, Any]]]:
    with tenancy.within(world.organisation):
        return [(step.kind, json.loads(step.content)) for step in runs.steps(run)]


def open_request(world: World) -> Any:
    with tenancy.within(world.organisation):
        return requests.waiting_for(by=world.people["ann"], workspace=world.workspace.id).get()


def test_a_run_pauses_on_a_payment_a_person_approves_and_it_finishes(world: World) -> None:
    run = start(world, "pay-once")
    work(world)
    assert reload(world, run).state == "WAITING"
    request = open_request(world)
    votes.cast(by=world.people["ann"], request_id=request.id, verdict="APPROVE", plan_digest=request.plan.digest)
    work(world)
    assert reload(world, run).state == "SUCCEEDED"
    assert len(world.bank.writes()) == 1
    kinds = [kind for kind, _ in steps(world, run)]
    assert kinds == ["PROMPT", "MODEL", "TOOL", "MODEL", "TOOL", "MODEL"]
    prompt = steps(world, run)[0][1]
    assert "Never pay twice." in prompt["system"]
    assert {tool["name"] for tool in prompt["tools"]} == {"get_account", "pay", "close_account", "slow_read"}
    assert steps(world, run)[1][1]["reasoning"] == "step 0"
    assert run.tokens > 0
    with tenancy.within(world.organisation):
        assert reservations.drift() == []


def test_a_denial_with_its_reason_reaches_the_agent_and_the_run_is_handed_over(world: World) -> None:
    run = start(world, "pay-once")
    work(world)
    request = open_request(world)
    votes.cast(
        by=world.people["ann"], request_id=request.id, verdict="DENY", plan_digest=request.plan.digest, reason="The customer cancelled."
    )
    work(world)
    row = reload(world, run)
    assert (row.state, row.handed_to) == ("HANDED_OFF", world.members["olga"].id)
    assert "The customer cancelled." in row.summary
    assert world.bank.writes() == []


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it in this process runs."""


@pytest.mark.parametrize("moment", ["before the intent", "after the intent", "after sending", "before the step is written"])
def test_whenever_a_worker_dies_another_finishes_and_the_payment_happens_once(
    world: World, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    run = start(world, "pay-small")
    really_apply, really_add = effects.apply, runs.add_step

    def die(*_: Any, **__: Any) -> Any:
        raise Killed

    def apply_and_die(*arguments: Any) -> Any:
        really_apply(*arguments)
        raise Killed

    def add_unless_tool(**given: Any) -> None:
        if given["kind"] == Step.Kind.TOOL:
            raise Killed
        really_add(**given)

    place: dict[str, tuple[Any, str, Any]] = {
        "before the intent": (effects, "dry_run", die),
        "after the intent": (effects, "apply", die),
        "after sending": (effects, "apply", apply_and_die),
        "before the step is written": (runs, "add_step", add_unless_tool),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*place[moment])
        lease = next(leases(world))
        with pytest.raises(Killed):
            runner.advance(lease)
    with tenancy.within(world.organisation):
        Work.objects.filter(kind="run.advance").update(lease_until=None)  # the dead worker's lease runs out
    work(world)
    assert reload(world, run).state == "SUCCEEDED"
    assert len(world.bank.applied) == 1
    assert world.bank.accounts["a"]["balance"] == 995


def test_a_worker_that_lost_its_lease_writes_nothing_more(world: World) -> None:
    run = start(world, "pay-small")
    stalled = next(leases(world))
    with tenancy.within(world.organisation):
        Work.objects.filter(kind="run.advance").update(lease_until=None)
    fresh = next(leases(world))
    assert fresh.fence == stalled.fence + 1
    with pytest.raises(outbox.LostLease):
        runner.advance(stalled)
    assert steps(world, run) == []
    runner.advance(fresh)
    assert reload(world, run).state == "SUCCEEDED"


def test_a_looping_agent_is_stopped_and_handed_to_its_owner(world: World) -> None:
    limits.put(by=world.people["olga"], agent=world.agent, values={"repeats_stop": 3})
    run = start(world, "endless")
    work(world)
    row = reload(world, run)
    assert (row.state, row.handed_to) == ("HANDED_OFF", world.members["olga"].id)
    assert steps(world, run)[-1][0] == "HANDOFF"


def test_a_model_call_over_the_cap_is_refused_before_it_is_made(world: World) -> None:
    limits.put(by=world.people["fiona"], agent=world.agent, values={"micros": 10})
    run = start(world, "pay-small")
    work(world)
    row = reload(world, run)
    assert row.state == "HANDED_OFF"
    assert "This call could cost $0.0" in row.summary
    assert [kind for kind, _ in steps(world, run)] == ["PROMPT", "HANDOFF"]


def test_a_stop_holds_a_run_and_whoever_lets_it_go_on_lets_the_run_go_on(world: World) -> None:
    """Twice in a row, and by the clock: it waits where it was, asks nothing meanwhile, and finishes."""
    run = start(world, "pay-small")
    for ends_at in (None, None, datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)):
        stop = stops.engage(by=world.people["sam"], scope="agent", target=world.agent.id, reason="Look first.", ends_at=ends_at)
        work(world)
        assert reload(world, run).state == "RUNNING"
        with tenancy.within(world.organisation):
            assert not Work.objects.filter(kind=Work.Kind.ADVANCE).exists()
            if ends_at:
                Stop.objects.filter(id=stop.id).update(ends_at=Now())
        if ends_at:
            assert stops.end(by=organisations.system(world.organisation, "sweep"), identifier=stop.id)
        else:
            stops.release(by=world.people["olga"], stop=stop)
    work(world)
    assert reload(world, run).state == "SUCCEEDED"
    assert [kind for kind, _ in steps(world, run)] == ["PROMPT", "MODEL", "TOOL", "MODEL"]
    assert len(world.bank.writes()) == 1
    with tenancy.within(world.organisation):
        states = Counter(runs.calls(run).filter(kind="MODEL").values_list("state", flat=True))
    assert states == {"REFUSED": 3, "APPLIED": 2}


def test_an_unpriced_model_is_refused(world: World) -> None:
    world.publish(models=["scripted:pay-small"])
    run = runner.start(
        by=world.people["olga"], workspace=world.workspace, order=runner.Order(agent=world.agent.slug, hosted=True, prompt="Go.")
    ).run
    work(world)
    row = reload(world, run)
    assert (row.state, "has no price" in row.summary) == ("FAILED", True)


def test_a_secret_goes_to_the_tool_and_into_no_record(world: World) -> None:
    run = start(world, "secretive")
    work(world)
    assert "ghp_" in world.bank.writes()[0][1]["note"]
    assert "ghp_" not in json.dumps(steps(world, run))
    with tenancy.within(world.organisation):
        for call in runs.calls(run):
            assert "ghp_" not in call.arguments + call.decision + call.result


def test_work_rung_again_while_somebody_is_at_it_is_looked_at_again(world: World) -> None:
    start(world, "pay-small")
    lease = next(leases(world))
    with tenancy.within(world.organisation):
        outbox.enqueue(organisation=world.organisation, kind=lease.kind, subject=lease.subject)
    outbox.finish(lease)
    assert [again.subject for again in leases(world)] == [lease.subject]
