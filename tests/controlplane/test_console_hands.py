"""Who else is looking, and into whose hands a request was given: what each person reads of it, and the form that does it."""

import asyncio
import re
import time
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from approvals.models import Request
from audit import tenancy
from controlplane import presence
from tests.controlplane.browsing import browser, root_of, signed_in, text, visit
from tests.controlplane.test_console_approvals import ask, page, post
from tests.controlplane.test_presence import keep, look, nowhere
from tests.world import World

__all__: list[str] = []
HOSTILE = "<img src=x onerror=alert(1)>"


def shown(html: str) -> list[str]:
    """What stands where others' names stand, row by row and then on the page."""
    return re.findall(r"data-here=\"[^\"]+\">([^<]*)<", html)


# Who is looking ---------------------------------------------------------------------------------------------------------


def test_a_page_and_its_row_name_the_others_and_never_its_reader(world: World) -> None:
    said, other = ask(world), ask(world, 51)
    keep(look(world, said, "ann"), look(world, said, "ben"))
    assert shown(page(world, "ann", said, "?tab=all")).count(" · ben is looking") == 2
    assert shown(page(world, "ben", said, "?tab=all")).count(" · ann is looking") == 2
    assert set(shown(page(world, "olga", said, "?tab=all"))) == {"", " · ann and ben are looking"}
    assert set(shown(page(world, "olga", other, "?tab=own"))) == {"", " · ann and ben are looking"}
    asyncio.run(presence.end(look(world, said, "ben")))
    assert set(shown(page(world, "ann", said, "?tab=all"))) == {""}


def test_three_are_named_and_the_rest_are_counted(world: World) -> None:
    said = ask(world)
    for number in range(2):
        world.join(f"dora {number}", "approver")
    keep(*(look(world, said, name) for name in ("ann", "ben", "cleo")))
    assert " · ann, ben and cleo are looking" in shown(page(world, "olga", said))
    keep(*(look(world, said, f"dora {number}") for number in range(2)))
    assert " · ann, ben, cleo and 2 more are looking" in shown(page(world, "olga", said))


def test_nobody_looks_at_what_is_decided(world: World) -> None:
    said = ask(world)
    keep(look(world, said, "ben"))
    with tenancy.within(world.organisation):
        Request.objects.filter(id=said.approval).update(state="WITHDRAWN")
    html = page(world, "ann", said, "?tab=all")
    assert set(shown(html)) == {""}
    assert "data-looks" not in html


def test_a_live_page_asks_for_the_names_alone_and_what_is_not_theirs_looks_like_what_nobody_looks_at(
    world: World, elsewhere: World
) -> None:
    said, foreign = ask(world), ask(elsewhere)
    world.join("bob", "builder")
    keep(look(world, said, "ben"), look(elsewhere, foreign, "ben"))

    def asked(name: str, *ids: str) -> str:
        return text(browser(world, name).get("/approvals/onlookers", id=list(ids)))

    assert asked("ann", str(said.approval)) == f'<span data-of="{said.approval}"> · ben is looking</span>\n'
    assert asked("ben", str(said.approval)) == asked("ann", "APR-0000000000") == "\n"
    assert asked("bob", str(said.approval)) == asked("bob", "APR-0000000000"), "not his agent's"
    assert asked("ann", str(foreign.approval)) == asked("ann", "APR-0000000000")
    assert asked("ann", "", "<b>", "x" * 5000, "\x00é", "APR-*") == "\n"
    assert asked("ann") == "\n"
    for name in ("vera", "fiona"):
        assert visit(world, name, f"approvals/onlookers?id={said.approval}").status_code == 404


def test_looking_costs_a_page_one_statement_at_most(world: World) -> None:
    said = ask(world)
    client = signed_in(world, "ann")

    def statements() -> int:
        with CaptureQueriesContext(connection) as caught:
            assert client.get(f"{root_of(world)}/approvals/{said.approval}?tab=all").status_code == 200
        return len(caught)

    statements()
    nobody = statements()
    keep(look(world, said, "ann"))
    assert statements() == nobody, "only themselves"
    keep(look(world, said, "ben"))
    assert statements() == nobody + 1


def test_a_name_is_text(world: World) -> None:
    said = ask(world)
    world.join(HOSTILE, "approver")
    keep(look(world, said, HOSTILE))
    post(world, HOSTILE, said, "hand-over", to=world.members["ann"].id)
    for html in (page(world, "ann", said, "?tab=all"), text(browser(world, "ben").get("/approvals/onlookers", id=str(said.approval)))):
        assert "<img" not in html
        assert "&lt;img src=x onerror=alert(1)&gt; is looking" in html
    assert html.count("is looking") == 1
    assert "Handed to you by &lt;img" in page(world, "ann", said)


def test_pages_open_without_redis(world: World) -> None:
    said = ask(world)
    keep(look(world, said, "ben"))
    client = signed_in(world, "ann")
    with override_settings(REDIS_URL=nowhere()):
        for path in (f"approvals/{said.approval}?tab=all", "approvals", f"approvals/onlookers?id={said.approval}"):
            began = time.monotonic()
            answer: Any = client.get(f"{root_of(world)}/{path}")
            assert answer.status_code == 200
            assert "is looking" not in text(answer)
            assert time.monotonic() - began < 5


# Handing over -----------------------------------------------------------------------------------------------------------


def test_a_request_is_handed_over_by_a_form_and_everybody_reads_by_whom(world: World) -> None:
    said = ask(world)
    html = page(world, "ann", said)
    offered = re.findall(r'<option value="(MEM-\w+)">', html)
    assert offered == [world.members["ben"].id, world.members["cleo"].id]
    assert "Hand over… <kbd>H</kbd>" in html
    for name in ("olga", "ada"):
        assert "Hand over" not in page(world, name, said)
    assert post(world, "ann", said, "hand-over", to=world.members["ben"].id).status_code == 302
    assert world.events("request.handed_over", subject=said.approval) == ["request.handed_over"]
    assert "Handed to you by ann</b>, 0" in page(world, "ben", said)
    assert "Handed to you by ann" in text(visit(world, "ben", "approvals?tab=mine"))
    assert "ben is on it</b>, handed over by you, 0" in page(world, "ann", said)
    for name in ("cleo", "olga"):
        assert "ben is on it</b>, handed over by ann, 0" in page(world, name, said)
        assert "ben is on it" in text(visit(world, name, "approvals?tab=all"))
        assert ("Hand over" in page(world, name, said)) is (name == "cleo")
    post(world, "cleo", said, "claim")
    assert "cleo is on it</b>, 0" in page(world, "ben", said)


def test_the_timeline_tells_through_whose_hands_it_went(world: World) -> None:
    said = ask(world)
    post(world, "ann", said, "claim")
    post(world, "ann", said, "hand-over", to="ben")
    post(world, "ben", said, "unclaim")
    other = ask(world, 51)
    post(world, "cleo", other, "claim")
    (timeline,) = re.findall(r'class="in timeline">(.*?)</ol>', page(world, "olga", said), re.S)
    told = [" ".join(re.sub("<[^>]+>", " ", line).split()) for line in timeline.split("<li>")[1:]]
    wanted = ["asked", "ann took it in hand", "ann handed it over to ben", "ben left it to the others"]
    assert [line for line, words in zip(told, wanted, strict=True) if words not in line] == []


def test_what_cannot_be_handed_over_says_who_may_have_it(world: World) -> None:
    said = ask(world)
    refused = post(world, "ann", said, "hand-over", to="ada")
    assert refused.status_code == 403
    html = text(refused)
    assert "ada may not decide it: this needs the permission approvals_decide in its workspace." in html
    assert "Hand it to one of these: ben, cleo." in html
    assert '<details class="deny" open><summary class="btn ghost" data-key="h">' in html, "the form is still open"
    assert post(world, "ann", said, "hand-over", to="ann").status_code == 422
    assert post(world, "ann", said, "hand-over").status_code == 404
    assert post(world, "olga", said, "hand-over", to="ben").status_code == 403
    with tenancy.within(world.organisation):
        Request.objects.filter(id=said.approval).update(state="WITHDRAWN")
    assert post(world, "ann", said, "hand-over", to="ben").status_code == 409
    assert "Hand over" not in page(world, "ann", said)
    assert world.events("request.handed_over") == []


@pytest.mark.parametrize("left", [1, 0])
def test_where_nobody_else_may_decide_it_the_button_says_so(world: World, left: int) -> None:
    said = ask(world)
    with tenancy.within(world.organisation):
        others = [world.people[name].person for name in ("ben", "cleo")[left:]]
        Request.objects.filter(id=said.approval).update(requesters=others)
    assert ("Nobody else may decide it." in page(world, "ann", said)) is (left == 0)


def test_the_log_says_to_whom(world: World) -> None:
    said = ask(world)
    post(world, "ann", said, "hand-over", to="ben")
    assert "A person handed the request about pay to ben; the others may still decide it." in text(visit(world, "ada", "audit"))
