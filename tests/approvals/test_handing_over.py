"""A request goes from one person's hands to another's, and only to somebody who may decide it."""

import datetime

import pytest
from django.contrib.auth import get_user_model
from django.db.models import F

from agents import organisations, seats
from approvals import inbox, requests, stances, votes
from approvals.models import Request, Stance
from audit import log, outcomes, tenancy
from controlplane import gate
from tests.approvals.test_requests import held
from tests.approvals.test_stances import claim, on_it, snooze
from tests.world import World


def hand(world: World, said: gate.Admission, to: str, *, by: str = "ann") -> Request:
    """By the name where that is a member's, else as it stands."""
    return stances.hand_over(by=world.people[by], request_id=str(said.approval), to=to)


def refused(world: World, said: gate.Admission, to: str, *, by: str = "ann") -> outcomes.Refused:
    """Why it is not handed over; nothing of it is left."""
    before, had = world.events(), on_it(world, said)
    with pytest.raises(outcomes.Refused) as caught:
        hand(world, said, to, by=by)
    assert (world.events(), on_it(world, said)) == (before, had)
    return caught.value


def stance(world: World, said: gate.Admission) -> Stance:
    with tenancy.within(world.organisation):
        return Stance.objects.select_related("member", "handed_by").get(request_id=said.approval, kind=Stance.Kind.CLAIM)


def test_who_may_decide_hands_it_to_another_by_id_or_name_and_the_entry_names_both(world: World) -> None:
    said = held(world)
    hand(world, said, world.members["ben"].id)
    assert on_it(world, said) == "ben"
    given = stance(world, said)
    assert given.handed_by is not None
    assert (given.member.name, given.handed_by.name) == ("ben", "ann")
    assert given.until - given.at <= datetime.timedelta(minutes=30)
    hand(world, said, "cleo")
    assert on_it(world, said) == "cleo"
    with tenancy.within(world.organisation):
        newest, first = log.entries(event="request.handed_over", subject=said.approval)
        detail = newest.told["detail"]
        assert (newest.actor_id, detail["to"], detail["name"]) == (world.members["ann"].id, world.members["cleo"].id, "cleo")
        assert detail["taken_from"] == world.members["ben"].id
        assert first.told["detail"]["taken_from"] == ""


def test_it_bars_nobody_and_whoever_takes_it_over_was_handed_nothing(world: World) -> None:
    said, other = held(world), held(world)
    hand(world, said, "ben")
    claim(world, said, "cleo")
    assert (on_it(world, said), stance(world, said).handed_by) == ("cleo", None)
    hand(world, other, "ben")
    world.approve(other, "cleo")
    assert on_it(world, other) == ""


def test_who_has_it_in_hand_hands_it_over_although_they_may_decide_it_no_more(world: World) -> None:
    said = held(world)
    claim(world, said)
    with tenancy.within(world.organisation):
        Request.objects.filter(id=said.approval).update(requesters=[world.people["ann"].person])
    with pytest.raises(votes.NotEligible):
        claim(world, said)
    hand(world, said, "ben")
    assert on_it(world, said) == "ben"
    assert refused(world, said, "cleo").code == "not_eligible", "now it is in nobody's hands who asks"


def test_what_they_had_set_aside_is_back_with_whoever_it_is_handed_to_and_the_order_is_the_same(world: World) -> None:
    said, urgent = held(world), held(world, 600)
    snooze(world, said, name="ben")

    def order() -> list[str]:
        by, workspace = world.people["ben"], world.workspace.id
        with tenancy.within(world.organisation):
            found = inbox.tab("mine", by=by, workspace=workspace)
            return [row.id for row in inbox.by_urgency(found, requests.database_now())]

    assert order() == [urgent.approval]
    hand(world, said, "ben")
    assert order() == [urgent.approval, said.approval]


def test_nobody_may_have_it_who_may_not_decide_it_and_the_refusal_names_who_may(world: World) -> None:
    said = held(world)
    system = organisations.system(world.organisation, "tests")
    seats.grant(by=system, member=world.members["olga"], workspace=world.workspace, role="approver")
    why = {
        "ada": "ada may not decide it: this needs the permission approvals_decide in its workspace.",
        "vera": "vera may not decide it: this needs the permission approvals_decide in its workspace.",
        "olga": "olga may not decide it: owns the agent.",
    }
    for name, message in why.items():
        no = refused(world, said, name)
        assert (no.code, no.message, no.who) == ("not_eligible", message, "ben, cleo")
        assert no.as_dict()["next"] == "Hand it to one of these: ben, cleo."
    organisations.deactivate(by=system, member=world.members["ben"])
    assert refused(world, said, "ben").message == "ben may not decide it: is no longer a member."
    assert refused(world, said, "ben").who == "cleo"


def test_who_has_voted_is_handed_it_no_more(world: World) -> None:
    said = held(world, 600)
    world.approve(said, "ben")
    assert refused(world, said, "ben").message == "ben may not decide it: has voted."
    assert refused(world, said, "cleo", by="ben").code == "already_decided"
    hand(world, said, "cleo")


def test_nobody_hands_it_to_themselves_or_to_another_account_of_theirs(world: World) -> None:
    said, system = held(world), organisations.system(world.organisation, "tests")
    second = organisations.add_member(
        by=system, user=get_user_model().objects.create_user(f"{said.approval}-ann"), name="ann too", person=world.people["ann"].person
    )
    seats.grant(by=system, member=second, workspace=world.workspace, role="approver")
    for to in ("ann", world.members["ann"].id, "ann too"):
        no = refused(world, said, to)
        assert (no.code, no.who) == ("conflict", "ben, cleo")


@pytest.mark.parametrize(("name", "code"), [("olga", "not_eligible"), ("ada", "not_eligible"), ("vera", "not_found")])
def test_who_may_not_decide_hands_nothing_over(world: World, name: str, code: str) -> None:
    assert refused(world, held(world), "ben", by=name).code == code


def test_what_is_decided_or_expired_is_handed_to_nobody(world: World) -> None:
    said, late = held(world), held(world)
    claim(world, said)
    claim(world, late)
    world.approve(said, "ben")
    assert refused(world, said, "cleo").code == "already_decided"
    with tenancy.within(world.organisation):
        Request.objects.filter(id=late.approval).update(expires_at=F("opened_at"))
    assert refused(world, late, "cleo").code == "expired"


def test_another_organisation_s_people_and_requests_are_not_there(world: World, elsewhere: World) -> None:
    said = held(world)
    for to in (elsewhere.members["ben"].id, "nobody", "MEM-0000000000", ""):
        assert refused(world, said, to).code == "not_found"
    with pytest.raises(organisations.NotFound):
        hand(elsewhere, said, "ben")
