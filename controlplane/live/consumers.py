"""The live socket: `/live/?workspace=slug`. It says that a topic changed, never what; the page then asks at an ordinary door.
When it opens, and every 25 s, it says how many signals each topic has had, so that a page knows what it missed.

A page says one thing: which request is before its reader's eyes, `{"looks": "APR-..."}`, or none. That is for others to see (`presence`).

A person's session or bearer token decides which topics of the workspace it hears, when it opens and again every minute.
"""

import asyncio
import contextlib
import importlib
import logging
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

import orjson
import redis
from channels.generic.websocket import AsyncWebsocketConsumer  # type: ignore[import-untyped]
from django.conf import settings
from django.contrib import auth
from django.http import HttpRequest, parse_cookie
from django.http.request import split_domain_port, validate_host

from agents import identity, organisations
from agents.organisations import Principal
from approvals import requests
from approvals.models import Request
from audit import ids, outcomes, tenancy
from controlplane import guard, hop, presence, publish

logger = logging.getLogger(__name__)
REAUTHORISE_S = 60.0
HEARTBEAT_S = 25.0
LOOK_S = 1.0  # between two things that a page says; of what it says meanwhile only the last counts
LONGEST = 80
PATH = "/live/"
UNAUTHENTICATED, FORBIDDEN, NOWHERE, UNSPEAKING, LATER = 4401, 4403, 4404, 1003, 1013
PERMISSION: Mapping[str, str] = {
    "runs": "runs_view",
    "approvals": "approvals_view",
    "presence": "approvals_view",
    "budgets": "budgets_view",
    "audit": "audit_view",
    "stops": "agents_view",
}


class Live(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One open page. Until it is accepted nothing is sent. However much it says, it costs one look a second."""

    def __init__(self, *, reauthorise_s: float = REAUTHORISE_S, look_s: float = LOOK_S) -> None:
        super().__init__()
        self._every_s, self._look_s = reauthorise_s, look_s
        self._said, self._says = asyncio.Event(), ""
        self._look: presence.Look | None = None
        self._doubts = False  # its rights were looked at again since, so whether it may look at that is, too
        self._joined: frozenset[str] = frozenset()
        self._watches: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        code = FORBIDDEN if not is_ours(headers_of(self.scope)) else await self._authorise()
        if code:
            await self.close(code)
            return
        await self.accept()
        self._watches = [asyncio.create_task(each) for each in (self._keep_authorised(), self._keep_standing(), self._keep_looking())]

    async def disconnect(self, code: int) -> None:
        for watch in self._watches:
            watch.cancel()
        await self._look_away()
        await self._join(frozenset())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        said = looked_at(text_data)
        if said is None:
            await self.close(UNSPEAKING)
            return
        self._says = said
        self._said.set()

    async def live_signal(self, message: Mapping[str, Any]) -> None:
        if message["topic"] in self._topics:
            await self.send(text_data=orjson.dumps({name: message[name] for name in ("topic", "sequence", "id")}).decode())

    @property
    def _topics(self) -> set[str]:
        return {name.rpartition(".")[2] for name in self._joined}

    async def _authorise(self) -> int:
        """Join exactly the groups this socket may hear now. Answers the code to close with, or 0."""
        try:
            await self._join(await hop.enter(groups, self.scope))
        except identity.Unauthenticated:
            return UNAUTHENTICATED
        except outcomes.Refused:
            return FORBIDDEN
        except Exception:
            logger.exception("a socket could not be authorised")
            return LATER  # closed, not left open: nobody knows whether it still may
        return 0

    async def _keep_authorised(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            if code := await self._authorise():
                await self.close(code)
                return
            self._doubts = True

    async def _keep_standing(self) -> None:
        """Redis being away is said by nobody; when it is back, the sweep tells every page to look at everything."""
        while True:
            with contextlib.suppress(redis.RedisError, OSError):
                told = await publish.standing(self._joined - {publish.EVERYONE})
                await self.send(text_data=orjson.dumps({"standing": told}).decode())
            await asyncio.sleep(HEARTBEAT_S)

    async def _keep_looking(self) -> None:
        while True:
            await self._said.wait()
            self._said.clear()
            try:
                await self._turn(self._says)
            except (outcomes.Refused, redis.RedisError, OSError):
                pass  # signed out, which closes it soon; or nobody sees it looking until it says so again
            except Exception:
                logger.exception("what a page looks at could not be told")
            await asyncio.sleep(self._look_s)

    async def _turn(self, identifier: str) -> None:
        if self._doubts or self._look is None or self._look.request != identifier:
            found = await hop.enter(look, self.scope, identifier, self.channel_name) if identifier else None
            self._doubts = False
            if found != self._look:
                await self._look_away()
            self._look = found
        if self._look is not None:
            await presence.keep(self._look)

    async def _look_away(self) -> None:
        """Redis being away costs others some seconds in which it still seems to look."""
        left, self._look = self._look, None
        if left is not None:
            with contextlib.suppress(redis.RedisError, OSError):
                await presence.end(left)

    async def _join(self, wanted: frozenset[str]) -> None:
        """Redis being away when a page leaves is nobody's trouble; when one comes, it comes again later."""
        for name in wanted - self._joined:
            await self.channel_layer.group_add(name, self.channel_name)
            self._joined |= {name}
        for name in self._joined - wanted:
            self._joined -= {name}
            with contextlib.suppress(redis.RedisError, OSError):
                await self.channel_layer.group_discard(name, self.channel_name)


def headers_of(scope: Mapping[str, Any]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def is_ours(headers: Mapping[str, str]) -> bool:
    """A browser must come from our own pages: its Origin is the host it connects to, and one we serve. A program needs none, but a token:
    nobody else's page can make a browser send one.
    """
    origin, host = headers.get("origin", ""), headers.get("host", "")
    if not origin:
        return headers.get("authorization", "").lower().startswith("bearer ")
    parts = urllib.parse.urlsplit(origin)
    if parts.scheme not in {"http", "https"} or not validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS):
        return False
    return parts.netloc == host or origin in settings.CSRF_TRUSTED_ORIGINS


def groups(scope: Mapping[str, Any]) -> frozenset[str]:
    """What this socket may hear: the topics of one workspace that its person may see. Raises a Refused otherwise."""
    principal = _principal(headers_of(scope))
    slug = dict(urllib.parse.parse_qsl(scope["query_string"].decode("latin-1"))).get("workspace", "")
    if not re.fullmatch(r"[-\w]{0,63}", slug, re.ASCII):
        raise _nowhere()
    with tenancy.within(principal.organisation, read_only=True):
        workspace = organisations.workspace_of(principal, slug)
        topics = [topic for topic, permission in PERMISSION.items() if organisations.may(principal, permission, workspace.id)]
    if not topics:
        raise _nowhere()
    here = {publish.group(principal.organisation, place, topic) for topic in topics for place in (workspace.id, "")}
    return frozenset(here | {publish.EVERYONE})


def looked_at(text: str | None) -> str | None:
    """The request that a page says it looks at, "" for none; None when it says anything else."""
    if text is None or len(text) > LONGEST:
        return None
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(said, dict) or said.keys() != {"looks"} or not isinstance(said["looks"], str):
        return None
    return str(said["looks"])


def look(scope: Mapping[str, Any], identifier: str, page: str) -> presence.Look | None:
    """This page's look at an open request that its person sees; None for every other, whether there is one or not. Raises a Refused."""
    by = _principal(headers_of(scope))
    if ids.prefix_of(identifier) != "APR":
        return None
    with tenancy.within(by.organisation, read_only=True):
        try:
            found = requests.get(identifier, by=by)
        except organisations.NotFound:
            return None
    if found.state != Request.State.OPEN:
        return None
    return presence.Look(organisation=by.organisation, workspace=found.workspace_id, request=found.id, member=by.id, page=page)


def _nowhere() -> organisations.NotFound:
    return organisations.NotFound("There is no such workspace.", rule="workspace", next_step="Ask for a role in it.")


def _principal(headers: Mapping[str, str]) -> Principal:
    """A person, by token or by session. Agents wait at their own doors; a socket would tell them of others' work."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    found = identity.authenticate(token.strip()) if scheme.lower() == "bearer" else _by_session(headers.get("cookie", ""))
    if found is None or found.kind != "person":
        next_step = "Sign in, or send a person's token."
        raise identity.Unauthenticated("Sign in first.", rule="authentication", current="none", limit="a person", next_step=next_step)
    return found


def _by_session(cookie: str) -> Principal | None:
    key = parse_cookie(cookie).get(settings.SESSION_COOKIE_NAME, "")
    if not key.isalnum():
        return None
    request = HttpRequest()
    request.session = importlib.import_module(settings.SESSION_ENGINE).SessionStore(key)
    request.user = auth.get_user(request)
    return guard.person(request)


_live = Live.as_asgi()


async def application(scope: hop.Scope, receive: hop.Receive, send: hop.Send) -> None:
    """ASGI, websockets only."""
    if scope["path"] == PATH:
        await _live(scope, receive, send)
    else:
        await receive()
        await send({"type": "websocket.close", "code": NOWHERE})
