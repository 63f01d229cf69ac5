"""Money in a real browser: the curve draws under the strict policy in both themes, works without a script, and prints whole."""

import os
import re
from collections.abc import Iterator

import psycopg
import pytest
from playwright.sync_api import Browser

from tests import world as worlds
from tests.browser.test_desk import Visit, chromium, visit
from tests.controlplane import processes

__all__ = ["chromium"]  # a fixture


@pytest.fixture(scope="module")
def web(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with processes.fleet(tmp_path_factory.mktemp("recordings")) as fleet:
        yield fleet.web("web")


@pytest.fixture(scope="module")
def spender(django_db_setup: None) -> worlds.World:
    """Spending on each of the last seven days."""
    world = worlds.make()
    run = world.start()
    for number in range(8):
        run.call("pay", {"account": "a", "amount": 5}, f"k{number}")
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:  # time passes only for the owner of the tables
        owner.execute("select set_config('app.organisation', %s, true)", [world.organisation])
        owner.execute(
            "update budgets_ledgerentry l set at = at - make_interval(days => right(c.key, 1)::int)"
            " from agents_call c where c.id = l.call_id"
        )
        owner.execute("select budget_sum_again(%s)", [world.organisation])
    return world


def drawn(seen: Visit) -> Visit:
    seen.page.goto(f"{seen.root}/budgets")
    seen.page.locator("figure.chart").scroll_into_view_if_needed()
    seen.page.locator("figure.chart.drawn .main-svg .scatterlayer").first.wait_for()
    return seen


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_curve_draws_with_its_forecast_and_breaks_no_rule_of_the_policy(web: int, chromium: Browser, spender, theme: str) -> None:
    seen = drawn(visit(chromium, web, spender, "fiona", theme=theme))
    figure = seen.page.locator("figure.chart")
    assert {"Spent", "Forecast"} <= set(figure.locator(".annotation-text").all_text_contents())
    assert "at this pace about" in (figure.get_attribute("aria-label") or "")
    box = figure.bounding_box()
    assert box is not None
    assert box["height"] == 280  # the page does not jump when it is drawn
    line = figure.locator(".scatterlayer .js-line").first
    before = line.evaluate("e => getComputedStyle(e).stroke")
    seen.page.evaluate("t => document.documentElement.dataset.theme = t", "dark" if theme == "light" else "light")
    seen.page.wait_for_function("was => getComputedStyle(document.querySelector('.scatterlayer .js-line')).stroke !== was", arg=before)
    assert seen.faults == []


def test_plotly_is_fetched_on_no_other_page_and_not_before_it_is_seen(web: int, chromium: Browser, spender) -> None:
    seen = visit(chromium, web, spender, "fiona")
    asked: list[str] = []
    seen.page.on("request", lambda request: asked.append(request.url))
    for page in ("overview", "audit", "budgets/cap"):
        seen.page.goto(f"{seen.root}/{page}")
    assert not [url for url in asked if "plotly" in url]
    drawn(seen)
    assert len([url for url in asked if "plotly" in url]) == 2


def test_without_a_script_the_servers_drawing_its_table_and_the_export_are_there(web: int, chromium: Browser, spender) -> None:
    seen = visit(chromium, web, spender, "fiona", script=False)
    seen.page.goto(f"{seen.root}/budgets")
    assert seen.page.locator("svg.curve polyline.spent").is_visible()
    seen.page.get_by_role("link", name="Show as table").click()
    assert seen.page.get_by_role("row", name=re.compile("Sum")).inner_text().split()[-1] == "$0.08"
    with seen.page.expect_download() as found:
        seen.page.get_by_role("button", name="Export CSV").click()
    assert found.value.suggested_filename.startswith("spending-workspace-")
    assert seen.faults == []


def test_pages_print_without_a_cut_table(web: int, chromium: Browser, spender) -> None:
    seen = visit(chromium, web, spender, "olga")
    for page in ("budgets", "audit", f"budgets/agent/{spender.agent.id}"):
        seen.page.goto(f"{seen.root}/{page}")
        seen.page.emulate_media(media="print")
        seen.page.set_viewport_size({"width": 718, "height": 1000})  # A4 at 96 dpi without its margins
        wide = seen.page.evaluate(
            "() => [...document.querySelectorAll('main table, main svg, main pre')].filter(e => e.offsetParent && "
            "(e.getBoundingClientRect().right > innerWidth + 1 || e.scrollWidth > e.clientWidth + 1)).map(e => e.outerHTML.slice(0, 80))"
        )
        assert wide == [], page
        clipped = "e => e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1"
        assert seen.page.evaluate(f"() => [...document.querySelectorAll('main .scroll')].filter({clipped}).length") == 0, page
        assert seen.page.locator("header.top, nav.nav").first.is_hidden()
        assert seen.page.pdf(format="A4", print_background=False).startswith(b"%PDF")
        seen.page.emulate_media(media="screen")
