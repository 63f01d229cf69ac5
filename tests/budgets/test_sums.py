"""The sums beside the ledger are the sums of the ledger, whatever was booked, by however many at once, and where days come to end."""

import datetime
import itertools
import os
import threading

import psycopg
import pytest
from django.db import DatabaseError, connection

from agents import organisations, seats
from agents.models import Organisation
from audit import tenancy
from budgets import caps, reservations, spending, sums, zones
from budgets.models import DaySpending, LedgerEntry, Reservation, RunSpending
from controlplane import worker
from tests.budgets.test_reservations import at_once
from tests.controlplane import hosted
from tests.world import World

KEYS = {
    "budgets_dayspending": "workspace, month, day, agent, kind, name",
    "budgets_runspending": "workspace, month, run",
}


def apart(world: World) -> list[tuple[object, ...]]:
    """What the sums say and the ledger does not, or the other way round."""
    found: list[tuple[object, ...]] = []
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:
        owner.execute("select set_config('app.organisation', %s, true)", [world.organisation])
        for table, key in KEYS.items():
            kept = f"select {key}, amount, calls::bigint from {table} where generation = (select sums from agents_organisation)"
            real = f"select {key}, sum(amount)::bigint, sum(calls) from budgets_booked group by {key}"
            found += owner.execute(f"(({kept}) except ({real})) union all (({real}) except ({kept}))").fetchall()
    return found


def add_up(world: World) -> int:
    """What a worker does after a change of zone; says in how many pieces."""
    pieces = 0
    while True:
        with tenancy.within(world.organisation):
            if not sums.more():
                return pieces
        pieces += 1


def spend(world: World, times: int) -> None:
    run = world.start()
    for number in range(times):
        assert run.call("pay", {"account": "a", "amount": 1}, f"k{number}").status == "applied"


def test_runs_at_once_add_up_to_what_the_workspace_spent(world: World) -> None:
    def work(_: int) -> None:
        spend(world, 3)
        spend(world, 2)

    at_once(6, work)
    assert apart(world) == []
    with tenancy.within(world.organisation):
        month = zones.month(zones.of_organisation())
        spent = reservations.balance("workspace", world.workspace.id).spent
        assert spent == 6 * 5 * 10_000
        assert sum(sums.by_day(world.workspace.id, month).values()) == spent
        assert [line.micros for line in sums.dearest(world.workspace.id, month)] == [30_000] * 6 + [20_000] * 6
        for by in ("TOOL", "agent", "outcome"):
            assert sum(line.micros for line in sums.parts(world.workspace.id, month, by=by)) == spent
        assert sums.parts(world.workspace.id, month, by="MODEL") == []


def test_a_call_counts_in_the_month_it_was_admitted_in_and_on_the_day_it_was_booked(world: World) -> None:
    spend(world, 2)
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:  # time passes only for the owner of the tables
        owner.execute("select set_config('app.organisation', %s, true)", [world.organisation])
        owner.execute("update budgets_window set starts_at = starts_at - interval '1 month' where level <> 'run'")
        owner.execute("select budget_sum_again(%s)", [world.organisation])
    assert apart(world) == []
    with tenancy.within(world.organisation):
        now = zones.month(zones.of_organisation())
        before = zones.month(now.zone, (now.start - datetime.timedelta(days=1)).strftime("%Y-%m"))
        assert sums.by_day(world.workspace.id, now) == {}
        assert list(sums.by_day(world.workspace.id, before).values()) == [20_000]
        assert next(iter(sums.by_day(world.workspace.id, before))) >= now.start.date()


def test_under_a_purse_without_end_the_month_is_when_money_moved(world: World) -> None:
    caps.put(
        by=world.people["fiona"],
        workspace=world.workspace.id,
        level="workspace",
        target=world.workspace.id,
        period="total",
        cap_micros=10**9,
    )
    spend(world, 1)
    assert apart(world) == []
    with tenancy.within(world.organisation):
        month = zones.month(zones.of_organisation())
        assert sum(sums.by_day(world.workspace.id, month).values()) == 10_000


def test_a_change_of_zone_moves_the_days(world: World) -> None:
    system = organisations.system(world.organisation, "tests")
    seats.grant(by=system, member=world.members["fiona"], workspace=world.other, role="finance")
    spend(world, 2)
    days = set()
    for name in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):  # 25 hours apart: never the same day
        zones.put(by=world.people["fiona"], name=name)
        assert [work.kind for work in hosted.due_work(world)] == ["sums.make"]
        add_up(world)
        assert apart(world) == []
        with tenancy.within(world.organisation):
            days |= set(DaySpending.objects.values_list("day", flat=True))
    assert len(days) == 2


def test_the_application_writes_no_sum_by_itself(world: World) -> None:
    spend(world, 1)
    for statement in (
        "update budgets_dayspending set amount = 0",
        "delete from budgets_runspending",
        "select * from budgets_booked",
        f"select budget_sum('{world.organisation}', 'C-1')",
        f"select budget_sum_into('{world.organisation}', 0, array['C-1'])",
        f"select budget_sum_begin('{world.organisation}')",
        f"select budget_sum_sweep('{world.organisation}', 1, 9)",
        f"select budget_sum_again('{world.organisation}')",
    ):
        with pytest.raises(DatabaseError, match="permission denied"), tenancy.within(world.organisation), connection.cursor() as cursor:
            cursor.execute(statement)
    assert apart(world) == []


def test_what_each_level_spent_on_each_day(world: World) -> None:
    spend(world, 2)
    with tenancy.within(world.organisation):
        today = datetime.datetime.now(datetime.UTC).date()
        found = sums.days(world.organisation, since=today - datetime.timedelta(days=1))
    assert set(found) == {("organisation", world.organisation), ("workspace", world.workspace.id), ("agent", world.agent.id)}
    assert all(sum(of_level.values()) == 20_000 for of_level in found.values())


def test_between_two_moments_days_and_their_ends_add_up_to_the_ledger(world: World) -> None:
    run = world.start()
    for number in range(6):
        run.call("pay", {"account": "a", "amount": 1}, f"k{number}")
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:
        owner.execute("select set_config('app.organisation', %s, true)", [world.organisation])
        owner.execute(
            "update budgets_ledgerentry l set at = at - make_interval(hours => 17 * right(c.key, 1)::int)"
            " from agents_call c where c.id = l.call_id"
        )
        owner.execute("select budget_sum_again(%s)", [world.organisation])
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=1)
    with tenancy.within(world.organisation):
        rows = LedgerEntry.objects.filter(window__level="workspace", credit="spent").values_list("at", "amount")
        moments = [now - datetime.timedelta(hours=hours) for hours in range(0, 130, 7)]
        said = {each: tuple(sums.stretches(world.workspace.id, *each)) for each in itertools.combinations(reversed(moments), 3)}
        real = {
            each: tuple(sum(amount for at, amount in rows if since <= at < until) for since, until in itertools.pairwise(each))
            for each in said
        }
    assert said == real
    assert {amount for each in real.values() for amount in each} == {number * 10_000 for number in range(7)}


def everywhere(world: World) -> None:
    seats.grant(by=organisations.system(world.organisation, "tests"), member=world.members["fiona"], workspace=world.other, role="finance")


def test_whatever_is_booked_while_sums_are_made_is_in_them_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three book all the time, one makes pieces of two calls: calls come before, in and after their piece, and while it is made."""
    monkeypatch.setattr(sums, "PIECE", 2)
    everywhere(world)
    spend(world, 6)
    zones.put(by=world.people["fiona"], name="Pacific/Kiritimati")
    over, booked, pieces = threading.Event(), threading.Semaphore(0), []

    def make() -> None:
        while True:
            with tenancy.within(world.organisation):
                if not sums.more():
                    return over.set()
            pieces.append(1)
            assert booked.acquire(timeout=60)

    def work(number: int) -> None:
        if number == 0:
            return make()
        while not over.is_set():
            spend(world, 1)
            booked.release()

    at_once(4, work)
    assert len(pieces) >= 3  # six calls, two a piece; how many of the others fall into one more is chance
    assert apart(world) == []
    with tenancy.within(world.organisation):
        spent = reservations.balance("workspace", world.workspace.id).spent
        month = zones.month(zones.of_organisation())
        assert sum(sums.by_day(world.workspace.id, month).values()) == spent
        assert not DaySpending.objects.exclude(generation=1).exists()
        assert not RunSpending.objects.exclude(generation=1).exists()


def test_pages_show_whole_sums_while_others_are_made_and_another_change_begins_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "PIECE", 2)
    everywhere(world)
    spend(world, 5)

    def shown() -> int:
        with tenancy.within(world.organisation):
            return sum(
                sum(days.values()) for days in sums.days(world.organisation, since=datetime.date(2000, 1, 1), by_agent=False).values()
            )

    for name in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        zones.put(by=world.people["fiona"], name=name)
        for _ in range(2):
            with tenancy.within(world.organisation):
                assert sums.more()  # two of five each, or what was made for the zone before is deleted
            assert shown() == 2 * 50_000  # the organisation's and the workspace's
    assert add_up(world) > 0
    assert apart(world) == []
    assert shown() == 2 * 50_000


def test_a_worker_makes_the_sums(world: World) -> None:
    everywhere(world)
    spend(world, 2)
    zones.put(by=world.people["fiona"], name="Pacific/Kiritimati")
    assert worker.drain() > 0
    assert apart(world) == []
    with tenancy.within(world.organisation):
        assert Organisation.objects.values_list("sums", "sums_made").get() == (1, None)


def test_past_months_stay_what_they_were_when_the_zone_moves_west(world: World) -> None:
    everywhere(world)
    spend(world, 2)
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:
        owner.execute("select set_config('app.organisation', %s, true)", [world.organisation])
        owner.execute("update budgets_window set starts_at = starts_at - interval '1 month' where level <> 'run'")
        owner.execute("select budget_sum_again(%s)", [world.organisation])
    with tenancy.within(world.organisation):
        [month] = set(DaySpending.objects.values_list("month", flat=True))
    for name in ("America/New_York", "Asia/Tokyo", "UTC"):
        zones.put(by=world.people["fiona"], name=name)
        add_up(world)
        assert apart(world) == []
        with tenancy.within(world.organisation):
            assert set(DaySpending.objects.values_list("month", flat=True)) == {month}
            past = zones.month(zones.of_organisation(), f"{month:%Y-%m}")
            rows = spending.Query("workspace", world.workspace.id, month=past, show="spent")
            assert rows.total() == (20_000, 2)


def test_nobody_books_while_a_piece_is_made_nor_the_other_way_round(world: World) -> None:
    """A booking under way holds a piece up, and a piece a booking: without that a call could be missed by both."""
    everywhere(world)
    spend(world, 2)
    zones.put(by=world.people["fiona"], name="Pacific/Kiritimati")
    with tenancy.within(world.organisation):
        calls = list(Reservation.objects.values_list("id", flat=True))
    add = f"select budget_sum('{world.organisation}', '{calls[0]}')"
    piece = f"select budget_sum_more('{world.organisation}', 2)"
    for first, second in ((add, piece), (piece, add)):
        with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as one, psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as other:
            for connected in (one, other):
                connected.execute("select set_config('app.organisation', %s, true)", [world.organisation])
                connected.execute("set local lock_timeout = '300ms'")
            one.execute(first)
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute(second)
            one.rollback()
            other.rollback()
