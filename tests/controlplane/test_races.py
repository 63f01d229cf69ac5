"""What comes too late, twice or in between: a call has one outcome, its money one end, and nothing waits in a circle."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from agents import contracts, identity, policies, runs, stops, tools
from agents.answers import InProgress
from agents.models import Call, Capability, Connector, Key, Work
from approvals import requests
from approvals.models import Request
from audit import tenancy
from budgets import caps, prices, reservations
from controlplane import effects as sender
from controlplane import gate, model_calls, outbox, recovery, runner
from controlplane.connectors import models
from tests import upstream
from tests import world as worlds
from tests.controlplane import test_runner
from tests.world import World


class Died(BaseException):
    """Stands for SIGKILL: nothing after it in this process runs."""


def die(*_: object) -> None:
    raise Died


def until_intended(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> None:
    """Do the work up to the committed intent, and die before anything is sent."""
    with monkeypatch.context() as patch:
        patch.setattr(sender, "apply", die)
        with pytest.raises(Died):
            work()


def being_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> gate.Admission:
    """An approved payment whose intent is written down."""
    said = world.start().call("pay", {"account": "a", "amount": 50})
    world.approve(said, "ann")
    until_intended(monkeypatch, lambda: recovery.resume(world.organisation, said.call))
    return said


def balance(world: World) -> reservations.Balance:
    with tenancy.within(world.organisation):
        assert reservations.drift() == []
        return reservations.balance("agent", world.agent.id)


def overdue(world: World, said: gate.Admission) -> None:
    with tenancy.within(world.organisation):
        Request.objects.filter(id=said.approval).update(expires_at=F("opened_at") - timedelta(seconds=1))


EARLIER = [("VOID", "call.voided"), ("FAILED", "call.failed"), ("FAILED", "call.recovered"), ("EXPIRED", "request.expired")]


@pytest.mark.parametrize(("state", "event"), EARLIER)
def test_what_was_found_before_it_was_sent_says_nothing_about_a_call_that_is_being_sent(
    world: World, monkeypatch: pytest.MonkeyPatch, state: str, event: str
) -> None:
    said = being_sent(world, monkeypatch)
    late = runs.Outcome(state=state, event=event, refusal={"code": "late"}, is_error=True)
    with tenancy.within(world.organisation):
        run = Call.objects.get(id=said.call).run_id
    assert not runs.settle(by=world.people["ann"], run=run, call=said.call, outcome=late)
    assert gate.standing(world.organisation, said.call).status == "running"
    assert balance(world).reserved == 10_000
    assert recovery.reconcile(world.organisation, said.call).status == "applied"
    assert (balance(world).spent, balance(world).reserved) == (10_000, 0)


def test_a_second_worker_that_finds_the_target_moved_does_not_void_what_the_first_is_sending(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = world.start().call("pay", {"account": "a", "amount": 50})
    world.approve(said, "ann")
    really = sender.dry_run

    def overtaken(*given: Any) -> Any:
        monkeypatch.setattr(sender, "dry_run", really)
        until_intended(monkeypatch, lambda: recovery.resume(world.organisation, said.call))
        world.bank.accounts["a"]["balance"] -= 1
        return really(*given)

    monkeypatch.setattr(sender, "dry_run", overtaken)
    assert recovery.resume(world.organisation, said.call).status == "running"
    assert world.request(said.approval).state == "APPROVED"


def test_a_request_that_expires_while_its_effect_is_in_doubt_frees_no_money(world: World) -> None:
    world.bank.hang_up_after = "pay"
    said = world.start().call("pay", {"account": "a", "amount": 50})
    world.approve(said, "ann")
    assert recovery.resume(world.organisation, said.call).status == "in_doubt"
    overdue(world, said)
    assert not requests.expire(by=world.people["olga"], request_id=said.approval)
    assert gate.standing(world.organisation, said.call).status == "in_doubt"
    assert balance(world).reserved == 10_000
    world.bank.hang_up_after = ""
    settled = recovery.reconcile(world.organisation, said.call)
    assert settled.status == "applied"
    assert gate.standing(world.organisation, said.call).refusal is None  # the doubt is over


def key_of(world: World, run: worlds.RunUnderTest) -> Key:
    with tenancy.within(world.organisation):
        return Key.objects.get(id=run.principal.key)


def test_a_stop_on_a_key_holds_what_was_proposed_with_it(world: World) -> None:
    run, other = world.start(), world.start()
    approved, waiting = run.call("pay", {"account": "a", "amount": 50}), run.call("pay", {"account": "b", "amount": 60})
    free = other.call("pay", {"account": "c", "amount": 70})
    world.approve(approved, "ann")
    stops.engage(by=world.people["olga"], scope="key", target=run.principal.key, reason="It was found in a paste.")
    with tenancy.within(world.organisation):
        assert set(requests.open_under("key", run.principal.key).values_list("id", flat=True)) == {waiting.approval}
    with pytest.raises(stops.Stopped):
        world.approve(waiting, "ann")
    assert recovery.resume(world.organisation, approved.call).status == "void"
    world.approve(free, "ann")
    assert recovery.resume(world.organisation, free.call).status == "applied"
    assert len(world.bank.writes()) == 1


def test_what_was_approved_is_not_sent_for_a_key_that_was_revoked_and_is_for_one_that_expired(world: World) -> None:
    run, old = world.start(), world.start()
    said, fine = run.call("pay", {"account": "a", "amount": 50}), old.call("pay", {"account": "b", "amount": 50})
    world.approve(said, "ann")
    world.approve(fine, "ann")
    identity.revoke(by=world.people["olga"], key=key_of(world, run))
    with tenancy.within(world.organisation):
        Key.objects.filter(id=old.principal.key).update(expires_at=F("created_at"))
    assert recovery.resume(world.organisation, said.call).status == "void"
    assert recovery.resume(world.organisation, fine.call).status == "applied"
    assert len(world.bank.writes()) == 1


def capability_over(world: World, run: worlds.RunUnderTest) -> None:
    with tenancy.within(world.organisation):
        Capability.objects.filter(id=run.run.capability_id).update(expires_at=F("created_at"))


LOWERED: dict[str, Callable[[World, worlds.RunUnderTest], object]] = {
    "paused": lambda world, _: contracts.change(by=world.people["olga"], agent=world.agent, changes={"state": "PAUSED"}),
    "read-only": lambda world, _: contracts.change(by=world.people["olga"], agent=world.agent, changes={"stage": "READ_ONLY"}),
    "narrow": lambda world, _: contracts.change(by=world.people["olga"], agent=world.agent, changes={"stage": "NARROW"}),
    "key revoked": lambda world, run: identity.revoke(by=world.people["olga"], key=key_of(world, run)),
    "capability over": capability_over,
}


@pytest.mark.parametrize("name", LOWERED)
def test_what_ends_while_the_target_is_read_is_seen_before_anything_is_sent(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run, really = world.start(subject=["customer-a"]), sender.dry_run

    def meanwhile(*given: Any) -> Any:
        LOWERED[name](world, run)
        return really(*given)

    monkeypatch.setattr(sender, "dry_run", meanwhile)
    said = run.call("pay", {"account": "a", "amount": 5})
    assert (said.status, (said.refusal or {})["code"]) == ("void", "out_of_scope")
    assert world.bank.writes() == []
    assert balance(world).reserved == 0


def test_a_read_that_was_left_behind_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.bank.gate.set()
    run = world.start()
    with monkeypatch.context() as patch:
        patch.setattr(sender, "read", die)
        with pytest.raises(Died):
            run.call("slow_read", {}, "K")
        with pytest.raises(Died):
            run.call("slow_read", {}, "L")
    with pytest.raises(InProgress):
        run.call("slow_read", {}, "K")
    with tenancy.within(world.organisation):
        assert not Work.objects.filter(kind="call.recover").exists()  # it may be under way for as long as the slowest connector takes
        Call.objects.filter(key="K").update(created_at=F("created_at") - timedelta(seconds=gate.RECOVER_S + 1))
    with pytest.raises(InProgress):
        run.call("slow_read", {}, "K")
    with tenancy.within(world.organisation):
        due = Work.objects.get(kind="call.recover")
    assert recovery.recover(world.organisation, due.subject).status == "failed"  # as a worker does
    assert (run.call("slow_read", {}, "K").refusal or {})["rule"] == "recovery"
    runs.end(by=world.people["olga"], run=run.run, state="STOPPED", summary="Enough.")
    with tenancy.within(world.organisation):
        left = Call.objects.get(key="L")
        assert Work.objects.get(kind="call.recover", subject=left.id).due_at > left.created_at


def test_a_draft_costs_what_it_costs_when_a_person_applies_it(world: World) -> None:
    contracts.change(by=world.people["olga"], agent=world.agent, changes={"stage": "DRAFT"})
    said = world.start().call("pay", {"account": "a", "amount": 5})
    assert balance(world).reserved == 0
    world.approve(said, "ann")
    assert recovery.resume(world.organisation, said.call).status == "applied"
    assert (balance(world).spent, balance(world).reserved) == (10_000, 0)


def test_a_draft_that_was_not_done_gives_its_money_back(world: World) -> None:
    contracts.change(by=world.people["olga"], agent=world.agent, changes={"stage": "DRAFT"})
    said = world.start().call("pay", {"account": "a", "amount": 5})
    world.approve(said, "ann")
    world.bank.hang_up_after = "pay"
    assert recovery.resume(world.organisation, said.call).status == "in_doubt"
    assert balance(world).reserved == 10_000
    recovery.decide_doubt(by=world.people["ann"], call_id=said.call, happened=False, reason="The bank has no such payment.")
    assert (balance(world).spent, balance(world).reserved) == (0, 0)


def test_a_draft_above_the_cap_is_not_applied(world: World) -> None:
    contracts.change(by=world.people["olga"], agent=world.agent, changes={"stage": "DRAFT"})
    said = world.start().call("pay", {"account": "a", "amount": 5})
    caps.put(by=world.people["fiona"], workspace=world.workspace.id, level="agent", target=world.agent.id, period="month", cap_micros=9_999)
    world.approve(said, "ann")
    refused = recovery.resume(world.organisation, said.call)
    assert refused.refusal
    assert refused.refusal["code"] == "budget_exceeded"
    assert world.bank.writes() == []


def test_a_draft_approved_before_its_run_ended_is_applied_after_it(world: World) -> None:
    contracts.change(by=world.people["olga"], agent=world.agent, changes={"stage": "DRAFT"})
    run = world.start()
    said = run.call("pay", {"account": "a", "amount": 5})
    world.approve(said, "ann")
    runs.end(by=run.principal, run=run.run, state="SUCCEEDED", summary="Proposed one payment.")
    assert recovery.resume(world.organisation, said.call).status == "applied"


def test_nobody_is_asked_for_a_run_that_ended_while_the_target_was_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = world.start()
    really = sender.dry_run

    def ended(*given: Any) -> Any:
        runs.end(by=world.people["olga"], run=run.run, state="STOPPED", summary="Stop.", event="run.stopped")
        return really(*given)

    monkeypatch.setattr(sender, "dry_run", ended)
    said = run.call("pay", {"account": "a", "amount": 50})
    assert (said.status, said.approval) == ("void", "")
    assert said.refusal
    assert said.refusal["code"] == "run_over"
    assert balance(world).reserved == 0


def test_a_brake_pulled_after_a_crash_holds_what_would_be_sent_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    said = being_sent(world, monkeypatch)
    stop = stops.engage(by=world.people["olga"], scope="agent", target=world.agent.id, reason="drill")
    with pytest.raises(recovery.StillInDoubt):
        recovery.reconcile(world.organisation, said.call)
    assert world.bank.writes() == []
    stops.release(by=world.people["sam"], stop=stop)
    assert recovery.reconcile(world.organisation, said.call).status == "applied"


def test_a_crashed_call_is_not_sent_again_to_another_place(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    said = being_sent(world, monkeypatch)
    another = upstream.serve()
    with tenancy.within(world.organisation):
        connector = tools.get_connector("bank", workspace=world.workspace)
        Connector.objects.filter(id=connector.id).update(url=another.url)
    with pytest.raises(recovery.StillInDoubt):
        recovery.reconcile(world.organisation, said.call)
    assert another.writes() == []
    assert gate.standing(world.organisation, said.call).status == "in_doubt"
    assert balance(world).reserved == 10_000


def asked(run: worlds.RunUnderTest, model: str) -> model_calls.Asked:
    request = models.ModelRequest(
        provider="scripted", model=model, messages=[{"role": "user", "text": "Go."}], tools=[], max_output_tokens=100, temperature=None
    )
    return model_calls.Asked(principal=run.principal, run=run.run.id, key="model/0", request=request)


def priced(world: World, micros: int) -> None:
    prices.put(by=world.people["fiona"], workspace=world.workspace.id, item="scripted:pay-small", input_micros=micros, output_micros=micros)


def test_a_model_call_is_decided_anew_when_the_rules_change_under_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish(models=["scripted:pay-small"])
    priced(world, 1_000_000)
    really = prices.worst_case

    def changed(*given: Any, **named: Any) -> prices.Quote:
        monkeypatch.setattr(prices, "worst_case", really)
        quote = really(*given, **named)

        def activate() -> None:  # another process
            new = policies.propose(by=world.people["sam"], workspace=world.workspace, text=worlds.POLICIES)
            policies.activate(by=world.people["olga"], policy_set=new)
            connection.close()

        other = threading.Thread(target=activate)
        other.start()
        other.join()
        return quote

    monkeypatch.setattr(prices, "worst_case", changed)
    assert model_calls.ask(asked(world.start(), "pay-small")).status == "applied"


def test_a_turn_asked_again_costs_what_it_was_reserved_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish(models=["scripted:pay-small"])
    priced(world, 1_000_000)
    turn = asked(world.start(), "pay-small")
    with monkeypatch.context() as patch:
        patch.setattr(models, "complete", die)
        with pytest.raises(Died):
            model_calls.ask(turn)
    priced(world, 9_000_000)
    usage = model_calls.ask(turn).result["usage"]
    assert balance(world).spent == usage["input_tokens"] + usage["output_tokens"]


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("select pg_stat_clear_snapshot()")
        cursor.execute("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
        return bool(cursor.fetchone()[0])


def test_whoever_rings_for_a_run_and_whoever_advances_it_do_not_wait_in_a_circle(world: World) -> None:
    run = test_runner.start(world, "pay-small")
    lease = next(test_runner.leases(world))
    failed: list[Exception] = []

    def advance() -> None:
        try:
            runner.advance(lease)
        except Exception as error:
            failed.append(error)
        finally:
            connection.close()

    worker = threading.Thread(target=advance)
    with tenancy.within(world.organisation):  # somebody settles a call of this run
        runs.lock(run.id)
        worker.start()
        while not somebody_waits():
            pass
        outbox.enqueue(organisation=world.organisation, kind="run.advance", subject=run.id)
    worker.join()
    assert failed == []
    assert test_runner.reload(world, run).state == "SUCCEEDED"
