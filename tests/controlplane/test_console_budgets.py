"""Budgets in the browser: who sees them, a cap after its preview, exact dollars, the ledger behind a number."""

import csv
import io

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents import contracts, organisations, seats
from agents.models import Agent
from audit import log, outcomes, tenancy
from budgets import caps, money, previews, reservations
from controlplane.console import sentences
from tests import world as worlds
from tests.controlplane import browsing


def paths(world: worlds.World) -> list[str]:
    return ["/budgets", f"/budgets/agent/{world.agent.id}", f"/budgets/workspace/{world.workspace.id}"]


def test_budgets_open_for_finance_and_for_nobody_without_the_permission(world, elsewhere):
    browsing.stays_outside(world, elsewhere, paths(world), may="fiona", may_not="ann")
    browsing.stays_outside(world, elsewhere, ["/budgets/cap", "/budgets/prices"], may="fiona", may_not="ada")


def test_a_level_of_another_workspace_or_organisation_is_not_there(world, elsewhere):
    fiona = browsing.browser(world, "fiona")
    for path in (f"/budgets/agent/{elsewhere.agent.id}", f"/budgets/workspace/{world.other.id}", "/budgets/run/R-1"):
        assert fiona.get(path).status_code == 404, path


def test_a_cap_is_previewed_without_a_trace_and_set_with_one(world):
    run = world.start()
    for key in "abc":
        run.call("pay", {"account": "a", "amount": 5}, key)
    fiona, scope = browsing.browser(world, "fiona"), f"agent/{world.agent.id}"
    before = world.events()
    page = fiona.text("/budgets/cap", scope=scope, amount="0.02", period="month")
    assert "1 <span" in page  # of three calls at $0.01 the third would have been refused
    assert "Set the cap to $0.02" in page
    assert world.events() == before
    assert fiona.post("/budgets/cap", scope=scope, amount="$1,050.00", period="day").status_code == 302
    assert world.events()[-1] == "cap.set"
    with tenancy.within(world.organisation):
        found = reservations.balance("agent", world.agent.id)
    assert (found.cap, found.period) == (1_050_000_000, "day")
    assert "fiona" in fiona.text("/budgets")


def test_an_amount_that_is_none_stays_on_the_page_with_what_was_typed(world):
    fiona, scope = browsing.browser(world, "fiona"), f"agent/{world.agent.id}"
    for typed in ("1e5", "-1", "1.0000001", "1.050,00", "<b>1</b>", ""):
        answer = fiona.post("/budgets/cap", scope=scope, amount=typed, period="month")
        assert answer.status_code == 422, typed
        assert "not an amount of dollars" in answer.content.decode()
        assert "<b>1</b>" not in answer.content.decode()
    assert "cap.set" not in world.events()


def test_the_organisations_cap_takes_the_permission_everywhere(world):
    answer = browsing.browser(world, "fiona").post("/budgets/cap", scope=f"organisation/{world.organisation}", amount="1", period="month")
    assert answer.status_code == 403
    assert "cap.set" not in world.events()


def test_who_may_only_look_sets_nothing(world):
    ada = browsing.browser(world, "ada")
    assert ada.post("/budgets/cap", scope=f"agent/{world.agent.id}", amount="1", period="month").status_code == 404
    assert "Set a cap" not in ada.text("/budgets")


def test_a_price_is_a_new_version_and_hostile_words_are_inert(world):
    fiona = browsing.browser(world, "fiona")
    assert fiona.post("/budgets/prices", item="openai:small", input="0.25", output="2", source=browsing.HOSTILE).status_code == 302
    page = fiona.text("/budgets")
    assert "<script>alert" not in page
    assert "[U+202E]" in page
    assert world.events()[-1] == "price.set"
    assert fiona.post("/budgets/prices", item="no colon", input="1", output="1", source="").status_code == 422


def test_the_ledger_shows_the_calls_behind_the_number(world):
    run = world.start()
    admission = run.call("pay", {"account": "a", "amount": 5})
    page = browsing.browser(world, "fiona").text(f"/budgets/agent/{world.agent.id}")
    assert admission.call in page
    assert "Held for a call" in page


def test_what_a_cap_would_have_refused_counts_refused_calls_as_not_spent(world):
    run = world.start()
    for key in "abcd":
        run.call("pay", {"account": "a", "amount": 5}, key)
    with tenancy.within(world.organisation):
        said = [previews.would_refuse("agent", world.agent.id, period="month", cap_micros=cap) for cap in (0, 10_000, 25_000, 40_000)]
    assert [(one.calls, one.micros, one.runs) for one in said] == [(4, 40_000, 1), (3, 30_000, 1), (2, 20_000, 1), (0, 0, 0)]


@pytest.mark.parametrize(
    ("typed", "micros"), [("1", 1_000_000), ("$1,050.00", 1_050_000_000), ("0.000001", 1), (" 0.1 ", 100_000), ("0", 0)]
)
def test_dollars_are_read_exactly(typed, micros):
    assert money.parse(typed) == micros


@pytest.mark.parametrize("typed", ["", "1e3", "1.", ".5", "-1", "1,00", "\u0661", "1.0000001", "9" * 14, "NaN", "1_000", "$"])
def test_what_is_no_exact_amount_is_refused(typed):
    with pytest.raises(outcomes.Refused):
        money.parse(typed)


def spent(world: worlds.World, times: int = 3) -> None:
    run = world.start()
    for number in range(times):
        run.call("pay", {"account": "a", "amount": 5}, f"k{number}")


def test_every_number_equals_the_rows_that_its_link_opens(world):
    spent(world)
    world.start().call("pay", {"account": "a", "amount": 50})  # waits for a person: its money is held
    fiona = browsing.browser(world, "fiona")
    page = fiona.get("/budgets").context
    assert (page["total"], page["own"].balance.reserved) == (30_000, 10_000)
    own, month = f"/budgets/workspace/{world.workspace.id}", page["month"].slug
    assert fiona.get(own, month=month, show="spent").context["summed"] == (30_000, 3)
    assert fiona.get(own, window=page["own"].window, show="spent").context["summed"] == (30_000, 3)
    assert fiona.get(own, window=page["own"].window, show="held").context["summed"] == (10_000, 1)
    assert fiona.get(own, window="none", show="held").context["summed"] == (0, 0)
    for by, name in (("agent", "agent"), ("TOOL", "name"), ("outcome", "outcome")):
        lines = fiona.get("/budgets", by=by).context["lines"]
        assert sum(line.micros for line in lines) == 30_000
        for line in lines:
            assert fiona.get(own, month=month, show="spent", **{name: line.key}).context["summed"] == (line.micros, line.calls)
    [(day, micros)] = page["days"]
    assert fiona.get(own, month=month, show="spent", day=day.isoformat()).context["summed"] == (micros, 3)
    [line] = page["dearest"]
    assert fiona.get(own, month=month, show="spent", run=line.key).context["summed"][0] == line.micros == 30_000


def test_the_export_is_the_narrowed_rows_with_zone_and_filter_in_its_head_and_is_entered(world):
    spent(world)
    spent(world, 2)
    fiona = browsing.browser(world, "fiona")
    narrow = {"show": "spent", "name": "pay"}
    shown = fiona.get(f"/budgets/agent/{world.agent.id}", **narrow).context["rows"]
    answer = fiona.post(f"/budgets/agent/{world.agent.id}/export", **narrow)
    rows = list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode())))
    head, body = rows[: [row[0] for row in rows].index("at")], rows[[row[0] for row in rows].index("at") + 1 :]
    assert {"# zone", "# movements", "# for"} <= {row[0] for row in head}
    assert [row[1] for row in body] == [row.call_id for row, _ in shown]
    assert {row[-2] for row in body} == {"10000"}
    assert world.events()[-1] == "spending.exported"
    assert fiona.get(f"/budgets/agent/{world.agent.id}/export").status_code == 405
    assert browsing.browser(world, "ann").post(f"/budgets/agent/{world.agent.id}/export").status_code == 404


def test_two_people_at_once_the_second_sees_the_new_value_and_sets_nothing(world):
    fiona, scope = browsing.browser(world, "fiona"), f"agent/{world.agent.id}"
    seen = fiona.get("/budgets/cap", scope=scope, amount="5", period="month").context["seen"]
    assert seen == "none"
    assert browsing.browser(world, "olga").post("/budgets/cap", scope=scope, amount="7", period="month", seen=seen).status_code == 302
    answer = fiona.post("/budgets/cap", scope=scope, amount="5", period="month", seen=seen)
    assert answer.status_code == 412
    assert "$7.00 / month, set by olga" in answer.content.decode()
    assert 'value="5"' in answer.content.decode()  # what was typed is not lost
    assert world.events("cap.set") == ["cap.set"]
    assert fiona.post("/budgets/cap", scope=scope, amount="5", period="month", seen=answer.context["seen"]).status_code == 302


def test_what_happens_at_the_cap_is_the_agents_and_takes_its_permission(world):
    scope = f"agent/{world.agent.id}"
    assert browsing.browser(world, "fiona").post("/budgets/cap", scope=scope, amount="5", period="month", at_cap="draft").status_code == 403
    assert world.events("cap.set") == []  # both or neither
    assert browsing.browser(world, "olga").post("/budgets/cap", scope=scope, amount="5", period="month", at_cap="draft").status_code == 302
    assert world.events()[-2:] == ["cap.set", "agent.changed"]


def test_a_preview_names_the_first_run_that_would_have_been_stopped(world):
    spent(world)
    context = browsing.browser(world, "fiona").get("/budgets/cap", scope=f"agent/{world.agent.id}", amount="0.02", period="day").context
    assert (context["preview"].runs, len(context["preview"].examples)) == (1, 1)
    assert context["preview"].first_at is not None


def test_a_run_that_a_cap_stopped_is_listed_with_its_cap(world):
    caps.put(
        by=world.people["fiona"], workspace=world.workspace.id, level="agent", target=world.agent.id, period="month", cap_micros=15_000
    )
    spent(world)
    page = browsing.browser(world, "fiona").get("/budgets").context
    assert page["stopped_runs"] == 1
    [(one, cap)] = page["stopped"]
    assert (one.agent, cap) == ("teller", "of its agent")
    assert one.entry.startswith("EV-")


def test_the_organisations_movements_are_closed_to_who_holds_only_one_workspace(world):
    spent(world)
    fiona, path = browsing.browser(world, "fiona"), f"/budgets/organisation/{world.organisation}"
    assert "budgets_view in each" in fiona.text(path)
    assert "pay" not in fiona.get(path).content.decode().partition("<main")[2]
    assert fiona.post(f"{path}/export").status_code == 404
    seats.grant(by=organisations.system(world.organisation, "tests"), member=world.members["fiona"], workspace=world.other, role="finance")
    assert "pay" in fiona.text(path)


def test_the_page_asks_as_many_questions_whatever_it_shows(world):
    fiona = browsing.browser(world, "fiona")
    spent(world)
    with CaptureQueriesContext(connection) as few:
        fiona.text("/budgets")
    several(world, 4)
    spent(world)
    with CaptureQueriesContext(connection) as many:
        fiona.text("/budgets")
    assert len(many) == len(few)


def test_a_raise_is_asked_on_the_form_shown_on_the_page_and_agreed_by_another_person(world):
    system, scope = organisations.system(world.organisation, "tests"), f"workspace/{world.workspace.id}"
    caps.put_threshold(by=system, workspace=world.workspace.id, micros=10_000_000)
    fiona, olga, ada = (browsing.browser(world, name) for name in ("fiona", "olga", "ada"))
    assert fiona.post("/budgets/cap", scope=scope, amount="5", period="month").status_code == 302
    assert "This takes two people" not in fiona.text("/budgets/cap", scope=scope, amount="10", period="month")
    form = fiona.text("/budgets/cap", scope=scope, amount="20", period="month")
    assert "This takes two people" in form
    assert "until olga agrees" in form
    assert fiona.post("/budgets/cap", scope=scope, amount="20", period="month").status_code == 302
    with tenancy.within(world.organisation):
        [row] = caps.waiting([world.workspace.id])
    act = f"/budgets/raises/{row.id}"
    assert "Take it back" in fiona.text("/budgets")
    assert f'action="{fiona.root}{act}/agree"' not in fiona.text("/budgets")
    assert fiona.post(f"{act}/agree").status_code == 403
    assert f"{act}/agree" not in ada.text("/budgets")
    assert "Raise Desk to $20.00 a month?" in olga.text("/overview")
    assert f"{act}/agree" in olga.text(f"/budgets/workspace/{world.workspace.id}")
    assert olga.post(f"{act}/nonsense").status_code == 404
    assert olga.post(f"{act}/agree").status_code == 302
    page = olga.text(f"/budgets/workspace/{world.workspace.id}")
    assert "agreed by <b>olga</b>" in page
    with tenancy.within(world.organisation):
        assert reservations.balance("workspace", world.workspace.id).cap == 20_000_000
    late = olga.post(f"{act}/agree")
    assert late.status_code == 422
    assert "waits no more" in late.content.decode()


def test_the_threshold_has_a_page_that_says_what_changing_it_takes(world):
    fiona = browsing.browser(world, "fiona")
    page = fiona.text("/budgets/two-people")
    assert "10,000.00" in page
    assert "takes budgets_set in each" in page  # she holds one workspace of two
    assert fiona.post("/budgets/two-people", amount="1").status_code == 403
    seats.grant(by=organisations.system(world.organisation, "tests"), member=world.members["fiona"], workspace=world.other, role="finance")
    assert fiona.post("/budgets/two-people", amount="nonsense").status_code == 422
    assert fiona.post("/budgets/two-people", amount="1,200").status_code == 302
    assert world.events()[-1] == "cap.threshold_set"
    assert "1,200.00" in fiona.text("/budgets/two-people")


def asked_for(world: worlds.World, by: str, micros: int, *, level: str = "workspace", target: str = "", period: str = "month"):
    """A cap of $5 a month, and a raise of it that waits."""
    target = target or world.workspace.id
    for who, amount, each in ((organisations.system(world.organisation, "tests"), 5_000_000, "month"), (world.people[by], micros, period)):
        done = caps.put(by=who, workspace=world.workspace.id, level=level, target=target, period=each, cap_micros=amount)
    return done


@pytest.fixture
def careful(world):
    """Above $10 a month raising a cap takes two."""
    caps.put_threshold(by=organisations.system(world.organisation, "tests"), workspace=world.workspace.id, micros=10_000_000)
    return world


def several(world: worlds.World, number: int) -> list[Agent]:
    return [
        contracts.register(
            by=world.people["olga"],
            workspace=world.workspace,
            slug=f"a{each}",
            name="A",
            owner=world.members["olga"],
            stage=Agent.Stage.DRAFT,
        )
        for each in range(number)
    ]


def test_a_raise_says_both_sides_with_their_periods(careful):
    row = asked_for(careful, "fiona", 4_000_000, period="day")
    olga = browsing.browser(careful, "olga")
    assert "from $5.00 a month to <b>$4.00 a day</b>" in olga.text("/budgets")
    assert "Leave it at $5.00 a month" in olga.text("/budgets")
    assert "Raise Desk to $4.00 a day?" in olga.text("/overview")
    form = browsing.browser(careful, "fiona").text("/budgets/cap", scope=f"workspace/{careful.workspace.id}", amount="4", period="day")
    assert "another period counts from nothing" in form
    caps.agree(by=careful.people["olga"], identifier=row.id)
    with tenancy.within(careful.organisation):
        entries = [log.entries(event=event)[0] for event in ("cap.raise_asked", "cap.set")]
    for entry in entries:
        fields = browsing.browser(careful, "ada").get(f"/audit/{entry.id}").context["fields"]
        changed = {name: (was, now) for name, was, now, differs, _ in fields if differs}
        assert (changed["cap_micros"], changed["period"]) == ((5_000_000, 4_000_000), ("month", "day"))
    assert sentences.of(entries[0]) == "Raising the cap of one workspace to $4.00 a day was asked for; it waits for a second person."
    assert sentences.of(entries[1]) == "The cap of one workspace was set to $4.00 a day."


def test_the_thresholds_raise_is_said_right_and_is_on_no_purses_page(careful):
    system = organisations.system(careful.organisation, "tests")
    for name in ("fiona", "olga"):
        seats.grant(by=system, member=careful.members[name], workspace=careful.other, role="finance")
    row = caps.put_threshold(by=careful.people["fiona"], workspace=careful.workspace.id, micros=200_000_000)
    assert row is not None
    with tenancy.within(careful.organisation):
        said = [sentences.of(log.entries(event=event)[0]) for event in ("cap.raise_asked", "cap.threshold_set")]
    assert said == [
        "Raising the amount up to which one person raises caps to $200.00 a month was asked for; it waits for a second person.",
        "One person raises caps up to $10.00 a month.",
    ]
    olga = browsing.browser(careful, "olga")
    assert row.id in olga.text("/budgets")
    for path in [*paths(careful)[1:], f"/budgets/organisation/{careful.organisation}"]:
        assert row.id not in olga.text(path)


def test_raises_cost_the_page_as_many_questions_however_many_wait(careful):
    agents, fiona = several(careful, 9), browsing.browser(careful, "fiona")
    asked_for(careful, "olga", 20_000_000)
    for path in ("/budgets", "/overview"):
        fiona.text(path)
    few = [asked_of(fiona, path) for path in ("/budgets", "/overview")]
    for agent in agents:
        asked_for(careful, "olga", 20_000_000, level="agent", target=agent.id)
    assert [asked_of(fiona, path) for path in ("/budgets", "/overview")] == few


def asked_of(browser: browsing.Browser, path: str) -> int:
    with CaptureQueriesContext(connection) as made:
        browser.text(path)
    return len(made)


def test_what_a_person_may_agree_to_is_not_crowded_out_by_what_they_asked_themselves(careful):
    for agent in several(careful, 5):
        asked_for(careful, "olga", 20_000_000, level="agent", target=agent.id)
    asked_for(careful, "fiona", 20_000_000)
    page = browsing.browser(careful, "olga").text("/overview")
    assert "Raise Desk to $20.00 a month?" in page
    assert "Raise a0" not in page


def test_a_raise_whose_asker_left_is_refused_on_the_page_and_waits_no_more(careful):
    row = asked_for(careful, "fiona", 20_000_000)
    organisations.deactivate(by=organisations.system(careful.organisation, "tests"), member=careful.members["fiona"])
    olga = browsing.browser(careful, "olga")
    answer = olga.post(f"/budgets/raises/{row.id}/agree")
    assert answer.status_code == 422
    assert "fiona asked for this and may no longer set caps" in answer.content.decode()
    assert row.id not in olga.text("/budgets")
