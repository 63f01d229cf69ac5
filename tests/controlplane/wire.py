"""Websocket clients: one made of a socket, as a browser is, and one that needs no network."""

import base64
import json
import os
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from asgiref.testing import ApplicationCommunicator


class Refused(Exception):
    """The handshake was answered with this status."""


class Socket:
    """One connection. Use it as a context manager."""

    def __init__(self, port: int, path: str, headers: Mapping[str, str], timeout_s: float = 10.0) -> None:
        self.standing: dict[str, int] = {}
        self._wire = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        asked = {
            "host": f"127.0.0.1:{port}",
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-key": key,
            "sec-websocket-version": "13",
            **headers,
        }
        self._wire.sendall(
            (f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in asked.items()) + "\r\n").encode()
        )
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        status = head.split(b" ", 2)[1].decode()
        if status != "101":
            self._wire.close()
            raise Refused(status)

    def _more(self) -> None:
        data = self._wire.recv(65536)
        if not data:
            raise ConnectionError("the other side hung up")
        self._buffer += data

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._more()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def frame(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload. Raises ConnectionError at the end, TimeoutError when none comes."""
        first, second = self._take(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self._take(8))
        return first & 0x0F, self._take(size)

    def hear(self) -> dict[str, Any]:
        """The next signal as JSON. How many there were so far is no signal."""
        while True:
            opcode, payload = self.frame()
            if opcode == 1:
                heard: dict[str, Any] = json.loads(payload)
                if "standing" not in heard:
                    return heard
                self.standing = heard["standing"]
            if opcode == 8:
                raise ConnectionError(f"closed with {struct.unpack('>H', payload[:2])[0] if payload else 'no code'}")

    def until(self, claim: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """Everything heard until the claim about it holds. Raises TimeoutError when nothing more is heard."""
        heard: list[dict[str, Any]] = []
        while not claim(heard):
            heard.append(self.hear())
        return heard

    def say(self, text: str) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(text.encode()))
        self._wire.sendall(bytes([0x81, 0x80 | len(masked)]) + mask + masked)

    def close(self) -> None:
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Page:
    """The same without a network: the application on one side, the test on the other."""

    def __init__(self, application: Any, path: str, headers: Sequence[tuple[str, str]]) -> None:
        where, _, query = path.partition("?")
        sent = [(name.encode(), value.encode()) for name, value in headers]
        scope = {"type": "websocket", "path": where, "query_string": query.encode(), "headers": sent, "subprotocols": []}
        talking: Any = ApplicationCommunicator
        self._talk = talking(application, scope)
        self.standing: dict[str, int] = {}

    async def connect(self) -> int:
        """0 when it was accepted, else the code it was refused with."""
        await self._talk.send_input({"type": "websocket.connect"})
        said = await self.said()
        if said["type"] != "websocket.accept":
            return int(said["code"])
        self.standing = json.loads((await self.said())["text"])["standing"]
        return 0

    async def said(self) -> dict[str, Any]:
        """The next thing that the application does."""
        told: dict[str, Any] = await self._talk.receive_output(10)
        return told

    async def hear(self) -> dict[str, Any]:
        """The next message as JSON."""
        heard: dict[str, Any] = json.loads((await self.said())["text"])
        return heard

    async def is_silent(self, seconds: float) -> bool:
        """Whether nothing is said for so long."""
        return bool(await self._talk.receive_nothing(seconds))

    async def say(self, text: str) -> None:
        await self._talk.send_input({"type": "websocket.receive", "text": text})

    async def leave(self) -> None:
        await self._talk.send_input({"type": "websocket.disconnect", "code": 1000})
        await self._talk.wait(5)
