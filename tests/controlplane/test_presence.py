"""Who is looking at a request: a page says it on its socket once its rights were looked at; changes are told, and it is over by itself."""

import asyncio
import functools
import json
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from agents import identity, organisations, seats
from approvals.models import Request
from audit import tenancy
from controlplane import gate, presence, publish
from controlplane.live import consumers
from tests.approvals.test_requests import held
from tests.controlplane import processes, wire
from tests.controlplane.test_live import HOST, SILENCE_S, as_person, open_page, refused, token_of
from tests.world import World


def look(world: World, said: gate.Admission, name: str = "ann", page: str = "one") -> presence.Look:
    return presence.Look(world.organisation, world.workspace.id, str(said.approval), world.members[name].id, page)


def keep(*looks: presence.Look) -> None:
    for each in looks:
        asyncio.run(presence.keep(each))


def end(each: presence.Look) -> None:
    asyncio.run(presence.end(each))


def names(world: World, said: gate.Admission, *, by: str = "olga") -> list[str]:
    """The others who are looking, as this person sees it."""
    person = world.people[by]
    with tenancy.within(world.organisation, read_only=True):
        here = presence.at(world.organisation, [str(said.approval)])
        return presence.named(here, by=person, workspace=world.workspace.id).get(str(said.approval), [])


def keys(world: World) -> list[bytes]:
    """Everything that is kept of who looks in this organisation."""
    with redis.Redis.from_url(settings.REDIS_URL) as store:
        return list(store.scan_iter(match=f"remit:looking:{world.organisation}:*"))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """What pages would be told, in order."""
    found: list[tuple[str, str, str]] = []
    monkeypatch.setattr(publish, "soon", lambda *one: found.append(one))
    return found


def nowhere() -> str:
    return f"redis://127.0.0.1:{processes.free_port()}/0"


@pytest.fixture
def silent() -> Iterator[str]:
    """A Redis that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


# What is kept -----------------------------------------------------------------------------------------------------------


def test_only_who_comes_and_who_leaves_is_news(world: World, told: list[tuple[str, str, str]]) -> None:
    said = held(world)
    keep(look(world, said), look(world, said), look(world, said))
    assert told == [(world.organisation, world.workspace.id, "presence")]
    keep(look(world, said, page="two"))
    end(look(world, said))
    assert (len(told), names(world, said)) == (1, ["ann"]), "another page of theirs still looks"
    keep(look(world, said, "ben"))
    assert (len(told), names(world, said)) == (2, ["ann", "ben"])
    end(look(world, said, page="two"))
    end(look(world, said, page="two"))
    assert (len(told), names(world, said)) == (3, ["ben"])


def test_it_is_over_by_itself(world: World, told: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    said = held(world)
    keep(look(world, said))
    with redis.Redis.from_url(settings.REDIS_URL) as store:
        assert all(0 < store.ttl(key) <= 30 for key in keys(world))
    later = time.time() + 31
    monkeypatch.setattr(presence, "time", SimpleNamespace(time=lambda: later))
    assert names(world, said) == []
    keep(look(world, said, "ben"))
    assert (len(told), names(world, said)) == (2, ["ben"])


def test_nobody_sees_their_own_name_not_even_that_of_another_account_of_theirs(world: World) -> None:
    said, system = held(world), organisations.system(world.organisation, "tests")
    user = get_user_model().objects.create_user(f"{said.approval}-ann")
    second = organisations.add_member(by=system, user=user, name="ann too", person=world.people["ann"].person)
    seats.grant(by=system, member=second, workspace=world.workspace, role="approver")
    world.members["ann too"] = second
    keep(look(world, said), look(world, said, "ann too"))
    assert names(world, said, by="ann") == []
    assert names(world, said, by="ben") == ["ann", "ann too"]


def test_what_somebody_else_wrote_into_redis_names_nobody_who_may_not_see_requests(world: World, elsewhere: World) -> None:
    said = held(world)
    others = [
        elsewhere.members["ann"].id,
        world.members["vera"].id,
        world.members["fiona"].id,
        "MEM-0000000000",
        "<b>x</b>",
        "",
        "\x00",
        "' or 1=1 --",
    ]
    with redis.Redis.from_url(settings.REDIS_URL) as store:
        key = f"remit:looking:{world.organisation}:{said.approval}"
        store.zadd(key, {f"{other} page": time.time() + 30 for other in others} | {b"\xff\xfe": time.time() + 30})
        assert names(world, said) == []
        keep(look(world, said, "ben"))
        assert names(world, said) == ["ben"]
        organisations.deactivate(by=organisations.system(world.organisation, "tests"), member=world.members["ben"])
        assert names(world, said) == []
        store.delete(key)
        store.set(key, "no such thing")
        assert names(world, said) == []
        store.delete(key)


def test_any_number_of_requests_is_one_round_trip_and_names_are_one_statement(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = world.start()
    asked = [str(run.call("pay", {"account": "a", "amount": amount}).approval) for amount in range(50, 60)]
    trips: list[int] = []
    execute = redis.client.Pipeline.execute

    def counted(pipeline: Any) -> Any:
        trips.append(len(pipeline))
        return execute(pipeline)

    monkeypatch.setattr(redis.client.Pipeline, "execute", counted)
    monkeypatch.setattr(redis.Redis, "execute_command", lambda *_: pytest.fail("a round trip of its own"))

    def statements(by: str) -> int:
        trips.clear()
        with tenancy.within(world.organisation, read_only=True), CaptureQueriesContext(connection) as caught:
            presence.named(presence.at(world.organisation, asked), by=world.people[by], workspace=world.workspace.id)
        assert trips == [10]
        return len(caught)

    assert statements("ann") == 0
    keep(*(presence.Look(world.organisation, world.workspace.id, each, world.members["ann"].id, "one") for each in asked))
    assert statements("ann") == 0, "nobody else"
    assert statements("ben") == 1


def test_without_redis_nobody_is_looking_and_nobody_waits(world: World, silent: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    said = held(world)
    keep(look(world, said))
    for url in (nowhere(), silent):
        with override_settings(REDIS_URL=url):
            began = time.monotonic()
            assert presence.at(world.organisation, [str(said.approval)]) == {}
            assert time.monotonic() - began < 1.5
    assert names(world, said) == ["ann"]


# What a page says -------------------------------------------------------------------------------------------------------


def saying(identifier: Any) -> str:
    return json.dumps({"looks": identifier})


def quick(**more: float) -> Any:
    """The application, listening to a page twenty times a second."""
    return consumers.Live.as_asgi(**{"look_s": 0.05, **more})


async def until(claim: Callable[[], object], *, within_s: float = 10.0, meanwhile: Callable[[], Awaitable[None]] | None = None) -> None:
    end_at = time.monotonic() + within_s
    while not claim():
        assert time.monotonic() < end_at, "not so in time"
        if meanwhile:
            await meanwhile()
        await asyncio.sleep(0.02)


def there(world: World, said: gate.Admission) -> frozenset[str]:
    return presence.at(world.organisation, [str(said.approval)]).get(str(said.approval), frozenset())


def test_a_page_looks_and_the_others_hear_that_something_changed_and_not_who(world: World) -> None:
    said = held(world)
    ann = world.members["ann"].id

    async def story(opened: wire.Page) -> None:
        looking = wire.Page(quick(), "/live/?workspace=desk", as_ann)
        assert await looking.connect() == 0
        await looking.say(saying(said.approval))
        first = await opened.hear()
        assert first == {"topic": "presence", "sequence": first["sequence"], "id": ""}
        assert there(world, said) == {ann}
        for _ in range(3):
            await looking.say(saying(said.approval))
        assert await opened.is_silent(publish.MOMENT_S + SILENCE_S), "nothing changed"
        await looking.say(saying(""))
        assert (await opened.hear())["topic"] == "presence"
        assert there(world, said) == frozenset()
        await looking.say(saying(said.approval))
        assert (await opened.hear())["topic"] == "presence"
        await looking.leave()
        assert (await opened.hear())["sequence"] == first["sequence"] + 3
        assert there(world, said) == frozenset()

    as_ann = as_person(world, "ann")
    open_page(as_person(world, "olga"), story)


def test_many_comings_and_goings_of_one_moment_are_one_signal(world: World) -> None:
    async def story(opened: wire.Page) -> None:
        began, heard = time.monotonic(), 0
        for _ in range(50):
            publish.soon(world.organisation, world.workspace.id, "presence")
            await asyncio.sleep(0.005)
        moments = (time.monotonic() - began) / 0.25
        while not await opened.is_silent(publish.MOMENT_S + SILENCE_S):
            assert (await opened.hear())["topic"] == "presence"
            heard += 1
        assert 1 <= heard <= moments + 2, "fifty changes"

    open_page(as_person(world, "olga"), story)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What pages said they look at, as often as their rights to see it were looked at."""
    found, real = list[str](), consumers.look

    def noted(scope: Any, identifier: str, page: str) -> presence.Look | None:
        found.append(identifier)
        return real(scope, identifier, page)

    monkeypatch.setattr(consumers, "look", noted)
    return found


def test_a_request_that_is_not_theirs_looks_like_one_that_is_not_there(world: World, elsewhere: World, looks: list[str]) -> None:
    foreign, mine, decided = held(elsewhere), held(world), held(world)
    world.approve(decided, "ben")
    world.join("bob", "builder")  # sees requests of his own agents alone
    unseen = [str(foreign.approval), "APR-0000000000", "APR-1", "R-0000000000", "\x00", "x" * 40, str(decided.approval)]
    before = keys(elsewhere)
    for name, asked in (("ann", unseen), ("bob", [str(mine.approval), *unseen])):

        def is_last(identifier: str) -> bool:
            return looks[-1:] == [identifier]

        async def story(opened: wire.Page, asked: list[str] = asked) -> None:
            for identifier in asked:
                await opened.say(saying(identifier))
                await until(functools.partial(is_last, identifier))
            assert await opened.is_silent(publish.MOMENT_S + SILENCE_S)

        open_page(as_person(world, name), story, application=quick())
    assert (keys(world), keys(elsewhere)) == ([], before)


def test_an_agent_is_never_present(world: World) -> None:
    said, agent = held(world), world.start().token
    headers = [HOST, ("authorization", f"Bearer {agent}")]
    assert refused(headers) == consumers.UNAUTHENTICATED
    scope = {"headers": [(name.encode(), value.encode()) for name, value in headers]}
    with pytest.raises(identity.Unauthenticated):
        consumers.look(scope, str(said.approval), "one")
    scope = {"headers": [(b"authorization", f"Bearer {token_of(world, 'ann')}".encode())]}
    assert consumers.look(scope, str(said.approval), "one") == look(world, said)


def test_however_much_a_page_says_it_costs_one_look_a_while_and_the_last_counts(world: World, looks: list[str]) -> None:
    first, last = held(world), held(world)

    async def story(opened: wire.Page) -> None:
        began, said = time.monotonic(), 0
        while time.monotonic() - began < 1.5:
            for _ in range(100):
                said += 1
                await opened.say(saying(first.approval if said % 2 else f"APR-{said:010}"))
            await asyncio.sleep(0.01)
        await opened.say(saying(last.approval))
        await until(lambda: there(world, last))
        assert len(looks) <= (time.monotonic() - began) / 0.2 + 2 < said / 20
        assert there(world, first) == frozenset()

    open_page(as_person(world, "ann"), story, application=quick(look_s=0.2))
    assert there(world, last) == frozenset()


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", '"APR-7F3K2QW9MX"', '{"looks": 5}', '{"looks": null}', '{"looks": "", "x": 1}', "{}", '{"looks": "' + "x" * 80 + '"}'],
)
def test_who_says_anything_else_is_hung_up_on(world: World, text: str) -> None:
    async def story(opened: wire.Page) -> None:
        await opened.say(text)
        assert await opened.said() == {"type": "websocket.close", "code": consumers.UNSPEAKING}

    open_page(as_person(world, "ann"), story)


def test_who_loses_the_right_to_see_it_is_there_no_more(world: World) -> None:
    said, system = held(world), organisations.system(world.organisation, "tests")

    def demote() -> None:
        seats.grant(by=system, member=world.members["ann"], workspace=world.workspace, role="viewer")
        seats.remove(by=system, member=world.members["ann"], workspace=world.workspace, role="approver")

    async def story(opened: wire.Page) -> None:
        async def again() -> None:
            await opened.say(saying(said.approval))

        await until(lambda: there(world, said), meanwhile=again)
        await asyncio.to_thread(demote)
        await until(lambda: not there(world, said), meanwhile=again)
        assert keys(world) == []

    open_page(as_person(world, "ann"), story, application=quick(reauthorise_s=0.2))


def test_it_looks_at_what_is_open_and_no_longer_at_what_was_decided(world: World) -> None:
    said = held(world)

    async def story(opened: wire.Page) -> None:
        async def again() -> None:
            await opened.say(saying(said.approval))

        await until(lambda: there(world, said), meanwhile=again)
        await asyncio.to_thread(close)
        await until(lambda: not there(world, said), meanwhile=again)

    def close() -> None:
        with tenancy.within(world.organisation):
            Request.objects.filter(id=said.approval).update(state="EXPIRED")

    open_page(as_person(world, "ann"), story, application=quick(reauthorise_s=0.2))


def test_a_page_that_cannot_say_where_it_looks_hears_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said, tried = held(world), list[int]()

    async def story(opened: wire.Page) -> None:
        await opened.say(saying(said.approval))
        await until(lambda: tried)
        await asyncio.to_thread(publish.signal, world.organisation, world.workspace.id, "runs", "")
        assert (await opened.hear())["topic"] == "runs"

    def away() -> Any:
        tried.append(0)
        raise redis.ConnectionError

    monkeypatch.setattr(presence, "_connected", away)
    open_page(as_person(world, "ann"), story, application=quick())
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []
