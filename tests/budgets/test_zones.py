"""The reporting zone: who changes it, that it leaves an entry, and that a change opens no second purse."""

import pytest
from django.db import connection

from agents import organisations, seats
from audit import tenancy
from budgets import reservations, zones
from tests import world as worlds


def everywhere(world: worlds.World, name: str, role: str) -> organisations.Principal:
    system = organisations.system(world.organisation, "tests")
    seats.grant(by=system, member=world.members[name], workspace=world.other, role=role)
    return world.people[name]


def starts(world: worlds.World, level: str, target: str) -> list[str]:
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute("select starts_at::text from budgets_window where level = %s and target = %s", [level, target])
        return [row[0] for row in cursor.fetchall()]


def test_a_change_of_zone_takes_the_permission_everywhere_and_leaves_an_entry(world):
    with pytest.raises(organisations.Forbidden):
        zones.put(by=world.people["fiona"], name="Europe/Berlin")
    fiona = everywhere(world, "fiona", "finance")
    with pytest.raises(organisations.Conflict):
        zones.put(by=fiona, name="Europe/Nowhere")
    assert zones.put(by=fiona, name="Europe/Berlin") == "UTC"
    assert world.events()[-1] == "zone.set"
    with tenancy.within(world.organisation):
        assert str(zones.of_organisation()) == "Europe/Berlin"


def test_what_is_spent_this_month_stays_spent_whatever_the_zone(world):
    run, fiona = world.start(), everywhere(world, "fiona", "finance")
    run.call("pay", {"account": "a", "amount": 5}, "first")
    for name in ("Asia/Kolkata", "America/Los_Angeles", "UTC"):
        zones.put(by=fiona, name=name)
        run.call("pay", {"account": "a", "amount": 5}, name)
        with tenancy.within(world.organisation):
            balance = reservations.balance("agent", world.agent.id)
            begins = zones.month(zones.of_organisation()).start
            assert zones.starts(["month"])["month"] == begins
        assert len(starts(world, "agent", world.agent.id)) == 1
    assert balance.spent == 40_000  # four calls at one cent, in one purse
