"""The handbook in a real browser: axe finds nothing, nothing scrolls sideways, nobody else is asked, no rule of the policy breaks."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from controlplane.docs import shelf
from tests.browser.test_desk import ARGUMENTS, AXE, CHROMIUM, TAGS
from tests.controlplane import processes

# One page of each kind in each look: prose with commands, long tables, tables made from code, lists, results of a search.
LOOKS = {
    (320, "dark"): ["/docs", "/docs/tutorials/first-agent", "/docs/reference/problems"],
    (320, "light"): ["/docs/reference/commands", "/docs/how-to/wrap-rest-api"],
    (768, "dark"): ["/docs/reference/settings", "/docs/how-to/two-people"],
    (1360, "light"): ["/docs/reference/api", "/docs/how-to/rules", "/docs/search?q=cap"],
    (1360, "dark"): ["/docs/explanation/threat-model"],
}


@pytest.fixture(scope="module")
def origin(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with processes.fleet(tmp_path_factory.mktemp("recordings")) as fleet:
        yield f"http://127.0.0.1:{fleet.web('web')}"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_axe_finds_nothing_and_no_page_scrolls_sideways_on_a_phone(origin: str) -> None:
    found: list[str] = []
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for (width, theme), addresses in LOOKS.items():
            page = opened(browser, origin, width, theme, found)
            for address in addresses:
                show(page, origin + address)
                page.evaluate(AXE)
                report = page.evaluate("tags => axe.run(document, {runOnly: tags})", TAGS)
                found += [f"{address} {width} {theme}: {one['id']} {one['nodes'][0]['html'][:120]}" for one in report["violations"]]
            page.context.close()
        page = opened(browser, origin, 320, "light", found)
        for each in shelf.pages().values():
            show(page, origin + each.address)
            if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                found.append(f"{each.address}: scrolls sideways")
        browser.close()
    assert found == [], "\n".join(found)


def opened(browser: Browser, origin: str, width: int, theme: str, found: list[str]) -> Page:
    """A page that notes what must not happen in it."""
    context = browser.new_context(viewport={"width": width, "height": 860})
    context.add_cookies([{"name": "theme", "value": theme, "url": origin}])
    page = context.new_page()
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("request", lambda request: found.append(request.url) if not request.url.startswith(origin) else None)
    return page


def show(page: Page, address: str) -> None:
    answer = page.goto(address)
    assert answer is not None
    assert answer.status == 200, address
