"""The parts of pages, each in every state with hostile text: inert, and nothing for axe to find in either theme. No server: the page and
its files are handed to the browser as the product would send them.
"""

from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, Route

from tests.browser.test_desk import AXE, TAGS, chromium

__all__ = ["chromium"]  # the fixture
ROOT = Path(__file__).resolve().parents[2]


def test_the_kit_is_there_for_developers_only() -> None:
    assert Client().get("/ui-kit").status_code == 404


@pytest.mark.parametrize(("theme", "width"), [("light", 320), ("dark", 1360)])
def test_axe_finds_nothing_in_any_part_in_any_state(
    db: None, chromium: Browser, monkeypatch: pytest.MonkeyPatch, theme: str, width: int
) -> None:
    monkeypatch.setattr(settings, "DEBUG", True)
    client = Client()
    client.cookies["theme"] = theme
    answer = client.get("/ui-kit")
    assert answer.status_code == 200
    assert (b'data-theme="dark"' in answer.content) is (theme == "dark")
    faults: list[str] = []
    page = chromium.new_page(viewport={"width": width, "height": 900})
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(dialog.message))

    def hand(route: Route) -> None:
        path = route.request.url.removeprefix("http://kit.localhost")
        if path == "/ui-kit":
            route.fulfill(body=answer.content, headers=dict(answer.headers))
        else:
            route.fulfill(path=ROOT / path.removeprefix("/"))

    page.route("http://kit.localhost/**", hand)
    page.goto("http://kit.localhost/ui-kit")
    page.evaluate(AXE)
    report = page.evaluate("tags => axe.run(document, {runOnly: tags})", TAGS)
    assert [(one["id"], one["nodes"][0]["html"][:160]) for one in report["violations"]] == []
    assert page.locator("main img, main script").count() == 0
    assert "[U+202E]" in page.inner_text("main")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert faults == []
    page.close()
