"""Ends of roles at the doors: nothing opens once one has passed; forms, REST and the command line give, move and show them."""

import asyncio
import datetime
import json
import re
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management.base import CommandError

from agents import organisations, seats
from agents.models import Organisation, Seat
from audit import tenancy
from controlplane import worker
from controlplane.live import consumers
from tests.controlplane import api_knocking as knocking
from tests.controlplane import browsing, test_live, wire
from tests.controlplane.api_knocking import API, ask
from tests.controlplane.test_api_commands import run
from tests.world import World, soon

LAST = datetime.time(23, 59, 59)
DESK = {"workspace": "desk"}


def day(days: int) -> str:
    return f"{soon(days):%Y-%m-%d}"


def said(days: int) -> str:
    at = soon(days)
    return f"{at.day} {at:%b %Y}"


def end_of(world: World, name: str, role: str = "auditor") -> datetime.datetime | None:
    with tenancy.within(world.organisation):
        return Seat.objects.get(member=world.members[name], workspace=world.workspace, role=role).until


# Nothing opens --------------------------------------------------------------------------------------------------------------------------


def test_no_page_opens_once_the_end_has_passed_although_no_worker_came_by(world: World) -> None:
    ada = browsing.browser(world, "ada")
    pages = ("/audit", "/overview", "/runs", "/approvals", "/health", "/frame")
    for page in pages[:-1]:
        assert ada.get(page).status_code == 200, page
    world.days_pass(90)
    for page in pages:
        assert ada.get(page).status_code == 404, page
    assert ada.client.get("/").status_code == 403
    assert "You have no workspace yet" in ada.client.get("/").content.decode()
    assert "/desk/" not in ada.client.get("/workspaces").content.decode()
    assert ada.post("/audit/export").status_code == 404


def test_rest_refuses_by_session_and_by_personal_token_once_the_end_has_passed(world: World) -> None:
    session, token = browsing.signed_in(world, "ada"), knocking.tokens(world)["ada"]
    addresses = ("audit", "runs?workspace=desk", "approvals?workspace=desk", "policies?workspace=desk", "members", "workspaces")

    def by_session(path: str) -> int:
        return session.get(f"{API}/{path}").status_code

    def by_token(path: str) -> int:
        return ask("GET", f"{API}/{path}", token).status

    for door in (by_session, by_token):
        assert {path: door(path) for path in addresses} == dict.fromkeys(addresses, 200)
    world.days_pass(90)
    for door in (by_session, by_token):
        assert {path: door(path) for path in addresses} == dict.fromkeys(addresses, 403)
    assert ask("GET", f"{API}/audit", token).code == "forbidden"


def test_a_socket_hears_nothing_once_the_end_has_passed(world: World) -> None:
    by_cookie, by_token = test_live.as_person(world, "ada"), [("authorization", f"Bearer {test_live.token_of(world, 'ada')}")]

    async def story(opened: wire.Page) -> None:
        await test_live.say(world, "audit")
        assert (await opened.hear())["topic"] == "audit"
        await asyncio.to_thread(world.days_pass, 90)
        assert await opened.said() == {"type": "websocket.close", "code": consumers.FORBIDDEN}

    test_live.open_page(by_cookie, story, application=test_live.reauthorised_soon())
    assert test_live.refused(by_cookie) == test_live.refused([test_live.HOST, *by_token]) == consumers.FORBIDDEN


def test_who_can_and_the_search_name_nobody_whose_role_is_over(world: World) -> None:
    world.join("zoe", "viewer")
    world.seat("zoe", "security", until=soon(3))
    olga = browsing.browser(world, "olga")
    assert "zoe" in olga.text("/permissions/who", tool="pay")
    assert "security, viewer" in olga.text("/go", q="zoe")
    world.days_pass(3)
    assert "zoe" not in olga.text("/permissions/who", tool="pay")
    assert "security, viewer" not in olga.text("/go", q="zoe")


# Forms ----------------------------------------------------------------------------------------------------------------------------------


def test_a_form_gives_an_auditors_role_until_the_end_of_a_day_and_offers_ninety_days(world: World) -> None:
    olga, vera = browsing.browser(world, "olga"), f"/members/{world.members['vera'].id}/role"
    entries = world.events()
    offered = olga.get(vera, act="grant", role="auditor")
    assert offered.context["typed"] == day(90)
    page = offered.content.decode()
    assert f'<input type="hidden" name="until" value="{day(90)}">' in page
    assert f'<input type="date" name="until" value="{day(90)}">' in page
    assert f">{said(90)}</time></b>, the end of {said(90)} in UTC" in page
    assert "Then the role goes by itself" in page
    assert "Export the audit log" in offered.context["gained"]
    assert olga.get(vera, act="grant", role="auditor", until=day(20)).context["typed"] == day(20)
    assert olga.get(vera, act="grant", role="finance").context["until"] is None
    assert world.events() == entries, "looking gives nothing"
    given = olga.client.post(f"{olga.root}{vera}", {"act": "grant", "role": "auditor", "until": day(20)}, follow=True)
    assert f"vera is auditor in Desk until {said(20)}." in given.content.decode()
    assert end_of(world, "vera") == datetime.datetime.combine(soon(20).date(), LAST, datetime.UTC)


@pytest.mark.parametrize(
    ("until", "why"), [("", "given until a time"), ("2020-01-01", "in the future"), (day(400), "too far ahead"), ("tomorrow", "no date")]
)
def test_a_form_says_why_an_end_cannot_be_and_offers_one_that_can(world: World, until: str, why: str) -> None:
    olga, entries = browsing.browser(world, "olga"), world.events()
    refused = olga.post(f"/members/{world.members['vera'].id}/role", act="grant", role="auditor", until=until)
    assert refused.status_code == 422
    assert why in refused.content.decode()
    assert "role end" in refused.content.decode()
    username = f"zed-{secrets.token_hex(4)}"
    added = olga.post("/members/add", username=username, name="Zed", email="zed@example.com", role="auditor", until=until)
    assert added.status_code == 422
    assert why in added.content.decode()
    if not until:
        assert f'name="until" value="{day(90)}"' in refused.content.decode()
        assert f'name="until" value="{day(90)}"' in added.content.decode()
    assert world.events() == entries


def test_a_person_is_added_until_a_day(world: World) -> None:
    form = {"username": f"zed-{secrets.token_hex(4)}", "name": "Zed", "email": "zed@example.com", "role": "auditor", "until": day(30)}
    olga = browsing.browser(world, "olga")
    assert olga.post("/members/add", **form).status_code == 302
    assert "auditor until <time" in olga.text("/members")
    assert f">{said(30)}</time>" in olga.text("/members")


def test_the_end_of_a_role_that_is_held_is_moved_and_taken_off_by_the_same_form(world: World) -> None:
    olga, vera = browsing.browser(world, "olga"), f"/members/{world.members['vera'].id}/role"
    world.seat("vera", "finance", until=soon(30))
    shown = olga.get(vera, act="grant", role="finance")
    assert (shown.context["typed"], shown.context["is_change"]) == (day(30), False)
    moved = olga.get(vera, act="grant", role="finance", until=day(40))
    assert (moved.context["gained"], moved.context["lost"]) == ([], [])
    assert "Change the end of the role finance of vera?" in moved.content.decode()
    assert "; now until <time" in moved.content.decode()
    assert olga.post(vera, act="grant", role="finance", until=day(40)).status_code == 302
    assert end_of(world, "vera", "finance") == datetime.datetime.combine(soon(40).date(), LAST, datetime.UTC)
    assert "Without an end" in olga.text(vera, act="grant", role="finance", until="")
    assert olga.post(vera, act="grant", role="finance", until="").status_code == 302
    assert end_of(world, "vera", "finance") is None
    assert world.events()[-2:] == ["seat.end_set", "seat.end_set"]


def test_a_day_ends_where_the_organisation_is(world: World) -> None:
    with tenancy.within(world.organisation):
        Organisation.objects.update(zone="America/Los_Angeles")
    olga, vera = browsing.browser(world, "olga"), f"/members/{world.members['vera'].id}"
    assert olga.post(f"{vera}/role", act="grant", role="auditor", until="2027-02-20").status_code == 302
    assert end_of(world, "vera") == datetime.datetime(2027, 2, 21, 7, 59, 59, tzinfo=datetime.UTC)
    assert ">20 Feb 2027</time>" in olga.text(vera)
    assert 'value="2027-02-20"' in olga.text(f"{vera}/role", act="grant", role="auditor")


def test_nobody_extends_their_own_at_a_form_either(world: World) -> None:
    world.join("adam", "admin")
    until = world.seat("adam", "auditor", until=soon(5)).until
    own = f"/members/{world.members['adam'].id}/role"
    assert browsing.browser(world, "adam").post(own, act="grant", role="auditor", until=day(100)).status_code == 403
    assert end_of(world, "adam") == until


def test_the_list_says_until_when_warns_two_weeks_before_and_says_what_ended(world: World) -> None:
    olga, pages = browsing.browser(world, "olga"), ("/members", f"/members/{world.members['ada'].id}")

    def told() -> set[tuple[str, str, str]]:
        """(tone and word of the mark, if there is one; the day) on both pages."""
        line = r'<p class="muted">(?:<span class="badge (\w+)-b"><svg.*?</svg>([\w ]+)</span> )?auditor until <time[^>]*>([^<]+)</time></p>'
        return {each for page in pages for each in re.findall(line, olga.text(page))}

    def row() -> str:
        return olga.text("/members").partition(f'<tr id="{world.members["ada"].id}"')[2].partition("</tr>")[0]

    assert told() == {("", "", said(90))}
    world.days_pass(77)
    assert told() == {("warn", "Ends soon", said(13))}
    assert "Export the audit log" in row()
    world.days_pass(14)
    assert told() == {("neut", "Ended", said(-1))}
    assert "Export the audit log" not in row()
    worker.drain()
    assert told() == set()


def test_whoever_is_here_for_a_time_sees_until_when_and_nobody_else_does(world: World) -> None:
    assert "Your access here ends <time" in browsing.browser(world, "ada").text("/audit")
    assert f">{said(90)}</time>" in browsing.browser(world, "ada").text("/audit")
    assert "auditor until <time" in browsing.signed_in(world, "ada").get("/workspaces").content.decode()
    world.seat("vera", "finance", until=soon(9))
    assert "Some of your access here ends <time" in browsing.browser(world, "vera").text("/runs")
    assert "access here ends" not in browsing.browser(world, "olga").text("/members")


# REST -----------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def put(world: World) -> Callable[..., Any]:
    token = knocking.tokens(world)["olga"]

    def said_by_olga(name: str, **body: Any) -> Any:
        return ask("PUT", f"{API}/members/{world.members[name].id}/roles", token, {**DESK, **body})

    return said_by_olga


def ends(reply: Any) -> dict[str, str | None]:
    assert reply.status == 200, reply
    return {seat["role"]: seat["until"] for seat in reply.body["seats"]}


def test_rest_gives_keeps_moves_and_takes_off_ends(world: World, put: Callable[..., Any]) -> None:
    refused = put("vera", roles=["viewer", "auditor"])
    assert (refused.status, refused.code, refused.body["rule"]) == (409, "conflict", "role end")
    assert ends(put("vera", roles=["viewer", "auditor"], until={"auditor": "2027-02-20T12:00:00+02:00"})) == {
        "viewer": None,
        "auditor": "2027-02-20T10:00:00Z",
    }
    entries = world.events()
    assert ends(put("vera", roles=["viewer", "auditor"]))["auditor"] == "2027-02-20T10:00:00Z"
    assert world.events() == entries, "nothing was said of an end, so nothing changed"
    later = {"auditor": "2027-03-01T00:00:00Z", "viewer": "2027-03-01T00:00:00Z"}
    assert ends(put("vera", roles=["viewer", "auditor"], until=later)) == later
    assert ends(put("vera", roles=["viewer", "auditor"], until={"viewer": None})) == {**later, "viewer": None}
    assert world.events()[len(entries) :] == ["seat.end_set"] * 3
    assert put("vera", roles=["viewer", "auditor"], until={"auditor": None}).status == 409
    assert ends(put("vera", roles=["viewer"])) == {"viewer": None}


@pytest.mark.parametrize(
    "until", [{"emperor": "2027-02-20T00:00:00Z"}, {"finance": "2027-02-20T00:00:00Z"}, {"viewer": "soon"}, "2027", [1]]
)
def test_rest_refuses_ends_that_are_none_or_of_no_role_that_is_given(world: World, put: Callable[..., Any], until: Any) -> None:
    entries = world.events("seat.*")
    assert put("vera", roles=["viewer"], until=until).code == "invalid_request"
    assert world.events("seat.*") == entries


def test_rest_adds_a_person_until_a_time(world: World) -> None:
    token = knocking.tokens(world)["olga"]
    person = {**DESK, "username": f"nora-{secrets.token_hex(4)}", "name": "Nora", "role": "auditor"}
    assert ask("POST", f"{API}/members", token, person).body["rule"] == "role end"
    made = ask("POST", f"{API}/members", token, person | {"until": "2027-02-20T00:00:00Z"})
    assert (made.status, made.body["seats"]) == (
        201,
        [{"workspace": world.workspace.id, "role": "auditor", "until": "2027-02-20T00:00:00Z"}],
    )


def test_rest_gives_anew_what_ended_and_no_worker_took_away(world: World, put: Callable[..., Any]) -> None:
    world.seat("vera", "finance", until=soon(2))
    world.days_pass(3)
    assert ends(put("vera", roles=["viewer", "finance"])) == {"viewer": None, "finance": None}
    with tenancy.within(world.organisation):
        assert "budgets_set" in organisations.held(world.people["vera"], world.workspace)


def test_nobody_extends_their_own_over_rest_either(world: World) -> None:
    token = knocking.tokens(world)["olga"]
    mine = f"{API}/members/{world.members['olga'].id}/roles"
    assert ask("PUT", mine, token, {**DESK, "roles": ["owner"], "until": {"owner": "2027-02-20T00:00:00Z"}}).code == "forbidden"


# The command line -----------------------------------------------------------------------------------------------------------------------


def test_bootstrap_gives_a_role_until_a_day_and_asks_for_one_where_there_must_be(world: World) -> None:
    slug = f"shop-{secrets.token_hex(4)}"
    command = ["bootstrap", "--organisation", slug, "--workspace", "desk", "--member", "mia=owner", "--member", "ada=auditor"]
    command += ["--member", "olga=owner", "--json"]
    with pytest.raises(CommandError, match=r"given until a time\. Say until when"):
        run(*command)
    for wrong in ("ada", "ada=soon", "max=2027-02-20"):
        with pytest.raises(CommandError, match="NAME=DAY"):
            run(*command, "--until", wrong)
    made = json.loads(run(*command, "--until", f"ada={day(60)}", "--until", f"mia={day(60)}"))
    with tenancy.within(made["organisation"]):
        found = dict(Seat.objects.values_list("member__name", "until"))
    end = datetime.datetime.combine(soon(60).date(), LAST, datetime.UTC)
    assert found == {"ada": end, "mia": end, "olga": None}
    assert datetime.timedelta(days=90) == seats.USUAL
