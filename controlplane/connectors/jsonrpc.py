"""Reads the one JSON-RPC message that answers a request, from a JSON body or from a stream of server-sent events."""

from collections.abc import Iterator
from typing import Any

from audit import strict
from controlplane.connectors import interface
from controlplane.egress import wire

HASTE_S = 0.02


class RpcError(Exception):
    """The server answered, and its answer is no."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def received(reply: wire.Reply, number: int) -> dict[str, Any] | None:
    """The JSON-RPC message that answers our number; None when the server refused without one."""
    if reply.status >= 500 or 300 <= reply.status < 400:
        reply.read()
        raise interface.Unknown(f"The upstream answered with HTTP {reply.status}.")
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/event-stream" and reply.status < 300:
        return _streamed(reply, number)
    raw = reply.read()
    try:
        message = interface.parse(raw)
    except strict.Malformed as malformed:
        if reply.status >= 400:
            return None
        raise interface.Unknown(f"The upstream's answer is not acceptable JSON: {malformed.message}") from None
    if _answers(message, number, refused=reply.status >= 400):
        return dict(message)
    if reply.status >= 400:
        return None
    raise interface.Unknown("The upstream's answer does not answer our request.")


def _answers(message: Any, number: int, *, refused: bool = False) -> bool:
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0" or ("result" in message) == ("error" in message):
        return False
    given = message.get("id")
    return bool(given == number) or (refused and given is None)


def _streamed(reply: wire.Reply, number: int) -> dict[str, Any]:
    """Reads events until one is our answer. Notifications and requests of the server are passed over."""
    events = _events(reply.pieces())
    for data in events:
        try:
            message = interface.parse(data)
        except strict.Malformed as malformed:
            raise interface.Unknown(f"The upstream's answer is not acceptable JSON: {malformed.message}") from None
        if _answers(message, number):
            _finish(reply, events)
            return dict(message)
    raise interface.Unknown("The upstream's stream ended without our answer.")


def _finish(reply: wire.Reply, events: Iterator[bytes]) -> None:
    """Most servers end the stream now; then the connection can be kept. One that does not is hung up on."""
    reply.hasten(HASTE_S)
    try:
        for _ in events:
            pass
    except interface.Unknown:
        return


def _events(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The data of each server-sent event that has some."""
    data: list[bytes] = []
    for line in _lines(pieces):
        if not line:
            if any(data):
                yield b"\n".join(data)
            data = []
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    waiting, scanned = bytearray(), 0
    for piece in pieces:
        waiting += piece
        start = 0
        while (end := waiting.find(b"\n", max(start, scanned))) >= 0:
            yield bytes(waiting[start:end]).removesuffix(b"\r")
            start = end + 1
        del waiting[:start]
        scanned = len(waiting)


def result(message: dict[str, Any] | None, status: int) -> dict[str, Any]:
    if message is None:
        raise RpcError(status, 0, f"HTTP {status}")
    error = message.get("error")
    if error is not None:
        code, text = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, None)
        raise RpcError(status, code if isinstance(code, int) else 0, text if isinstance(text, str) else "an error without a message")
    result = message["result"]
    if not isinstance(result, dict):
        raise interface.Unknown("The upstream's result is not an object.")
    return result
