"""What styles and scripts do to a page, seen in a browser: one that shows other than it says. No server: pages and files are handed to the
browser as the product would send them.
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.test import Client
from playwright.sync_api import Browser, Page, Route

from agents import stops, tools
from audit import tenancy
from tests.browser.test_desk import chromium
from tests.controlplane import browsing
from tests.world import World

__all__ = ["chromium"]  # the fixture
ROOT = Path(__file__).resolve().parents[2]
ORIGIN = "http://looks.localhost"


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1360, "height": 900})
    yield context.new_page()
    context.close()


def show(page: Page, client: Client, path: str) -> list[str]:
    """Go there as this person; which pages it asks for afterwards, and the errors of its scripts, are in the list from then on."""
    asked: list[str] = []

    def hand(route: Route) -> None:
        address = urlsplit(route.request.url)
        if address.path.startswith("/static/"):
            route.fulfill(path=ROOT / address.path.removeprefix("/"))
            return
        answer = client.get(
            f"{address.path}?{address.query}", headers={k: v for k, v in route.request.headers.items() if k.startswith("hx-")}
        )
        route.fulfill(status=answer.status_code, body=answer.content, headers=dict(answer.headers))

    page.route(f"{ORIGIN}/**", hand)
    page.goto(ORIGIN + path)
    page.on("request", lambda request: None if "/static/" in request.url else asked.append(request.url.removeprefix(ORIGIN)))
    page.on("pageerror", lambda error: asked.append(str(error)))
    return asked


def styled(page: Page, selector: str, name: str) -> list[str]:
    """The value of a property on each of these elements."""
    return page.eval_on_selector_all(selector, "(found, name) => found.map(e => getComputedStyle(e)[name])", name)  # type: ignore[no-any-return]


def test_changed_rows_of_a_plan_stand_in_their_table_and_on_paper(world: World, page: Page) -> None:
    with tenancy.within(world.organisation):
        preview = next(row.preview for row in tools.active(world.workspace.id) if row.tool.name == "pay")
    becomes = {"preview": {**(preview or {}), "set": {"/balance": {"argument": "amount"}}}}
    tools.confirm(by=world.people["olga"], name="pay", workspace=world.workspace, classification=becomes)
    world.publish()
    said = world.start().call("pay", {"account": "a", "amount": 50})
    world.bank.accounts["a"]["balance"] += 7
    ann = browsing.browser(world, "ann")
    assert ann.post(f"/approvals/{said.approval}/vote", plan=said.plan, verdict="APPROVE").status_code == 412
    show(page, ann.client, f"{ann.root}/approvals/{said.approval}?seen={said.plan}")
    for media in ("screen", "print"):
        page.emulate_media(media=media)
        assert set(styled(page, "tr.new", "position")) == {"static"}, media
        assert page.locator("tr.new").first.is_visible(), media


def test_approving_with_a_rule_is_a_page_like_others_and_is_on_paper(world: World, page: Page) -> None:
    said = world.start().call("pay", {"account": "a", "amount": 50})
    ann = browsing.browser(world, "ann")
    show(page, ann.client, f"{ann.root}/approvals/{said.approval}/rule")
    assert styled(page, ".page.narrow", "borderBottomWidth") == ["0px"]
    assert set(styled(page, ".page.narrow form", "gridTemplateColumns")) != {"1fr 1fr"}
    page.emulate_media(media="print")
    assert page.locator("h1").is_visible()


def test_bars_of_runs_have_the_colours_of_their_legend(world: World, page: Page) -> None:
    for _ in range(2):
        world.start().call("get_account", {"account": "a"})
    vera = browsing.browser(world, "vera")
    show(page, vera.client, f"{vera.root}/overview")
    page.evaluate("""() => {
        const bars = document.querySelector("svg.histo");
        bars.replaceChildren(...["k-ok", "k-viol", "k-err", "k-asks", "k-info"].map(look => {
          const bar = document.createElementNS(bars.namespaceURI, "rect"); bar.setAttribute("class", look); return bar; }));
    }""")
    bars = styled(page, "svg.histo rect", "fill")
    assert bars == styled(page, ".legend .sw", "backgroundColor")
    assert len(set(bars)) == 5


def test_the_handbook_has_no_keys_that_write_into_its_tables(page: Page) -> None:
    asked = show(page, Client(), "/docs/reference/problems")
    before = page.inner_text("main")
    page.keyboard.press("?")
    assert page.inner_text("main") == before
    assert asked == []


@pytest.mark.parametrize("where", ["stops", "stops/{stop}", "budgets", "connect", "audit"])
def test_a_click_into_a_part_that_keeps_itself_fresh_asks_for_nothing(world: World, page: Page, where: str) -> None:
    stop = stops.engage(by=world.people["sam"], scope="agent", target=world.agent.id, reason="x")
    olga = browsing.browser(world, "olga")
    asked = show(page, olga.client, f"{olga.root}/{where.format(stop=stop.id)}")
    parts = page.eval_on_selector_all("main [data-topics]", "found => found.map(e => '#' + e.id)")
    for part in parts:
        page.dispatch_event(part, "click")
    page.wait_for_timeout(200)
    ids = page.eval_on_selector_all("[id]", "found => found.map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert asked == []
    assert len(parts) > 1
