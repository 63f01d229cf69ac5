"""What a page costs does not grow with what it lists: statements at two sizes, bytes when every list is full, and places in lists."""

import gzip
import os
import re
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bench import filling
from tests.console_contract import estate as estates
from tests.console_contract.estate import PAGES, Estate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]  # the first test fills the lists
FEW, MANY, LONG = 4, 70, 260
STATIC = Path(__file__).resolve().parents[2] / "static"
# Each list, and the same narrowed: what a person comes to with many rows behind it.
LISTS = ("approvals?tab=all", "approvals?tab=decided", "runs?q=status:waiting", "runs?sort=-cost", "runs?q=has:wrote+kestrel")
PLACES = ("runs?after=", "runs?sort=-cost&after=", "audit?below=", "agents?after=", "tools?after=", "members?after=", "approvals?below=")


def fill(estate: Estate, *, rows: int, first: int, tag: str) -> None:
    """So many agents, tools, people, runs and all that belongs to them, as a million are made; the newest tenth still waits."""
    world = estate.world
    asked = {"org": world.organisation, "ws": world.workspace.id, "tag": tag, "owner": world.members["olga"].id, "first": first}
    asked |= {"approver": world.members["ann"].id, "runs": rows, "agents": rows, "tools": rows, "open": rows // 2, "people": rows}
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:
        owner.execute("select set_config('app.organisation', %s, true)", [world.organisation])
        for part in (*filling.EACH, "people"):
            if part != "money":  # the organisation's own windows are there already
                filling.run(owner, part, asked)
        owner.execute("update agents_workspace set registry = registry + 1 where id = %s", [world.workspace.id])


@pytest.fixture(scope="module")
def grown(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> tuple[Estate, dict[str, int]]:
    """(an organisation with full lists, the statements each page took while it had few rows)."""
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        estate = estates.furnish()
        fill(estate, rows=FEW, first=1, tag="FEW")
        counted = {page: statements(estate, page) for page in pages(estate)}
        fill(estate, rows=MANY, first=1000, tag="MANY")
        return estate, counted


def pages(estate: Estate) -> list[str]:
    return [estate.path(page) for page in PAGES] + [f"{estate.root}/{each}" for each in LISTS]


def asker(path: str) -> str:
    """The role that a page is made for."""
    return "approver" if "/approvals" in path else "owner"


def statements(estate: Estate, path: str) -> int:
    client = estate.clients[asker(path)]
    client.get(path)  # what is compiled or kept once is kept now
    with CaptureQueriesContext(connection) as caught:
        assert client.get(path).status_code == 200, path
    return len(caught)


def test_a_page_asks_the_database_as_often_with_many_rows_as_with_few(grown: tuple[Estate, dict[str, int]]) -> None:
    estate, before = grown
    now = {page: statements(estate, page) for page in before}
    assert {page: (before[page], now[page]) for page in before if now[page] > before[page]} == {}


def test_a_full_page_is_small_and_only_a_page_with_a_chart_loads_the_library_for_charts(grown: tuple[Estate, dict[str, int]]) -> None:
    estate, _ = grown
    for path in pages(estate):
        html = estate.clients[asker(path)].get(path).content
        assert len(gzip.compress(html, 6)) < 60 * 1024, path
        assert (b"plotly" in html) <= (b"data-chart" in html or b"application/json" in html), path


def test_a_run_of_any_length_is_shown_a_part_at_a_time(grown: tuple[Estate, dict[str, int]]) -> None:
    estate, _ = grown
    world = estate.world
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:
        owner.execute("select set_config('app.organisation', %s, true)", [world.organisation])
        row = owner.execute("select id from agents_run where id like 'R-%%' and is_hosted order by started_at limit 1").fetchone()
        assert row is not None
        filling.run(owner, "long", {"org": world.organisation, "run": row[0], "long": LONG})
    for view in ("", "?view=said"):
        seen: list[str] = []
        address = f"{estate.root}/runs/{row[0]}{view}"
        for _ in range(3):
            answer = estate.clients["viewer"].get(address)
            html = answer.content.decode()
            assert len(gzip.compress(answer.content, 6)) < 60 * 1024
            seen += re.findall(r'id="(ST-LONG\d+)"' if view else r"call=(C-LONG\d+)", html)
            further = re.search(r'href="([^"]+)" rel="next"', html)
            if further is None:
                break
            address = further[1].replace("&amp;", "&")
        assert len(set(seen)) >= LONG - 5, (view, len(set(seen)))


@pytest.mark.parametrize("place", ["x", "%00", "WyJ4Il0", "W10", "eyJhIjoxfQ", "W1tbW1tb", "WzFlOTk5XQ", "é", "R-1", "a" * 5000])
def test_what_is_no_place_in_a_list_is_its_beginning(grown: tuple[Estate, dict[str, int]], place: str) -> None:
    estate, _ = grown
    for page in PLACES:
        assert estate.clients[asker(f"/{page}")].get(f"{estate.root}/{page}{place}").status_code == 200, page


def test_a_page_loads_one_file_of_styles_and_both_it_and_the_scripts_are_small(grown: tuple[Estate, dict[str, int]]) -> None:
    estate, _ = grown
    for path in [*pages(estate), "/docs", "/accounts/login/"]:
        html = (Client() if path in {"/docs", "/accounts/login/"} else estate.clients[asker(path)]).get(path).content.decode()
        sizes = {
            ending: [
                len(gzip.compress((STATIC / each).read_bytes(), 9))
                for each in re.findall(rf'(?:href|src)="/static/([^"]+\.{ending})"', html)
                if "plotly" not in each
            ]
            for ending in ("css", "js")
        }
        assert len(sizes["css"]) <= 1, path
        assert sum(sizes["css"]) < 12 * 1024, path
        assert sum(sizes["js"]) < 30 * 1024, path
