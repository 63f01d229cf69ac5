"""A TCP server on loopback that says exactly what a test wants it to say, byte by byte, and remembers what it was sent."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Talk:
    """One accepted connection. `number` counts connections from one."""

    def __init__(self, sock: socket.socket, number: int, server: "Server") -> None:
        self.sock = sock
        self.number = number
        self.server = server
        self.buffer = b""

    def request(self) -> bytes | None:
        """The next whole request, head and body; None when the client hung up."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._more():
                return None
        head, _, rest = self.buffer.partition(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        while len(rest) < length:
            if not self._more():
                return None
            rest = self.buffer.partition(b"\r\n\r\n")[2]
        self.buffer = rest[length:]
        whole = head + b"\r\n\r\n" + rest[:length]
        with self.server.changed:
            self.server.requests.append(whole)
            self.server.changed.notify_all()
        return whole

    def _more(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except OSError:
            return False
        self.buffer += data
        return bool(data)

    def say(self, data: bytes) -> None:
        self.sock.sendall(data)

    def hang_up(self) -> None:
        self.sock.close()

    def until_the_client_leaves(self) -> None:
        while self._more():
            self.buffer = b""


class Server:
    def __init__(self, script: Callable[[Talk], object], tls: ssl.SSLContext | None) -> None:
        self.script = script
        self.tls = tls
        self.requests: list[bytes] = []
        self.connections = 0
        self.ended = 0
        self.changed = threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def wait_for(self, claim: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(claim, timeout=10)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.changed:
                self.connections += 1
                self.changed.notify_all()
            threading.Thread(target=self._talk, args=(sock, self.connections), daemon=True).start()

    def _talk(self, sock: socket.socket, number: int) -> None:
        sock.settimeout(20)
        try:
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
            self.script(Talk(sock, number, self))
        except OSError:
            pass  # the client left in the middle of a sentence, as many of these tests want it to
        finally:
            sock.close()
            with self.changed:
                self.ended += 1
                self.changed.notify_all()


@contextmanager
def server(script: Callable[[Talk], object], tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    running = Server(script, tls)
    try:
        yield running
    finally:
        running.listener.shutdown(socket.SHUT_RDWR)
        running.listener.close()


def always(answer: bytes) -> Callable[[Talk], None]:
    """Answers every request of a connection with the same bytes."""

    def script(talk: Talk) -> None:
        while talk.request() is not None:
            talk.say(answer)

    return script


def once(answer: bytes) -> Callable[[Talk], None]:
    """Answers one request and hangs up."""

    def script(talk: Talk) -> None:
        if talk.request() is not None:
            talk.say(answer)

    return script
