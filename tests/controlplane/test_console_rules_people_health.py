"""Policies, members and health in the browser: drafts that change nothing, roles by others, probes in words."""

import json

import pytest
from django.contrib.auth import get_user_model

from agents import drafts, offers, organisations, policies, seats, tools
from agents.models import Call
from approvals import votes
from audit import tenancy
from tests import world as worlds
from tests.controlplane import browsing

STRICTER = worlds.POLICIES + '@id("no-slow") @why("Slow reads are off.") forbid (principal, action == Action::"slow_read", resource);'


def draft_of(world, text: str) -> str:
    return str(browsing.browser(world, "sam").post("/policies/propose", cedar=text).headers["Location"]).rpartition("/")[2]


def proposed(world) -> str:
    return draft_of(world, STRICTER)


def test_each_page_opens_for_its_role_only(world, elsewhere):
    draft = proposed(world)
    browsing.stays_outside(world, elsewhere, ["/policies", f"/policies/{draft}"], may="ada", may_not="fiona")
    browsing.stays_outside(world, elsewhere, ["/policies/propose"], may="ann", may_not="ada")
    browsing.stays_outside(world, elsewhere, ["/members"], may="olga", may_not="sam")
    browsing.stays_outside(world, elsewhere, ["/health"], may="ada", may_not="ann")


def test_problems_are_named_by_line_and_the_text_stays(world):
    answer = browsing.browser(world, "sam").post(
        "/policies/propose", cedar='\n@id("x") permit (principal, action == Action::"nothing", resource);<b>'
    )
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Line 2" in page
    assert "&lt;b&gt;" in page
    assert world.events("policy.proposed") == ["policy.proposed"]  # the world's own


def test_a_draft_says_which_access_it_changes(world):
    page = browsing.browser(world, "sam").get(f"/policies/{proposed(world)}")
    assert [(each.after.tool, each.word, each.before.word, each.after.word) for each in page.context["cells"]] == [
        ("slow_read", "Lost", "AUTO", "REFUSED")
    ]
    assert [(change.word, change.id) for change in page.context["changes"]] == [("Added", "no-slow")]


def test_the_proposer_does_not_activate_while_another_can(world):
    draft = proposed(world)
    assert browsing.browser(world, "sam").post(f"/policies/{draft}/activate").status_code == 403
    assert browsing.browser(world, "ann").post(f"/policies/{draft}/activate").status_code == 404
    assert browsing.browser(world, "olga").post(f"/policies/{draft}/activate").status_code == 302
    assert world.events()[-1] == "policy.activated"


def test_where_nobody_else_can_the_proposer_activates(world):
    with tenancy.within(world.organisation):
        organisations.deactivate(by=world.people["olga"], member=world.members["olga"])
    draft = proposed(world)
    assert browsing.browser(world, "sam").post(f"/policies/{draft}/activate").status_code == 302


def test_a_version_of_another_organisation_is_not_there(world, elsewhere):
    draft = proposed(elsewhere)
    assert browsing.browser(world, "sam").get(f"/policies/{draft}").status_code == 404
    assert browsing.browser(world, "olga").post(f"/policies/{draft}/activate").status_code == 404


def test_roles_are_given_and_taken_and_entered(world):
    olga, vera = browsing.browser(world, "olga"), world.members["vera"].id
    assert olga.post(f"/members/{vera}/role", act="grant", role="auditor", until=f"{worlds.soon():%Y-%m-%d}").status_code == 302
    assert olga.post(f"/members/{vera}/role", act="take", role="viewer").status_code == 302
    assert world.events()[-2:] == ["seat.granted", "seat.removed"]
    assert browsing.browser(world, "vera").get("/audit").status_code == 200


def test_a_change_of_roles_says_first_what_it_gives_and_takes(world):
    olga, vera, ann = browsing.browser(world, "olga"), world.members["vera"].id, world.members["ann"].id
    entries = world.events()
    given = olga.get(f"/members/{vera}/role", act="grant", role="auditor")
    assert given.context["lost"] == []
    assert {"Export the audit log", "See budgets"} <= set(given.context["gained"])
    assert "See agents" not in given.context["gained"]  # held already
    assert "Give the role auditor" in given.content.decode()
    taken = olga.get(f"/members/{ann}/role", act="take", role="approver")
    assert (taken.context["gained"], "Approve or deny" in taken.context["lost"]) == ([], True)
    for nothing in ({}, {"act": "grant", "role": "viewer"}, {"act": "take", "role": "owner"}, {"act": "grant", "role": "emperor"}):
        assert "What changes" not in olga.text(f"/members/{vera}/role", **nothing)
    assert world.events() == entries
    page = olga.text("/members")
    assert f'method="post" action="{olga.root}/members/{vera}/role"' not in page
    assert "See agents; " in page
    assert "agents_view" not in page


def test_somebodys_sessions_are_ended_and_nobody_elses(world):
    olga, vera, ann = (browsing.browser(world, name) for name in ("olga", "vera", "ann"))
    again = browsing.browser(world, "vera")
    address = f"/members/{world.members['vera'].id}"
    assert "2 sessions" in olga.text(address)
    assert ann.post(f"{address}/sessions").status_code == 404
    assert vera.get("/runs").status_code == 200
    assert olga.post(f"{address}/sessions").status_code == 302
    for ended in (vera, again):
        assert ended.get("/runs").headers["Location"].startswith("/accounts/login/")
        assert ended.client.get("/api/v1/runs").status_code == 401
    assert ann.get("/runs").status_code == 200
    assert world.events()[-1] == "session.ended"
    assert "0 sessions" in olga.text(address)
    assert browsing.browser(world, "vera").get("/runs").status_code == 200  # and may sign in again


def test_whoever_manages_members_here_signs_out_nobody_of_another_workspace(world):
    """Again and again they could keep its only second person out."""
    system, vera = organisations.system(world.organisation, "tests"), world.members["vera"]
    world.join("adam", "admin")
    seats.grant(by=system, member=vera, workspace=world.other, role="approver")
    adam, theirs = browsing.browser(world, "adam"), browsing.browser(world, "vera")
    assert adam.post(f"/members/{vera.id}/sessions").status_code == 403
    assert theirs.get("/runs").status_code == 200
    seats.grant(by=system, member=world.members["adam"], workspace=world.other, role="admin")
    assert adam.post(f"/members/{vera.id}/sessions").status_code == 302
    assert theirs.get("/runs").status_code == 302


def test_a_member_is_removed_but_not_the_last_owner_or_approver(world):
    olga, vera, address = browsing.browser(world, "olga"), browsing.browser(world, "vera"), f"/members/{world.members['vera'].id}"
    assert vera.get("/runs").status_code == 200
    assert browsing.browser(world, "sam").post(f"{address}/remove").status_code == 404
    assert olga.post(f"{address}/remove").status_code == 302
    assert vera.get("/runs").status_code == 302
    assert browsing.browser(world, "vera").get("/runs").status_code == 404
    assert world.events()[-2:] == ["member.deactivated", "session.ended"]
    entries = world.events()
    refused = olga.post(f"/members/{world.members['olga'].id}/remove")
    assert refused.status_code == 422
    assert "This is the last owner of the workspace." in refused.content.decode()
    assert world.events() == entries
    assert olga.get("/runs").status_code == 200


def test_whoever_manages_one_workspace_removes_nobody_of_another(world):
    world.join("adam", "admin")
    seats.grant(by=organisations.system(world.organisation, "tests"), member=world.members["vera"], workspace=world.other, role="viewer")
    refused = browsing.browser(world, "adam").post(f"/members/{world.members['vera'].id}/remove")
    assert refused.status_code == 403
    assert browsing.browser(world, "vera").get("/runs").status_code == 200


def test_nobody_raises_themselves_and_the_last_owner_stays(world):
    olga, own = browsing.browser(world, "olga"), world.members["olga"].id
    entries = world.events()
    assert olga.post(f"/members/{own}/role", act="grant", role="approver").status_code == 403
    assert olga.post(f"/members/{own}/role", act="take", role="owner").status_code == 422
    assert olga.post(f"/members/{own}/role", act="grant", role="emperor").status_code == 422
    assert browsing.browser(world, "sam").post(f"/members/{own}/role", act="take", role="owner").status_code == 404
    assert world.events() == entries


def test_a_member_of_another_organisation_is_not_there(world, elsewhere):
    assert (
        browsing.browser(world, "olga").post(f"/members/{elsewhere.members['vera'].id}/role", act="grant", role="owner").status_code == 404
    )


def test_a_person_is_added_whole_or_not_at_all(world):
    olga, name = browsing.browser(world, "olga"), f"zed-{world.organisation[-6:].lower()}"
    form = {"username": name, "name": browsing.HOSTILE.replace("\u202e", ""), "email": "zed@example.com", "role": "viewer"}
    refused = olga.post("/members/add", **{**form, "role": "emperor"})
    assert refused.status_code == 422
    assert not get_user_model().objects.filter(username=name).exists()
    assert olga.post("/members/add", **{**form, "email": "no"}).status_code == 422
    assert olga.post("/members/add", **form).status_code == 302
    assert "<script>alert" not in olga.text("/members")
    assert world.events()[-2:] == ["member.added", "seat.granted"]


def test_health_says_what_the_probes_say(world):
    page = browsing.browser(world, "ada").text("/health")
    assert "row-level security is forced on every table" in page
    assert "python manage.py sweep" in page  # none runs beside the tests, and the page says what helps


LOOSER = worlds.POLICIES.replace("amount > 10 }", "amount > 100 }").replace("amount > 900 }", "amount > 800 }")


ASKED = "amount > 10 } unless { context.approvals >= 1 }"
UNTIL = worlds.POLICIES.replace(ASKED, ASKED + " unless { context.args.amount <= 60 && context.day <= 20991231 }")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (worlds.POLICIES.replace("amount > 10 }", "amount > 100 }"), "Loosened"),
        (worlds.POLICIES.replace("amount > 10 }", "amount > 5 }"), "Tightened"),
        (LOOSER, "Both ways"),
        (UNTIL, "Loosened"),
        (worlds.POLICIES + '@id("no-pay") forbid (principal, action == Action::"pay", resource);', "Lost"),
    ],
)
def test_a_change_of_access_is_named(world, text, word):
    page = browsing.browser(world, "sam").get(f"/policies/{draft_of(world, text)}")
    assert [(each.after.tool, each.word) for each in page.context["cells"]] == [("pay", word)]


def test_a_back_test_asks_the_engine_again_about_calls_that_were_made(world):
    world.start().call("pay", {"account": "a", "amount": 50})  # one human, then none
    world.start().call("pay", {"account": "a", "amount": 850})  # two humans, then refused
    world.start().call("pay", {"account": "a", "amount": 5})  # stays
    held = world.start().call("pay", {"account": "b", "amount": 60})
    votes.cast(by=world.people["ann"], request_id=held.approval, verdict="DENY", plan_digest=held.plan, reason="no")
    draft, before = draft_of(world, LOOSER), world.events()
    found = browsing.browser(world, "sam").get(f"/policies/{draft}", backtest="30").context["backtest"]
    assert (found.asked, found.unclear, found.changed, found.whole) == (4, 0, 3, True)
    assert [(move.before, move.after, move.calls, move.denied) for move in found.moves] == [("ONE", "AUTO", 2, 1), ("TWO", "REFUSED", 1, 0)]
    assert world.events()[: len(before)] == before
    assert "1 that a person denied" in browsing.browser(world, "sam").text(f"/policies/{draft}", backtest="30")


def test_a_back_test_asks_with_the_day_of_the_call(world):
    olga, sam = world.people["olga"], world.people["sam"]
    policies.activate(by=olga, policy_set=policies.propose(by=sam, workspace=world.workspace, text=UNTIL))
    assert world.start().call("pay", {"account": "a", "amount": 50}).status == "applied"
    found = browsing.browser(world, "sam").get(f"/policies/{draft_of(world, worlds.POLICIES)}", backtest="30").context["backtest"]
    assert [(move.before, move.after, move.calls) for move in found.moves] == [("AUTO", "ONE", 1)]


def test_a_call_whose_record_lacks_a_word_is_asked_about_without_it(world):
    said = world.start().call("get_account", {"account": "a"})
    with tenancy.within(world.organisation):
        call = Call.objects.filter(id=said.call)
        kept = json.loads(call.get().decision)
        del kept["request"]["subject"]
        call.update(decision=json.dumps(kept))
    draft = draft_of(world, LOOSER)
    found = browsing.browser(world, "sam").get(f"/policies/{draft}", backtest="30").context["backtest"]
    assert (found.asked, found.unclear, found.changed) == (1, 0, 0)


def test_what_no_rule_can_see_is_listed_where_rules_are_written(world):
    sam = browsing.browser(world, "sam")
    assert "No rule sees these arguments" not in sam.text("/policies/propose")
    with tenancy.within(world.organisation):
        connector = tools.active(world.workspace.id)[0].tool.connector
    shape = {"type": "object", "properties": {"name": {"type": "string"}, "freely": {"type": "object"}}}
    drafts.record(by=world.people["olga"], connector=connector, offers=[offers.Offer("label", "Label", "A label.", shape, None)])
    tools.confirm(by=world.people["olga"], name="label", workspace=world.workspace, classification=worlds.CLASSES["slow_read"])
    assert "No rule sees these arguments" in sam.text("/policies/propose")
    assert "<code>label</code> <code>freely</code>" in sam.text("/policies/propose")
