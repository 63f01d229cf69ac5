"""The registry: what is discovered is off until confirmed, what changed is refused, and what people read hides what must be hidden."""

import threading

import pytest
from django.db import connection

from agents import drafts, identity, offers, organisations, tools
from agents.models import Tool, ToolVersion
from approvals.models import Plan
from audit import log, tenancy
from controlplane import runner
from tests.world import World

SCHEMA = {"type": "object", "properties": {"account": {"type": "string"}}}


def offer(name: str, schema: dict[str, object] | None = None, description: str = "") -> offers.Offer:
    return offers.Offer(name, "", description, schema or SCHEMA, None, {"readOnlyHint": True}, {})


def discover(world: World, *given: offers.Offer) -> list[ToolVersion]:
    with tenancy.within(world.organisation):
        connector = tools.get_connector("bank", workspace=world.workspace)
    return drafts.record(by=world.people["olga"], connector=connector, offers=given)


def test_a_discovered_tool_is_a_draft_that_nobody_may_be_pinned_to(world: World) -> None:
    (draft,) = discover(world, offer("new_tool"))
    assert (draft.state, draft.is_write, draft.connector_class, draft.price_micros) == ("DRAFT", True, "E4", None)
    with pytest.raises(organisations.NotFound):
        world.publish(tools=["new_tool"])


def test_a_confirmed_tool_that_changed_by_a_word_is_refused_until_confirmed_again(world: World) -> None:
    run = world.start()
    discover(world, offer("get_account", description="Changed."))
    said = run.call("get_account", {"account": "a"})
    assert said.refusal is not None
    assert said.refusal["code"] == "unknown_tool"
    assert world.events(event="tool.drifted") == ["tool.drifted"]


def test_one_bad_offer_is_left_out_alone_and_the_entry_says_why(world: World) -> None:
    bad: dict[str, object] = {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}}
    made = discover(world, offer("good_one"), offer("bad_one", bad), offer("write"), offer("approvals_wait"))
    with tenancy.within(world.organisation):
        assert [version.tool.name for version in made] == ["good_one"]
        assert not Tool.objects.filter(name__in=["bad_one", "write", "approvals_wait"]).exists()
        body = log.entries(event="connector.discovered")[0].body
    assert all(name in body for name in ("bad_one", "write", "approvals_wait"))


def test_a_field_named_for_redaction_is_hidden_in_the_changes_people_read(world: World) -> None:
    tools.confirm(by=world.people["olga"], name="pay", workspace=world.workspace, classification={"redact": ["note"], "preview": None})
    world.publish()
    said = world.start().call("pay", {"account": "a", "amount": 50, "note": "born 1971-04-02 in Ghent"})
    with tenancy.within(world.organisation):
        plan = Plan.objects.get(call_id=said.call)
    assert "Ghent" not in plan.changes
    assert "[redacted:note]" in plan.changes


def test_two_first_calls_of_one_key_open_one_run(world: World) -> None:
    token = identity.issue(by=world.people["olga"], agent=world.agent).token
    principal = identity.authenticate(token)
    found: list[str] = []
    start = threading.Barrier(6)

    def knock() -> None:
        start.wait()
        found.append(runner.open_run_of(principal))
        connection.close()

    threads = [threading.Thread(target=knock) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
