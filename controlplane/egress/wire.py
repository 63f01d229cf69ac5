"""HTTP/1.1 answers, read strictly: one framing, bounded heads, bodies and chunks, and a deadline over all of it.

Spoken by hand because it is on the path of every governed call: httpx costs 1.1 ms of CPU a round trip, http.client 0.45, this 0.1.
"""

import re
import select
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from controlplane.egress import failures

HEAD_BYTES = 64 << 10
HEADER_LINE = 8 << 10
HEADER_COUNT = 100
CHUNK_COUNT = 100_000

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_TOKEN_BYTES = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")
_VALUE_BYTES = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_LENGTH = re.compile(r"[0-9]{1,15}", re.ASCII)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_ONCE = frozenset({"content-length", "transfer-encoding", "content-encoding", "content-type", "connection", "mcp-session-id"})
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)


class Connection:
    """A socket to a checked address. Every wait ends at the deadline of the request that holds it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.poll = select.poll()
        self.poll.register(sock, select.POLLIN | select.POLLHUP | select.POLLERR)
        self.buffer = bytearray()
        self.deadline = 0.0
        self.received = 0
        self.limit = 0
        self.idle_since = 0.0
        self.reused = False
        self.timed_out = False

    def close(self) -> None:
        self.sock.close()

    def is_stale(self) -> bool:
        """Between answers a server has nothing to say: anything readable is its goodbye, or bytes that belong to no request."""
        return bool(self.buffer or self.poll.poll(0) or (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()))

    def begin(self, *, deadline: float, max_bytes: int) -> None:
        self.deadline, self.received = deadline, 0
        self.limit = 2 * max_bytes + 2 * HEAD_BYTES  # chunk framing may double a body, no more

    def _left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("time is up")
        return left

    def write(self, data: bytes) -> None:
        view, tried = memoryview(data), False
        while view:
            try:
                self.sock.settimeout(self._left())
                tried = True
                view = view[self.sock.send(view) :]
            except OSError as error:
                # TLS may have passed a part of the record on before it failed; a plain socket that raises on its first send took nothing.
                untouched = not tried or (len(view) == len(data) and not isinstance(self.sock, ssl.SSLSocket))
                raise (failures.NotSent if untouched else failures.Unknown)(f"The connection failed while sending: {why(error)}.") from None

    def fill(self) -> bool:
        """More bytes into the buffer; False at the end of the stream."""
        try:
            self.sock.settimeout(self._left())
            data = self.sock.recv(65536)
        except OSError as error:
            self.timed_out = isinstance(error, TimeoutError)
            raise failures.Unknown(f"The connection failed before the answer was complete: {why(error)}.") from None
        self.received += len(data)
        if self.received > self.limit:
            raise failures.Unknown("The answer is larger than allowed.")
        self.buffer += data
        return bool(data)

    def more(self) -> None:
        if not self.fill():
            raise failures.Unknown("The connection was closed before the answer was complete.")

    def until(self, mark: bytes, limit: int) -> bytes:
        """The bytes before the mark, which is consumed."""
        start = 0
        while (end := self.buffer.find(mark, start)) < 0:
            if len(self.buffer) >= limit + len(mark):
                raise failures.Unknown("The answer's head or one of its lines is too long.")
            start = max(0, len(self.buffer) - len(mark) + 1)
            self.more()
        if end > limit:
            raise failures.Unknown("The answer's head or one of its lines is too long.")
        found = bytes(self.buffer[:end])
        del self.buffer[: end + len(mark)]
        return found

    def take(self, most: int) -> bytes:
        """At least one byte and at most `most`, as they come."""
        if not self.buffer:
            self.more()
        found = bytes(self.buffer[:most])
        del self.buffer[:most]
        return found

    def head(self) -> tuple[bool, int, dict[str, str]]:
        """Whether it is HTTP/1.1, the final status and the headers; interim answers are passed over."""
        if _QUICKACK is not None:
            # Servers that write head and body in two segments wait for our acknowledgement between them: 40 ms without this.
            self.sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        for _ in range(5):
            first, *lines = self.until(b"\r\n\r\n", HEAD_BYTES).split(b"\r\n")
            found = _STATUS.fullmatch(first)
            if found is None:
                raise failures.Unknown("The answer is not HTTP/1.1.")
            status = int(found[2])
            if status >= 200:
                return found[1] == b"1", status, _headers(lines)
        raise failures.Unknown("The answer has too many interim answers.")


def why(error: OSError) -> str:
    return "time is up" if isinstance(error, TimeoutError) else (error.strerror or type(error).__name__)


def _headers(lines: Sequence[bytes]) -> dict[str, str]:
    if len(lines) > HEADER_COUNT:
        raise failures.Unknown("The answer has too many headers.")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if len(line) > HEADER_LINE or not colon or not _TOKEN_BYTES.fullmatch(name) or not _VALUE_BYTES.fullmatch(value):
            raise failures.Unknown("The answer has a header that is malformed or too long.")
        key, text = name.decode("ascii").lower(), value.strip(b" \t").decode("latin-1")
        if key in headers:
            if key in _ONCE:
                raise failures.Unknown(f"The answer has the header {key} twice.")
            text = f"{headers[key]}, {text}"
        headers[key] = text
    return headers


@dataclass(slots=True)
class Reply:
    """An answer whose head has arrived. Its body is read once, whole or in pieces; both raise Unknown when it cannot be completed."""

    status: int
    headers: Mapping[str, str]
    is_reusable: bool
    max_bytes: int
    _connection: Connection
    _has_body: bool
    is_complete: bool = field(default=False)

    def read(self) -> bytes:
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        size = 0
        for piece in self._framed():
            size += len(piece)
            if size > self.max_bytes:
                raise failures.Unknown("The answer is larger than allowed.")
            yield piece
        self.is_complete = True

    def hasten(self, seconds: float) -> None:
        """Wait for the rest no longer than this."""
        self._connection.deadline = min(self._connection.deadline, time.monotonic() + seconds)

    def _framed(self) -> Iterator[bytes]:
        if self.headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
            raise failures.Unknown("The answer is compressed, which was not asked for.")
        if not self._has_body:
            return iter(())
        coding, length = self.headers.get("transfer-encoding"), self.headers.get("content-length")
        if coding is not None:
            if length is not None or coding.lower() != "chunked":
                raise failures.Unknown("The answer's length is ambiguous.")
            return self._chunked()
        if length is None:
            self.is_reusable = False
            return self._to_the_end()
        if not _LENGTH.fullmatch(length):
            raise failures.Unknown("The answer's length is malformed.")
        return self._counted(int(length))

    def _counted(self, left: int) -> Iterator[bytes]:
        if left > self.max_bytes:
            raise failures.Unknown("The answer is larger than allowed.")
        while left:
            piece = self._connection.take(left)
            left -= len(piece)
            yield piece

    def _chunked(self) -> Iterator[bytes]:
        for _ in range(CHUNK_COUNT):
            size = _CHUNK.fullmatch(self._connection.until(b"\r\n", 1024))
            if size is None:
                raise failures.Unknown("The answer has a malformed chunk.")
            if int(size[1], 16) == 0:
                self._trailers()
                return
            yield from self._counted(int(size[1], 16))
            if self._connection.until(b"\r\n", 0):
                raise failures.Unknown("The answer has a malformed chunk.")
        raise failures.Unknown("The answer has too many chunks.")

    def _trailers(self) -> None:
        for _ in range(HEADER_COUNT):
            if not self._connection.until(b"\r\n", HEADER_LINE):
                return
        raise failures.Unknown("The answer has too many trailers.")

    def _to_the_end(self) -> Iterator[bytes]:
        while self._connection.buffer or self._connection.fill():
            yield self._connection.take(65536)
