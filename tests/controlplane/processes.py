"""The product's own processes, on this test's database and a Valkey of their own: started, killed, brought back, ended, each by its pid."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import redis
from django.conf import settings
from django.db import connection

from controlplane.services import programs
from controlplane.services.valkey import Store
from tests.controlplane import hosted

ROOT = Path(__file__).resolve().parents[2]
LISTENING = "remit listen"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@dataclass
class Fleet:
    """Named processes. The lease is the product's own, four seconds, not the tests' shorter one."""

    logs: Path
    store: Store
    environment: dict[str, str]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    commands: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def web(self, name: str) -> int:
        """Start a web process and wait until it answers; says its port."""
        self.begin_web(name)
        hosted.until(lambda: self.is_answering(self.ports[name]), within_s=30)
        return self.ports[name]

    def begin_web(self, name: str) -> None:
        port = self.ports.setdefault(name, free_port())
        self._start(name, programs.of_this_checkout().web("127.0.0.1", port).command)

    def worker(self, name: str) -> None:
        """Start a worker and wait until it looks for work."""
        self.begin_worker(name)
        hosted.until(lambda: self._listens(name), within_s=30)

    def begin_worker(self, name: str) -> None:
        self._start(name, (*programs.of_this_checkout().worker.command, "-n", f"{name}@%h"))

    def sweep(self, name: str) -> None:
        self.begin_sweep(name)
        hosted.until(lambda: self._listens(name), within_s=30)

    def begin_sweep(self, name: str) -> None:
        self._start(name, programs.of_this_checkout().sweep.command)

    def again(self, name: str) -> None:
        """Bring a killed one back, as its supervisor would; does not wait."""
        self._start(name, self.commands[name])

    def _start(self, name: str, command: tuple[str, ...]) -> None:
        self.commands[name] = command
        with (self.logs / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """SIGKILL to it and to what it started."""
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def end(self, name: str, *, within_s: float = 15.0) -> float:
        """SIGTERM, as a supervisor does; says how long it took to leave. Fails when it does not."""
        process = self.running.pop(name)
        began = time.monotonic()
        process.terminate()
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"{name} did not end within {within_s} s\n{self.tail(name)}") from None
        return time.monotonic() - began

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """It stands still, as on a machine that swaps."""
        pid = self.running[name].pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def flush_redis(self) -> None:
        """Everything in Redis is gone."""
        with redis.Redis.from_url(self.store.url) as store:
            store.flushall()

    def restart_redis(self) -> None:
        self.store.stop()
        self.store.start()

    def close(self) -> None:
        for name in list(self.running):
            self.kill(name)

    def tail(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")[-3000:]

    def _listens(self, name: str) -> bool:
        process = self.running[name]
        if process.poll() is not None:
            raise AssertionError(f"{name} ended with {process.returncode}\n{self.tail(name)}")
        return any(_has_socket_to_postgres(process.pid, backend) for backend in listeners())

    def is_answering(self, port: int) -> bool:
        status, _ = ask(port, "GET", "/readyz")
        return status == 200


def listeners() -> list[int]:
    """The client ports of those who listen on this test's database."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as wire:
        rows = wire.execute(
            "select client_port from pg_stat_activity"
            " where application_name = %s and datname = current_database() and wait_event_type = 'Client'",
            [LISTENING],
        ).fetchall()
    return [int(row[0]) for row in rows]


def cut_connections() -> None:
    """Every connection of the processes to this database is cut, as by a server that restarts. Those of the test's own process are spared:
    its pool of threads would hand a dead one to whichever test comes after."""
    here = "usename = current_user and datname = current_database()"
    with connection.cursor() as cursor:
        cursor.execute(f"select client_port from pg_stat_activity where {here}")
        own = [port for (port,) in cursor.fetchall() if _has_socket_to_postgres(os.getpid(), port)]
        cursor.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where {here} and client_port <> all(%s)", [own])


def _has_socket_to_postgres(pid: int, client_port: int) -> bool:
    """Whether that process holds the client side of the connection from this port."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        parts = line.split()
        if int(parts[1].rpartition(":")[2], 16) == client_port:
            inodes.add(parts[9])
    held = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            held.add(os.readlink(entry))
        except OSError:
            continue
    return any(f"socket:[{inode}]" in held for inode in inodes)


def ask(
    port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = 10.0
) -> tuple[int, Any]:
    """One request to a web process; (0, why) when it does not answer."""
    wire = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        sent = None if body is None else json.dumps(body).encode()
        wire.request(method, path, sent, {"content-type": "application/json", **(headers or {})})
        answer = wire.getresponse()
        raw = answer.read()
        return answer.status, json.loads(raw) if raw[:1] in (b"{", b"[") else raw
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        wire.close()


@contextmanager
def fleet(recordings: Path) -> Iterator[Fleet]:
    """A Valkey and no process yet. Everything ends with the block."""
    home = Path(tempfile.mkdtemp(prefix="remit-fleet-"))
    home.chmod(0o755)
    (home / "logs").mkdir()
    store = Store(home)
    try:
        store.start()
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "controlplane.settings",
            "REMIT_SECRET_KEY": settings.SECRET_KEY,
            "REDIS_URL": store.url,
            "REMIT_RECORDINGS": str(recordings),
            "REMIT_DEMO": "0",
            "REMIT_DATA_DIR": str(home),
            "PYTHONUNBUFFERED": "1",
        }
        running = Fleet(logs=home / "logs", store=store, environment=environment)
        try:
            yield running
        finally:
            running.close()
    finally:
        store.stop()
        shutil.rmtree(home, ignore_errors=True)


def manage(running: Fleet, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**running.environment, **changes},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
