"""A change of zone among those who spend and add up: nobody waits in a circle, no purse is opened twice, nothing goes all at once."""

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection
from django.db.models import Count

from agents import organisations, seats
from agents.models import Organisation
from audit import ids, tenancy
from budgets import reservations, sums, zones
from budgets.models import DaySpending, Reservation, RunSpending, Window
from tests.budgets.test_reservations import at_once, cap, reserve, settle
from tests.budgets.test_sums import add_up, apart, everywhere, spend
from tests.world import World

ZONES = ("Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kolkata", "UTC")
ROUNDS = 40


@contextlib.contextmanager
def owner(world: World, *settings: str) -> Iterator[psycopg.Connection[Any]]:
    """A transaction of the tables' owner, which is rolled back unless it is committed before."""
    with contextlib.closing(psycopg.connect(os.environ["DATABASE_OWNER_URL"])) as opened:
        opened.execute("select set_config('app.organisation', %s, true)", [world.organisation])
        for setting in settings:
            opened.execute(f"set local {setting}")
        yield opened


@contextlib.contextmanager
def held_up(by: psycopg.Connection[Any], work: Callable[[], object]) -> Iterator[list[object]]:
    """While somebody does this and waits for a transaction; what came of it once that has ended."""
    said: list[object] = []

    def one() -> None:
        try:
            said.append(work())
        except DatabaseError as error:
            said.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=one)
    thread.start()
    waits = "select exists (select from pg_stat_activity where %s = any(pg_blocking_pids(pid)))"
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as watch:
        while not watch.execute(waits, [by.info.backend_pid]).fetchone()[0]:  # type: ignore[index]
            assert thread.is_alive(), said
    try:
        yield said
    finally:
        by.rollback()
        thread.join(60)
    assert not thread.is_alive()


def purses(world: World) -> set[int]:
    """How many windows levels of one period have."""
    with tenancy.within(world.organisation):
        rows = Window.objects.exclude(level="run").values("level", "target").annotate(number=Count("id"))
        return {row["number"] for row in rows}


@dataclass
class Crowd:
    """Some move the days, some add up and some spend, until the days were moved often enough or something went wrong."""

    world: World
    over: threading.Event = field(default_factory=threading.Event)
    booked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    wrong: list[Exception] = field(default_factory=list)

    def work(self, number: int) -> None:
        try:
            (self.move, self.add_up, self.spend, self.spend)[number]()
        except Exception as error:
            self.wrong.append(error)
            self.over.set()

    def move(self) -> None:
        for name in itertools.islice(itertools.cycle(ZONES), ROUNDS):
            zones.put(by=self.world.people["fiona"], name=name)
            while not self.over.is_set() and not self.booked.acquire(timeout=1):
                pass
        self.over.set()

    def add_up(self) -> None:
        while not self.over.is_set():
            with tenancy.within(self.world.organisation):
                sums.more()

    def spend(self) -> None:
        while not self.over.is_set():
            call = ids.new("C")
            assert reserve(self.world, call, 100) is None
            assert settle(self.world, call, 70)
            self.booked.release()


def test_whoever_spends_adds_up_or_moves_the_days_never_waits_in_a_circle(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "PIECE", 3)
    everywhere(world)
    spend(world, 2)
    crowd = Crowd(world)
    at_once(4, crowd.work)
    assert crowd.wrong == []
    add_up(world)
    assert apart(world) == []
    assert purses(world) == {1}
    with tenancy.within(world.organisation):
        assert reservations.drift() == []
        settled = sum(Reservation.objects.values_list("settled", flat=True))
        assert reservations.balance("workspace", world.workspace.id).spent == settled


@pytest.mark.parametrize("function", ["budget_sum_more(%s, 2)", "budget_sum_begin(%s)"])
def test_who_changes_what_the_organisation_says_of_its_sums_takes_its_row_first(world: World, function: str) -> None:
    everywhere(world)
    spend(world, 1)
    zones.put(by=world.people["fiona"], name="Pacific/Kiritimati")
    with owner(world) as books, owner(world) as adds, owner(world) as other:
        books.execute("select pg_advisory_xact_lock_shared(hashtextextended('sums:' || %s, 0))", [world.organisation])
        adding = held_up(books, lambda: adds.execute(f"select {function}", [world.organisation]))
        with adding, pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute("select from agents_organisation for no key update nowait")


def test_a_change_of_zone_takes_windows_as_settlements_do_from_leaf_to_root(world: World) -> None:
    everywhere(world)
    spend(world, 1)
    locked = "select from budgets_window where level = %s for update nowait"
    with owner(world) as settles, owner(world, "enable_seqscan = off") as moves:  # by an index the organisation comes before its workspace
        settles.execute(locked, ["workspace"])
        with held_up(settles, lambda: moves.execute("select budget_rezone(%s, 'Asia/Kolkata')", [world.organisation])):
            settles.execute(locked, ["organisation"])


def test_a_full_purse_stays_full_for_who_waited_while_the_zone_changed(world: World) -> None:
    everywhere(world)
    cap(world, 100)
    assert reserve(world, "C-1", 100) is None
    with owner(world) as moves:
        moves.execute("select budget_rezone(%s, 'Pacific/Kiritimati')", [world.organisation])
        with held_up(moves, lambda: reserve(world, "C-2", 1)) as said:
            moves.commit()
    assert [refusal["level"] for refusal in said if isinstance(refusal, dict)] == ["workspace"]
    assert purses(world) == {1}


def test_a_change_to_the_same_zone_begins_nothing(world: World) -> None:
    system = organisations.system(world.organisation, "tests")
    seats.grant(by=system, member=world.members["fiona"], workspace=world.other, role="finance")
    zones.put(by=world.people["fiona"], name="UTC")
    with tenancy.within(world.organisation):
        assert Organisation.objects.values_list("sums_made", flat=True).get() is None


def generations(world: World) -> tuple[int, dict[int, int], dict[int, int]]:
    """(the one that is shown, rows of days by generation, rows of runs by generation)."""

    def counted(rows: Any) -> dict[int, int]:
        return dict(rows.values_list("generation").annotate(number=Count("id")).order_by())

    with tenancy.within(world.organisation):
        shown = Organisation.objects.values_list("sums", flat=True).get()
        return shown, counted(DaySpending.objects), counted(RunSpending.objects)


def test_the_last_piece_only_shows_the_next_generation_and_what_is_older_goes_in_pieces(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sums, "PIECE", 2)
    everywhere(world)
    for _ in range(5):
        spend(world, 1)
    zones.put(by=world.people["fiona"], name="Pacific/Kiritimati")
    seen = [generations(world)]
    more = True
    while more:
        with tenancy.within(world.organisation):
            more = sums.more()
        seen.append(generations(world))
    runs_of_old = [runs.get(0, 0) for _, _, runs in seen]
    flipped = [shown for shown, _, _ in seen].index(1)
    assert runs_of_old[flipped] == 5
    assert runs_of_old[flipped:] == [5, 3, 1, 0, 0]
    assert seen[-1] == (1, {1: 1}, {1: 5})
    assert apart(world) == []


def test_nobody_who_books_waits_while_what_is_older_goes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "PIECE", 1)
    everywhere(world)
    spend(world, 2)
    zones.put(by=world.people["fiona"], name="Pacific/Kiritimati")
    while generations(world)[0] == 0:
        with tenancy.within(world.organisation):
            assert sums.more()
    with owner(world) as deletes, owner(world, "lock_timeout = '300ms'") as books:
        assert deletes.execute("select budget_sum_more(%s, 1)", [world.organisation]).fetchone() == (True,)
        books.execute("select budget_sum(%s, call_id) from budgets_ledgerentry limit 1", [world.organisation])
