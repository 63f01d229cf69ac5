"""Who is looking at a request right now. Advice for the others and no record: it is in Redis alone and over by itself, and while Redis is
away nobody is seen looking.

`live/` says what an open page looks at, the console asks who else does. Ids are all that is kept; the names are the database's.
"""

import functools
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import redis
import redis.asyncio
from django.conf import settings

from agents import seats
from agents.organisations import Principal
from audit import ids
from controlplane import publish

logger = logging.getLogger(__name__)
TOPIC = "presence"
LASTS_S = 30  # a page that was cut off is forgotten after this; one that is open says so three times as often
PATIENCE_S = 0.2  # a page rather shows nobody than wait
MOST = 100  # pages on one request that are looked through


@dataclass(frozen=True, slots=True)
class Look:
    """One open page of one person on one request. A person may have several."""

    organisation: str
    workspace: str
    request: str
    member: str
    page: str


async def keep(look: Look) -> None:
    """It looks at it for LASTS_S from now. Pages are told when that is news. Raises redis.RedisError, OSError."""
    key, now = _key(look.organisation, look.request), time.time()
    async with _connected() as store, store.pipeline() as asked:  # as one: of two pages that come at once the first is news
        asked.zremrangebyscore(key, "-inf", now)
        asked.zrange(key, 0, -1)
        asked.zadd(key, {_field(look): now + LASTS_S})
        asked.expire(key, LASTS_S)
        gone, before, *_ = await asked.execute()
    if gone or look.member not in map(_member, before):
        publish.soon(look.organisation, look.workspace, TOPIC)


async def end(look: Look) -> None:
    """It looks at it no more. Pages are told when nobody of that person does. Raises redis.RedisError, OSError."""
    key = _key(look.organisation, look.request)
    async with _connected() as store, store.pipeline() as asked:
        asked.zrem(key, _field(look))
        asked.zrangebyscore(key, f"({time.time()}", "+inf")
        gone, after = await asked.execute()
    if gone and look.member not in map(_member, after):
        publish.soon(look.organisation, look.workspace, TOPIC)


def at(organisation: str, requests: Collection[str]) -> dict[str, frozenset[str]]:
    """The members that look at each of these requests, of those that somebody looks at. One round trip, and nobody without Redis."""
    if not requests:
        return {}
    try:
        with _kept(settings.REDIS_URL).pipeline(transaction=False) as asked:
            for request in requests:
                asked.zrevrangebyscore(_key(organisation, request), "+inf", f"({time.time()}", start=0, num=MOST)
            found = asked.execute()
    except (redis.RedisError, OSError) as error:
        logger.info("nobody is seen looking", extra={"why": type(error).__name__})
        return {}
    return {request: frozenset(map(_member, fields)) for request, fields in zip(requests, found, strict=True) if fields}


def named(here: Mapping[str, frozenset[str]], *, by: Principal, workspace: str) -> dict[str, list[str]]:
    """The names of the others among them, by request: of active members who may see requests of the workspace, and of nobody else. One
    statement, none when nobody else is there. Call inside `tenancy.within`.
    """
    others = {member for there in here.values() for member in there if ids.prefix_of(member) == "MEM"} - {by.id}
    members = list(seats.holding("approvals_view", workspace).filter(id__in=others).exclude(person=by.person))
    found = {request: [member.name for member in members if member.id in there] for request, there in here.items()}
    return {request: names for request, names in found.items() if names}


def _key(organisation: str, request: str) -> str:
    return f"remit:looking:{organisation}:{request}"


def _field(look: Look) -> str:
    return f"{look.member} {look.page}"


def _member(field: bytes) -> str:
    return field.partition(b" ")[0].decode(errors="replace")


def _connected() -> redis.asyncio.Redis:
    """For live connections: one for each thing said, as the loop they run on may be another each time."""
    patience = publish.PATIENCE_S
    store: redis.asyncio.Redis = redis.asyncio.from_url(settings.REDIS_URL, socket_timeout=patience, socket_connect_timeout=patience)
    return store


@functools.lru_cache(maxsize=1)
def _kept(url: str) -> redis.Redis:
    """For pages: its connections last as long as the process."""
    return redis.Redis.from_url(url, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S)
