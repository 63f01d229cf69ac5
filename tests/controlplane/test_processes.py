"""Real processes that are killed: whatever dies, and whatever Redis forgets, each effect happens once and every run comes to its end."""

import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from django.db import connections

from agents.models import Call, Effect, Run
from approvals import votes
from approvals.models import Request
from audit import tenancy
from budgets import reservations
from controlplane import outbox
from tests.controlplane import hosted, processes
from tests.controlplane.processes import Fleet
from tests.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
CHAOS_S = 15.0
VICTIMS = ("worker-0", "worker-1", "worker-2", "web-0", "web-1", "sweep")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    while (lease := outbox.claim()) is not None:  # what other tests left
        outbox.finish(lease)
    hosted.record(tmp_path, "slow", [("slow_read", {}), ("pay", {"account": "a", "amount": 5})])
    hosted.record(tmp_path, "pay", [("get_account", {"account": "a"}), ("pay", {"account": "a", "amount": 5})])
    for number in range(6):
        hosted.record(
            tmp_path,
            f"pays-{number}",
            [("pay", {"account": "abc"[n % 3], "amount": 1 + number, "note": f"{number}/{n}"}) for n in range(18)],
        )
    with processes.fleet(tmp_path) as running:
        yield running


def fence_of(world: World, run: Run) -> int:
    return next((work.fence for work in hosted.work_of(world, subject=run.id, kind="run.advance")), -1)


def test_a_killed_worker_s_run_is_picked_up_in_less_than_five_seconds(
    world: World, fleet: Fleet, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    hosted.may_play(world)
    fleet.worker("one")
    fleet.worker("two")
    with fleet.frozen("two"):  # so that it is "one" who takes the run
        run = hosted.play(world, tmp_path, "slow")
        hosted.until(lambda: hosted.calls_of(world, run, kind="TOOL"))
    fence = fence_of(world, run)
    assert fence > 0
    fleet.kill("one")
    took = hosted.until(lambda: fence_of(world, run) > fence, within_s=8)
    record_property("picked_up_after_s", round(took, 2))
    world.bank.gate.set()
    hosted.until(lambda: hosted.reload(world, run).state in Run.OVER)
    assert run.state == Run.State.SUCCEEDED
    assert len(world.bank.applied) == 1
    assert took < 5


def test_a_worker_that_is_asked_to_leave_finishes_its_item_and_takes_no_other(world: World, fleet: Fleet, tmp_path: Path) -> None:
    hosted.may_play(world)
    fleet.worker("one")
    run = hosted.play(world, tmp_path, "slow")
    hosted.until(lambda: hosted.calls_of(world, run, kind="TOOL"))
    leaving = threading.Thread(target=lambda: fleet.end("one"))
    leaving.start()
    time.sleep(0.5)  # TERM has arrived; the item under way is held up by the bank
    other = hosted.play(world, tmp_path, "pay")
    world.bank.gate.set()
    leaving.join(20)
    assert not leaving.is_alive()
    assert hosted.reload(world, run).state == Run.State.SUCCEEDED
    assert hosted.reload(world, other).state == Run.State.QUEUED
    fleet.worker("two")
    hosted.until(lambda: hosted.reload(world, other).state == Run.State.SUCCEEDED)


def test_without_redis_work_is_done_within_seconds_and_a_worker_even_starts(world: World, fleet: Fleet, tmp_path: Path) -> None:
    hosted.may_play(world)
    fleet.store.stop()
    fleet.worker("one")
    run = hosted.play(world, tmp_path, "pay")
    assert hosted.until(lambda: hosted.reload(world, run).state == Run.State.SUCCEEDED) < 3
    assert fleet.end("one") < 5


def test_the_bell_is_heard_after_redis_forgot_everything_and_after_it_came_back(world: World, fleet: Fleet, tmp_path: Path) -> None:
    hosted.may_play(world)
    fleet.worker("one")
    fleet.sweep("sweep")
    disturbances: list[Callable[[], None]] = [fleet.flush_redis, fleet.restart_redis, processes.cut_connections]
    for disturb in disturbances:
        disturb()
        run = hosted.play(world, tmp_path, "pay")
        assert hosted.until(lambda run=run: hosted.reload(world, run).state == Run.State.SUCCEEDED) < 4  # type: ignore[misc]
    assert fleet.end("sweep") < 3


def test_two_sweeps_share_the_work_and_the_second_takes_over(world: World, fleet: Fleet) -> None:
    fleet.sweep("first")
    fleet.sweep("second")

    def leaders() -> list[int]:
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as wire:
            return [
                int(row[0])
                for row in wire.execute(
                    "select pid from pg_locks where locktype = 'advisory' and granted and mode = 'ExclusiveLock'"
                    " and database = (select oid from pg_database where datname = current_database())"  # others have sweeps, too
                ).fetchall()
            ]

    hosted.until(lambda: len(leaders()) == 1)
    (leader,) = leaders()
    fleet.kill("first")
    hosted.until(lambda: len(leaders()) == 1 and leaders() != [leader], within_s=5)


class Client(threading.Thread):
    """An agent outside: proposes payments over REST, and whatever the wire says repeats each under its key until it has an answer."""

    def __init__(self, world: World, token: str, ports: list[int], number: int) -> None:
        super().__init__(daemon=True)
        self.world, self.token, self.ports, self.number = world, token, ports, number
        self.answers: dict[str, str] = {}

    def run(self) -> None:
        for place in range(20):
            amount = 50 if place % 7 == 6 else 1
            body = {"tool": "pay", "arguments": {"account": "abc"[place % 3], "amount": amount, "note": f"rest {self.number}/{place}"}}
            key = f"k-{self.number}-{place}"
            for attempt in range(400):
                port = self.ports[(place + attempt) % len(self.ports)]
                headers = {"authorization": f"Bearer {self.token}", "idempotency-key": key}
                status, said = processes.ask(port, "POST", "/api/v1/calls", body, headers)
                if isinstance(said, dict) and (
                    status in (200, 202) or "outcome" in said
                ):  # an outcome is final too: whoever carried it died before it was sent
                    self.answers[key] = said["call"]
                    break
                time.sleep(0.1)


def approve_what_waits(world: World) -> None:
    with tenancy.within(world.organisation):
        waiting = list(Request.objects.filter(state="OPEN").select_related("plan"))
    for request in waiting:
        votes.cast(by=world.people["ann"], request_id=request.id, verdict="APPROVE", plan_digest=request.plan.digest)


def unfinished(world: World) -> list[str]:
    with tenancy.within(world.organisation):
        calls = [f"{call.id} {call.state}" for call in Call.objects.exclude(state__in=Call.OVER)]
        runs = [f"{run.id} {run.state} {run.summary}" for run in Run.objects.filter(is_hosted=True).exclude(state__in=Run.OVER)]
    return calls + runs


@dataclass
class Disorder:
    """Kills and brings back, by a fixed seed, and once on the way makes Redis forget everything."""

    fleet: Fleet
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    done: list[str] = field(default_factory=list)

    def strike(self) -> None:
        time.sleep(self.chance.uniform(0.4, 1.4))
        victim = self.chance.choice([*VICTIMS, "connections"])
        self.done.append(victim)
        if victim == "connections":
            processes.cut_connections()
        else:
            self.fleet.kill(victim)
            self.fleet.again(victim)
        if len(self.done) == 6:
            self.fleet.flush_redis()


def make_unhurried(world: World) -> None:
    """The bank takes its time, so that there is something to die in the middle of."""
    answer = world.bank.call

    def call(tool: str, arguments: dict[str, object], key: str) -> dict[str, object]:
        time.sleep(0.05)
        return answer(tool, arguments, key)

    world.bank.call = call  # type: ignore[method-assign]


def start_everything(fleet: Fleet) -> list[int]:
    """Two web processes, three workers, a sweep; says the web processes' ports."""
    for name in VICTIMS:
        if name.startswith("worker"):
            fleet.begin_worker(name)
    fleet.sweep("sweep")
    return [fleet.web("web-0"), fleet.web("web-1")]


def settle(world: World, clients: list[Client]) -> None:
    """Wait until nothing is under way. Fails with what is left."""

    def is_quiet() -> bool:
        approve_what_waits(world)
        hosted.make_orphans_due(world)
        return not unfinished(world) and not any(client.is_alive() for client in clients)

    try:
        hosted.until(is_quiet, within_s=60)
    except AssertionError:
        left = [(work.kind, work.subject, work.attempts) for work in hosted.work_of(world)]
        raise AssertionError(f"left: {unfinished(world)}, work: {left}") from None


def test_whatever_is_killed_each_effect_happens_once_and_every_run_ends(world: World, fleet: Fleet, tmp_path: Path) -> None:
    hosted.may_play(world)
    make_unhurried(world)
    ports = start_everything(fleet)
    runs = [hosted.play(world, tmp_path, f"pays-{number}") for number in range(6)]
    clients = [Client(world, world.start().token, ports, number) for number in range(2)]
    for client in clients:
        client.start()
    disorder, until = Disorder(fleet), time.monotonic() + CHAOS_S
    while time.monotonic() < until:
        disorder.strike()
        approve_what_waits(world)
    settle(world, clients)
    assert_each_effect_happened_once(world)
    assert {hosted.reload(world, run).state for run in runs} == {Run.State.SUCCEEDED}, disorder.done
    for client in clients:
        assert len(set(client.answers.values())) == len(client.answers) == 20


def assert_each_effect_happened_once(world: World) -> None:
    with tenancy.within(world.organisation):
        effects = list(Effect.objects.select_related("call"))
        writes = list(Call.objects.filter(is_write=True))
        assert reservations.drift() == []
    applied = {effect.key for effect in effects if effect.state == Effect.State.APPLIED}
    assert len(effects) == len({effect.call_id for effect in effects})
    others = {
        effect.key: (effect.state, effect.call.state, world.events(subject=effect.call_id))
        for effect in effects
        if effect.key not in applied
    }
    assert applied == set(world.bank.applied), f"what the ledger says happened is what the bank did: {others}"
    assert {call.id for call in writes if call.state == Call.State.APPLIED} == {
        effect.call_id for effect in effects if effect.key in applied
    }
    paid = 3000 - sum(account["balance"] for account in world.bank.accounts.values())
    answers = [call for call in writes if call.state == Call.State.APPLIED]
    assert len(answers) == len(world.bank.applied)
    assert paid == sum(amount_of(call) for call in answers)
    connections.close_all()


def amount_of(call: Call) -> int:
    return int(json.loads(call.arguments)["amount"])
