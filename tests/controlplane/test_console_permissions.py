"""Effective access: what a cell says is what the gate does, whatever the arguments; and nobody sees it who may not."""

import pytest

from agents import access, contracts, policies, stops, tools
from agents.models import Agent, Call
from approvals import tiers
from audit import tenancy
from tests import world as worlds
from tests.controlplane import browsing


def cells(world, *, hour: int = 12) -> dict[tuple[str, str], access.Access]:
    with tenancy.within(world.organisation, read_only=True):
        known = access.ground(
            organisation=world.organisation,
            workspace=world.workspace.id,
            engaged=list(stops.engaged()),
            clock=(hour, 3),
            tier_for=tiers.tier_for,
        )
        columns = [tools.facts(row) for row in tools.active(world.workspace.id)]
        return {
            (one.agent, one.tool): one
            for _, row in access.matrix(known, contracts.in_workspace(world.workspace.id), columns)
            for one in row
        }


def activate(world, text: str) -> None:
    policies.activate(by=world.people["olga"], policy_set=policies.propose(by=world.people["sam"], workspace=world.workspace, text=text))


def test_permissions_open_for_security_and_look_like_nothing_to_others(world, elsewhere):
    paths = ["/permissions", "/permissions?tool=pay", "/permissions?agent=teller&tool=pay"]
    browsing.stays_outside(world, elsewhere, paths, may="sam", may_not="fiona")
    assert browsing.browser(world, "sam").get("/permissions", tool="nothing").status_code == 404


def test_each_cell_says_what_the_rules_say(world):
    found = cells(world)
    assert {tool: one.word for (_, tool), one in found.items()} == {
        "close_account": "TWO",
        "get_account": "AUTO",
        "pay": "DEPENDS",
        "slow_read": "AUTO",
    }
    pay = found["teller", "pay"]
    assert (pay.lowest, pay.highest, pay.on) == ("AUTO", "REFUSED", ("amount",))
    assert {rule.id for rule in pay.rules} == {"one-person", "two-people", "never-above"}
    assert [rule.id for rule in found["teller", "get_account"].limits] == ["own-customer"]


@pytest.mark.parametrize(("amount", "tier"), [(5, "AUTO"), (50, "ONE"), (600, "TWO"), (950, "REFUSED")])
def test_the_gate_stays_inside_what_the_cell_said(world, amount, tier):
    said = cells(world)["teller", "pay"]
    admission = world.start().call("pay", {"account": "a", "amount": amount})
    with tenancy.within(world.organisation):
        assert Call.objects.get(id=admission.call).tier == tier
    order = access.TIERS
    assert order.index(said.lowest) <= order.index(tier) <= order.index(said.highest)


def test_a_pin_a_stage_a_state_and_a_stop_come_before_the_rules(world):
    world.publish(tools=["get_account", "pay"])
    assert cells(world)["teller", "close_account"].word == "NOT_PINNED"
    contracts.change(by=world.people["olga"], agent=world.agent, changes={"stage": Agent.Stage.READ_ONLY})
    assert cells(world)["teller", "pay"].word == "REFUSED"
    assert cells(world)["teller", "get_account"].word == "AUTO"
    contracts.change(by=world.people["olga"], agent=world.agent, changes={"stage": Agent.Stage.NARROW})
    assert cells(world)["teller", "pay"].lowest == "ONE"
    stops.engage(by=world.people["sam"], scope="tool", target="get_account", reason="repairs")
    assert cells(world)["teller", "get_account"].why == ("Stopped by a person: repairs",)
    contracts.change(by=world.people["olga"], agent=world.agent, changes={"state": Agent.State.PAUSED})
    assert cells(world)["teller", "pay"].word == "REFUSED"


def test_a_clause_that_surely_fails_settles_its_rule_wherever_it_stands(world):
    rule = '@id("late") forbid (principal, action == Action::"pay", resource) when { context.args.amount > 1 && context.hour > 20 };'
    activate(world, '@id("all") permit (principal, action in Action::"call", resource);\n' + rule)
    assert cells(world, hour=12)["teller", "pay"].word == "AUTO"
    assert [one.id for one in cells(world, hour=12)["teller", "pay"].limits] == ["late"]
    assert cells(world, hour=22)["teller", "pay"].word == "DEPENDS"


def test_a_permit_that_looks_at_arguments_is_a_range_and_no_rule_is_a_refusal(world):
    activate(world, '@id("small") permit (principal, action == Action::"pay", resource) when { context.args.amount < 3 };')
    found = cells(world)
    assert (found["teller", "pay"].word, found["teller", "pay"].lowest, found["teller", "pay"].highest) == ("DEPENDS", "AUTO", "REFUSED")
    assert found["teller", "get_account"].why == ("No rule permits it.",)


def test_a_read_that_would_need_people_is_refused(world):
    rule = '@id("ask") forbid (principal, action == Action::"get_account", resource) unless { context.approvals >= 1 };'
    activate(world, worlds.POLICIES + rule)
    assert cells(world)["teller", "get_account"].word == "REFUSED"


def test_a_cell_explains_itself(world):
    page = browsing.browser(world, "sam").text("/permissions", agent="teller", tool="pay")
    assert "depending on the arguments" in page
    assert "An agent never pays more than 900." in page
    assert "ann, ben, cleo" in page  # who may be the humans


def test_who_can_leaves_out_who_cannot(world):
    contracts.register(by=world.people["olga"], workspace=world.workspace, slug="idle", name="Idle", owner=world.members["olga"])
    page = browsing.browser(world, "sam").get("/permissions", tool="pay")
    assert [agent.slug for agent, _ in page.context["callers"]] == ["teller"]
