"""The live socket: who may hear what, that no data travels on it, and that a signal reaches a real page through real processes."""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib import auth
from django.contrib.auth import get_user_model
from django.db import connection
from django.http import HttpRequest
from django.test import override_settings

from agents import identity, organisations, seats
from agents.organisations import Principal
from audit import tenancy
from controlplane import publish
from controlplane.live import consumers
from tests.controlplane import processes, wire
from tests.world import World

ORIGIN = ("origin", "http://testserver")
HOST = ("host", "testserver")
SILENCE_S = 0.3


def cookie_of(person: Principal) -> str:
    """A session as signing in makes it."""
    request = HttpRequest()
    request.session = importlib.import_module(settings.SESSION_ENGINE).SessionStore()
    auth.login(request, get_user_model().objects.get(pk=person.user), backend="django.contrib.auth.backends.ModelBackend")
    request.session.save()
    return f"{settings.SESSION_COOKIE_NAME}={request.session.session_key}"


def token_of(world: World, name: str) -> str:
    return identity.issue(by=world.people[name], member=world.members[name]).token


def as_person(world: World, name: str) -> list[tuple[str, str]]:
    return [HOST, ORIGIN, ("cookie", cookie_of(world.people[name]))]


def page(
    headers: list[tuple[str, str]], *, query: str = "workspace=desk", path: str = "/live/", application: Any = consumers.application
) -> wire.Page:
    return wire.Page(application, f"{path}?{query}", headers)


def reauthorised_soon() -> Any:
    """The application, looking at the rights of its pages again five times a second."""
    return consumers.Live.as_asgi(reauthorise_s=0.2)


async def say(world: World, topic: str, identifier: str = "R-0000000000", *, workspace: str | None = None) -> None:
    told = await asyncio.to_thread(
        publish.signal, world.organisation, world.workspace.id if workspace is None else workspace, topic, identifier
    )
    assert told


def open_page(headers: list[tuple[str, str]], story: Callable[[wire.Page], Awaitable[None]], **where: Any) -> None:
    """Open a page, live its story, close it."""

    async def play() -> None:
        opened = page(headers, **where)
        assert await opened.connect() == 0
        try:
            await story(opened)
        finally:
            await opened.leave()

    asyncio.run(play())


def refused(headers: list[tuple[str, str]], **where: str) -> int:
    """The code with which a page is not even opened; 0 when it is."""

    async def play() -> int:
        opened = page(headers, **where)
        code = await opened.connect()
        if not code:
            await opened.leave()
        return code

    return asyncio.run(play())


def test_a_page_hears_that_a_topic_changed_and_nothing_else(world: World) -> None:
    async def story(opened: wire.Page) -> None:
        await say(world, "approvals", "APR-7F3K2QW9MX")
        first = await opened.hear()
        assert first == {"topic": "approvals", "sequence": first["sequence"], "id": "APR-7F3K2QW9MX"}
        await say(world, "approvals", "APR-7F3K2QW9MX")
        assert (await opened.hear())["sequence"] == first["sequence"] + 1

    open_page(as_person(world, "olga"), story)


def test_a_page_is_told_how_many_signals_it_missed(world: World) -> None:
    counted: list[dict[str, int]] = []

    async def story(opened: wire.Page) -> None:
        counted.append(opened.standing)
        for _ in range(3):
            await say(world, "approvals")
        await say(world, "runs", workspace="")

    open_page(as_person(world, "ann"), story)
    open_page(as_person(world, "ann"), story)
    assert set(counted[0]) == {"runs", "approvals", "presence", "audit", "stops"}  # what an approver may hear, and no more
    missed = {topic: counted[1][topic] - before for topic, before in counted[0].items()}
    assert missed == {"approvals": 3, "runs": 1, "presence": 0, "stops": 0, "audit": 0}


def test_a_program_hears_with_a_person_s_token_and_needs_no_origin(world: World) -> None:
    async def story(opened: wire.Page) -> None:
        await say(world, "runs")
        assert (await opened.hear())["topic"] == "runs"

    open_page([HOST, ("authorization", f"Bearer {token_of(world, 'olga')}")], story)


def test_each_hears_the_topics_that_their_role_may_see(world: World) -> None:
    async def heard_by(opened: wire.Page) -> set[str]:
        for topic in publish.TOPICS:
            await say(world, topic)
        heard = set()
        while not await opened.is_silent(SILENCE_S):
            heard.add((await opened.hear())["topic"])
        return heard

    expected = {
        "vera": {"runs", "stops"},
        "fiona": {"runs", "stops", "budgets", "audit"},
        "ann": {"runs", "stops", "approvals", "presence", "audit"},
        "olga": set(publish.TOPICS),
    }
    for name, topics in expected.items():

        async def story(opened: wire.Page, topics: set[str] = topics) -> None:
            assert await heard_by(opened) == topics

        open_page(as_person(world, name), story)


def test_what_happens_elsewhere_is_not_heard(world: World, elsewhere: World) -> None:
    async def story(opened: wire.Page) -> None:
        for topic in publish.TOPICS:
            await say(elsewhere, topic)
            await say(world, topic, workspace=world.other.id)
            await say(elsewhere, topic, workspace="")
        assert await opened.is_silent(SILENCE_S)
        await say(world, "runs", workspace="")
        assert (await opened.hear())["topic"] == "runs"

    open_page(as_person(world, "olga"), story)


@pytest.mark.parametrize("slug", ["lab", "no-such", "", "desk'--", "%00"])
def test_a_workspace_that_is_not_one_s_own_cannot_be_told_from_one_that_is_not_there(world: World, slug: str) -> None:
    assert refused(as_person(world, "olga"), query=f"workspace={slug}") == consumers.FORBIDDEN


def test_nobody_and_agents_and_revoked_tokens_are_refused_without_a_frame(world: World) -> None:
    agent = world.start().token
    token = token_of(world, "olga")
    key = identity.authenticate(token).key
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute("update agents_key set revoked_at = clock_timestamp() where id = %s", [key])
    anonymous: list[list[tuple[str, str]]] = [
        [HOST, ORIGIN],
        [HOST, ORIGIN, ("cookie", f"{settings.SESSION_COOKIE_NAME}=nonsense")],
        [HOST, ORIGIN, ("cookie", f'{settings.SESSION_COOKIE_NAME}="' + r"\000" * 9 + '"')],
        *[[HOST, ("authorization", f"Bearer {each}")] for each in (agent, token, "", "remit_x")],
    ]
    assert [refused(headers) for headers in anonymous] == [consumers.UNAUTHENTICATED] * len(anonymous)


@pytest.mark.parametrize("origin", ["http://evil.example", "http://testserver.evil.example", "http://testserver:81", "null", "file://", ""])
def test_another_site_s_page_is_refused_although_the_browser_sends_the_cookie(world: World, origin: str) -> None:
    sent = [HOST, ("cookie", cookie_of(world.people["olga"])), *([("origin", origin)] if origin else [])]
    assert refused(sent) == consumers.FORBIDDEN
    assert refused([("host", "evil.example"), ("origin", "http://evil.example"), sent[1]]) == consumers.FORBIDDEN


def test_there_is_no_other_socket(world: World) -> None:
    assert refused(as_person(world, "olga"), path="/live/other") == consumers.NOWHERE


def test_who_speaks_on_it_is_hung_up_on(world: World) -> None:
    async def story(opened: wire.Page) -> None:
        await opened.say('{"join": "ORG-0000000000"}')
        assert await opened.said() == {"type": "websocket.close", "code": consumers.UNSPEAKING}

    open_page(as_person(world, "olga"), story)


def test_a_member_who_is_gone_is_hung_up_on(world: World) -> None:
    async def story(opened: wire.Page) -> None:
        await asyncio.to_thread(organisations.deactivate, by=world.people["sam"], member=world.members["olga"])
        assert await opened.said() == {"type": "websocket.close", "code": consumers.UNAUTHENTICATED}

    open_page(as_person(world, "olga"), story, application=reauthorised_soon())


def test_a_topic_that_a_role_lost_is_heard_no_more_and_the_rest_still_is(world: World) -> None:
    system = organisations.system(world.organisation, "tests")

    def demote() -> None:
        seats.grant(by=system, member=world.members["ann"], workspace=world.workspace, role="viewer")
        seats.remove(by=system, member=world.members["ann"], workspace=world.workspace, role="approver")

    async def story(opened: wire.Page) -> None:
        await say(world, "approvals")
        assert (await opened.hear())["topic"] == "approvals"
        await asyncio.to_thread(demote)
        while True:
            await say(world, "approvals")
            await say(world, "runs")
            heard = {(await opened.hear())["topic"]}
            if await opened.is_silent(SILENCE_S):
                break
            heard.add((await opened.hear())["topic"])
        assert heard == {"runs"}

    open_page(as_person(world, "ann"), story, application=reauthorised_soon())


def test_a_signal_that_cannot_be_sent_costs_nobody_anything(world: World) -> None:
    nowhere = f"redis://127.0.0.1:{processes.free_port()}/0"
    with override_settings(REDIS_URL=nowhere):
        assert publish.signal(world.organisation, world.workspace.id, "runs", "R-0000000000") is False
        assert publish.announce([f"{world.organisation}/{world.workspace.id}/run/R-0000000000"]) is False


def test_a_notification_becomes_the_topics_it_belongs_to_and_foreign_text_becomes_nothing() -> None:
    payload = "ORG-7F3K2QW9MX/WS-7F3K2QW9MX/request/APR-7F3K2QW9MX"
    assert [(each.topic, each.id) for each in publish.understood(payload)] == [
        ("approvals", "APR-7F3K2QW9MX"),
        ("runs", "APR-7F3K2QW9MX"),
        ("audit", ""),
    ]
    assert [each.topic for each in publish.understood("ORG-7F3K2QW9MX//member/MEM-7F3K2QW9MX")] == ["audit"]
    assert [each.id for each in publish.understood("ORG-7F3K2QW9MX//run/<script>")] == ["", ""]
    for text in (
        "",
        "x",
        "ORG-7F3K2QW9MX/WS-1",
        "../../x/y",
        "ORG-7F3K2QW9MX/WS-7F3K2QW9MX. */run/R-1",
        "ORG-1/WS-7F3K2QW9MX/run/R-7F3K2QW9MX",
    ):
        assert publish.understood(text) == []


@pytest.fixture
def house(tmp_path: Path) -> Iterator[processes.Fleet]:
    with processes.fleet(tmp_path) as running:
        yield running


@pytest.mark.slow
def test_a_change_reaches_an_open_page_through_postgres_the_sweep_redis_and_a_real_socket(world: World, house: processes.Fleet) -> None:
    port = house.web("web")
    house.sweep("sweep")
    headers = {"origin": f"http://127.0.0.1:{port}", "cookie": cookie_of(world.people["ann"])}
    with wire.Socket(port, "/live/?workspace=desk", headers) as opened:
        held = world.start().call("pay", {"account": "a", "amount": 50})
        heard = opened.until(lambda heard: any((each["topic"], each["id"]) == ("approvals", held.approval) for each in heard))
        assert all(set(each) == {"topic", "sequence", "id"} for each in heard)
    with pytest.raises(wire.Refused, match="403"):
        wire.Socket(port, "/live/?workspace=desk", headers | {"origin": "http://evil.example"})
    with pytest.raises(wire.Refused, match="403"):
        wire.Socket(port, "/live/?workspace=desk", {"origin": headers["origin"]})


@pytest.mark.slow
def test_after_redis_was_away_every_page_looks_at_everything_again(world: World, house: processes.Fleet) -> None:
    port = house.web("web")
    house.sweep("sweep")
    with wire.Socket(
        port, "/live/?workspace=desk", {"host": f"127.0.0.1:{port}", "authorization": f"Bearer {token_of(world, 'olga')}"}, 30
    ) as opened:
        house.store.stop()
        world.start().call("pay", {"account": "a", "amount": 50})  # said to nobody
        house.store.start()
        opened.until(lambda heard: {each["topic"] for each in heard if each["sequence"] == 0} == set(publish.TOPICS))
