"""Who has a request in hand: advice that bars nobody, one person at a time, over by itself."""

from datetime import timedelta

import pytest

from agents import organisations
from approvals import requests, stances
from approvals.models import Stance
from audit import log, tenancy
from controlplane import gate
from tests.approvals.test_requests import held
from tests.world import World


def on_it(world: World, said: gate.Admission) -> str:
    """The name of whoever has it in hand."""
    with tenancy.within(world.organisation):
        found = stances.claims([requests.get(str(said.approval), by=world.people["ann"])])
        return next((claim.member.name for claim in found.values()), "")


def claim(world: World, said: gate.Admission, name: str = "ann") -> None:
    stances.claim(by=world.people[name], request_id=str(said.approval))


def test_one_person_has_it_and_another_takes_it_over(world: World) -> None:
    said, other = held(world), held(world)
    claim(world, said)
    claim(world, said, "ben")
    claim(world, other)
    assert (on_it(world, said), on_it(world, other)) == ("ben", "ann")
    assert world.events("request.claimed", subject=said.approval) == ["request.claimed"] * 2
    with tenancy.within(world.organisation):
        newest = log.entries(event="request.claimed", subject=said.approval).order_by("-id").first()
    assert newest is not None
    assert world.members["ann"].id in newest.body, "the entry says from whom it was taken"


def test_a_claim_bars_nobody_and_ends_with_its_persons_vote_and_with_the_request(world: World) -> None:
    said, large = held(world), held(world, 600)
    claim(world, said)
    world.approve(said, "ben")
    assert on_it(world, said) == ""
    claim(world, large)
    world.approve(large, "ann")
    assert on_it(world, large) == "", "who has voted is done with it"
    with pytest.raises(requests.AlreadyDecided):
        claim(world, large)
    claim(world, large, "ben")


def test_a_claim_is_over_after_half_an_hour_and_never_outlives_the_request(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    said, short = held(world), held(world, 600)
    claim(world, said)
    claim(world, short)
    with tenancy.within(world.organisation):
        row = Stance.objects.get(request_id=said.approval)
        assert timedelta(minutes=29) < row.until - row.at <= timedelta(minutes=30)
        assert Stance.objects.get(request_id=short.approval).until == world.request(str(short.approval)).expires_at
    monkeypatch.setattr(stances, "CLAIMED", timedelta(0))
    claim(world, said)
    assert on_it(world, said) == ""


def test_only_who_has_it_leaves_it_to_the_others(world: World) -> None:
    said = held(world)
    claim(world, said)
    with pytest.raises(organisations.Conflict):
        stances.unclaim(by=world.people["ben"], request_id=str(said.approval))
    assert on_it(world, said) == "ann"
    stances.unclaim(by=world.people["ann"], request_id=str(said.approval))
    assert on_it(world, said) == ""
    assert world.events("request.unclaimed", subject=said.approval) == ["request.unclaimed"]
    with pytest.raises(organisations.Conflict):
        stances.unclaim(by=world.people["ann"], request_id=str(said.approval))


@pytest.mark.parametrize(
    ("name", "kind"), [("olga", requests.NotEligible), ("ada", requests.NotEligible), ("vera", organisations.NotFound)]
)
def test_who_may_not_decide_takes_nothing_in_hand(world: World, name: str, kind: type[Exception]) -> None:
    said = held(world)
    with pytest.raises(kind):
        claim(world, said, name)
    assert (on_it(world, said), world.events("request.claimed")) == ("", [])


def test_a_request_of_another_organisation_is_not_there(world: World, elsewhere: World) -> None:
    said = held(world)
    with pytest.raises(organisations.NotFound):
        claim(elsewhere, said)
    with tenancy.within(elsewhere.organisation):
        assert not Stance.objects.exists()
