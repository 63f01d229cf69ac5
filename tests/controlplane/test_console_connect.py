"""Connect, a tool's tabs, and one person's abilities: forms that leave their entry, answers that are the gate's, refusals with a reason."""

import datetime
import json

import pytest
from django.utils import timezone

from agents import arrivals, contracts, drafts, identity, offers, organisations, roles, tools
from agents.models import Agent, Tool
from audit import log, tenancy
from tests.controlplane import browsing


def test_pages_open_for_their_roles_only(world, elsewhere):
    browsing.stays_outside(world, elsewhere, ["/connect"], may="olga", may_not="sam")
    browsing.stays_outside(world, elsewhere, [f"/members/{world.members['ann'].id}"], may="olga", may_not="ann")
    tabs = [f"/tools/pay?tab={tab}" for tab in ("overview", "schema", "try", "usage", "rules", "history")]
    browsing.stays_outside(world, elsewhere, tabs, may="ada", may_not="fiona")
    assert browsing.browser(world, "olga").get(f"/members/{elsewhere.members['ann'].id}").status_code == 404


def test_a_new_agent_gets_a_key_may_only_read_and_its_first_call_arrives(world):
    olga = browsing.browser(world, "olga")
    assert "Waiting for first call…" in olga.text("/connect")
    answer = olga.post("/connect/key", slug="my-agent", door="rest")
    token = answer.context["issued"].token
    page = answer.content.decode()
    assert token in page
    assert f"export REMIT_KEY={token}" in page
    assert token not in olga.text("/connect")
    with tenancy.within(world.organisation):
        agent = contracts.get("my-agent", workspace=world.workspace)
        assert agent.stage == Agent.Stage.READ_ONLY
        assert {tool.name for tool in tools.pinned(agent.version_id or "")} == {"get_account", "slow_read"}
    assert identity.authenticate(token).id == agent.id
    world.start(agent="my-agent").call("get_account", {"account": "a"})
    world.start(agent="my-agent").call("pay", {"account": "a", "amount": 5})
    page = olga.text("/connect")
    assert "let through by the gate" in page
    assert "refused: the tool is not registered" in page


def test_after_a_key_was_made_only_its_agent_is_listened_to(world):
    olga = browsing.browser(world, "olga")
    world.start().call("get_account", {"account": "a"})
    assert olga.get("/connect").context["steps"][0][0] is True
    fresh = olga.post("/connect/key", slug="my-agent", door="rest")
    assert (fresh.context["arrivals"], fresh.context["steps"][0][0]) == ([], False)
    here = fresh.context["here"].removeprefix(olga.root)
    assert f'data-get="{olga.root}{here}"'.replace("&", "&amp;") in fresh.content.decode()
    assert "Waiting for first call…" in olga.text(here)
    world.start(agent="my-agent").call("get_account", {"account": "a"})
    world.start().call("get_account", {"account": "a"})
    heard = olga.get(here)
    assert {one.agent for one in heard.context["arrivals"]} == {"my-agent"}
    assert heard.context["steps"][0][0] is True
    assert {one.agent for one in olga.get("/connect").context["arrivals"]} == {"my-agent", "teller"}


def test_after_two_minutes_of_nothing_likely_causes_are_named(world):
    olga = browsing.browser(world, "olga")

    def waited(seconds: int) -> str:
        start = timezone.now() - datetime.timedelta(seconds=seconds)
        return olga.text("/connect", agent="teller", **{"from": f"{start:%Y-%m-%dT%H:%M:%SZ}"})

    assert "Nothing from teller" not in waited(100)
    assert 'hx-trigger="load delay:2' in waited(100)
    late = waited(130)
    assert "Nothing from teller for 2" in late
    assert "curl -sS -H" in late.partition("Nothing from teller")[2]
    for odd in ({"from": "x"}, {"from": "2999-01-01T00:00:00Z"}, {"agent": "nobody", "from": "2026-01-01T00:00:00Z"}):
        assert "Nothing from" not in olga.text("/connect", **odd)
    assert "Run the demo agent" not in late  # there is none here


def test_what_others_do_does_not_push_an_arrival_off_the_page(world, monkeypatch):
    monkeypatch.setattr(arrivals, "MOST", 1)
    olga = world.people["olga"]
    world.start().call("get_account", {"account": "a"})
    system = organisations.system(world.organisation)
    there = contracts.register(by=system, workspace=world.other, slug="there", name="There", owner=world.members["olga"])
    with tenancy.within(world.organisation):
        for agent in (world.agent, there):
            key = identity.issue(by=system, agent=agent).key.id
            by = organisations.Principal(kind="agent", id=agent.id, organisation=world.organisation)
            log.append("key.refused", by=by, subject=key, detail={"why": "revoked"})
        log.append("call.admitted", by=olga, workspace=world.workspace.id)
        since = timezone.now() - datetime.timedelta(hours=1)
        assert [one.words for one in arrivals.newest(world.workspace.id, since=since)] == ["401: the key is revoked"]
        monkeypatch.setattr(arrivals, "MOST", 3)
        assert {one.agent for one in arrivals.newest(world.workspace.id, since=since)} == {"teller"}


@pytest.mark.parametrize("slug", ["Bad Name", "<script>alert(1)</script>", "teller"])
def test_a_name_that_cannot_be_used_is_refused_and_nothing_is_left(world, slug):
    before = world.events()
    answer = browsing.browser(world, "olga").post("/connect/key", slug=slug)
    assert answer.status_code == 422
    assert "<script>alert" not in answer.content.decode()
    assert world.events() == before
    assert browsing.browser(world, "sam").post("/connect/key", slug="x").status_code == 404


def test_a_tool_is_confirmed_and_retired_by_forms(world):
    olga = browsing.browser(world, "olga")
    form = {"is_write": "yes", "risk": "critical", "is_reversible": "no", "connector_class": "E1", "price": "$0.25", "redact": "note"}
    assert olga.post("/tools/pay/confirm", **form, data_domain="payments").status_code == 302
    with tenancy.within(world.organisation):
        row = tools.versions(tools.get("pay", workspace=world.workspace))[0]
    assert (row.risk, row.price_micros, row.redact, row.data_domain, row.number) == ("critical", 250_000, ["note"], "payments", 2)
    assert row.preview is not None
    assert world.events()[-1] == "tool.confirmed"
    assert olga.post("/tools/pay/confirm", **{**form, "connector_class": "E0"}).status_code == 422
    assert olga.post("/tools/pay/confirm", **{**form, "price": "much"}).status_code == 422
    assert olga.post("/tools/pay/retire").status_code == 302
    assert world.events()[-1] == "tool.retired"
    for name in ("ann", "vera", "sam"):
        assert browsing.browser(world, name).post("/tools/slow_read/retire").status_code == 404
        assert browsing.browser(world, name).post("/tools/slow_read/confirm", **form).status_code == 404


def test_try_it_says_what_the_gate_says_and_changes_nothing(world):
    world.start().call("pay", {"account": "a", "amount": 5})
    before, writes = world.events(), len(world.bank.writes())
    query = {"tab": "try", "simulate": "1", "agent": "teller", "a.account": "a", "a.amount": "600"}
    page = browsing.browser(world, "ada").get("/tools/pay", **query)
    assert page.context["rehearsed"]["tier"] == "TWO"
    refused = browsing.browser(world, "ada").get("/tools/pay", **{**query, "a.amount": "950"}).context["rehearsed"]["refusal"]
    assert refused["code"] == "policy_denied"
    assert (world.events(), len(world.bank.writes())) == (before, writes)
    assert "You may not see what agents can do" in browsing.browser(world, "vera").text("/tools/pay", **query)


def test_usage_counts_codes_and_the_arguments_that_were_wrong(world):
    run = world.start()
    run.call("pay", {"account": "a", "amount": 5})
    run.call("pay", {"account": "a", "amount": "five"})
    run.call("pay", {"account": "a", "amount": 950})
    page = browsing.browser(world, "ada").get("/tools/pay", tab="usage")
    assert page.context["use"].calls == 3
    assert {code: count.calls for code, count, _ in page.context["codes"]} == {"invalid_arguments": 1, "policy_denied": 1}
    assert page.context["faults"] == {"/amount": 1}
    with tenancy.within(world.organisation):
        Tool.objects.update(created_at=timezone.now() - datetime.timedelta(days=100))
    assert [row["row"].tool.name for row in browsing.browser(world, "ada").get("/tools", only="unused").context["rows"]] == [
        "close_account",
        "get_account",
        "slow_read",
    ]


def test_breaking_changes_of_a_schema_are_marked(world):
    olga = world.people["olga"]
    with tenancy.within(world.organisation):
        connector = tools.get_connector("bank", workspace=world.workspace)
        old = json.loads(tools.versions(tools.get("pay", workspace=world.workspace))[0].input_schema)
    new = {
        **old,
        "properties": {**old["properties"], "iban": {"type": "string", "description": "<b>x"}},
        "required": [*old["required"], "iban"],
    }
    drafts.record(by=olga, connector=connector, offers=[offers.Offer("pay", "Pay", "Pay", new, None, {}, {})])
    page = browsing.browser(world, "ada").get("/tools/pay", tab="schema")
    assert [(change.argument, change.is_breaking) for change in page.context["changes"]] == [("iban", True)]
    assert "1 breaking" in page.content.decode()


def test_a_person_is_shown_with_what_they_may_do(world):
    page = browsing.browser(world, "olga").get(f"/members/{world.members['ann'].id}")
    assert {name for name, _, can in page.context["abilities"] if can} == roles.ROLES["approver"]
    assert dict(page.context["decided"]).keys() == {"pay", "close_account"}
    own = browsing.browser(world, "olga").get(f"/members/{world.members['olga'].id}")
    assert [agent.slug for agent in own.context["owns"]] == ["teller"]
    assert own.context["line"] is None


def test_coverage_is_said_and_the_last_approver_stays(world):
    olga = browsing.browser(world, "olga")
    assert "3 people can approve; a two-human request can be decided." in olga.text("/members")
    for name in ("ann", "ben"):
        assert olga.post(f"/members/{world.members[name].id}/role", act="take", role="approver").status_code == 302
    assert "1 person can approve; a two-human request can not be decided." in olga.text("/members")
    refused = olga.post(f"/members/{world.members['cleo'].id}/role", act="take", role="approver")
    assert refused.status_code == 422
    assert "This is the last approver of the workspace." in refused.content.decode()
