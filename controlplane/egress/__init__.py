"""The one way out: every request Remit makes to somebody else's server.

It resolves a name once, refuses it unless every address is allowed, and connects to the address it checked. It follows no redirect, knows
no proxy and reads no more than it was told. A failure is `NotSent` when the other side cannot have acted, `Unknown` when it may have.
"""

import ipaddress
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass

from controlplane.egress import addresses, failures, wire

NotSent = failures.NotSent
Blocked = failures.Blocked
Unknown = failures.Unknown

Resolve = Callable[[str, int], Sequence[str]]

PORTS = frozenset({443, 8443})
ANSWER_BYTES = 8 << 20
IDLE_EACH = 16  # connections kept per key: as many as there are gate threads
IDLE_ALL = 256
IDLE_READ_S = 30.0
IDLE_WRITE_S = 4.0  # common servers hang up after 5 s; a write that loses that race is in doubt, so it does not enter it
CONNECT_S = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """`partition` keeps callers apart that must not share a connection. `repeatable` says that sending it twice is harmless."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    timeout_s: float = 30.0  # for everything: resolving, connecting, sending, and the last byte of the answer
    allow_private: bool = False
    partition: Hashable = ""
    repeatable: bool = False
    max_bytes: int = ANSWER_BYTES


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


def _getaddrinfo(host: str, port: int) -> list[str]:
    return list(dict.fromkeys(str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}", re.ASCII)
_VALUE = re.compile(r"[\t\x20-\x7e]*", re.ASCII)
_FRAMING = frozenset({"host", "content-length", "transfer-encoding", "accept-encoding", "connection", "keep-alive", "te", "trailer"})
_OURS = _FRAMING | {"upgrade", "expect", "proxy-authorization", "proxy-connection"}
_Key = tuple[str, str, int, bool, Hashable]


class Client:
    """Persistent connections, safe for any number of threads. A connection is held by one request at a time."""

    def __init__(self, *, resolve: Resolve = _getaddrinfo, tls: ssl.SSLContext | None = None, ports: frozenset[int] = PORTS) -> None:
        self.ports = ports
        self._resolve = resolve
        self._tls = tls
        self._lock = threading.Lock()
        self._idle: dict[_Key, list[wire.Connection]] = {}
        self._swept = 0.0
        self._resolvers: futures.ThreadPoolExecutor | None = None

    def forget(self) -> None:
        """After a fork the parent's connections are not ours to speak on."""
        self._lock, self._idle, self._resolvers = threading.Lock(), {}, None

    def close(self) -> None:
        """Hangs up every idle connection."""
        with self._lock:
            waiting, self._idle = self._idle, {}
        for connection in (one for each in waiting.values() for one in each):
            connection.close()

    def check(self, url: str, *, allow_private: bool) -> None:
        """Raises NotSent when a request to this URL would not leave the house."""
        self._addresses(addresses.target(url), time.monotonic() + CONNECT_S, allow_private=allow_private)

    def send(self, request: Request) -> Response:
        with self.open(request) as reply:
            return Response(reply.status, reply.headers, reply.read())

    # A generator as a context manager costs 2 us, which buys that every way out of it closes or keeps the connection.
    @contextmanager
    def open(self, request: Request) -> Iterator[wire.Reply]:
        """The answer while it is being read. The connection is kept only when the whole of it was."""
        target = addresses.target(request.url)
        key = (target.scheme, target.host, target.port, request.allow_private, request.partition)
        connection, head = self._sent(request, target, key)
        try:
            is_11, status, headers = head
            reusable = is_11 and "close" not in headers.get("connection", "").lower()
            has_body = request.method != "HEAD" and status not in {204, 304}
            reply = wire.Reply(status, headers, reusable, request.max_bytes, connection, has_body)
            yield reply
        except BaseException:
            connection.close()
            raise
        if reply.is_complete and reply.is_reusable:
            self._keep(key, connection)
        else:
            connection.close()

    def _sent(self, request: Request, target: addresses.Target, key: _Key) -> tuple[wire.Connection, tuple[bool, int, dict[str, str]]]:
        """Writes the request and reads the head, on a kept connection when there is a live one."""
        message = _render(request, target)
        deadline = time.monotonic() + request.timeout_s
        connection = self._kept(key, IDLE_READ_S if request.repeatable else IDLE_WRITE_S)
        if connection is not None:
            try:
                return connection, _exchange(connection, message, request, deadline)
            except NotSent:
                pass
            except Unknown:
                # The server hung up as we wrote: only what is harmless twice is sent twice.
                if not request.repeatable or connection.received or connection.timed_out:
                    raise
        connection = self._connect(target, deadline, allow_private=request.allow_private)
        return connection, _exchange(connection, message, request, deadline)

    def _kept(self, key: _Key, idle_s: float) -> wire.Connection | None:
        now = time.monotonic()
        while True:
            with self._lock:
                waiting = self._idle.get(key)
                connection = waiting.pop() if waiting else None
            if connection is None:
                return None
            if now - connection.idle_since < idle_s and not connection.is_stale():
                connection.reused = True
                return connection
            connection.close()

    def _keep(self, key: _Key, connection: wire.Connection) -> None:
        now = connection.idle_since = time.monotonic()
        dropped: list[wire.Connection] = []
        with self._lock:
            self._idle.setdefault(key, []).append(connection)
            if now - self._swept > 5 or len(self._idle[key]) > IDLE_EACH:
                self._swept = now
                dropped = self._sweep(now)
        for one in dropped:
            one.close()

    def _sweep(self, now: float) -> list[wire.Connection]:
        """Under the lock: drops what is old, then the oldest beyond the limits."""
        dropped: list[wire.Connection] = []
        for key, waiting in list(self._idle.items()):
            kept = [one for one in waiting if now - one.idle_since < IDLE_READ_S][-IDLE_EACH:]
            dropped += [one for one in waiting if one not in kept]
            if kept:
                self._idle[key] = kept
            else:
                del self._idle[key]
        while sum(map(len, self._idle.values())) > IDLE_ALL:
            oldest = min(self._idle, key=lambda key: self._idle[key][0].idle_since)
            dropped += self._idle.pop(oldest)
        return dropped

    def _addresses(self, target: addresses.Target, deadline: float, *, allow_private: bool) -> list[addresses.Address]:
        """Every address of the host, each of them allowed."""
        spelled = addresses.literal(target.host)
        found = [spelled] if spelled is not None else self._resolved(target, deadline)
        private = allow_private and all(addresses.is_private(address) for address in found)
        if not found or not (private or all(addresses.is_public(address) for address in found)):
            raise Blocked(f"{target.host} leads to an address that tools may not use.")
        if not private and (target.scheme != "https" or target.port not in self.ports):
            raise Blocked(f"Only https on ports {', '.join(map(str, sorted(self.ports)))} leaves the house.")
        return found

    def _resolved(self, target: addresses.Target, deadline: float) -> list[addresses.Address]:
        with self._lock:
            if self._resolvers is None:
                self._resolvers = futures.ThreadPoolExecutor(16, "resolve")
            answer = self._resolvers.submit(self._resolve, target.host, target.port)
        try:
            return [ipaddress.ip_address(text) for text in answer.result(timeout=min(CONNECT_S, deadline - time.monotonic()))]
        except (OSError, UnicodeError, ValueError, futures.TimeoutError):
            answer.cancel()
            raise NotSent(f"{target.host} could not be resolved.") from None

    def _connect(self, target: addresses.Target, deadline: float, *, allow_private: bool) -> wire.Connection:
        why = "time is up"
        for address in self._addresses(target, deadline, allow_private=allow_private):
            left = min(CONNECT_S, deadline - time.monotonic())
            if left <= 0:
                break
            sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
            try:
                sock.settimeout(left)
                sock.connect((str(address), target.port))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if target.scheme == "https":
                    sock.settimeout(max(0.001, min(CONNECT_S, deadline - time.monotonic())))
                    sock = self._context().wrap_socket(sock, server_hostname=target.host)
                return wire.Connection(sock)
            except (OSError, ValueError) as error:
                sock.close()
                why = wire.why(error) if isinstance(error, OSError) else str(error)
        raise NotSent(f"{target.host}:{target.port} could not be reached: {why}.")

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            context = ssl.create_default_context()
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._tls = context
        return self._tls


def _exchange(connection: wire.Connection, message: bytes, request: Request, deadline: float) -> tuple[bool, int, dict[str, str]]:
    connection.begin(deadline=deadline, max_bytes=request.max_bytes)
    try:
        connection.write(message)
        return connection.head()
    except BaseException:
        connection.close()
        raise


def _render(request: Request, target: addresses.Target) -> bytes:
    """The bytes to send. What could change the framing or the addressee is not the caller's to say."""
    if request.method not in _METHODS:
        raise Blocked("The method is not one that tools use.")
    lines = [f"{request.method} {target.path} HTTP/1.1", f"host: {target.authority}", "accept-encoding: identity"]
    seen = set(_OURS)
    for name, value in request.headers.items():
        lower = name.lower()
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value) or lower in seen:
            raise Blocked(f"The header {name[:64]!r} is malformed, repeated or reserved.")
        seen.add(lower)
        lines.append(f"{lower}: {value}")
    if request.body or request.method in {"POST", "PUT", "PATCH"}:
        lines.append(f"content-length: {len(request.body)}")
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + request.body


client = Client()
os.register_at_fork(after_in_child=client.forget)
