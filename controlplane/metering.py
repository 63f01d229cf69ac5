"""Requests counted and named where they enter. Labels name doors and status classes, never an organisation, a person or a path."""

import functools
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

from audit import origin
from controlplane import hop, origins

Application = Callable[[hop.Scope, hop.Receive, hop.Send], Coroutine[Any, Any, None]]
disable_created_metrics()  # type: ignore[no-untyped-call]  # when a series began helps nobody, and doubles their number
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
REQUESTS = Counter("remit_http_requests", "Requests answered, by class of door and status", ["door", "status"], registry=REGISTRY)
SECONDS = Histogram("remit_http_seconds", "Time to the last byte", ["door"], buckets=BUCKETS, registry=REGISTRY)
SOCKETS = Gauge("remit_live_sockets", "Live sockets that are open", registry=REGISTRY)
# The longest prefix first.
_DOORS = (
    ("/api/v1/calls", "calls"),
    ("/api/", "api"),
    ("/mcp", "mcp"),
    ("/static/", "static"),
    ("/healthz", "health"),
    ("/readyz", "health"),
    ("/metrics", "health"),
)


def door_of(path: str) -> str:
    """One of a handful of names: a caller cannot make new ones."""
    for prefix, name in _DOORS:
        if path.startswith(prefix):
            return name
    return "pages"


@functools.cache
def _children(door: str, status: int) -> tuple[Counter, Histogram]:
    """Finding them by their labels costs more than counting. No status: the client left, or the door broke."""
    return REQUESTS.labels(door, f"{status}xx" if status else "none"), SECONDS.labels(door)


def counted(application: Application) -> Application:
    """The same application, with every request and every live socket counted."""

    async def entered(scope: hop.Scope, receive: hop.Receive, send: hop.Send) -> None:
        if scope["type"] == "websocket":
            with SOCKETS.track_inprogress():
                return await application(scope, receive, send)
        if scope["type"] != "http":
            return await application(scope, receive, send)
        began, door, status = time.perf_counter(), door_of(scope["path"]), 0
        came = origins.of(scope)
        origin.arrive(came)

        def watched(message: MutableMapping[str, Any]) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"]) // 100
                message["headers"] = [*message.get("headers", ()), (origins.HEADER, came.request.encode())]
            return send(message)

        try:
            await application(scope, receive, watched)
        finally:
            requests, seconds = _children(door, status)
            requests.inc()
            seconds.observe(time.perf_counter() - began)
        return None

    return entered
