"""Who reads which entries of the log: some all, some their own, and it is the same on the page, over REST, and by address."""

import pytest
from django.db import connection
from django.db.models import Q
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agents import identity, organisations, sight
from audit import log, tenancy
from audit.models import Entry
from budgets import caps
from controlplane import runner
from tests.controlplane.browsing import text, visit
from tests.world import World


@pytest.fixture
def told(world: World) -> dict[str, Entry]:
    """One entry each of somebody: a vote of Ann's, a cap of Olga's, a call in a run of Bob's and one in a run of Olga's, a stop."""
    world.join("bob", "builder")
    theirs = world.start()
    said = theirs.call("pay", {"account": "a", "amount": 50})
    world.approve(said, "ann")
    mine = runner.start(by=world.people["bob"], workspace=world.workspace, order=runner.Order(agent=world.agent.slug))
    caps.put(by=world.people["olga"], workspace=world.workspace.id, level="agent", target=world.agent.id, period="month", cap_micros=9)
    with tenancy.within(world.organisation):
        newest = {
            "vote": log.entries(event="request.voted"),
            "cap": log.entries(event="cap.set"),
            "mine": log.entries(event="run.started", run=mine.run.id),
            "theirs": log.entries(event="run.started", run=theirs.run.id),
        }
        return {name: entries[0] for name, entries in newest.items()}


READ = {
    "olga": {"vote", "cap", "mine", "theirs"},
    "ada": {"vote", "cap", "mine", "theirs"},
    "ann": {"vote"},
    "fiona": {"cap"},
    "bob": {"mine"},
    "vera": set(),
}


@pytest.mark.parametrize("name", READ)
def test_the_page_an_entrys_address_and_rest_show_the_same_entries(world: World, told: dict[str, Entry], name: str) -> None:
    token = identity.issue(by=world.people[name], member=world.members[name]).token
    known = {entry.id: label for label, entry in told.items()}
    page = visit(world, name, "audit")
    assert page.status_code == (200 if READ[name] else 404)
    assert {label for key, label in known.items() if page.status_code == 200 and key in text(page)} == READ[name]
    assert {label for key, label in known.items() if visit(world, name, f"audit/{key}").status_code == 200} == READ[name]
    rest = Client(headers={"authorization": f"Bearer {token}"})
    answer = rest.get("/api/v1/audit", {"workspace": world.workspace.id, "limit": "200"})
    if READ[name]:
        assert {known[item["id"]] for item in answer.json()["items"] if item["id"] in known} == READ[name]
    else:
        assert answer.status_code == 403
    found = {label for key, label in known.items() if rest.get(f"/api/v1/audit/{key}").status_code == 200}
    assert found == READ[name]


def test_an_owner_of_an_agent_reads_the_runs_of_it_that_others_started(world: World, told: dict[str, Entry]) -> None:
    with tenancy.within(world.organisation):
        type(world.agent).objects.filter(id=world.agent.id).update(owner=world.members["bob"])
    assert visit(world, "bob", f"audit/{told['theirs'].id}").status_code == 200
    assert visit(world, "bob", f"audit/{told['cap'].id}").status_code == 200  # it is about the agent


def test_what_is_ones_own_in_another_workspace_is_not_shown_here(world: World, told: dict[str, Entry]) -> None:
    with tenancy.within(world.organisation):
        entry = log.append("price.set", by=world.people["fiona"], subject="x", workspace=world.other.id, detail={})
    assert visit(world, "fiona", f"audit/{entry}").status_code == 404


def test_a_list_finds_what_is_about_ones_agents_among_the_newest_and_an_address_always(
    world: World, told: dict[str, Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tenancy.within(world.organisation):
        type(world.agent).objects.filter(id=world.agent.id).update(owner=world.members["bob"])
        published = log.entries(event="agent.version_published")[0]
    assert published.subject == world.agent.id
    known = {"published": published.id, "mine": told["mine"].id}
    assert {name for name, key in known.items() if key in text(visit(world, "bob", "audit?event=agent.version_published"))} == {"published"}
    monkeypatch.setattr(sight, "LOOKED", 1)
    monkeypatch.setattr(sight, "_own", lambda *_: Q(pk__in=[]))  # nothing that Bob did himself: only what is about his agents
    listed = text(visit(world, "bob", "audit"))
    assert [name for name, key in known.items() if key in listed] == []
    assert {name for name, key in known.items() if visit(world, "bob", f"audit/{key}").status_code == 200} == set(known)


def test_reading_the_log_of_more_workspaces_asks_no_more_for_each(world: World, told: dict[str, Entry]) -> None:
    """Statements grow with an organisation's workspaces, not with their square: 300 and more for eleven of them."""
    system, needed = organisations.system(world.organisation, "tests"), []
    rest = Client(headers={"authorization": f"Bearer {identity.issue(by=world.people['ada'], member=world.members['ada']).token}"})
    for number in range(9):
        more = organisations.create_workspace(by=system, slug=f"w{number}", name="W")
        world.seat("ada", "auditor", workspace=more)
        if number % 4 == 0:
            with CaptureQueriesContext(connection) as asked:
                assert rest.get("/api/v1/audit").status_code == 200
            needed.append(len(asked))
    assert needed[-1] <= 9 * 11
