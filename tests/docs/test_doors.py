"""The handbook at /docs: every page answers without sign-in, links lead somewhere, and hostile input stays text."""

import itertools
import re
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from controlplane.console import frame
from controlplane.docs import finding, rendering, shelf, tables
from controlplane.templatetags import manual
from tests.controlplane import browsing
from tests.world import World

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
ADDRESSES = ["/docs", "/docs/", "/docs/search", *(page.address for page in shelf.pages().values())]


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_opens_for_anybody_under_the_strict_policy_and_sets_nothing(address: str) -> None:
    with CaptureQueriesContext(connection) as asked:
        answer = Client().get(address)
    assert answer.status_code == 200
    assert len(asked) == 0, "nobody's data stands here"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert not answer.cookies
    text = answer.content.decode()
    assert text.count("<h1>") == 1
    assert 'style="' not in text
    assert "{{" not in text
    assert Client().post(address).status_code == 405


def test_what_is_not_on_the_shelf_is_not_there() -> None:
    for path in ("/docs/how-to/nothing", "/docs/reference/..%2f..%2fmanage", "/docs/reference/problems.md", "/docs/README"):
        assert Client().get(path).status_code == 404, path


def test_the_contents_name_every_file_once_and_no_other() -> None:
    files = {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md")} - {"README"}
    named = [page.slug for section in shelf.sections() for page in section.pages]
    assert sorted(named) == sorted(files)
    for slug in named:
        assert shelf.read(slug).title == shelf.pages()[slug].title, slug


def test_the_pages_are_in_the_image_and_their_pictures_are_not() -> None:
    assert "\nCOPY docs docs\n" in (ROOT / "deploy" / "Dockerfile").read_text()
    assert (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().index("!docs\n") >= 0
    assert "\ndocs/screenshots\n" in (ROOT / "deploy" / "Dockerfile.dockerignore").read_text()


def anchors(slug: str) -> set[str]:
    return set(re.findall(r' id="([^"]+)"', shelf.read(slug).html))


@pytest.mark.parametrize("slug", list(shelf.pages()))
def test_links_inside_the_handbook_lead_to_a_page_and_a_place_on_it(slug: str) -> None:
    for target in re.findall(r'href="([^"]+)"', shelf.read(slug).html):
        path, _, place = target.partition("#")
        if target.startswith("#"):
            assert place in anchors(slug), target
        elif path.startswith("/docs/"):
            assert path.removeprefix("/docs/") in shelf.pages(), target
            assert not place or place in anchors(path.removeprefix("/docs/")), target
        else:
            assert path.startswith(("https://", "/api/v1/")), target
    identifiers = re.findall(r' id="([^"]+)"', shelf.read(slug).html)
    assert len(identifiers) == len(set(identifiers))


def test_neighbours_form_one_line_through_all_pages() -> None:
    order = list(shelf.pages().values())
    assert shelf.neighbours(order[0])[0] is None
    assert shelf.neighbours(order[-1])[1] is None
    for before, after in itertools.pairwise(order):
        assert shelf.neighbours(before)[1] == after
        assert shelf.neighbours(after)[0] == before


def test_search_finds_codes_events_and_settings_and_keeps_hostile_words_text() -> None:
    assert finding.find("budget_exceeded")[0].address == "/docs/reference/problems#budget_exceeded"
    assert any(found.address == "/docs/reference/settings#remit_public_url" for found in finding.find("PUBLIC url"))
    assert finding.find("run.loop_flagged")[0].page == "Audit events"
    assert finding.find("") == []
    answer = Client().get("/docs/search", {"q": '<script>alert(1)</script>"\u202e'}).content.decode()
    assert "<script>alert" not in answer
    assert "[U+202E]" in answer
    assert Client().get("/docs/search", {"q": "x" * 5000}).status_code == 200


def test_markup_in_a_page_or_a_table_stays_text() -> None:
    text = rendering.render("# T\n\n<img src=x onerror=alert(1)> [x](javascript:alert(1))\n\n| `a` |\n|---|\n| `<b>` |", "reference/x")
    assert "<img" not in text.html
    assert 'href="javascript' not in text.html
    assert "&lt;b&gt;" in text.html
    assert "<b>" not in tables.fill("{{ events }}")


def test_links_between_files_become_links_between_pages() -> None:
    assert rendering.address("../reference/problems.md#void", "how-to/caps") == "/docs/reference/problems#void"
    assert rendering.address("caps.md", "how-to/rules") == "/docs/how-to/caps"
    assert rendering.address("#here", "how-to/rules") == "#here"


def test_every_page_of_the_console_has_its_help_in_the_same_place(world: World) -> None:
    assert {item.slug for item in frame.NAVIGATION} <= set(manual.PAGES)
    for slug in manual.PAGES.values():
        assert slug in shelf.pages(), slug
    olga = browsing.browser(world, "olga")
    for at, slug in manual.PAGES.items():
        text = olga.text(f"/{at}")
        top = text.partition("<main")[0]
        assert top.count(f'href="/docs/{slug}"') == 2, at  # in the bar, and in the menu of a phone
        assert top.index("Help</a>") < top.index('class="me"'), at


def test_the_readme_s_first_screen_fits_and_its_links_lead_somewhere() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    screen = lines[: lines.index("---")]
    assert len(screen) <= 40
    assert max(map(len, screen)) <= 80
    text = "\n".join(lines)
    for target in re.findall(r'\]\(([^)#]+)\)|(?:src|srcset)="([^"]+)"', text):
        assert (ROOT / (target[0] or target[1])).exists(), target
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        assert anchor in {rendering.anchor(line.lstrip("# ")) for line in lines if line.startswith("#")}, anchor
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)", text)) <= targets | {"these"}
    codes = set(re.findall(r"`([a-z]+_[a-z]+|stopped|void)`", text.partition("## Who it is for")[0]))
    assert codes <= set(re.findall(r"^\| `([a-z_]+)` \| \d", (DOCS / "reference" / "problems.md").read_text(), re.MULTILINE))
