"""The worker: every kind of work is done once, what goes wrong stays with its own piece, and a lost lease writes nothing."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import connection, connections

from agents.models import Call, Run, Work
from approvals import requests, votes
from audit import tenancy
from controlplane import outbox, worker
from tests.controlplane import hosted
from tests.world import World

PAY = ("pay", {"account": "a", "amount": 5})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REMIT_RECORDINGS", str(tmp_path))
    hosted.record(tmp_path, "pay", [("get_account", {"account": "a"}), PAY])
    hosted.record(tmp_path, "ask", [("pay", {"account": "a", "amount": 50})])
    hosted.record(tmp_path, "slow", [("slow_read", {}), PAY])
    return tmp_path


@pytest.fixture(autouse=True)
def _nothing_left_by_others() -> Iterator[None]:
    """Claiming looks across organisations; what other tests left is dropped."""
    while (lease := outbox.claim()) is not None:
        outbox.finish(lease)
    yield
    worker.STOPPING.clear()


def drain_elsewhere() -> None:
    """In a thread of its own, which leaves no connection behind."""
    worker.drain()
    connections.close_all()


def test_a_hosted_run_is_carried_to_its_end_and_its_work_is_gone(world: World, folder: Path) -> None:
    hosted.may_play(world)
    run = hosted.play(world, folder, "pay")
    assert worker.drain() >= 1  # a write that settles rings again, so it is looked at once more
    assert hosted.reload(world, run).state == Run.State.SUCCEEDED
    assert hosted.steps_of(world, run) == ["PROMPT", "MODEL", "TOOL", "MODEL", "TOOL", "MODEL"]
    assert [write[1]["amount"] for write in world.bank.writes()] == [5]
    assert hosted.work_of(world) == []


def test_a_claim_leases_one_piece_of_work_whatever_the_planner_knows(world: World) -> None:
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("truncate agents_work")
        owner.execute("analyze agents_work")  # as autovacuum does on a quiet day: the planner believes in an empty table
    for number in range(5):
        with tenancy.within(world.organisation):
            outbox.enqueue(organisation=world.organisation, kind=Work.Kind.RESUME, subject=f"C-{number:010}")
    assert outbox.claim() is not None
    leased = [row for row in hosted.work_of(world) if row.lease_until is not None]
    hosted.drop_work(world)
    assert len(leased) == 1, "the others would wait for their lease to run out"


def test_an_approved_call_is_sent_and_the_run_behind_it_goes_on(world: World, folder: Path) -> None:
    hosted.may_play(world)
    run = hosted.play(world, folder, "ask")
    worker.drain()
    assert hosted.reload(world, run).state == Run.State.WAITING
    (call,) = hosted.calls_of(world, run, kind="TOOL")
    (expiry,) = hosted.work_of(world, kind=Work.Kind.EXPIRE)
    request = world.request(expiry.subject)
    votes.cast(by=world.people["ann"], request_id=request.id, verdict="APPROVE", plan_digest=request.plan.digest)
    assert worker.drain() >= 1
    assert hosted.call_of(world, call.id).state == Call.State.APPLIED
    assert hosted.reload(world, run).state == Run.State.SUCCEEDED
    assert len(world.bank.writes()) == 1
    assert hosted.work_of(world) == []


def test_a_request_nobody_decided_expires_and_the_agent_is_told(world: World) -> None:
    said = world.start().call("pay", {"account": "a", "amount": 50})
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute("update approvals_request set expires_at = clock_timestamp() where organisation_id = %s", [world.organisation])
    hosted.make_due(world)
    worker.drain()
    row = hosted.call_of(world, said.call)
    assert row.state == Call.State.EXPIRED
    assert "expired" in row.refusal
    assert hosted.work_of(world) == []


def test_an_answer_that_was_lost_is_asked_for_under_the_same_key_and_applied_once(world: World) -> None:
    world.bank.hang_up_after = "pay"
    said = world.start().call(*PAY)
    assert said.status == "in_doubt"
    hosted.make_due(world)
    worker.drain()
    (left,) = hosted.work_of(world)
    assert (left.kind, left.lease_until) == (Work.Kind.RECONCILE, None), "still unanswered, so it is asked again later"
    world.bank.hang_up_after = ""
    hosted.make_due(world)
    worker.drain()
    assert hosted.call_of(world, said.call).state == Call.State.APPLIED
    assert hosted.work_of(world) == []
    assert world.bank.accounts["a"]["balance"] == 995
    assert len({key for _, _, key in world.bank.writes()}) == 1


def test_an_upstream_that_promises_nothing_is_left_to_people(world: World) -> None:
    run = world.start()
    held = run.call("close_account", {"account": "b"})
    world.bank.hang_up_after = "close_account"
    world.approve(held, "ann", "ben")
    worker.drain()
    assert hosted.call_of(world, held.call).state == Call.State.IN_DOUBT
    hosted.make_due(world)
    worker.drain()
    assert hosted.call_of(world, held.call).state == Call.State.IN_DOUBT
    assert hosted.work_of(world) == []
    assert len(world.bank.writes()) == 1, "never sent again"


def test_a_call_left_behind_before_anything_was_sent_fails_and_its_money_returns(world: World) -> None:
    run = world.start()
    said = run.call(*PAY)
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute("update agents_call set state = 'ADMITTED' where organisation_id = %s and id = %s", [world.organisation, said.call])
        cursor.execute("select work_ring(%s, 'call.recover', %s)", [world.organisation, said.call])
    worker.drain()
    row = hosted.call_of(world, said.call)
    assert (row.state, hosted.work_of(world)) == (Call.State.FAILED, [])


def test_a_call_that_goes_on_at_that_very_moment_is_not_given_back(world: World) -> None:
    """Recovery has looked (ADMITTED) and waits for the run's lock while the call's own process writes the intent down."""
    run = world.start()
    said = run.call(*PAY)
    change = "update agents_call set state = %s, finished_at = null where organisation_id = %s and id = %s"
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute(change, ["ADMITTED", world.organisation, said.call])
        cursor.execute("select work_ring(%s, 'call.recover', %s)", [world.organisation, said.call])
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute("select 1 from agents_run where organisation_id = %s and id = %s for update", [world.organisation, run.run.id])
        hand = threading.Thread(target=drain_elsewhere)
        hand.start()
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as looking:
            waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%gate_settle%'"
            hosted.until(lambda: (row := looking.execute(waiting).fetchone()) is not None and row[0] > 0)
        cursor.execute(change, ["SENDING", world.organisation, said.call])
    hand.join(15)
    assert hosted.call_of(world, said.call).state == Call.State.SENDING
    assert "call.recovered" not in world.events(subject=said.call)


def test_poison_comes_back_later_each_time_and_the_work_behind_it_is_done(world: World, elsewhere: World, folder: Path) -> None:
    with tenancy.within(world.organisation):
        outbox.enqueue(organisation=world.organisation, kind=Work.Kind.RESUME, subject="C-0000000000")
    hosted.may_play(elsewhere)
    run = hosted.play(elsewhere, folder, "pay")
    worker.drain()
    assert hosted.reload(elsewhere, run).state == Run.State.SUCCEEDED
    pauses = []
    for attempt in (1, 2, 3):
        (left,) = hosted.work_of(world)
        assert (left.attempts, left.lease_until) == (attempt, None)
        pauses.append((left.due_at - requests.database_now()).total_seconds())
        hosted.make_due(world)
        worker.drain()
    assert pauses == sorted(pauses)
    assert pauses[0] > 0.5


def test_a_run_that_breaks_each_time_ends_failed_and_says_so(world: World, folder: Path) -> None:
    hosted.may_play(world)
    run = hosted.play(world, folder, "pay", max_output_tokens="many")
    for attempt in range(1, outbox.MOST_ATTEMPTS + 1):
        assert hosted.reload(world, run).state in {Run.State.QUEUED, Run.State.RUNNING}, attempt
        hosted.make_due(world)
        worker.drain()
    assert hosted.reload(world, run).state == Run.State.FAILED
    assert "after 5 attempts: ValueError" in run.summary
    assert hosted.work_of(world) == []
    assert world.events("run.failed", subject=run.id) == ["run.failed"]


def test_a_run_that_kills_its_processes_is_ended_before_it_kills_another(world: World, folder: Path) -> None:
    hosted.may_play(world)
    run = hosted.play(world, folder, "pay")
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute("update agents_work set attempts = %s where organisation_id = %s", [outbox.MOST_ATTEMPTS, world.organisation])
    worker.drain()
    assert hosted.reload(world, run).state == Run.State.FAILED
    assert "died with it" in run.summary
    assert world.bank.arrived == []


def test_a_run_that_gets_on_may_outlive_any_number_of_processes(world: World, folder: Path) -> None:
    hosted.may_play(world)
    run = hosted.play(world, folder, "slow")
    world.bank.gate.set()
    worker.drain()
    assert len(hosted.steps_of(world, run)) == 6
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute("update agents_run set state = 'RUNNING' where organisation_id = %s and id = %s", [world.organisation, run.id])
        outbox.enqueue(organisation=world.organisation, kind=Work.Kind.ADVANCE, subject=run.id)
        cursor.execute("update agents_work set attempts = 5 where organisation_id = %s", [world.organisation])
    worker.drain()
    assert hosted.reload(world, run).state == Run.State.SUCCEEDED


def test_who_lost_the_lease_writes_nothing_more(world: World, folder: Path) -> None:
    hosted.may_play(world)
    run = hosted.play(world, folder, "slow")

    first = threading.Thread(target=drain_elsewhere)
    first.start()
    hosted.until(lambda: hosted.calls_of(world, run, kind="TOOL"))
    with tenancy.within(world.organisation), connection.cursor() as cursor:  # as another worker's claim would
        cursor.execute(
            "update agents_work set fence = fence + 1, lease_until = clock_timestamp() + interval '1 minute' where organisation_id = %s",
            [world.organisation],
        )
    before = hosted.steps_of(world, run)
    world.bank.gate.set()
    first.join(15)
    assert not first.is_alive()
    assert hosted.steps_of(world, run) == before
    (work,) = hosted.work_of(world)
    assert work.lease_until is not None, "and it did not give back what is not its own"
    hosted.make_due(world)
    worker.drain()
    assert hosted.reload(world, run).state == Run.State.SUCCEEDED
    assert len(world.bank.writes()) == 1


def test_a_process_that_was_asked_to_leave_finishes_its_item_and_claims_no_other(world: World, folder: Path) -> None:
    hosted.may_play(world)
    runs = [hosted.play(world, folder, "slow"), hosted.play(world, folder, "pay")]

    hand = threading.Thread(target=drain_elsewhere)
    hand.start()
    hosted.until(lambda: hosted.calls_of(world, runs[0], kind="TOOL"))
    worker.STOPPING.set()
    world.bank.gate.set()
    hand.join(15)
    assert not hand.is_alive()
    assert [hosted.reload(world, run).state for run in runs] == [Run.State.SUCCEEDED, Run.State.QUEUED]
    assert runs[1].id in [work.subject for work in hosted.work_of(world)]


def test_a_heartbeat_keeps_the_lease_of_work_longer_than_a_lease(world: World, folder: Path) -> None:
    hosted.may_play(world)
    run = hosted.play(world, folder, "slow")
    hand = threading.Thread(target=drain_elsewhere)
    hand.start()
    hosted.until(lambda: hosted.calls_of(world, run, kind="TOOL"))
    (at_first,) = hosted.work_of(world)
    assert at_first.lease_until is not None
    lease = at_first.lease_until

    def is_extended() -> bool:
        (now,) = hosted.work_of(world)
        return now.fence == at_first.fence and now.lease_until is not None and (now.lease_until - lease).total_seconds() > 1.5

    hosted.until(is_extended, within_s=2.9)  # the bank is given up on after three
    assert hosted.due_work(world) == [], "nobody else may claim it"
    world.bank.gate.set()
    hand.join(15)
    assert hosted.reload(world, run).state == Run.State.SUCCEEDED
