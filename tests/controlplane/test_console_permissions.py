"""Effective access: what a cell says is what the gate does, whatever the arguments; and nobody sees it who may not."""

import csv
import datetime
from dataclasses import replace

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents import access, contracts, policies, stops, tools
from agents.models import Agent, Call
from audit import tenancy
from controlplane import rehearsal
from tests import world as worlds
from tests.controlplane import browsing


def cells(world, *, hour: int = 12) -> dict[tuple[str, str], access.Access]:
    with tenancy.within(world.organisation, read_only=True):
        known = replace(rehearsal.prepare(world.organisation, world.workspace.id).ground(), hour=hour, weekday=3)
        columns = [tools.facts(row) for row in tools.active(world.workspace.id)]
        return {
            (one.agent, one.tool): one
            for _, row in access.matrix(known, contracts.in_workspace(world.workspace.id), columns)
            for one in row
        }


def activate(world, text: str) -> None:
    policies.activate(by=world.people["olga"], policy_set=policies.propose(by=world.people["sam"], workspace=world.workspace, text=text))


def test_permissions_open_for_security_and_look_like_nothing_to_others(world, elsewhere):
    paths = [
        "/permissions",
        "/permissions?view=list",
        "/permissions?by=person",
        "/permissions/who?tool=pay",
        "/permissions/cell/teller/pay",
    ]
    browsing.stays_outside(world, elsewhere, paths, may="sam", may_not="fiona")
    assert browsing.browser(world, "sam").get("/permissions/who", tool="nothing").status_code == 404


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


@pytest.mark.parametrize(
    ("last_day", "said"),
    [(20991231, [("amount is 30 or less", "AUTO"), ("amount is more than 30", "ONE")]), (20200101, [])],
)
def test_an_exception_that_ends_on_a_day_counts_until_that_day(world, last_day, said):
    rules = '@id("all") permit (principal, action in Action::"call", resource);\n'
    rules += '@id("ask") forbid (principal, action == Action::"pay", resource) unless { context.approvals >= 1 }\n'
    activate(world, f"{rules}unless {{ context.args has amount && context.args.amount <= 30 && context.day <= {last_day} }};")
    found = cells(world)["teller", "pay"]
    assert [(case.when, case.tier) for case in found.cases] == said
    assert (found.word, found.on) == (("DEPENDS", ("amount", "day")) if said else ("ONE", ("amount", "day")))
    admission = world.start().call("pay", {"account": "a", "amount": 30})
    assert admission.status == ("applied" if said else "pending_approval")
    with tenancy.within(world.organisation, read_only=True):
        ground = rehearsal.prepare(world.organisation, world.workspace.id).ground()
        told = access.access_with(ground, contracts.get("teller", workspace=world.workspace), "pay", {"amount": 30})
    assert told.word == ("AUTO" if said else "ONE")


def test_a_permit_that_looks_at_arguments_is_a_range_and_no_rule_is_a_refusal(world):
    activate(world, '@id("small") permit (principal, action == Action::"pay", resource) when { context.args.amount < 3 };')
    found = cells(world)
    assert (found["teller", "pay"].word, found["teller", "pay"].lowest, found["teller", "pay"].highest) == ("DEPENDS", "AUTO", "REFUSED")
    assert found["teller", "get_account"].why == ("No rule permits it.",)


def test_a_read_that_would_need_people_is_refused(world):
    rule = '@id("ask") forbid (principal, action == Action::"get_account", resource) unless { context.approvals >= 1 };'
    activate(world, worlds.POLICIES + rule)
    assert cells(world)["teller", "get_account"].word == "REFUSED"


def test_the_condition_is_computed_at_the_borders_of_the_rules(world):
    said = cells(world)["teller", "pay"]
    assert [(case.when, case.tier) for case in said.cases] == [
        ("amount is 10 or less", "AUTO"),
        ("amount is more than 10, up to 500", "ONE"),
        ("amount is more than 500, up to 900", "TWO"),
        ("amount is more than 900", "REFUSED"),
    ]


@pytest.mark.parametrize("stage", [Agent.Stage.GATED, Agent.Stage.NARROW, Agent.Stage.DRAFT, Agent.Stage.READ_ONLY])
def test_every_case_is_what_the_examination_says_on_both_sides_of_its_border(world, stage):
    contracts.change(by=world.people["olga"], agent=world.agent, changes={"stage": stage})
    with tenancy.within(world.organisation, read_only=True):
        stage_ = rehearsal.prepare(world.organisation, world.workspace.id)
        agent = contracts.get("teller", workspace=world.workspace)
        said = access.access(stage_.ground(), agent, "pay")
        for amount in (1, 9, 10, 11, 499, 500, 501, 899, 900, 901, 5000):
            examined = stage_.examine(agent, "pay", {"account": "a", "amount": amount}, rehearsal.now())
            found = access.access_with(stage_.ground(), agent, "pay", {"amount": amount})
            assert found.word == (examined.tier if examined.refusal is None else "REFUSED"), (amount, stage)
            assert access.TIERS.index(said.lowest) <= access.TIERS.index(found.word) <= access.TIERS.index(said.highest)


def test_the_matrix_marks_what_the_rules_in_force_changed_and_what_nobody_uses(world):
    activate(world, worlds.POLICIES + '@id("no-slow") forbid (principal, action == Action::"slow_read", resource);')
    world.start().call("get_account", {"account": "a"})
    sam = browsing.browser(world, "sam")
    page = sam.get("/permissions")
    cell = {one.tool.name: one for one in page.context["found"].cells}
    assert {name for name, one in cell.items() if one.is_changed} == {"slow_read"}
    assert cell["get_account"].use.calls == 1
    assert cell["pay"].use is None
    with time_machine.travel(timezone.now() + datetime.timedelta(days=8, minutes=1)):
        page = browsing.browser(world, "sam").get("/permissions", only="unused", idle="7")
    assert page.context["unused"] == 4  # the one that was used is idle for as long
    assert [name for name, *_ in page.context["heads"]] == ["close_account", "get_account", "pay", "slow_read"]
    assert "Unused 8 d" in page.content.decode()


def test_the_list_and_the_file_hold_the_same_grants(world):
    sam = browsing.browser(world, "sam")
    rows = [(cell.agent.slug, cell.tool.name) for cell in sam.get("/permissions", view="list").context["rows"]]
    lines = list(csv.reader(sam.text("/permissions", format="csv").splitlines()))
    assert [(line[0], line[1]) for line in lines[2:]] == rows
    pay = next(line for line in lines if line[1] == "pay")
    assert pay[7].startswith("Auto when amount is 10 or less; one human when")


def test_a_cell_explains_itself(world):
    world.start().call("pay", {"account": "a", "amount": 5})
    page = browsing.browser(world, "sam").text("/permissions/cell/teller/pay")
    for words in (
        "amount is more than 10, up to 500",
        "An agent never pays more than 900.",
        "ann, ben, cleo",
        "published by olga",
        "Use, 30 days",
    ):
        assert words in page
    for path in ("/permissions/cell/nobody/pay", "/permissions/cell/teller/nothing", "/permissions/cell/%00/pay"):
        assert browsing.browser(world, "sam").get(path).status_code == 404


def test_a_rehearsed_call_gets_the_refusal_that_the_agent_would_get_and_leaves_nothing(world):
    sam, before = browsing.browser(world, "sam"), world.events()
    page = sam.get("/permissions/cell/teller/pay", **{"simulate": "1", "a.account": "a", "a.amount": "950"})
    rehearsed = page.context["rehearsed"]["refusal"]
    assert world.events() == before
    real = world.start().call("pay", {"account": "a", "amount": 950}).refusal
    assert rehearsed == {name: real[name] for name in rehearsed}
    wrong = sam.get("/permissions/cell/teller/pay", **{"simulate": "1", "a.account": "a", "a.amount": "much"})
    assert "This is no whole number." in wrong.content.decode()
    other = sam.get("/permissions/cell/teller/get_account", **{"simulate": "1", "a.account": "b", "subject": "customer-a"})
    assert other.context["rehearsed"]["refusal"]["code"] == "policy_denied"


def test_who_can_says_it_for_the_amount_that_was_asked_about(world):
    contracts.register(by=world.people["olga"], workspace=world.workspace, slug="idle", name="Idle", owner=world.members["olga"])
    sam = browsing.browser(world, "sam")

    def asked(**query: str) -> tuple[list[tuple[str, str]], str]:
        page = sam.get("/permissions/who", tool="pay", **query)
        return [(agent.slug, one.word) for agent, one in page.context["able"]], page.context["sentence"]

    assert asked()[0] == [("teller", "DEPENDS")]
    assert asked(**{"a.amount": "600"}) == ([("teller", "TWO")], "1 of 2 agents can call pay: two humans must agree.")
    able, sentence = asked(**{"a.amount": "901"})
    assert able == []
    assert sentence == "No agent can call pay with that: each is refused, for the reasons below."
    assert "An agent never pays more than 900." in sam.text("/permissions/who", tool="pay", **{"a.amount": "901"})
    assert asked(**{"a.account": "x" * 200})[0] == asked()[0]


def test_a_question_in_words_becomes_an_address(world):
    answer = browsing.browser(world, "sam").get("/permissions/who", q="who can pay over 500?")
    assert answer.headers["Location"].endswith("/permissions/who?tool=pay&a.amount=501")
    assert "Not understood" in browsing.browser(world, "sam").text("/permissions/who", q="who can do anything?")


def test_who_may_approve_is_what_counts_at_a_vote(world):
    people = browsing.browser(world, "sam").get("/permissions", by="person").context["people"]
    assert dict(people.tools) == {"close_account": {"TWO"}, "pay": {"ONE", "TWO"}}
    assert [line.member.name for line in people.lines] == ["ann", "ben", "cleo"]


def test_the_pages_cost_the_same_with_more_agents(world):
    sam, olga = browsing.browser(world, "sam"), world.people["olga"]

    def queries(path: str) -> int:
        sam.get(path)  # rules and vocabulary are compiled once for each state of the registry
        with CaptureQueriesContext(connection) as seen:
            assert sam.get(path).status_code == 200
        return len(seen)

    paths = ["/permissions", "/permissions?view=list", "/permissions?by=person", "/permissions/who?tool=pay&a.amount=5"]
    few = {path: queries(path) for path in paths}
    for number in range(4):
        agent = contracts.register(
            by=olga, workspace=world.workspace, slug=f"more-{number}", name="More", owner=world.members["olga"], stage="GATED"
        )
        contracts.publish(by=olga, agent=agent, goal=contracts.Goal("x", ["y"]), pinning=contracts.Pinning("p", ["pay", "get_account"]))
    assert {path: queries(path) for path in paths} == few


def test_hostile_words_of_rules_and_people_are_inert(world):
    activate(world, worlds.POLICIES.replace("An agent never pays more than 900.", "<script>alert(1)</script>"))
    for path in (
        "/permissions/cell/teller/pay",
        "/permissions?view=list",
        "/permissions/who?tool=pay&a.amount=950",
        f"/permissions/who?q={browsing.HOSTILE}",
    ):
        assert "<script>alert" not in browsing.browser(world, "sam").text(path)
