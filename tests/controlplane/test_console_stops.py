"""Stops in the browser: a preview that changes nothing, a reason that everybody reads, a release by another person."""

import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents import organisations, stops
from audit import tenancy
from controlplane import worker
from tests.controlplane import browsing


def test_stops_are_seen_by_members_and_by_nobody_else(world, elsewhere):
    assert browsing.browser(world, "vera").get("/stops").status_code == 200
    assert browsing.browser(elsewhere, "vera", at=world).get("/stops").status_code == 404
    assert browsing.browser(world).get("/stops").status_code == 302
    assert "You may see stops but not pull one" in browsing.browser(world, "vera").text("/stops")


def test_the_preview_counts_what_would_be_held_and_leaves_no_trace(world):
    run = world.start()
    run.call("pay", {"account": "a", "amount": 50})
    sam, before = browsing.browser(world, "sam"), world.events()
    answer = sam.get("/stops", what=f"agent/{world.agent.id}", reason="duplicates")
    assert (answer.context["running"], answer.context["open"]) == (1, 1)
    assert world.events() == before


def test_a_stop_is_engaged_with_its_reason_and_released_by_another_person(world):
    sam, olga = browsing.browser(world, "sam"), browsing.browser(world, "olga")
    assert sam.post("/stops/engage", what=f"agent/{world.agent.id}", reason=browsing.HOSTILE).status_code == 302
    page = olga.text("/stops")
    assert "<script>alert" not in page
    assert "[U+202E]" in page
    with tenancy.within(world.organisation):
        stop = stops.engaged().get()
    assert sam.post(f"/stops/{stop.id}/release").status_code == 403
    assert olga.post(f"/stops/{stop.id}/release").status_code == 302
    assert world.events("stop.*") == ["stop.engaged", "stop.released"]


def test_what_cannot_be_stopped_from_here_is_refused_and_the_reason_stays(world, elsewhere):
    sam = browsing.browser(world, "sam")
    for what in (f"agent/{elsewhere.agent.id}", f"organisation/{elsewhere.organisation}", f"workspace/{world.other.id}", "agent/", ""):
        answer = sam.post("/stops/engage", what=what, reason="a reason of mine")
        assert answer.status_code == 422, what
        assert "a reason of mine" in answer.content.decode()
    assert sam.post("/stops/engage", what=f"agent/{world.agent.id}", reason="  ").status_code == 422
    assert browsing.browser(world, "vera").post("/stops/engage", what=f"agent/{world.agent.id}", reason="x").status_code == 422
    assert world.events("stop.*") == []


def test_a_release_of_what_is_not_here_is_not_found(world, elsewhere):
    stop = stops.engage(by=elsewhere.people["sam"], scope="agent", target=elsewhere.agent.id, reason="x")
    assert browsing.browser(world, "olga").post(f"/stops/{stop.id}/release").status_code == 404


def test_the_form_for_a_dialog_and_its_preview_are_fragments_that_say_what_would_be_held(world):
    run = world.start()
    run.call("pay", {"account": "a", "amount": 50})
    sam, before = browsing.browser(world, "sam"), world.events()
    chosen, by_script = {"what": f"agent/{world.agent.id}"}, {"hx-request": "true"}
    form, said = (sam.client.get(f"{sam.root}/stops/{part}", chosen, headers=by_script).content.decode() for part in ("form", "preview"))
    for part in ("form", "preview"):  # opened as a page, it is one, and chooses the same
        page = sam.text(f"/stops/{part}", **chosen)
        assert page.count("<html") == 1
        assert "1 run</b>" in page
    for text in (form, said):
        assert "<html" not in text
        assert "1 run</b>" in text
        assert "1 open request</b>" in text
        assert "olga" in text  # who could let it go on
    assert "Choose what to stop" in sam.text("/stops/preview", what="agent/nobody")
    whole = sam.post("/stops/preview", what=f"agent/{world.agent.id}", reason="duplicates")  # the button, without a script
    assert "1 run</b>" in whole.content.decode()
    assert "duplicates" in whole.content.decode()
    assert world.events() == before


def test_a_stop_is_named_as_people_call_it_and_only_where_it_concerns(world):
    sam = world.people["sam"]
    stop = stops.engage(by=sam, scope="agent", target=world.agent.id, reason="x")
    tool = stops.engage(by=sam, scope="tool", target="pay", reason="x")
    whole = stops.engage(by=sam, scope="organisation", target="", reason="x")
    with tenancy.within(world.organisation):
        assert stops.labels([stop, tool, whole]) == {stop.id: "agent teller", tool.id: "tool pay", whole.id: "organisation Testers"}
        here = {one.id for one in stops.engaged_over(world.workspace.id, organisation=world.organisation)}
        there = {one.id for one in stops.engaged_over(world.other.id, organisation=world.organisation)}
    assert here == {stop.id, tool.id, whole.id}
    assert there == {whole.id}


def test_a_stop_with_an_end_releases_itself_then_and_not_before(world):
    sam = browsing.browser(world, "sam")
    assert sam.post("/stops/engage", what=f"agent/{world.agent.id}", reason="a pause", **{"for": "900"}).status_code == 302
    with tenancy.within(world.organisation):
        stop = stops.engaged().get()
    by = organisations.system(world.organisation, "stops")
    assert not stops.end(by=by, identifier=stop.id)
    assert world.start().call("pay", {"account": "a", "amount": 5}).refusal["code"] == "stopped"
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute("update agents_stop set ends_at = now() where id = %s", [stop.id])
        cursor.execute("update agents_work set due_at = now() where kind = 'stop.end' and subject = %s", [stop.id])
    worker.drain()
    assert world.events("stop.*") == ["stop.engaged", "stop.ended"]
    assert "itself, at its end" in sam.text("/stops")
    assert world.start().call("pay", {"account": "a", "amount": 5}).status == "applied"


def test_an_end_in_the_past_is_no_end(world):
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    with pytest.raises(organisations.Conflict):
        stops.engage(by=world.people["sam"], scope="agent", target=world.agent.id, reason="x", ends_at=past)
    assert world.events("stop.*") == []


def test_the_page_of_a_stop_says_why_and_what_it_holds_and_asks_the_same_questions_however_many_there_are(world):
    run = world.start()
    run.call("pay", {"account": "a", "amount": 50})
    stop = stops.engage(by=world.people["sam"], scope="agent", target=world.agent.id, reason=browsing.HOSTILE)
    olga = browsing.browser(world, "olga")
    page = olga.text(f"/stops/{stop.id}")
    assert "[U+202E]" in page
    assert "<script>alert" not in page
    assert olga.get(f"/stops/{stop.id}").context["running"] == 1
    with CaptureQueriesContext(connection) as few:
        olga.text("/stops")
    for target in ("pay", "get_account", "slow_read", "close_account"):
        stops.engage(by=world.people["sam"], scope="tool", target=target, reason="x")
    with CaptureQueriesContext(connection) as many:
        olga.text("/stops")
    assert len(many) <= len(few) + 1  # one question a scope, not one a stop
