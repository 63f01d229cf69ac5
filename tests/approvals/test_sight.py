"""Who sees which requests: some all, a builder those of their agents and runs, and it is the same in lists, by address and over REST."""

import pytest
from django.test import Client

from agents import identity
from approvals import sight
from audit import tenancy
from controlplane import gate, runner
from tests.controlplane.browsing import root_of, text, visit
from tests.world import RunUnderTest, World


@pytest.fixture
def asked(world: World) -> dict[str, gate.Admission]:
    """A request of a run that Bob, a builder, started, and one of a run that Olga started."""
    world.join("bob", "builder")
    made = runner.start(by=world.people["bob"], workspace=world.workspace, order=runner.Order(agent=world.agent.slug))
    mine = RunUnderTest(world, made.run, identity.authenticate(made.token), made.token)
    return {
        "mine": mine.call("pay", {"account": "a", "amount": 51}),
        "theirs": world.start(title="Of somebody else").call("pay", {"account": "a", "amount": 52}),
    }


def seen(world: World, asked: dict[str, gate.Admission], name: str) -> list[set[str]]:
    """What a person finds: in the list, by address, by a jump, in REST's list, by REST's address."""
    known = {said.approval: label for label, said in asked.items()}
    rest = Client(headers={"authorization": f"Bearer {identity.issue(by=world.people[name], member=world.members[name]).token}"})
    listed = text(visit(world, name, "approvals?tab=all"))
    kept = text(visit(world, name, "approvals?tab=mine&" + "&".join(f"keep={key}" for key in known)))
    items = rest.get("/api/v1/approvals", {"workspace": world.workspace.id}).json()["items"]
    assert not [label for key, label in known.items() if f"/approvals/{key}" in kept and f"/approvals/{key}" not in listed]
    return [
        {label for key, label in known.items() if f"/approvals/{key}" in listed},
        {label for key, label in known.items() if visit(world, name, f"approvals/{key}").status_code == 200},
        {label for key, label in known.items() if visit(world, name, f"go?q={key}").headers.get("Location", "").endswith(key)},
        {known[item["id"]] for item in items if item["id"] in known},
        {label for key, label in known.items() if rest.get(f"/api/v1/approvals/{key}").status_code == 200},
    ]


@pytest.mark.parametrize(("name", "expected"), [("ann", {"mine", "theirs"}), ("ada", {"mine", "theirs"}), ("bob", {"mine"})])
def test_each_way_to_a_request_shows_the_same_ones(world: World, asked: dict[str, gate.Admission], name: str, expected: set[str]) -> None:
    assert seen(world, asked, name) == [expected] * 5


def test_the_owner_of_an_agent_sees_the_requests_of_runs_that_others_started(world: World, asked: dict[str, gate.Admission]) -> None:
    with tenancy.within(world.organisation):
        type(world.agent).objects.filter(id=world.agent.id).update(owner=world.members["bob"])
    assert seen(world, asked, "bob") == [{"mine", "theirs"}] * 5


def test_a_run_tells_of_its_request_only_whoever_sees_it(world: World, asked: dict[str, gate.Admission]) -> None:
    root = root_of(world)
    with tenancy.within(world.organisation):
        runs = {label: world.request(said.approval).run_id for label, said in asked.items()}
    for label, run in runs.items():
        link = f"{root}/approvals/{asked[label].approval}"
        assert (link in text(visit(world, "bob", f"runs/{run}"))) == (label == "mine")
        assert (visit(world, "bob", f"runs/{run}/download").json()["requests"] is not None) == (label == "mine")
        assert link in text(visit(world, "ann", f"runs/{run}"))


def test_what_was_decided_elsewhere_is_told_only_to_whoever_sees_it(world: World, asked: dict[str, gate.Admission]) -> None:
    """Rows kept on the page, the like of a request, the last time and the last decision: none is a way around."""
    world.approve(asked["theirs"], "ann")
    theirs = asked["theirs"].approval
    pages = [f"approvals?tab=all&keep={theirs}", f"approvals/{asked['mine'].approval}", "approvals?tab=mine"]
    shown = {
        name: [page for page in pages if theirs in text(visit(world, name, page)).replace(f"keep={theirs}", "")] for name in ("bob", "ben")
    }
    assert shown["bob"] == []
    assert shown["ben"][0] == pages[0]


def test_a_list_finds_ones_own_among_the_newest_and_an_address_always(
    world: World, asked: dict[str, gate.Admission], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sight, "LOOKED", 1)  # of the two, the newer one is somebody else's
    mine = asked["mine"].approval
    assert mine not in text(visit(world, "bob", "approvals?tab=all"))
    assert visit(world, "bob", f"approvals/{mine}").status_code == 200
    world.approve(asked["theirs"], "ann")
    assert mine in text(visit(world, "ann", "approvals?tab=all"))


def test_how_well_deciding_goes_is_for_whoever_sees_every_request(world: World, asked: dict[str, gate.Admission]) -> None:
    assert "Decided in under" not in text(visit(world, "bob", "approvals"))
    assert "Decided in under" in text(visit(world, "ann", "approvals"))
