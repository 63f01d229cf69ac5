"""Caps: one person sets them, two raise them above the threshold (ui.md 3.3, P16)."""

import itertools
import threading

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents import organisations, seats
from audit import log, tenancy
from budgets import caps, reservations
from budgets.models import Cap, Raise

DOLLAR = 1_000_000
LIMIT = 1_000 * DOLLAR  # the threshold in these tests


@pytest.fixture
def two(world):
    """Fiona and Felix hold the purse of the workspace; above $1,000 a month it takes both."""
    world.join("felix", "finance")
    system = organisations.system(world.organisation, "tests")
    caps.put_threshold(by=system, workspace=world.workspace.id, micros=LIMIT)
    put(world, 900, by="fiona")
    return world


def put(world, dollars, *, by="fiona", level="workspace", target="", period="month", seen=""):
    return caps.put(
        by=world.people[by],
        workspace=world.workspace.id,
        level=level,
        target=target or world.workspace.id,
        period=period,
        cap_micros=dollars * DOLLAR,
        seen=seen,
    )


def now(world):
    with tenancy.within(world.organisation):
        found = reservations.balance("workspace", world.workspace.id)
        assert found.cap is not None
        return found.cap // DOLLAR, found.period


def test_one_person_raises_up_to_the_threshold_and_lowers_whatever_it_is(two):
    assert isinstance(put(two, 1_000), Cap)
    assert now(two) == (1_000, "month")
    asked = put(two, 5_000)
    caps.agree(by=two.people["felix"], identifier=asked.id)
    assert isinstance(put(two, 4_000), Cap)
    assert now(two) == (4_000, "month")


def test_a_raise_above_it_changes_nothing_until_another_person_agrees(two):
    asked = put(two, 1_001)
    assert isinstance(asked, Raise)
    assert now(two) == (900, "month")
    assert two.events()[-1] == "cap.raise_asked"
    with pytest.raises(organisations.Forbidden) as refused:
        caps.agree(by=two.people["fiona"], identifier=asked.id)
    assert "felix" in refused.value.who
    caps.agree(by=two.people["felix"], identifier=asked.id)
    assert now(two) == (1_001, "month")
    with tenancy.within(two.organisation):
        cap = Cap.objects.get(level="workspace")
        entry = log.entries(event="cap.set")[0]
    assert (cap.set_by, cap.agreed_by) == (two.members["fiona"].id, two.members["felix"].id)
    assert (entry.actor_id, two.members["fiona"].id in entry.body) == (two.members["felix"].id, True)


def test_the_same_human_with_two_accounts_is_one_person(two):
    asked = put(two, 2_000)
    system = organisations.system(two.organisation, "tests")
    user = organisations.new_user(username=f"fiona2-{two.organisation[-6:].lower()}")
    other = organisations.add_member(by=system, user=user, name="fiona too", person=two.members["fiona"].person)
    seats.grant(by=system, member=other, workspace=two.workspace, role="finance")
    with pytest.raises(organisations.Forbidden):
        caps.agree(by=organisations.acting(other), identifier=asked.id)
    assert now(two) == (900, "month")


@pytest.mark.parametrize("who", ["ann", "ada", "vera"])
def test_whoever_may_not_set_caps_agrees_to_none(two, who):
    asked = put(two, 2_000)
    with pytest.raises((organisations.Forbidden, organisations.NotFound)):
        caps.agree(by=two.people[who], identifier=asked.id)
    with pytest.raises((organisations.Forbidden, organisations.NotFound)):
        caps.decline(by=two.people[who], identifier=asked.id)
    assert now(two) == (900, "month")


@pytest.mark.parametrize(
    ("dollars", "period", "waits"),
    [(33, "day", True), (32, "day", False), (1_001, "total", True), (1_000, "total", False), (900, "month", False)],
)
def test_a_cap_of_a_day_counts_as_a_month_of_days(two, dollars, period, waits):
    assert isinstance(put(two, dollars, period=period), Raise) is waits


def test_a_cap_for_good_that_begins_anew_each_month_is_a_raise(two):
    asked = put(two, 5_000, period="total")
    caps.agree(by=two.people["felix"], identifier=asked.id)
    assert isinstance(put(two, 5_000, period="month"), Raise)
    assert isinstance(put(two, 4_000, period="month"), Raise)
    assert isinstance(put(two, 1_000, period="month"), Cap)


@pytest.mark.parametrize(("was", "then"), list(itertools.permutations(Cap.Period.values, 2)))
def test_another_period_begins_anew_so_above_the_threshold_it_takes_two_whichever_it_is(two, was, then):
    """Only the window of the period in force counts: a purse that is full would be empty again."""
    two.people["system"] = organisations.system(two.organisation, "tests")
    put(two, 5_000, by="system", period=was)
    assert isinstance(put(two, 5_000, period=was), Cap)
    assert isinstance(put(two, 5_000, period=then), Raise)
    assert isinstance(put(two, 1_500, period=then), Raise)  # less of it is as new
    assert isinstance(put(two, 30, period=then), Cap)


def test_a_raise_and_its_entries_say_both_sides_with_their_periods(two):
    put(two, 1_000)
    asked = put(two, 40, period="day")
    assert (asked.before_micros, asked.before_period) == (LIMIT, "month")
    caps.agree(by=two.people["felix"], identifier=asked.id)
    sides = {"before": LIMIT, "before_period": "month", "cap_micros": 40 * DOLLAR, "period": "day"}
    with tenancy.within(two.organisation):
        for event in ("cap.raise_asked", "cap.set"):
            told = log.entries(event=event)[0].told["detail"]
            assert {name: told[name] for name in sides} == sides
        first = list(log.entries(event="cap.set"))[-1].told["detail"]
    assert (first["before"], "before_period" in first) == ("none", False)


LEAVING = {
    "gone": lambda world, by: organisations.deactivate(by=by, member=world.members["fiona"]),
    "without the role": lambda world, by: seats.remove(by=by, member=world.members["fiona"], workspace=world.workspace, role="finance"),
}


@pytest.mark.parametrize("leaves", LEAVING)
def test_what_somebody_asked_who_may_set_caps_no_more_is_withdrawn_and_not_agreed(two, leaves):
    """Else one present person would raise it."""
    asked = put(two, 2_000)
    LEAVING[leaves](two, organisations.system(two.organisation, "tests"))
    with pytest.raises(organisations.Conflict, match="fiona asked for this") as refused:
        caps.agree(by=two.people["felix"], identifier=asked.id)
    said = refused.value.as_dict()
    assert all(said[name] for name in ("rule", "current", "limit", "who", "next"))
    assert "felix" in said["who"]
    assert now(two) == (900, "month")
    with tenancy.within(two.organisation):
        assert Raise.objects.get(id=asked.id).state == "WITHDRAWN"
        entry = log.entries(event="cap.raise_withdrawn")[0]
    assert (entry.actor_id, entry.told["detail"]["reason"]) == (two.members["felix"].id, "whoever asked may no longer set caps")


def test_of_what_holds_everywhere_whoever_asked_must_set_caps_everywhere_still(two):
    system = organisations.system(two.organisation, "tests")
    for name in ("fiona", "felix"):
        seats.grant(by=system, member=two.members[name], workspace=two.other, role="finance")
    asked = caps.put_threshold(by=two.people["fiona"], workspace=two.workspace.id, micros=2 * LIMIT)
    assert asked is not None
    seats.remove(by=system, member=two.members["fiona"], workspace=two.other, role="finance")
    with pytest.raises(organisations.Conflict, match="withdrawn"):
        caps.agree(by=two.people["felix"], identifier=asked.id)
    with tenancy.within(two.organisation):
        assert caps.threshold() == LIMIT


def test_who_waits_for_whom_is_asked_once_however_many_raises_and_workspaces_there_are(two):
    system = organisations.system(two.organisation, "tests")
    for name in ("fiona", "felix"):
        seats.grant(by=system, member=two.members[name], workspace=two.other, role="finance")
    two.people["system"] = system
    asked = [put(two, 2_000)]
    put(two, 900, level="organisation", target=two.organisation, by="system")
    asked.append(put(two, 9_000, level="organisation", target=two.organisation, by="felix"))
    put(two, 900, level="agent", target=two.agent.id, by="system")
    asked.append(put(two, 2_000, level="agent", target=two.agent.id, by="felix"))

    def questions():
        fiona = two.people["fiona"]
        with tenancy.within(two.organisation), CaptureQueriesContext(connection) as made:
            found = [(each.asked_by, each.partners, each.is_own) for each in caps.standing(asked, by=fiona)]
            partners = caps.partners(fiona, two.workspace.id, "organisation")
            caps.waiting_for(fiona, two.workspace.id)
        return len(made), found[:2], partners

    few = questions()
    assert few[1] == [("fiona", ["felix", "olga"], True), ("felix", ["fiona"], False)]
    assert few[2] == ["felix"]
    for number in range(3):
        place = organisations.create_workspace(by=system, slug=f"w{number}", name="W")
        for name in ("fiona", "felix"):
            seats.grant(by=system, member=two.members[name], workspace=place, role="finance")
    for number in range(9):
        put(two, 900, level="agent", target=f"AG-{number}", by="system")
        asked.append(put(two, 2_000, level="agent", target=f"AG-{number}", by="felix"))
    assert questions() == few


def test_a_first_cap_takes_one_person(two):
    assert isinstance(put(two, 50_000, level="agent", target=two.agent.id), Cap)


def test_whoever_asked_takes_it_back_and_the_other_declines(two):
    caps.decline(by=two.people["fiona"], identifier=put(two, 2_000).id)
    assert two.events()[-1] == "cap.raise_withdrawn"
    asked = put(two, 2_000)
    caps.decline(by=two.people["felix"], identifier=asked.id, reason="Too much.")
    assert two.events()[-1] == "cap.raise_declined"
    with pytest.raises(organisations.Conflict):
        caps.agree(by=two.people["felix"], identifier=asked.id)
    assert now(two) == (900, "month")


def test_what_was_asked_in_place_of_another_cap_is_overtaken_by_it(two):
    first = put(two, 2_000)
    second = put(two, 3_000)
    with tenancy.within(two.organisation):
        assert [row.id for row in caps.waiting([two.workspace.id])] == [second.id]
    put(two, 800)
    for asked in (first, second):
        with pytest.raises(organisations.Conflict):
            caps.agree(by=two.people["felix"], identifier=asked.id)
    assert now(two) == (800, "month")


def test_a_raise_does_not_replace_a_cap_that_it_was_not_asked_in_place_of(two):
    asked = put(two, 2_000)
    with tenancy.within(two.organisation):
        Cap.objects.update(cap_micros=100 * DOLLAR)
    with pytest.raises(caps.CapChanged):
        caps.agree(by=two.people["felix"], identifier=asked.id)
    assert now(two) == (100, "month")


def test_with_nobody_else_one_person_is_enough(world):
    system = organisations.system(world.organisation, "tests")
    caps.put_threshold(by=system, workspace=world.workspace.id, micros=LIMIT)
    with tenancy.within(world.organisation):
        others = caps.partners(world.people["fiona"], world.workspace.id, "workspace")
    assert others == ["olga"]  # an owner sets caps, too
    seats.grant(by=system, member=world.members["vera"], workspace=world.workspace, role="owner")
    organisations.deactivate(by=system, member=world.members["olga"])
    organisations.deactivate(by=system, member=world.members["vera"])
    put(world, 900)
    assert isinstance(put(world, 9_000), Cap)


def test_the_threshold_guards_itself(two):
    for name in ("fiona", "felix"):
        seats.grant(by=organisations.system(two.organisation, "t"), member=two.members[name], workspace=two.other, role="finance")
    asked = caps.put_threshold(by=two.people["fiona"], workspace=two.workspace.id, micros=2 * LIMIT)
    assert asked is not None
    with tenancy.within(two.organisation):
        assert caps.threshold() == LIMIT
    with pytest.raises(organisations.Forbidden):
        caps.agree(by=two.people["fiona"], identifier=asked.id)
    caps.agree(by=two.people["felix"], identifier=asked.id)
    with tenancy.within(two.organisation):
        assert caps.threshold() == 2 * LIMIT
    assert caps.put_threshold(by=two.people["fiona"], workspace=two.workspace.id, micros=LIMIT) is None
    with tenancy.within(two.organisation):
        assert caps.threshold() == LIMIT


def test_whoever_sets_caps_in_one_workspace_only_is_nobodys_second_person_for_the_organisation(two):
    """A question that nobody there is could answer would stand for ever."""
    system = organisations.system(two.organisation, "tests")
    seats.grant(by=system, member=two.members["fiona"], workspace=two.other, role="finance")
    organisations.deactivate(by=system, member=two.members["olga"])
    put(two, 900, level="organisation", target=two.organisation)
    assert isinstance(put(two, 9_000, level="organisation", target=two.organisation), Cap)
    seats.grant(by=system, member=two.members["felix"], workspace=two.other, role="finance")
    assert isinstance(put(two, 19_000, level="organisation", target=two.organisation), Raise)


def test_the_threshold_takes_the_permission_in_every_workspace(two):
    with pytest.raises(organisations.Forbidden):
        caps.put_threshold(by=two.people["fiona"], workspace=two.workspace.id, micros=0)


def test_of_two_who_decide_at_once_one_does(two):
    world, outcomes = two, []
    world.join("frida", "finance")
    asked = put(world, 2_000)
    gate = threading.Barrier(2)

    def decide(name):
        gate.wait()
        try:
            outcomes.append(caps.agree(by=world.people[name], identifier=asked.id).state)
        except organisations.Conflict:
            outcomes.append("over")
        finally:
            connection.close()

    threads = [threading.Thread(target=decide, args=(name,)) for name in ("felix", "frida")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["AGREED", "over"]
    assert world.events().count("cap.set") == 2
