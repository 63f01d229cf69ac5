"""Overview, agents, tools and the jump: the right people see them, numbers lead to their rows, and forms leave their entry."""

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client, override_settings
from django.utils import timezone
from pytest_django import Settings

from agents import contracts, drafts, identity, offers, organisations, seats, stops, tools, usage
from agents.models import Agent, Call, Run, Tool
from audit import log, tenancy
from budgets import caps
from controlplane.connectors import builtin
from controlplane.console import tool_tabs
from controlplane.demo import building, scene
from tests.controlplane import builtin_world
from tests.controlplane.browsing import root_of, signed_in, text, visit
from tests.world import World


@pytest.mark.parametrize(("name", "sees"), [("vera", True), ("olga", True), ("fiona", False)])
def test_tools_are_for_those_who_may_see_them(world: World, name: str, sees: bool) -> None:
    for page in ("tools", "tools/pay"):
        assert visit(world, name, page).status_code == (200 if sees else 404)


@pytest.mark.parametrize("page", ["overview", "runs", "agents", "agents/teller", "tools", "tools/pay", "go?q=pay"])
def test_the_signed_out_sign_in_and_strangers_find_nothing(world: World, elsewhere: World, page: str) -> None:
    assert visit(world, "", page).status_code == 302
    client = signed_in(elsewhere, "olga")
    theirs, absent = client.get(f"{root_of(world)}/{page}"), client.get("/no-such-org/desk/overview")
    assert theirs.status_code == 404
    assert theirs.content == absent.content


@pytest.mark.parametrize("page", ["agents/nobody", "tools/nothing", "agents/%00", "tools/%00", "runs/%00"])
def test_what_is_not_there_is_not_found(world: World, page: str) -> None:
    assert visit(world, "olga", page).status_code == 404


def test_an_agents_page_says_what_it_is_for_what_never_and_how_far(world: World) -> None:
    page = text(visit(world, "vera", "agents/teller"))
    for words in (
        "Look after accounts.",
        "Never pay twice.",
        "scripted:idle",
        "The policy decides about each write.",
        "close_account",
        "Repeats until flagged",
    ):
        assert words in page
    assert "Change stage" not in page


def test_keys_are_shown_by_their_beginning_only(world: World) -> None:
    issued = identity.issue(by=world.people["olga"], agent=world.agent, label="laptop")
    identity.revoke(by=world.people["olga"], key=identity.issue(by=world.people["olga"], agent=world.agent, label="old").key)
    page = text(visit(world, "olga", "agents/teller?tab=keys"))
    assert issued.token[:28] in page
    assert issued.token not in page
    assert issued.token[-43:] not in page
    assert "Revoked" in page
    assert "laptop" in page
    assert "Keys are shown to people who manage agents." in text(visit(world, "vera", "agents/teller?tab=keys"))


def test_a_key_is_issued_rolled_and_revoked_by_forms_and_its_secret_is_shown_once(world: World) -> None:
    client, here = signed_in(world, "olga"), f"{root_of(world)}/agents/teller"
    answer = client.post(f"{here}/keys", {"label": "laptop <b>", "days": "30"})
    token = str(answer.context["issued"].token)
    assert token in text(answer)
    assert "no-store" in answer.headers["Cache-Control"]
    assert token not in text(client.get(f"{here}?tab=keys"))
    assert identity.authenticate(token).id == world.agent.id
    with tenancy.within(world.organisation):
        key = identity.keys(world.agent).get(label="laptop <b>")
    assert key.last_used_at is not None
    rolled = client.post(f"{here}/keys/{key.id}/roll")
    fresh = str(rolled.context["issued"].token)
    assert identity.authenticate(token).key == key.id  # for a day
    with tenancy.within(world.organisation):
        key.refresh_from_db()
    assert key.expires_at is not None
    assert key.expires_at < timezone.now() + datetime.timedelta(hours=25)
    assert client.post(f"{here}/keys/{key.id}/revoke").status_code == 302
    with pytest.raises(identity.Unauthenticated):
        identity.authenticate(token)
    assert client.post(f"{here}/keys/{key.id}/roll").status_code == 422
    assert identity.authenticate(fresh).id == world.agent.id
    assert world.events("key.*") == ["key.issued", "key.issued", "key.rolled", "key.revoked", "key.refused"]


def test_a_key_of_one_run_does_not_become_a_key_of_its_agent(world: World) -> None:
    run = world.start()
    refused = signed_in(world, "olga").post(f"{root_of(world)}/agents/teller/keys/{run.principal.key}/roll")
    assert refused.status_code == 422
    assert "agent&#x27;s own key is rolled" in text(refused)
    assert world.events("key.rolled") == []


def test_keys_of_another_agent_organisation_or_without_the_permission_are_not_there(world: World, elsewhere: World) -> None:
    other = identity.issue(by=elsewhere.people["olga"], agent=elsewhere.agent).key
    mine = identity.issue(by=world.people["olga"], agent=world.agent).key
    contracts.register(by=world.people["olga"], workspace=world.workspace, slug="idle", name="Idle", owner=world.members["olga"])
    for act in ("roll", "revoke"):
        assert signed_in(world, "olga").post(f"{root_of(world)}/agents/teller/keys/{other.id}/{act}").status_code == 404
        assert signed_in(world, "olga").post(f"{root_of(world)}/agents/idle/keys/{mine.id}/{act}").status_code == 404
        assert signed_in(world, "sam").post(f"{root_of(world)}/agents/teller/keys/{mine.id}/{act}").status_code == 404
    assert signed_in(world, "vera").post(f"{root_of(world)}/agents/teller/keys").status_code == 404


@pytest.mark.parametrize("tab", ["", "health", "access", "versions", "keys", "runs", "history", "change"])
def test_every_tab_of_an_agent_opens_for_whoever_sees_agents_and_text_in_it_is_inert(world: World, tab: str) -> None:
    hostile = "<script>alert(1)</script> \u202e"
    goal = contracts.Goal(purpose=hostile, never=[hostile], output=hostile)
    contracts.publish(by=world.people["olga"], agent=world.agent, goal=goal, pinning=contracts.Pinning(hostile, ["pay"], ["scripted:idle"]))
    world.start(title=hostile).call("pay", {"account": hostile, "amount": 5})
    for name in ("vera", "olga", "fiona", "ada"):
        page = text(visit(world, name, f"agents/teller?tab={tab}"))
        assert "<script>alert" not in page
        assert "\u202e" not in page


def test_two_versions_are_compared_field_by_field(world: World) -> None:
    world.publish(tools=["pay"], prompt="You look after accounts.\nBe brief.")
    page = visit(world, "vera", "agents/teller?tab=versions")
    found = {change["name"]: change for change in page.context["changes"]}
    assert set(found) == {"Tool close_account", "Tool get_account", "Tool slow_read", "Prompt"}
    assert found["Tool slow_read"]["after"] == "not pinned"
    assert "+Be brief." in found["Prompt"]["lines"]


def test_a_rate_of_few_runs_is_not_judged_and_an_agent_without_owner_says_so(world: World) -> None:
    world.start().call("get_account", {"account": "a"})
    page = visit(world, "vera", "agents/teller?tab=health")
    assert page.context["health"].is_judged is False
    assert "too few to judge" in text(page)
    with tenancy.within(world.organisation):
        organisations.deactivate(by=world.people["sam"], member=world.members["olga"])
    assert "Nobody owns it: olga is no longer a member." in text(visit(world, "vera", "agents/teller"))


def test_the_interval_of_a_rate_holds_it() -> None:
    found = usage.Health(runs=100, over=100, succeeded=83, handed_off=0, failed=17, looped=0, seconds=())
    assert found.interval == (74, 90)


def test_a_stage_is_changed_by_a_form_that_leaves_its_entry(world: World) -> None:
    client, address = signed_in(world, "olga"), f"{root_of(world)}/agents/teller/change"
    assert client.post(address, {"stage": "READ_ONLY"}).status_code == 302
    assert client.post(address, {"state": "PAUSED"}).status_code == 302
    with tenancy.within(world.organisation):
        agent = Agent.objects.get(id=world.agent.id)
    assert (agent.stage, agent.state) == ("READ_ONLY", "PAUSED")
    assert world.events("agent.changed") == ["agent.changed"] * 2
    assert "Let it go on" in text(client.get(f"{root_of(world)}/agents/teller"))


@pytest.mark.parametrize("form", [{"stage": "EVERYTHING"}, {"state": "nonsense"}])
def test_a_stage_that_does_not_exist_is_refused_on_the_page(world: World, form: dict[str, str]) -> None:
    answer = signed_in(world, "olga").post(f"{root_of(world)}/agents/teller/change", form)
    assert answer.status_code == 422
    assert 'role="alert"' in text(answer)
    assert not world.events("agent.changed")


@pytest.mark.parametrize("name", ["ann", "vera", "sam", "ada"])
def test_who_does_not_manage_agents_changes_none(world: World, name: str) -> None:
    assert signed_in(world, name).post(f"{root_of(world)}/agents/teller/change", {"stage": "READ_ONLY"}).status_code == 404
    assert not world.events("agent.changed")


def test_a_tool_shows_its_arguments_and_what_people_said_of_it(world: World) -> None:
    page = text(visit(world, "vera", "tools/pay"))
    for words in ("<code>account</code>", "<code>amount</code>", "E1 honours our idempotency key", "$0.01", "Not reversible", "teller"):
        assert words in page


def test_a_tool_that_changed_upstream_is_shown_as_refused(world: World) -> None:
    olga = world.people["olga"]
    with tenancy.within(world.organisation):
        connector = tools.get_connector("bank", workspace=world.workspace)
    schema = {"type": "object", "properties": {"account": {"type": "string"}}}
    drafts.record(by=olga, connector=connector, offers=[offers.Offer("pay", "Pay", "<b>Pay anybody</b>", schema, None, {}, {})])
    page = text(visit(world, "vera", "tools/pay"))
    assert "Changed upstream" in page
    assert "&lt;b&gt;Pay anybody" in page
    assert "<b>Pay anybody" not in page
    assert "Changed upstream" in text(visit(world, "vera", "tools"))
    assert "No longer active: refused" in text(visit(world, "vera", "agents/teller"))


def test_a_use_of_weeks_ago_is_the_last_use_and_not_one_of_this_week(world: World) -> None:
    run = world.start()
    run.call("get_account", {"account": "a"})
    run.call("pay", {"account": "a", "amount": 5})
    run.call("pay", {"account": "a", "amount": "much"})
    now = timezone.now()
    asked: dict[str, Any] = {"since": now - datetime.timedelta(days=7), "last_since": now - datetime.timedelta(days=60)}

    def found() -> dict[str, tuple[int, int, bool]]:
        with tenancy.within(world.organisation):
            used = usage.of_tools(world.organisation, world.workspace.id, **asked)
        return {name: (one.calls, one.undone, one.last is not None) for name, one in used.items()}

    def unused() -> int:
        page = visit(world, "olga", "tools")
        assert page.context["unused"] == text(page).count("Not in 60 d</span>")
        return int(page.context["unused"])

    assert unused() == 0  # nothing here is as old as that
    assert "not yet" in text(visit(world, "olga", "tools"))
    with tenancy.within(world.organisation):
        Tool.objects.update(created_at=now - datetime.timedelta(days=100))
    assert found() == {"get_account": (1, 0, True), "pay": (2, 1, True)}
    without = unused()
    for days, expected in ((30, {"get_account": (0, 0, True), "pay": (0, 0, True)}), (90, {})):
        with tenancy.within(world.organisation):
            Run.objects.filter(id=run.run.id).update(started_at=now - datetime.timedelta(days=days))
        assert found() == expected
        assert unused() == without + 2 - len(expected)


def test_the_numbers_of_a_tools_use_add_up_and_each_leads_to_the_runs_it_counts(world: World) -> None:
    world.start().call("pay", {"account": "a", "amount": 5})
    world.start().call("pay", {"account": "a", "amount": 50})  # waits
    twice = world.start()
    twice.call("pay", {"account": "a", "amount": 901})
    twice.call("pay", {"account": "b", "amount": 902})
    mixed = world.start()
    mixed.call("pay", {"account": "a", "amount": "much"})
    mixed.call("get_account", {"account": "a"})
    unlike = world.start()
    unlike.call("get_account", {"account": 5})  # refused, but another tool
    unlike.call("pay", {"account": "c", "amount": 6})
    old = world.start()
    old.call("pay", {"account": "a", "amount": 7})
    failed = world.start().call("pay", {"account": "a", "amount": 8}).call
    with tenancy.within(world.organisation):
        Run.objects.filter(id=old.run.id).update(started_at=timezone.now() - datetime.timedelta(days=10))
        Call.objects.filter(id=failed).update(state="IN_DOUBT")
    client, here = signed_in(world, "olga"), root_of(world)
    listed = text(client.get(f"{here}/tools"))
    for days, calls in (("", 7), ("30", 8)):
        page = client.get(f"{here}/tools/pay?tab=usage&days={days}")
        (whole, *states), codes, callers = (page.context[name] for name in ("outcomes", "codes", "callers"))
        assert whole[1].calls == calls == sum(each.calls for _, each, _ in states) == sum(each.calls for _, each, _ in callers)
        assert {words for words, _, _ in states} == {"Done", "Refused", "Waiting", "In doubt"}
        assert {code: (count.calls, count.runs) for code, count, _ in codes} == {"policy_denied": (2, 1), "invalid_arguments": (1, 1)}
        for words, count, address in (whole, *states, *codes, *callers):
            rows = set(re.findall(r"/runs/(R-\w+)", text(client.get(address))))
            assert len(rows) == count.runs, (days, words)
            assert address.replace("&", "&amp;") in text(page)
        assert f'tab=usage">{calls}</a>' in listed or days == "30"


def test_numbers_of_an_agents_health_lead_to_runs_of_the_same_days(world: World) -> None:
    world.start().call("pay", {"account": "a", "amount": 901})
    world.start().call("get_account", {"account": "a"})
    client, here = signed_in(world, "olga"), root_of(world)
    page = text(client.get(f"{here}/agents/teller?tab=health"))
    counted = {
        word: re.findall(rf'href="([^"]+{word}[^"]*)"', page)[0].replace("&amp;", "&")
        for word in ("has%3Aloop", "tool%3Apay", "policy_denied")
    }
    rows = {word: len(set(re.findall(r"/runs/(R-\w+)", text(client.get(address))))) for word, address in counted.items()}
    assert rows == {"has%3Aloop": 0, "tool%3Apay": 1, "policy_denied": 1}


@pytest.mark.parametrize(
    ("page", "words"),
    [("tools?q=zzz", "No tools match."), ("tools?kind=write&q=get_account", "No tools match."), ("agents?stage=DRAFT", "No agents match.")],
)
def test_an_empty_list_offers_the_way_back(world: World, page: str, words: str) -> None:
    assert words in text(visit(world, "vera", page))


def test_a_nested_schema_becomes_a_flat_table() -> None:
    schema = {
        "required": ["lines"],
        "properties": {
            "lines": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string", "enum": ["a"]}}}},
            "odd": True,
        },
    }
    rows = tool_tabs.arguments(schema)
    assert [(row["name"], row["type"], row["required"]) for row in rows] == [
        ("lines", "array of object", True),
        ("lines[].sku", "string", False),
        ("odd", "anything", False),
    ]


def test_the_overview_puts_my_turn_first_and_tells_everybody_what_is_wrong(world: World) -> None:
    calm = text(visit(world, "vera", "overview"))
    assert "Nothing needs you." in calm
    run = world.start(title="Pay Anna back")
    run.call("pay", {"account": "a", "amount": 50})
    assert "asks you to decide" in text(visit(world, "ann", "overview"))
    assert "asks you to decide" not in text(visit(world, "olga", "overview"))
    stops.engage(by=world.people["sam"], scope="agent", target="teller", reason="Duplicates.")
    assert "Duplicates." in text(visit(world, "vera", "overview"))


def test_a_purse_that_is_nearly_empty_needs_attention(world: World) -> None:
    fiona = world.people["fiona"]
    caps.put(by=fiona, workspace=world.workspace.id, level="workspace", target=world.workspace.id, period="month", cap_micros=12_000)
    assert "left this month" not in text(visit(world, "fiona", "overview"))
    world.start().call("pay", {"account": "a", "amount": 5})
    assert "has $0.002 left this month" in text(visit(world, "fiona", "overview"))
    assert "left this month" not in text(visit(world, "vera", "overview"))


def test_an_agent_that_rests_needs_attention_until_it_is_retired(world: World) -> None:
    with tenancy.within(world.organisation):
        Agent.objects.update(created_at=timezone.now() - datetime.timedelta(days=30))
    assert "Teller has never run" in text(visit(world, "vera", "overview"))
    contracts.change(by=world.people["olga"], agent=world.agent, changes={"state": Agent.State.RETIRED})
    assert "Teller has never run" not in text(visit(world, "vera", "overview"))


def test_each_number_is_the_number_of_rows_behind_it(world: World) -> None:
    for _ in range(3):
        world.start()
    world.start().call("pay", {"account": "a", "amount": 901})
    client = signed_in(world, "olga")
    page = text(client.get(f"{root_of(world)}/overview"))
    tiles = re.findall(r'<div><a href="([^"]+/runs\?[^"]+)"><span class="k">([^<]+)</span><span class="v">(\d+)', page)
    checked = 0
    for address, word, number in tiles:
        rows = len(set(re.findall(r"/runs/(R-\w+)", text(client.get(address.replace("&amp;", "&"))))))
        if word != "Their tool calls":
            assert rows == int(number), word
            checked += 1
    assert checked >= 3


def test_without_the_demo_there_are_no_stories(world: World) -> None:
    with override_settings(DEMO=True):
        assert "See it work" not in text(visit(world, "olga", "overview"))  # another organisation than the demo's
        assert signed_in(world, "olga").post(f"{root_of(world)}/demo/refund").status_code == 404
    with override_settings(DEMO=False):
        assert signed_in(world, "olga").post(f"{root_of(world)}/demo/refund").status_code == 404


def test_a_jump_leads_to_what_is_named(world: World) -> None:
    run = world.start(reference="TCK-77")
    held = run.call("pay", {"account": "a", "amount": 50})
    here = root_of(world)
    expected = {
        run.run.id: f"{here}/runs/{run.run.id}",
        run.run.id.lower(): f"{here}/runs/{run.run.id}",
        held.call: f"{here}/runs/{run.run.id}?call={held.call}#call",
        held.approval: f"{here}/approvals/{held.approval}",
        world.agent.id: f"{here}/agents/teller",
        "teller": f"{here}/agents/teller",
        "pay": f"{here}/tools/pay",
        "Audit log": f"{here}/audit",
        "budgets": f"{here}/budgets",
    }
    client = signed_in(world, "olga")
    for words, address in expected.items():
        answer = client.get(f"{here}/go", {"q": words})
        assert (answer.status_code, answer["Location"]) == (302, address), words
    assert run.run.id in text(client.get(f"{here}/go", {"q": "tck-77"}))


def test_a_jump_stays_in_its_workspace(world: World) -> None:
    run = world.start()
    seats.grant(by=organisations.system(world.organisation, "tests"), member=world.members["vera"], workspace=world.other, role="viewer")
    answer = signed_in(world, "vera").get(f"{root_of(world, 'lab')}/go", {"q": run.run.id})
    assert answer.status_code == 200
    assert "Nothing here is called" in text(answer)


def test_a_jump_tells_nobody_what_they_may_not_see(world: World, elsewhere: World) -> None:
    run = elsewhere.start()
    for words in (run.run.id, "R-NONE", "zzz", "%", "\x00"):
        answer = signed_in(world, "olga").get(f"{root_of(world)}/go", {"q": words})
        assert answer.status_code == 200
        assert "Nothing here is called" in text(answer) or "Jump to" in text(answer)
    assert signed_in(world, "fiona").get(f"{root_of(world)}/go", {"q": "pay"}).status_code == 200  # no tools for finance
    assert signed_in(world, "vera").get(f"{root_of(world)}/go", {"q": "audit"}).status_code == 200


@pytest.fixture
def demo(django_db_setup: None, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[scene.Scene]:
    with builtin_world.fresh_database() as dsn:
        monkeypatch.setenv("DEMO_DATABASE_URL", dsn)
        settings.DEMO, settings.DEMO_DATABASE_URL, settings.DATA_DIR = True, dsn, tmp_path
        builtin.install(dsn)
        yield scene.find() or building.build(dsn)


def test_a_story_of_the_demo_starts_at_a_button_and_leaves_its_entry(demo: scene.Scene) -> None:
    """One test for all of it: the demo is built once a database."""
    here = f"/{scene.SLUG}/{scene.DESK}"

    def press(name: str, story: str) -> Any:
        client = Client()
        client.force_login(demo.members[name].user, backend="django.contrib.auth.backends.ModelBackend")
        return client.post(f"{here}/demo/{story}")

    for name in ("Dana", "Ben"):
        answer = press(name, "refund")
        assert answer.status_code == 302
        run = answer["Location"].rpartition("/")[2]
        with tenancy.within(demo.organisation):
            (entry,) = log.entries(event="demo.triggered", run=run)
        assert entry.actor_id == demo.members[name].id
    assert press("Ada", "refund").status_code == 404
    assert press("Ben", "nonsense").status_code == 404
