"""Where things stand on a page: nothing needed scrolls away, pokes out, jumps or is cut without a hint. No server, as in test_looks."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, Page, ViewportSize

from agents import stops
from controlplane.console import cast
from tests.browser.test_desk import AXE, TAGS, chromium
from tests.browser.test_looks import ORIGIN, show, styled
from tests.controlplane import browsing
from tests.world import World

__all__ = ["chromium"]  # the fixture
WIDE: ViewportSize = {"width": 1360, "height": 860}
PHONE: ViewportSize = {"width": 390, "height": 844}


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1360, "height": 860}, reduced_motion="reduce")
    yield context.new_page()
    context.close()


def box(page: Page, selector: str) -> dict[str, float]:
    """Where the first visible one is: x, y, width, height, and right and bottom."""
    found: Any = page.locator(selector).locator("visible=true").first.bounding_box()
    assert found is not None, selector
    return {**found, "right": found["x"] + found["width"], "bottom": found["y"] + found["height"]}


def at(page: Page, world: World, name: str, path: str) -> str:
    """Go there as this person; the root of the addresses."""
    seen = browsing.browser(world, name)
    show(page, seen.client, f"{seen.root}/{path}")
    return seen.root


def held(world: World) -> Any:
    return world.start(title="A payment").call("pay", {"account": "a", "amount": 50, "note": "Charged twice."})


@pytest.mark.parametrize("path", ["runs", "audit", "agents/teller", "overview"])
def test_the_header_and_the_navigation_stay_while_a_long_page_is_scrolled(world: World, page: Page, path: str) -> None:
    held(world)
    page.set_viewport_size({"width": 1360, "height": 320})
    at(page, world, "olga", path)
    page.evaluate("scrollTo(0, 1e6)")
    assert page.evaluate("scrollY") > 200
    assert box(page, ".top")["y"] == 0
    nav = box(page, "#nav")
    assert (nav["y"], nav["bottom"]) == pytest.approx((56, 320), abs=0.6)
    page.locator("#nav a").last.scroll_into_view_if_needed()  # too tall for this window: it has a scroll of its own
    assert box(page, "#nav a[href$='/health']")["bottom"] <= 320
    assert box(page, ".top")["y"] == 0


@pytest.mark.parametrize("path", ["agents", "approvals", "tools"])
def test_a_page_of_one_screen_has_no_scroll(world: World, page: Page, path: str) -> None:
    at(page, world, "ann", path)
    assert page.evaluate("document.documentElement.scrollHeight") == 860


def test_on_a_phone_everything_else_is_under_the_mark_without_a_script(world: World, chromium: Browser) -> None:
    context = chromium.new_context(viewport=PHONE, java_script_enabled=False)
    page = context.new_page()
    root = at(page, world, "olga", "overview")
    page.get_by_label("Menu").click()
    menu = page.get_by_role("navigation", name="More")
    links = [(link.inner_text().strip(), link.get_attribute("href")) for link in menu.get_by_role("link").all()]
    slugs = ["agents", "tools", "connect", "permissions", "policies", "members", "health", "stops"]
    assert [href for _, href in links] == [f"{root}/{slug}" for slug in slugs]
    below = page.locator("#nav").get_by_role("link").locator("visible=true")
    assert [link.get_attribute("href") for link in below.all()] == [
        f"{root}/{slug}" for slug in ("overview", "approvals", "runs", "budgets", "audit")
    ]
    menu.get_by_role("link", name="Policies").click()
    page.wait_for_url("**/policies")
    at(page, world, "fiona", "budgets")
    page.get_by_label("Menu").click()
    assert "Members" not in page.get_by_role("navigation", name="More").inner_text()
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 768])
def test_the_menu_opens_by_key_closes_by_escape_and_axe_finds_nothing(world: World, page: Page, theme: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    seen = browsing.browser(world, "olga")
    seen.client.cookies["theme"] = theme
    show(page, seen.client, f"{seen.root}/runs")
    page.get_by_label("Menu").focus()
    page.keyboard.press("Enter")
    page.get_by_role("navigation", name="More").wait_for()
    assert box(page, ".menu .pop")["right"] <= width
    page.evaluate(AXE)
    report = page.evaluate("tags => axe.run(document, {runOnly: tags})", TAGS)
    assert [(one["id"], one["nodes"][0]["html"][:160]) for one in report["violations"]] == []
    page.keyboard.press("Escape")
    assert not page.get_by_role("navigation", name="More").is_visible()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Menu"
    page.set_viewport_size(WIDE)
    assert not page.get_by_label("Menu").is_visible()


def test_while_something_is_stopped_the_demos_roles_stay_and_the_words_stand_beside_the_sign(
    world: World, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops.engage(by=world.people["sam"], scope="agent", target=world.agent.id, reason="duplicate refunds")
    monkeypatch.setattr(cast, "is_demo", lambda organisation: organisation == world.organisation)
    monkeypatch.setattr(cast, "roles", lambda _request: [("approver", "ann"), ("security", "sam")])
    at(page, world, "ann", "runs")
    assert page.locator("#banner button", has_text="Security").is_visible()
    assert box(page, "#banner .banner")["height"] < 50
    for width in (390, 320):
        page.set_viewport_size({"width": width, "height": 844})
        sign, words = box(page, "#banner svg"), box(page, "#banner .banner > span")
        assert sign["right"] <= words["x"]
        assert words["y"] <= sign["y"] < words["bottom"]
    page.locator("summary[aria-label^=Account]").click()
    assert page.locator(".me button", has_text="Security").is_visible()


def test_the_form_to_stop_is_a_page_where_it_is_opened_as_one(world: World, page: Page) -> None:
    root = at(page, world, "sam", "runs")
    page.get_by_role("link", name="Stop agents…").click()
    page.locator("dialog.panel[open] select[name=what]").wait_for()
    assert page.locator("dialog.panel h1").count() == 0  # the form alone
    assert box(page, "dialog.panel h2")["y"] < box(page, "dialog.panel .shut")["bottom"]
    page.goto(f"{ORIGIN}{root}/stops/form?what=agent/{world.agent.id}")
    assert page.locator(".top").is_visible()
    assert page.locator("main select[name=what]").input_value() == f"agent/{world.agent.id}"


def test_what_an_agent_may_do_is_read_whole(world: World, page: Page) -> None:
    at(page, world, "olga", "agents/teller")
    table = page.locator(".scroll", has=page.locator("caption", has_text="Pinned tools"))
    assert table.evaluate("e => e.scrollWidth - e.clientWidth") == 0
    at(page, world, "olga", "agents/teller?tab=access")
    page.eval_on_selector_all("td code", "found => found.forEach(e => { e.textContent = 'helpdesk_list_all_open_tickets'; })")
    assert {round(one) for one in page.eval_on_selector_all("td code", "found => found.map(e => e.getClientRects().length)")} == {1}


def test_a_table_that_is_cut_shows_it_at_its_edge(world: World, page: Page) -> None:
    at(page, world, "sam", "permissions")
    assert "gradient" in styled(page, ".mx .scroll", "backgroundImage")[0]
    assert page.locator("main", has_text="△: changed by the rules in force").count() == 1


def test_beside_the_list_a_run_shows_all_its_numbers_and_no_empty_tile(world: World, page: Page) -> None:
    run = world.start(title="A payment")
    run.call("pay", {"account": "a", "amount": 5})
    at(page, world, "olga", "runs")
    page.keyboard.press("j")
    page.keyboard.press("Space")
    page.locator(".peek .stats").wait_for()
    whole, last = box(page, ".peeked .stats"), box(page, ".peeked .stats > div:last-child")
    assert last["right"] == pytest.approx(whole["right"], abs=2)
    assert box(page, ".peeked .wf th:last-child")["right"] <= box(page, ".peeked .card")["right"]
    assert page.eval_on_selector_all(".peeked .wf td:last-child", "found => found.every(e => e.scrollWidth <= e.clientWidth)")


def test_no_field_pokes_out_of_its_card(world: World, page: Page) -> None:
    at(page, world, "olga", "tools/pay")
    for width in (1360, 1200, 1024, 320):
        page.set_viewport_size({"width": width, "height": 860})
        edge = box(page, "section.form")["right"] - 8
        fields = page.locator("section.form :is(select, input)")
        rights = fields.evaluate_all("found => found.map(e => e.getBoundingClientRect().right)")
        assert max(rights) <= edge, width


def test_saying_no_leaves_the_other_buttons_where_they_are(world: World, page: Page) -> None:
    said = held(world)
    at(page, world, "ann", f"approvals/{said.approval}")
    others = [".decide .go .btn", "#deny > summary", "summary:has-text('Send back')"]
    before = [box(page, one) for one in others]
    page.keyboard.press("d")
    page.get_by_label("Reason, sent to the agent").wait_for()
    assert [box(page, one) for one in others] == before
    page.get_by_label("Reason, sent to the agent").fill("The customer cancelled.")
    assert box(page, "#deny .answer button")["bottom"] <= 860


def test_on_a_phone_the_decision_takes_two_rows_and_more_time_none_of_its_own(world: World, page: Page) -> None:
    said = held(world)
    page.set_viewport_size(PHONE)
    at(page, world, "ann", f"approvals/{said.approval}")
    assert box(page, ".decide")["height"] <= 116
    timer, more = box(page, "[role=timer]"), box(page, "form[action*='/extend'] .btn")
    assert more["y"] < timer["bottom"]
    page.locator("#deny > summary").click()
    assert box(page, "#deny .answer button")["bottom"] <= 844 - 56
    assert box(page, "#deny .answer")["y"] >= 56


def test_a_view_is_saved_from_the_row_of_the_filter_and_nothing_comes_later(world: World, page: Page) -> None:
    said = held(world)
    seen = browsing.browser(world, "ann")
    refreshed = seen.text("/approvals", tab="needs", at=said.approval)
    assert "Save this view" not in refreshed  # what is open is no filter
    at(page, world, "ann", "approvals?tool=pay")
    page.eval_on_selector("details.narrow", "e => { e.open = false; }")
    save, sieve = box(page, ".list .saved summary"), box(page, "details.narrow > summary")
    assert abs(save["y"] + save["height"] / 2 - sieve["y"] - sieve["height"] / 2) < 3
    page.locator(".list .saved summary").click()
    assert page.get_by_label("Name", exact=True).is_visible()
    page.locator("details.narrow > summary").click()
    assert box(page, "details.narrow form")["width"] > 280


def test_labels_of_long_answers_stand_at_their_top_and_ids_are_whole(world: World, page: Page) -> None:
    page.set_viewport_size(PHONE)
    at(page, world, "sam", "permissions/who?tool=pay")
    assert set(styled(page, "td[data-l=Condition]", "alignItems")) <= {"baseline", "start"}
    world.start(title="A payment").call("pay", {"account": "a", "amount": 5})
    at(page, world, "fiona", "budgets")
    assert "gradient" in styled(page, ".tall", "backgroundImage")[0]
    assert set(styled(page, ".tall td:first-child a", "whiteSpace")) == {"nowrap"}


def test_the_dialog_of_workspaces_names_them_as_the_frame_does(world: World, page: Page) -> None:
    at(page, world, "olga", "runs")
    shown = page.locator(".place .muted").inner_text().removesuffix(" /")
    page.locator(".place").click()
    dialog = page.get_by_role("dialog", name="Your workspaces")
    dialog.wait_for()
    assert f"{shown} / {world.workspace.name}" in dialog.inner_text()
    title, shut = box(page, "dialog h1"), box(page, "dialog .shut")
    assert abs(title["y"] + title["height"] / 2 - shut["y"] - shut["height"] / 2) < 6


def test_nobody_is_offered_a_name_that_is_not_there(world: World) -> None:
    sam = browsing.browser(world, "sam")
    assert "support-refunds" not in sam.text("/runs")
    assert "issue_refund" not in sam.text("/runs")
    assert "actor:olga" not in sam.text("/audit")
    assert "over 500?" not in sam.text("/permissions/who")


def test_the_handbook_keeps_its_mark_on_a_phone(page: Page) -> None:
    page.set_viewport_size(PHONE)
    show(page, Client(), "/docs")
    assert page.locator(".brand").is_visible()
