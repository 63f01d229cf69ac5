"""Saved views: one's own and shared ones, with their entries; forms that need no script; nobody else's."""

import pytest

from agents import organisations, views
from agents.models import SavedView
from audit import tenancy
from tests.controlplane import browsing
from tests.controlplane.browsing import HOSTILE
from tests.world import World


def named(world: World, name: str, page: str = "runs") -> dict[str, views.View]:
    with tenancy.within(world.organisation):
        return {view.name: view for view in views.listed(by=world.people[name], workspace=world.workspace, page=page)}


def test_a_view_is_saved_by_a_form_opens_its_list_and_is_removed_with_entries(world):
    seen = browsing.browser(world, "ann")
    assert "Save this view" not in seen.text("/runs")
    assert "Save this view" in seen.text("/runs", agent="teller")
    answer = seen.post("/views/save", page="runs", name="  Mine  now ", query="agent=teller&below=2026&state=FAILED")
    assert answer["Location"] == f"{seen.root}/runs?agent=teller&state=FAILED"
    page = seen.client.get(answer["Location"]).content.decode()
    assert "Saved the view Mine now." in page
    assert "Mine now" in page.split("Saved the view")[1]
    assert "Save this view" not in page
    view = named(world, "ann")["Mine now"]
    assert seen.post(f"/views/{view.id}/remove").status_code == 302
    assert "Mine now" not in named(world, "ann")
    assert world.events("view.*") == ["view.saved", "view.removed"]


def test_ones_own_view_is_nobody_elses_and_a_shared_one_is_everybodys(world):
    ann, ben, olga = (browsing.browser(world, name) for name in ("ann", "ben", "olga"))
    ann.post("/views/save", page="runs", name="Own", query="agent=teller")
    ann.post("/views/save", page="runs", name="Shared", query="state=FAILED&agent=teller", shared="on")
    assert "Own" not in named(world, "ben")
    assert not named(world, "ben")["Shared"].may_remove
    own, shared = named(world, "ann")["Own"], named(world, "ann")["Shared"]
    for view in (own, shared):
        assert ben.post(f"/views/{view.id}/remove").status_code == 404
    assert olga.post(f"/views/{own.id}/remove").status_code == 404  # who manages members manages what is shared, not what is mine
    assert olga.post(f"/views/{shared.id}/remove").status_code == 302
    assert "Own" in named(world, "ann")


def test_views_stay_in_their_workspace_and_organisation(world, elsewhere):
    browsing.browser(world, "ann").post("/views/save", page="runs", name="Here", query="agent=teller", shared="on")
    here = named(world, "ann")["Here"]
    assert "Here" not in named(elsewhere, "ann")
    assert browsing.browser(elsewhere, "olga").post(f"/views/{here.id}/remove").status_code == 404
    assert browsing.browser(elsewhere, "ann", at=world).post("/views/save", page="runs", name="x", query="a=b").status_code == 404
    with tenancy.within(world.organisation):
        assert views.listed(by=world.people["olga"], workspace=world.other, page="runs")[-1].id == ""
    with tenancy.within(elsewhere.organisation):
        assert SavedView.objects.count() == 0


@pytest.mark.parametrize(
    ("page", "name", "query", "said"),
    [
        ("runs", "  ", "agent=x", "needs a name"),
        ("runs", "Nothing", "below=5", "Nothing is filtered"),
        ("runs", "Long", f"q={'x' * 2000}", "too long"),
        ("runs", "Taken", "agent=x", "already"),
    ],
)
def test_what_cannot_be_saved_is_said_on_the_list_and_leaves_no_entry(world, page, name, query, said):
    seen = browsing.browser(world, "ann")
    views.save(by=world.people["ann"], workspace=world.workspace, page="runs", name="Taken", query="state=FAILED")
    before = world.events()
    answer = seen.client.post(f"{seen.root}/views/save", {"page": page, "name": name, "query": query}, follow=True)
    assert said in answer.content.decode()
    assert world.events() == before


def test_a_list_that_one_may_not_see_has_no_views(world):
    assert browsing.browser(world, "vera").post("/views/save", page="audit", name="x", query="event=stop.*").status_code == 404
    assert browsing.browser(world, "vera").post("/views/save", page="nonsense", name="x", query="a=b").status_code == 404
    with pytest.raises(organisations.Forbidden):
        views.save(by=world.people["vera"], workspace=world.workspace, page="audit", name="x", query="event=stop.*")


def test_a_views_name_and_query_are_text(world):
    seen = browsing.browser(world, "ann")
    seen.post("/views/save", page="runs", name=HOSTILE, query=f"q={HOSTILE}", shared="on")
    page = seen.text("/runs")
    assert "<script>alert" not in page
    assert "[U+202E]" in page
