"""Signals for pages that are open: "this topic changed, look again", never what changed. PostgreSQL notifies of an audit entry; the sweep
passes it on through Redis. Losing one costs a page some freshness. This stands below the doors: the sweep speaks and `live/` listens.
"""

import asyncio
import logging
import re
import threading
from collections.abc import Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import redis.asyncio
from channels.layers import get_channel_layer  # type: ignore[import-untyped]
from django.conf import settings

logger = logging.getLogger(__name__)
CHANNEL = "remit_live"  # PostgreSQL's: organisation/workspace/event prefix/subject
TOPICS = ("runs", "approvals", "presence", "budgets", "audit", "stops")
EVERYONE = "remit.everyone"
KEPT_S = 30 * 24 * 3600  # a workspace silent for longer than this counts from one again
PATIENCE_S = 2.0
MOMENT_S = 0.25
_ID = re.compile(r"[A-Z]{1,4}-[0-9A-Z]{10,20}")
# Which topics an entry of the log belongs to. Every entry is also news for whoever reads the log.
_OF_PREFIX: Mapping[str, tuple[str, ...]] = {
    "run": ("runs",),
    "call": ("runs", "budgets"),
    "effect": ("runs", "budgets"),
    "request": ("approvals", "runs"),
    "stop": ("stops",),
    "cap": ("budgets",),
    "price": ("budgets",),
    "limits": ("budgets",),
}


@dataclass(frozen=True, slots=True)
class Signal:
    """One topic of one workspace changed; `id` is what changed, when one thing did. No workspace means the whole organisation."""

    organisation: str
    workspace: str
    topic: str
    id: str


def group(organisation: str, workspace: str, topic: str) -> str:
    """Who hears of it. Both ids are ours, so the name is one that Channels accepts."""
    return f"{organisation}.{workspace or 'all'}.{topic}"


def signal(organisation: str, workspace: str, topic: str, identifier: str) -> bool:
    """Tell the open pages. A failure is logged and costs nobody anything else; then the answer is False."""
    return _say([Signal(organisation, workspace, topic, identifier)])


def soon(organisation: str, workspace: str, topic: str) -> None:
    """Tell the open pages in a moment: once, however much changes until then. Nobody waits for it; a failure is logged."""
    _loop().call_soon_threadsafe(_gather, Signal(organisation, workspace, topic, ""))


def announce(payloads: Iterable[str]) -> bool:
    """Pass on what PostgreSQL notified of. Many entries of a busy moment become one signal for each thing that changed."""
    return _say(list(dict.fromkeys(found for payload in payloads for found in understood(payload))))


def look_again() -> bool:
    """Whoever listens may have missed something: every page looks at everything once more."""
    return _run(_tell_everyone())


def understood(payload: str) -> list[Signal]:
    """The signals in a payload; none when it is not one of ours."""
    parts = payload.split("/", 3)
    if len(parts) != 4 or not _ID.fullmatch(parts[0]) or (parts[1] and not _ID.fullmatch(parts[1])):
        return []
    organisation, workspace, prefix, subject = parts
    named = subject if _ID.fullmatch(subject) else ""
    # A budget and the log change as a whole: a hundred calls a second are one thing to look at, not a hundred.
    whole = {"budgets", "audit"}
    return [Signal(organisation, workspace, topic, "" if topic in whole else named) for topic in (*_OF_PREFIX.get(prefix, ()), "audit")]


def _say(signals: list[Signal]) -> bool:
    return not signals or _run(_tell(signals))


async def standing(groups: Collection[str]) -> dict[str, int]:
    """How many signals each topic of these groups has had; a page that counted another number missed one.

    Raises redis.RedisError, OSError.
    """
    names = sorted(groups)
    connected = redis.asyncio.from_url(settings.REDIS_URL, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S)
    async with connected as store:
        counted = await store.mget([f"remit:live:{name}" for name in names]) if names else []
    found: dict[str, int] = {}
    for name, number in zip(names, counted, strict=True):
        topic = name.rpartition(".")[2]
        found[topic] = found.get(topic, 0) + int(number or 0)
    return found


async def _tell(signals: list[Signal]) -> None:
    connected = redis.asyncio.from_url(settings.REDIS_URL, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S)
    async with connected as store, store.pipeline(transaction=False) as pipeline:
        for each in signals:
            key = f"remit:live:{group(each.organisation, each.workspace, each.topic)}"
            pipeline.incr(key)
            pipeline.expire(key, KEPT_S)
        counted = (await pipeline.execute())[::2]
    layer = get_channel_layer()
    for each, sequence in zip(signals, counted, strict=True):
        message = {"type": "live.signal", "topic": each.topic, "sequence": int(sequence), "id": each.id}
        await layer.group_send(group(each.organisation, each.workspace, each.topic), message)


async def _tell_everyone() -> None:
    layer = get_channel_layer()
    for topic in TOPICS:
        await layer.group_send(EVERYONE, {"type": "live.signal", "topic": topic, "sequence": 0, "id": ""})


_due: dict[Signal, asyncio.Task[None]] = {}  # touched on our own loop alone


def _gather(one: Signal) -> None:
    if one not in _due:
        _due[one] = asyncio.get_running_loop().create_task(_in_a_moment(one))


async def _in_a_moment(one: Signal) -> None:
    await asyncio.sleep(MOMENT_S)
    del _due[one]  # before it is told: what changes from here on is told again
    try:
        await asyncio.wait_for(_tell([one]), PATIENCE_S)
    except Exception as error:
        logger.warning("a signal could not be sent", extra={"why": type(error).__name__})


def _run(work: Coroutine[Any, Any, None]) -> bool:
    """On a loop of our own: the layer keeps a connection for each loop, so one that lives as long as the process needs one."""
    try:
        asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, PATIENCE_S), _loop()).result(PATIENCE_S + 1)
    except Exception as error:
        logger.warning("a signal could not be sent", extra={"why": type(error).__name__})
        return False
    return True


_starting = threading.Lock()
_running: list[asyncio.AbstractEventLoop] = []


def _loop() -> asyncio.AbstractEventLoop:
    with _starting:
        if not _running:
            _running.append(asyncio.new_event_loop())
            threading.Thread(target=_running[0].run_forever, name="publish", daemon=True).start()
    return _running[0]
