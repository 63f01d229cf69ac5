"""The desk in a real browser, on the product's own processes: read the diff, approve, watch it happen; with JavaScript and without.

Nothing may be asked of another origin, no rule of the content security policy may break, and axe finds nothing (WCAG 2.2 A and AA).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.conf import settings
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from controlplane import gate
from controlplane.console import agent_tabs, tool_tabs
from tests import world as worlds
from tests.approvals.test_batches import asks, key, reversible
from tests.controlplane import browsing, processes
from tests.world import World

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
AXE = (Path(__file__).parent / "vendor" / "axe-4.14.1.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PAGES = [
    "overview",
    "approvals",
    "approvals?tab=all",
    "runs",
    "agents",
    "tools",
    "policies",
    "permissions",
    "budgets",
    "audit",
    "stops",
    "members",
    "health",
]
# What an owner sees besides, at the narrowest and the widest.
DEEPER = [
    "connect",
    "permissions/who?tool=pay",
    "permissions/cell/teller/pay",
    "policies/propose",
    "budgets/cap",
    *(f"agents/teller?tab={tab}" for tab in agent_tabs.TABS),
    *(f"tools/pay?tab={tab}" for tab in tool_tabs.TABS),
]
WIDTHS = [320, 768, 1360]


@pytest.fixture(scope="module")
def desk(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A web process, a worker and the sweep; the port."""
    with processes.fleet(tmp_path_factory.mktemp("recordings")) as fleet:
        port = fleet.web("web")
        fleet.worker("worker")
        fleet.sweep("sweep")
        yield port


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # Playwright's synchronous face runs a loop in this thread; what the tests themselves ask of the database waits for nobody
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """One person's browser, and everything in it that must not happen."""

    page: Page
    root: str
    faults: list[str] = field(default_factory=list)


def visit(chromium: Browser, port: int, world: World, name: str, *, script: bool = True, width: int = 1360, theme: str = "light") -> Visit:
    """A signed-in browser that notes console errors, broken policy rules, failed pages and requests to anybody else."""
    origin = f"http://127.0.0.1:{port}"
    client = browsing.signed_in(world, name)
    context: BrowserContext = chromium.new_context(java_script_enabled=script, viewport={"width": width, "height": 860})
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies(
        [{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": origin}, {"name": "theme", "value": theme, "url": origin}]
    )
    page = context.new_page()
    seen = Visit(page, origin + browsing.root_of(world))
    page.on("console", lambda message: seen.faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: seen.faults.append(str(error)))
    page.on(
        "request",
        lambda request: seen.faults.append(request.url) if not request.url.startswith((origin, f"ws://127.0.0.1:{port}")) else None,
    )
    return seen


def alike(world: World) -> str:
    """The page of two identical requests that may be decided together."""
    reversible(world)
    said = [asks(world, 50, account) for account in "ab"]
    return f"approvals/together/{key(world, said[0])}"


def held(world: World) -> gate.Admission:
    said = world.start(title="A payment").call("pay", {"account": "a", "amount": 50, "note": "Charged twice."})
    assert said.status == "pending_approval"
    return said


def test_an_approver_reads_approves_and_watches_it_happen(desk: int, chromium: Browser, world: World) -> None:
    said = held(world)
    seen = visit(chromium, desk, world, "ann")
    seen.page.goto(f"{seen.root}/approvals")
    seen.page.get_by_text("Nothing has been sent yet.").wait_for()
    seen.page.locator("#live", has_text="Live").wait_for()
    seen.page.get_by_role("button", name="Approve:").click()
    seen.page.locator("#detail .badge.ok-b").first.wait_for(timeout=10_000)  # by itself: the signal came over the socket
    assert gate.standing(world.organisation, said.call).status == "applied"
    assert len(world.bank.writes()) == 1
    assert seen.faults == []


def test_a_new_request_appears_by_itself(desk: int, chromium: Browser, world: World) -> None:
    seen = visit(chromium, desk, world, "ann")
    seen.page.goto(f"{seen.root}/approvals")
    seen.page.get_by_text("Nothing needs you.").wait_for()
    seen.page.locator("#live", has_text="Live").wait_for()
    held(world)
    seen.page.locator(".list .item").first.wait_for(timeout=10_000)
    assert seen.faults == []


def test_without_javascript_a_person_approves_and_denies_with_a_reason(desk: int, chromium: Browser, world: World) -> None:
    first, second = held(world), world.start().call("pay", {"account": "b", "amount": 60})
    seen = visit(chromium, desk, world, "ann", script=False)
    seen.page.goto(f"{seen.root}/approvals/{first.approval}")
    seen.page.get_by_role("button", name="Approve:").click()
    seen.page.wait_for_url(f"**/{first.approval}")
    seen.page.goto(f"{seen.root}/approvals/{second.approval}")
    seen.page.locator("summary", has_text="Deny").click()
    seen.page.get_by_role("button", name="Deny", exact=True).click()
    seen.page.get_by_text("A denial needs a reason").wait_for()
    seen.page.get_by_label("Reason, sent to the agent").fill("The customer cancelled.")
    seen.page.get_by_role("button", name="Deny", exact=True).click()
    seen.page.get_by_text("The customer cancelled.").first.wait_for()
    denied = gate.standing(world.organisation, second.call)
    assert denied.status == "denied"
    assert denied.refusal is not None
    assert denied.refusal["reason"] == "The customer cancelled."


def test_text_from_an_agent_is_inert_and_what_hides_in_it_is_shown(desk: int, chromium: Browser, world: World) -> None:
    hostile = '<img src=x onerror=alert(1)><script>alert(2)</script>\u202egnp.exe\u200b [x](javascript:alert(3)) hx-get="/x"'
    said = world.start(title=hostile).call("pay", {"account": "a", "amount": 50, "note": hostile})
    seen = visit(chromium, desk, world, "ann")
    seen.page.on("dialog", lambda dialog: seen.faults.append(dialog.message))
    seen.page.goto(f"{seen.root}/approvals/{said.approval}")
    assert "[U+202E]" in seen.page.inner_text("#detail")
    assert seen.page.locator("#detail img, #detail script").count() == 0
    seen.page.goto(f"{seen.root}/runs/{world.request(said.approval).run_id}")
    assert seen.page.locator("main img, main script").count() == 0
    assert seen.faults == []


@pytest.mark.timeout(400)  # two people, all pages, three widths
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(desk: int, chromium: Browser, theme: str) -> None:
    world = worlds.make()
    said = held(world)
    world.start().call("pay", {"account": "a", "amount": 5})
    together = alike(world)
    found: list[str] = []
    for name in ("ann", "olga"):
        for width in WIDTHS:
            seen = visit(chromium, desk, world, name, width=width, theme=theme)
            run = f"runs/{world.request(said.approval).run_id}"
            deeper = [*DEEPER, f"{run}/report", f"{run}?tab=raw", f"members/{world.members['ann'].id}"]
            deeper.append(f"members/{world.members['ann'].id}/role?act=grant&role=auditor")
            for page in [*PAGES, f"approvals/{said.approval}", together, run, *(deeper if name == "olga" and width != 768 else [])]:
                answer = seen.page.goto(f"{seen.root}/{page}")
                if answer is None or answer.status == 404:
                    continue  # not this role's page
                assert answer.status == 200, page
                seen.page.evaluate(AXE)
                report = seen.page.evaluate("tags => axe.run(document, {runOnly: tags})", TAGS)
                found += [f"{name} {page} {width}: {one['id']} {one['nodes'][0]['html'][:120]}" for one in report["violations"]]
                if seen.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                    found.append(f"{name} {page} {width}: scrolls sideways")
            found += [f"{name} {width}: {fault}" for fault in seen.faults if "404" not in fault]
            seen.page.context.close()
    assert found == [], "\n".join(sorted(set(found)))
