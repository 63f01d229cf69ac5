"""Identical requests in a browser: opened by key, counted as they are chosen, decided with one click that waits until they were read; and
the same without JavaScript. No server, as in test_looks.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.approvals.test_batches import asks, key, reversible
from tests.browser.test_desk import AXE, TAGS, chromium
from tests.browser.test_looks import ORIGIN, show
from tests.controlplane import browsing
from tests.world import World

__all__ = ["chromium"]  # the fixture


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1360, "height": 900}, reduced_motion="reduce")
    yield context.new_page()
    context.close()


def opened(world: World, page: Page) -> list[str]:
    """Ann's inbox with three requests in one row; what the page asks for from then on."""
    reversible(world)
    for account in "abc":
        asks(world, 50, account)
    ann = browsing.browser(world, "ann")
    return show(page, ann.client, f"{ann.root}/approvals")


def test_shift_a_opens_the_folded_row_and_its_button_counts_what_is_chosen(world: World, page: Page) -> None:
    opened(world, page)
    page.keyboard.press("?")
    expect(page.locator("#help")).to_contain_text("Decide identical requests together")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Shift+A")
    page.wait_for_url("**/approvals/together/**")
    approve = page.locator("button[value=APPROVE]")
    expect(approve).to_have_text("Approve 3 A")
    assert approve.get_attribute("aria-disabled") == "true", "not before it was read"
    expect(page.locator("summary.no")).to_have_text("Deny 3… D")
    boxes = page.get_by_role("checkbox")
    boxes.nth(0).uncheck()
    expect(approve).to_have_text("Approve 2 A")
    boxes.nth(1).uncheck()
    boxes.nth(2).uncheck()
    expect(approve).to_be_disabled()
    boxes.nth(1).check()
    expect(approve).to_have_text("Approve 1 A")
    expect(approve).not_to_have_attribute("aria-disabled", "true")


@pytest.mark.parametrize("field", ["reason", "checkbox"])
def test_enter_in_a_field_never_approves(world: World, page: Page, field: str) -> None:
    opened(world, page)
    page.locator(".item[data-together]").click()
    page.wait_for_url("**/approvals/together/**")
    page.keyboard.press("d")
    page.get_by_label("One reason for all, sent to the agent").fill("No.")
    if field == "checkbox":
        page.get_by_role("checkbox").first.focus()
    expect(page.locator("button[value=APPROVE]")).not_to_have_attribute("aria-disabled", "true")
    with page.expect_request(lambda request: "/decide" in request.url) as sent:
        page.keyboard.press("Enter")
    body = sent.value.post_data or ""
    assert "verdict=DENY" in body
    assert "APPROVE" not in body


@pytest.mark.parametrize(("theme", "width"), [("light", 1360), ("dark", 1360), ("light", 390), ("dark", 320)])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(world: World, chromium: Browser, theme: str, width: int) -> None:
    reversible(world)
    given = [asks(world, 50, account) for account in "abca"]
    world.approve(given[3], "ben")
    ann = browsing.browser(world, "ann")
    ann.client.cookies["theme"] = theme
    page = chromium.new_page(viewport={"width": width, "height": 860})
    path = f"{ann.root}/approvals/together/{key(world, given[0])}"
    for address in (path, f"{path}?done={given[3].approval}~", f"{ann.root}/approvals"):
        show(page, ann.client, address)
        page.evaluate(AXE)
        report = page.evaluate("tags => axe.run(document, {runOnly: tags})", TAGS)
        assert [(one["id"], one["nodes"][0]["html"][:160]) for one in report["violations"]] == [], address
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), address
    page.close()


def test_without_javascript_the_chosen_are_approved(world: World, chromium: Browser) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    opened(world, page)
    page.locator(".item[data-together]").click()
    page.get_by_role("checkbox").first.uncheck()
    fields = page.locator("#together").evaluate("form => [...new FormData(form, form.querySelector('button[value=APPROVE]')).entries()]")
    assert page.get_by_role("button", name="Approve the chosen").is_enabled()
    answer = browsing.browser(world, "ann").client.post(
        page.locator("#together").evaluate("form => new URL(form.action).pathname"),
        {name: [value for each, value in fields if each == name] for name, _ in fields},
    )
    assert answer.status_code == 302
    assert len(world.events("request.approved")) == 2
    assert ORIGIN in page.url
    context.close()
