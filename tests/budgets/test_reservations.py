"""Money: nothing is admitted above a cap, whatever races; every balance is the sum of its entries; a hold ends once."""

import random
import threading
from collections import Counter
from collections.abc import Callable

import pytest
from django.db import DatabaseError, connection
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import organisations
from audit import functions, ids, tenancy
from budgets import caps, limits, money, prices, reservations
from budgets.models import LedgerEntry, Reservation, Window
from tests import world as worlds
from tests.world import World


def reserve(world: World, call: str, amount: int, *, run_cap: int = 10**12, run: str = "R-1") -> object:
    with tenancy.within(world.organisation):
        return functions.ask(
            "select budget_reserve(%s, %s, %s, %s, %s, %s, %s, 0)",
            world.organisation,
            call,
            run,
            world.agent.id,
            world.workspace.id,
            run_cap,
            amount,
        )


def settle(world: World, call: str, actual: int) -> bool:
    with tenancy.within(world.organisation):
        return bool(functions.ask("select budget_settle(%s, %s, %s, false)", world.organisation, call, actual))


def cap(world: World, micros: int, level: str = "workspace") -> None:
    target = {"workspace": world.workspace.id, "agent": world.agent.id, "organisation": world.organisation}[level]
    caps.put(by=world.people["fiona"], workspace=world.workspace.id, level=level, target=target, period="month", cap_micros=micros)


def at_once(count: int, work: Callable[[int], None]) -> None:
    """Run the work in `count` threads that start together."""
    start = threading.Barrier(count)

    def one(number: int) -> None:
        try:
            start.wait()
            work(number)
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_hundred_calls_at_once_against_one_dollar_admit_exactly_a_hundred(world: World) -> None:
    cap(world, money.UNIT)
    said: list[object] = []

    def work(_: int) -> None:
        for _ in range(10):
            said.append(reserve(world, ids.new("C"), 10_000))

    at_once(20, work)
    assert len(said) == 200
    assert sum(answer is None for answer in said) == 100
    with tenancy.within(world.organisation):
        balance = reservations.balance("workspace", world.workspace.id)
        assert (balance.reserved, balance.spent, balance.left) == (money.UNIT, 0, 0)
        assert reservations.drift() == []


def test_two_hundred_calls_through_the_gate_against_one_dollar_pay_exactly_a_hundred_times(world: World) -> None:
    cap(world, money.UNIT, "agent")
    said: Counter[str] = Counter()
    lock = threading.Lock()

    def work(number: int) -> None:
        for turn in range(10):
            run = world.start()  # a run of its own each: one that hits the cap is handed off
            status = run.call("pay", {"account": "a", "amount": 1, "note": f"{number}/{turn}"}).status
            with lock:
                said[status] += 1

    at_once(20, work)
    assert said == {"applied": 100, "refused": 100}
    assert len(world.bank.writes()) == 100
    with tenancy.within(world.organisation):
        balance = reservations.balance("agent", world.agent.id)
        assert (balance.spent, balance.reserved, balance.overrun) == (money.UNIT, 0, 0)
        assert reservations.drift() == []


def test_a_refusal_at_an_upper_level_leaves_no_hold_below(world: World) -> None:
    cap(world, 5, "organisation")
    refusal = reserve(world, "C-1", 10)
    assert refusal == {
        "level": "organisation",
        "target": world.organisation,
        "cap": 5,
        "spent": 0,
        "reserved": 0,
        "amount": 10,
        "period": "month",
    }
    with tenancy.within(world.organisation):
        assert Reservation.objects.count() == LedgerEntry.objects.count() == 0
        assert not Window.objects.filter(reserved__gt=0).exists()


def test_the_runs_own_cap_refuses_first(world: World) -> None:
    cap(world, 5, "organisation")
    refusal = reserve(world, "C-1", 10, run_cap=7)
    assert isinstance(refusal, dict)
    assert refusal["level"] == "run"


def test_a_hold_ends_exactly_once(world: World) -> None:
    reserve(world, "C-1", 100)
    done: list[bool] = []
    at_once(8, lambda number: done.append(settle(world, "C-1", number + 1)))
    assert sorted(done) == [False] * 7 + [True]
    with tenancy.within(world.organisation):
        assert reservations.drift() == []
        hold = reservations.of_call("C-1")
        balance = reservations.balance("agent", world.agent.id)
    assert hold is not None
    assert (balance.reserved, balance.spent) == (0, hold.settled)


def test_a_cost_above_the_hold_is_booked_in_full_and_marked(world: World) -> None:
    cap(world, 150)
    reserve(world, "C-1", 100)
    settle(world, "C-1", 160)
    with tenancy.within(world.organisation):
        balance = reservations.balance("workspace", world.workspace.id)
        assert (balance.spent, balance.overrun, balance.reserved) == (160, 60, 0)
        assert reservations.drift() == []
    assert reserve(world, "C-2", 1) is not None


def test_the_application_cannot_move_money_by_itself(world: World) -> None:
    reserve(world, "C-1", 100)
    for statement in (
        "update budgets_window set spent = 0",
        "delete from budgets_ledgerentry",
        "update budgets_reservation set amount = 1",
    ):
        with pytest.raises(DatabaseError, match="permission denied"), tenancy.within(world.organisation), connection.cursor() as cursor:
            cursor.execute(statement)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["reserve", "settle", "release", "cap"]), st.integers(1, 60)), min_size=1, max_size=25), st.randoms()
)
def test_any_sequence_agrees_with_a_plain_model(moves: list[tuple[str, int]], chance: random.Random) -> None:
    world = _shared()
    with tenancy.within(world.organisation):
        used = reservations.balance("workspace", world.workspace.id)
    held: dict[str, int] = {}
    spent, limit = used.spent, used.spent + used.reserved + 100
    base = used.reserved
    cap(world, limit)
    for move, amount in moves:
        if move == "reserve":
            call = ids.new("C")
            allowed = spent + base + sum(held.values()) + amount <= limit
            assert (reserve(world, call, amount) is None) == allowed
            if allowed:
                held[call] = amount
        elif move == "cap":
            limit = spent + base + sum(held.values()) + amount
            cap(world, limit)
        elif held:
            call = chance.choice(sorted(held))
            actual = min(amount, held[call]) if move == "settle" else 0
            assert settle(world, call, actual)
            spent += actual
            del held[call]
        with tenancy.within(world.organisation):
            balance = reservations.balance("workspace", world.workspace.id)
        assert (balance.spent, balance.reserved) == (spent, base + sum(held.values()))
    with tenancy.within(world.organisation):
        assert reservations.drift() == []


_kept: list[World] = []


def _shared() -> World:
    if not _kept:
        _kept.append(worlds.make())
    return _kept[0]


@pytest.mark.parametrize(
    "values", [{"steps": 2**31}, {"repeats_stop": 1}, {"tokens": -1}, {"micros": 2**40 + 1}, {"hope": 1}, {"steps": True}]
)
def test_a_limit_that_no_run_can_have_is_refused(world: World, values: dict[str, int]) -> None:
    with pytest.raises(organisations.Conflict) as refused:
        limits.put(by=world.people["olga"], agent=world.agent, values=values)
    assert next(iter(values)) in refused.value.message


def test_a_model_without_a_price_is_refused_and_a_new_price_is_a_new_version(world: World) -> None:
    with pytest.raises(prices.Unpriced), tenancy.within(world.organisation):
        prices.worst_case("openai:gpt-x", input_tokens=1, max_output_tokens=1)
    prices.put(by=world.people["fiona"], workspace=world.workspace.id, item="openai:gpt-x", input_micros=2_000_000, output_micros=8_000_000)
    prices.put(by=world.people["fiona"], workspace=world.workspace.id, item="openai:gpt-x", input_micros=1_000_001, output_micros=8_000_000)
    with tenancy.within(world.organisation):
        quote = prices.worst_case("openai:gpt-x", input_tokens=3, max_output_tokens=2)
        assert (quote.amount, quote.price_version) == (4 + 16, 2)  # rounded up: no fraction is given away
        assert prices.cost("openai:gpt-x", version=1, input_tokens=3, output_tokens=2) == 6 + 16


def test_dollars_are_written_with_at_least_two_decimals() -> None:
    assert [money.dollars(micros) for micros in (0, 61_000, 1_050_000_000, -5)] == ["$0.00", "$0.061", "$1,050.00", "-$0.000005"]
