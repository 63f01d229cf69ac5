"""Who has a request in hand, and who has set it aside: neither decides anything, and both are over by themselves."""

from datetime import timedelta

import pytest
from django.db.models import F

from agents import organisations
from agents.models import Work
from approvals import deadlines, inbox, remarks, requests, stances, votes
from approvals.models import Request, Stance
from audit import log, tenancy
from controlplane import deciding, gate, worker
from tests.approvals.test_answers import upstream_moves
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


@pytest.mark.parametrize(("name", "kind"), [("olga", votes.NotEligible), ("ada", votes.NotEligible), ("vera", organisations.NotFound)])
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


# Set aside ------------------------------------------------------------------------------------------------------------


def snooze(world: World, said: gate.Admission, length: str = "until it changes", name: str = "ann") -> None:
    stances.snooze(by=world.people[name], request_id=str(said.approval), length=length)


def lists(world: World, name: str = "ann") -> tuple[int, int, int]:
    """How many need this person, are set aside by them, and wait for others."""
    by, workspace = world.people[name], world.workspace.id
    with tenancy.within(world.organisation):
        said = inbox.counts(by=by, workspace=workspace)
        shown = {tab: inbox.tab(tab, by=by, workspace=workspace).count() for tab in ("mine", "snoozed", "waiting")}
        assert {tab: said[tab] for tab in shown} == shown, "the numbers are those of the lists"
        assert inbox.needing(by=by, workspace=workspace).count() == said["mine"]
    return shown["mine"], shown["snoozed"], shown["waiting"]


def test_what_one_person_snoozes_needs_them_no_more_and_everybody_else_still(world: World) -> None:
    said, _ = held(world), held(world)
    snooze(world, said)
    assert (lists(world), lists(world, "ben")) == ((1, 1, 0), (2, 0, 0))
    assert world.events("request.snoozed", subject=said.approval) == ["request.snoozed"]
    stances.wake(by=world.people["ann"], request_id=str(said.approval))
    assert lists(world) == (2, 0, 0)
    with pytest.raises(organisations.Conflict):
        stances.wake(by=world.people["ann"], request_id=str(said.approval))
    snooze(world, said)
    world.approve(said, "ann")
    assert lists(world) == (1, 0, 0), "setting it aside bars nobody from deciding it"


def test_a_snoozed_request_is_back_when_it_changes(world: World) -> None:
    said, ann, ben = held(world, 600), world.people["ann"], world.people["ben"]
    deadlines.extend(by=ben, request_id=str(said.approval))
    for change in (
        lambda: remarks.comment(by=ben, request_id=str(said.approval), text="Look again."),
        lambda: deadlines.extend(by=ben, request_id=str(said.approval)),
        lambda: world.approve(said, "ben"),
    ):
        snooze(world, said)
        assert lists(world) == (0, 1, 0)
        change()
        assert lists(world) == (1, 0, 0)
    snooze(world, said)
    upstream_moves(world)
    deciding.check(by=ann, request_id=str(said.approval))
    assert lists(world) == (1, 0, 0), "a new plan is a change"


def test_a_snooze_is_over_ten_minutes_before_the_request_expires(world: World) -> None:
    said, short = held(world), held(world, 600)
    expires = world.request(str(said.approval)).expires_at
    for length, least, most in (("30 min", 29, 31), ("2 hours", 49, 50), ("until it changes", 49, 50)):
        snooze(world, said, length)
        with tenancy.within(world.organisation):
            row = Stance.objects.get()
        assert timedelta(minutes=least) <= row.until - row.at <= timedelta(minutes=most), length
        assert row.until <= expires - timedelta(minutes=10)
    snooze(world, short, "2 hours")
    with tenancy.within(world.organisation):
        Request.objects.filter(id=short.approval).update(expires_at=F("opened_at") + timedelta(minutes=9))
    for refused, length in ((short, "30 min"), (said, "2 years"), (said, "")):
        with pytest.raises(organisations.Conflict):
            snooze(world, refused, length)


def test_when_its_time_is_over_a_worker_says_that_it_is_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    said, over = held(world), held(world)
    monkeypatch.setitem(stances.LENGTHS, "30 min", timedelta(milliseconds=1))
    snooze(world, said, "30 min")
    snooze(world, over, "30 min")
    snooze(world, held(world), "2 hours")
    assert lists(world) == (2, 1, 0), "it is back without a worker"
    world.approve(over, "ben")
    worker.drain()
    with tenancy.within(world.organisation):
        assert Stance.objects.count() == Work.objects.filter(kind=Work.Kind.WAKE).count() == 1
    assert world.events("request.woken", subject=said.approval) == ["request.woken"]
    assert world.events("request.woken", subject=over.approval) == []


def test_who_takes_a_request_has_it_back_and_who_snoozes_it_has_it_no_more(world: World) -> None:
    said = held(world)
    claim(world, said)
    snooze(world, said)
    assert (on_it(world, said), lists(world)) == ("", (0, 1, 0))
    claim(world, said)
    assert (on_it(world, said), lists(world)) == ("ann", (1, 0, 0))


@pytest.mark.parametrize(("name", "kind"), [("olga", votes.NotEligible), ("vera", organisations.NotFound)])
def test_who_may_not_decide_snoozes_nothing(world: World, name: str, kind: type[Exception]) -> None:
    said = held(world)
    with pytest.raises(kind):
        snooze(world, said, name=name)
    assert world.events("request.snoozed") == []
