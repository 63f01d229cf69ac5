"""`make screenshots`: pictures of every page of the running demo, in light, dark and on a phone, into .data/screenshots; those the
README shows into docs/screenshots. Uses the demo that `make run` runs, or starts one on a free port and stops it again.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
ALL, SHOWN = ROOT / ".data" / "screenshots", ROOT / "docs" / "screenshots"
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
SIZES = {"light": (1360, 860), "dark": (1360, 860), "phone": (390, 844)}
# Page to (whose view, address, the link on that page to follow). Dana approves; the others see what she may not.
PAGES = {
    "overview": ("dana", "overview", ""),
    "approval": ("dana", "approvals", ""),
    "approval-detail": ("dana", "approvals", "#list a[href*='/approvals/APR-'], a[href*='/approvals/APR-']"),
    "decided": ("dana", "approvals?tab=all", ""),
    "runs": ("builder", "runs", ""),
    "run": ("builder", "runs?agent=refund-desk&state=SUCCEEDED", "main a[href*='/runs/R-']"),
    "run-loop": ("builder", "runs?agent=stock-researcher&state=HANDED_OFF", "main a[href*='/runs/R-']"),
    "agents": ("builder", "agents", ""),
    "agent": ("builder", "agents/refund-desk", ""),
    "tools": ("builder", "tools", ""),
    "tool": ("builder", "tools/billing_issue_refund", ""),
    "policies": ("security", "policies", ""),
    "permissions": ("security", "permissions", ""),
    "stops": ("security", "stops", ""),
    "budgets": ("finance", "budgets", ""),
    "audit": ("auditor", "audit", ""),
    "entry": ("auditor", "audit", "main a[href*='/audit/EV-']"),
    "health": ("auditor", "health", ""),
    "members": ("owner", "members", ""),
    "person": ("owner", "members", "main a[href*='/members/MEM-']"),
    "connect": ("builder", "connect", ""),
    "who": ("security", "permissions/who?tool=billing_issue_refund", ""),
    "cell": ("security", "permissions/cell/refund-desk/billing_issue_refund", ""),
    "propose": ("security", "policies/propose", ""),
    "cap": ("finance", "budgets/cap", ""),
}
README = {"approval": ("light", "dark"), "run": ("light",), "permissions": ("light",), "budgets": ("light",), "overview": ("light",)}
CUT = {"run": 640, "overview": 700}  # of a page that says much, the README shows the upper part


@contextmanager
def demo() -> Iterator[str]:
    """The address of a running demo."""
    busy = (ROOT / ".data" / "run.lock").read_text().split() if (ROOT / ".data" / "run.lock").exists() else []
    if len(busy) == 2:
        yield busy[1]
        return
    command = [sys.executable, "-m", "controlplane.services", "run", "--port", "0", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as house:
        try:
            assert house.stdout is not None
            yield str(json.loads(house.stdout.readline())["url"])
        finally:
            house.terminate()


def views(url: str) -> dict[str, str]:
    """Fresh one-time links, by view."""
    command = [sys.executable, "-m", "controlplane.services", "exec", "--", sys.executable, "manage.py", "demo", "links"]
    told = subprocess.run(command, cwd=ROOT, env=os.environ | {"REMIT_PUBLIC_URL": url}, capture_output=True, text=True, check=True).stdout
    return {view: url + urlsplit(link).path for view, link in (line.split() for line in told.splitlines())}


def signed_in(browser: Browser, url: str) -> dict[str, list[dict[str, object]]]:
    """The cookies of each view."""
    found = {}
    for view, link in views(url).items():
        with browser.new_context() as context:
            context.new_page().goto(link)
            found[view] = [dict(cookie) for cookie in context.cookies()]
    return found


def take(page: Page, root: str, name: str, size: str) -> Path | None:
    """One picture; None where the page is not there or has no such row."""
    _, address, link = PAGES[name]
    page.goto(f"{root}/{address}")
    if link:
        first = page.locator(link).first
        if not first.count():
            return None
        page.goto(page.evaluate("([base, to]) => new URL(to, base).href", [page.url, first.get_attribute("href")]))
    page.wait_for_load_state("load")
    page.evaluate("document.fonts.ready")
    if page.locator("#live").count():
        page.locator("#live", has_text=re.compile(r"^\s*(Live|Paused)")).wait_for(timeout=10_000)
    path = ALL / f"{name}-{size}.png"
    page.screenshot(path=path, full_page=size == "phone")
    if size in README.get(name, ()):
        SHOWN.mkdir(parents=True, exist_ok=True)
        width, height = SIZES[size]
        page.screenshot(path=SHOWN / path.name, clip={"x": 0, "y": 0, "width": width, "height": CUT.get(name, height)})
    return path


def wait_for_the_past(page: Page, root: str, *, most_s: float = 900) -> None:
    """Until the demo has played its month: pages about 30 days are empty before. As many looks as fit the time."""
    until = time.monotonic() + most_s
    page.goto(f"{root}/overview")
    while "the rest is being played" in page.content() and time.monotonic() < until:
        page.wait_for_timeout(2_000)
        page.reload()


def main() -> None:
    ALL.mkdir(parents=True, exist_ok=True)
    only = re.compile(sys.argv[1]) if len(sys.argv) > 1 else re.compile("")
    with demo() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        people = signed_in(browser, url)
        with browser.new_context() as context:
            context.add_cookies(people["dana"])  # type: ignore[arg-type]
            wait_for_the_past(context.new_page(), f"{url}/demo/support-ops")
        for size, (width, height) in SIZES.items():
            for view, cookies in people.items():
                with browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce") as context:
                    theme = {"name": "theme", "value": "dark" if size == "dark" else "light", "url": url}
                    context.add_cookies([*cookies, theme])  # type: ignore[list-item]
                    for name in (name for name, (whose, *_) in PAGES.items() if whose == view and only.search(name)):
                        path = take(context.new_page(), f"{url}/demo/support-ops", name, size)
                        sys.stdout.write(f"{path.relative_to(ROOT) if path else f'{name}: nothing to show'}\n")
        browser.close()


if __name__ == "__main__":
    main()
