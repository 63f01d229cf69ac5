"""The sums beside the ledger are the sums of the ledger, whatever was booked, by however many at once, and where days come to end."""

import datetime
import os

import psycopg
import pytest
from django.db import DatabaseError, connection

from agents import organisations, seats
from audit import tenancy
from budgets import caps, reservations, sums, zones
from budgets.models import DaySpending, LedgerEntry
from tests.budgets.test_reservations import at_once
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
            kept = f"select {key}, amount, calls::bigint from {table}"
            real = f"select {key}, sum(amount)::bigint, sum(calls) from budgets_booked group by {key}"
            found += owner.execute(f"(({kept}) except ({real})) union all (({real}) except ({kept}))").fetchall()
    return found


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
        f"select budget_sum('{world.organisation}', array['C-1'])",
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
        said = {(since, until): sums.between(world.workspace.id, since=since, until=until) for since in moments for until in moments}
        real = {(since, until): sum(amount for at, amount in rows if since <= at < until) for since, until in said}
    assert said == real
    assert set(real.values()) == {number * 10_000 for number in range(7)}
