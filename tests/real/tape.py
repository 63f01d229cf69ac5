"""The tape upstream of ../shared/inputs as a subprocess: started on a free loopback port, ended by its own process id."""

import http.client
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.real import recordings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_runs(path: Path, runs: Iterable[Mapping[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8") as handle:
        handle.writelines(json.dumps(run, ensure_ascii=False) + "\n" for run in runs)
    return path


class Tape:
    """`port` may name the port of a tape that was stopped: the product keeps the address it registered."""

    def __init__(self, *, runs: Iterable[Path], tools: Iterable[Path], database: Path | None = None, port: int = 0) -> None:
        self.port = port or free_port()
        self.keeps_databases = database is not None
        command = [sys.executable, str(recordings.INPUTS / "tools" / "tape_upstream.py"), "--port", str(self.port)]
        command += ["--runs", *map(str, runs), "--tools", *map(str, tools)]
        command += ["--db", str(database)] if database else []
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self._local = threading.local()
        assert self._process.stdout is not None
        if not self._process.stdout.readline().startswith("serving"):  # printed once the port is bound
            raise RuntimeError("the tape upstream did not start")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        connection = getattr(self._local, "connection", None) or http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        self._local.connection = connection
        raw = None if body is None else json.dumps(body)
        connection.request(method, path, raw, {"content-type": "application/json", **(headers or {})})
        return json.loads(connection.getresponse().read())

    def log(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.ask("GET", "/log")
        return entries

    def database_hash(self, run: str) -> str:
        return str(self.ask("GET", f"/db/{run}/hash")["sha256"])

    def reset(self) -> None:
        """Forgets the log, the databases of the runs (1.7 MB each) and what was already answered."""
        self.ask("POST", "/reset", {})
