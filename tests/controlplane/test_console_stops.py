"""Stops in the browser: a preview that changes nothing, a reason that everybody reads, a release by another person."""

from agents import stops
from audit import tenancy
from tests.controlplane import browsing


def test_stops_are_seen_by_members_and_by_nobody_else(world, elsewhere):
    assert browsing.browser(world, "vera").get("/stops").status_code == 200
    assert browsing.browser(elsewhere, "vera", at=world).get("/stops").status_code == 404
    assert browsing.browser(world).get("/stops").status_code == 302
    assert "Stop something" not in browsing.browser(world, "vera").text("/stops")


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
    for what in (f"agent/{elsewhere.agent.id}", f"organisation/{world.organisation}", f"workspace/{world.other.id}", "agent/", ""):
        answer = sam.post("/stops/engage", what=what, reason="a reason of mine")
        assert answer.status_code == 422, what
        assert "a reason of mine" in answer.content.decode()
    assert sam.post("/stops/engage", what=f"agent/{world.agent.id}", reason="  ").status_code == 422
    assert browsing.browser(world, "vera").post("/stops/engage", what=f"agent/{world.agent.id}", reason="x").status_code == 422
    assert world.events("stop.*") == []


def test_a_release_of_what_is_not_here_is_not_found(world, elsewhere):
    stop = stops.engage(by=elsewhere.people["sam"], scope="agent", target=elsewhere.agent.id, reason="x")
    assert browsing.browser(world, "olga").post(f"/stops/{stop.id}/release").status_code == 404
