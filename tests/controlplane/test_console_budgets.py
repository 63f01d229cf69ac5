"""Budgets in the browser: who sees them, a cap after its preview, exact dollars, the ledger behind a number."""

import pytest

from audit import outcomes, tenancy
from budgets import money, purses, reservations
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
        said = [purses.would_refuse("agent", world.agent.id, period="month", cap_micros=cap) for cap in (0, 10_000, 25_000, 40_000)]
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
