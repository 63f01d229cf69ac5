"""The web process: hot doors as plain callables, websockets to Channels, the rest to Django; all through one hop into a fixed pool."""

import gc
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

import django

django.setup(set_prefix=False)

from django.urls import get_resolver  # noqa: E402

from controlplane import hop, metering  # noqa: E402
from controlplane.api import calls  # noqa: E402
from controlplane.console import render  # noqa: E402
from controlplane.live import consumers  # noqa: E402
from controlplane.mcp import endpoint  # noqa: E402

HOT: dict[str, hop.Door] = {"/mcp": endpoint.serve, "/api/v1/calls": calls.propose}
pages = hop.OneHop()


def door_of(path: str) -> hop.Door | None:
    """The hot door at a path."""
    if path.startswith("/api/v1/calls/"):
        return calls.show
    return HOT.get(path)


async def _application(scope: hop.Scope, receive: hop.Receive, send: hop.Send) -> None:
    """ASGI, uncounted."""
    if scope["type"] == "lifespan":
        return await _lifespan(receive, send)
    if scope["type"] == "websocket":
        return await consumers.application(scope, receive, send)
    door = door_of(scope["path"])
    if door is not None:
        return await hop.hot(door, scope, receive, send)
    await pages(scope, receive, send)


async def _lifespan(receive: hop.Receive, send: hop.Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            hop.POOL.shutdown()
            return


application = metering.counted(_application)

# What is loaded by now stays as long as the process: no collection needs to look at it again (6 % of a governed read, measured). So what
# the first pages would load is loaded now. The middle generation stays small: it was 140 ms of every 27th page.
get_resolver().url_patterns  # noqa: B018 - importing is what it is for
render.load()
gc.collect()
gc.freeze()
gc.set_threshold(10_000, 4, 20)
