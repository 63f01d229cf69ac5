"""One hop from the event loop into a fixed pool of threads, and the small requests and answers of the hot doors.

Stock Django ASGI changes threads several times a request, which costs ten times the CPU (ARCHITECTURE.md, decisions).
Everything synchronous enters here once; each thread keeps its database connection.
"""

import asyncio
import contextlib
import contextvars
import json
import logging
import queue
import threading
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.handlers.asgi import ASGIHandler
from django.db import close_old_connections
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from audit import origin

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY = 1 << 20
MAX_LOAD = 8 << 20  # outside the hot doors: bulk loads and uploads
POLL_S = (0.05, 0.1, 0.2, 0.25)  # how often a waiting request looks; the last is repeated
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """A request at a hot door: header names in lower case, the body whole."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    query_string: str = ""

    @property
    def token(self) -> str:
        """The bearer token, or nothing."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a hot door says. `body` is JSON already, or None for an empty answer."""

    status: int
    body: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again until `look` answers, or say what `last` says. Waiting holds no thread."""

    look: Callable[[], Answer | None]
    last: Callable[[], Answer]
    seconds: float


Door = Callable[[Request], Answer | Wait]


Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


class Pool:
    """A fixed number of threads, each with a database connection of its own. An executor would do; its two chained futures cost as much as
    the gate's own Python (measured)."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._started: list[threading.Thread] = []
        self._lock = threading.Lock()

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The function's answer, from one of the threads."""
        if not self._started:
            self._start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._jobs.put((loop, future, function, arguments))
        return await future

    def shutdown(self) -> None:
        """The threads end once what was asked for before is done."""
        for _ in self._started:
            self._jobs.put(None)

    def _start(self) -> None:
        with self._lock:
            if not self._started:
                self._started = [threading.Thread(target=self._serve, name=f"remit-{n}", daemon=True) for n in range(self.threads)]
                for thread in self._started:
                    thread.start()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            loop, future, function, arguments = job
            answer, error = None, None
            try:
                try:
                    answer = function(*arguments)
                finally:
                    close_old_connections()  # drops a connection that broke; keeps a good one
            except BaseException as caught:  # whatever it is, somebody waits for it, and the thread goes on
                error = caught
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_deliver, future, answer, error)
            del job, future, function, arguments, answer, error


def _deliver(future: asyncio.Future[Any], answer: Any, error: BaseException | None) -> None:
    if future.done():  # the client left
        return
    if error is None:
        future.set_result(answer)
    else:
        future.set_exception(error)


POOL = Pool(settings.WEB_THREADS)


async def enter(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a synchronous function in the pool, in this task's context."""
    return await POOL.run(contextvars.copy_context().run, function, *arguments)


async def hot(door: Door, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request at a hot door."""
    try:
        body = await _body(receive)
    except ConnectionAbortedError:
        return
    query_string = scope["query_string"].decode("latin-1")
    query = dict(urllib.parse.parse_qsl(query_string, keep_blank_values=True)) if query_string else {}
    try:
        asked = Request(scope["method"], scope["path"], query, _headers(scope), body, query_string)
        said = await POOL.run(_serve, door, origin.current(), asked)
        if isinstance(said, Wait):
            said = await _wait(said)
    except Exception:
        logger.exception("a door failed", extra={"path": scope["path"]})
        said = problem(500, "internal", "Remit failed to answer. Nothing was sent that is not recorded.")
    await _send(send, said)


def _serve(door: Door, came: origin.Origin | None, request: Request) -> Answer | Wait:
    """A thread of the pool has no task's context, and making one costs more than saying this."""
    if came is not None:
        origin.arrive(came)
    return door(request)


def _headers(scope: Scope) -> dict[str, str]:
    """By name. One that is sent twice is joined (RFC 9110), so that nobody in front of us and we can read different ones."""
    found: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name, text = raw.decode("latin-1").lower(), value.decode("latin-1")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found


async def _wait(wait: Wait) -> Answer:
    loop = asyncio.get_running_loop()
    end, turn = loop.time() + wait.seconds, 0
    while loop.time() < end:
        found: Answer | None = await enter(wait.look)
        if found is not None:
            return found
        await asyncio.sleep(min(POLL_S[min(turn, len(POLL_S) - 1)], max(end - loop.time(), 0)))
        turn += 1
    last: Answer = await enter(wait.last)
    return last


async def _body(receive: Receive) -> bytes:
    """The body, or its first MAX_BODY + 1 bytes: that is too large for every parser, and the door that says so knows who sent it."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError  # half a request is none, even when what came of it reads like one
        chunk = message.get("body", b"")
        size += len(chunk)
        chunks.append(chunk)
        if size > MAX_BODY:
            return b"".join(chunks)[: MAX_BODY + 1]
        if not message.get("more_body"):
            return b"".join(chunks)


_USUAL = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


async def _send(send: Send, answer: Answer) -> None:
    body = answer.body or b""
    headers = [*_USUAL, (b"content-length", b"%d" % len(body))]
    if answer.headers:
        given = {name.lower().encode("latin-1"): value.encode("latin-1") for name, value in answer.headers.items()}
        headers = [pair for pair in headers if pair[0] not in given] + list(given.items())
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def explained(code: str) -> str:
    """Where a code is explained: in this very product."""
    return f"{settings.PUBLIC_URL}/docs/reference/problems#{code}"


def problem(status: int, code: str, message: str, **more: Any) -> Answer:
    """An RFC 9457 problem."""
    body = {
        "type": explained(code),
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": message,
        "code": code,
        **more,
    }
    return Answer(status, json.dumps(body).encode(), {"content-type": "application/problem+json"})


def _at_most(limit: int, receive: Receive) -> Receive:
    """The same messages; RequestDataTooBig when the body is longer."""
    size = 0

    async def counted() -> Mapping[str, Any]:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise RequestDataTooBig
        return message

    return counted


class OneHop(ASGIHandler):
    """Django's ordinary synchronous handler, middleware and all, entered by one hop. Streams are sent chunk by chunk from the pool."""

    def __init__(self) -> None:
        super(ASGIHandler, self).__init__()
        self.load_middleware(is_async=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self.read_body(_at_most(MAX_LOAD, receive))
        except RequestDataTooBig:
            return await _send(send, problem(413, "too_large", f"A body is at most {MAX_LOAD} bytes."))
        except Exception:
            return  # the client left while sending
        set_script_prefix(str(scope.get("root_path", "")))
        try:
            request, refusal = self.create_request(scope, body)
            response = refusal if request is None else await enter(self.get_response, request)
            assert response is not None  # Django gives a request, or the answer to one that it cannot read
            await self._respond(send, response)
        finally:
            body.close()

    async def _respond(self, send: Send, response: HttpResponseBase) -> None:
        headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
        headers += [(b"set-cookie", cookie.output(header="").strip().encode("ascii")) for cookie in response.cookies.values()]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        if not response.streaming:
            assert isinstance(response, HttpResponse)
            await send({"type": "http.response.body", "body": response.content})
        else:
            chunks = iter(response)
            while (chunk := await enter(next, chunks, None)) is not None:
                await send({"type": "http.response.body", "body": bytes(chunk), "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        await enter(response.close)
