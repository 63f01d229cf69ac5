"""The product's own processes for one harness run: migrated, bootstrapped, started on free ports, ended by their process groups."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from controlplane.services import programs
from tests.real import tape

ROOT = Path(__file__).resolve().parents[2]
STARTED_WITHIN_S = 60.0


class ProductFailed(Exception):
    """A process of the product ended or never answered; the message ends with its log."""


class Product:
    """Needs DATABASE_URL, DATABASE_OWNER_URL and REDIS_URL, as `controlplane.services exec` sets them."""

    def __init__(self, *, logs: Path, workers: int = 1) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self.logs = logs
        self.port = tape.free_port()
        self._workers = workers
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = programs.app_variables(os.environ, self.url) | {"REMIT_PUBLIC_URL": self.url}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def manage(self, *arguments: str, owner: bool = False) -> str:
        environment = programs.owner_variables(self.environment, self.url) if owner else self.environment
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ProductFailed(f"manage.py {' '.join(arguments)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return done.stdout

    def bootstrap(self, members: Mapping[str, str]) -> dict[str, Any]:
        """{"tokens": {name: token}, ...} for the organisation `shop` with the workspace `desk`."""
        wanted = [argument for name, role in members.items() for argument in ("--member", f"{name}={role}")]
        told = self.manage("bootstrap", "--organisation", "shop", "--workspace", "desk", *wanted, "--json")
        answer: dict[str, Any] = json.loads(told[told.index("{") :])
        return answer

    def start(self) -> None:
        """The very programs of `make run`."""
        checkout = programs.of_this_checkout()
        self._run("web", checkout.web("127.0.0.1", self.port).command)
        for number in range(self._workers):
            self._run(f"worker{number}", (*checkout.worker.command, "-n", f"worker{number}@%h"))
        self._run("sweep", checkout.sweep.command)
        self._wait_for_web()

    def _run(self, name: str, command: Sequence[str]) -> None:
        with (self.logs / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait_for_web(self) -> None:
        until = time.monotonic() + STARTED_WITHIN_S
        while time.monotonic() < until:
            self.check()
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
            try:
                connection.request("GET", "/api/v1/runs")
                if connection.getresponse().status < 500:
                    return
            except OSError:
                time.sleep(0.1)
            finally:
                connection.close()
        raise ProductFailed(f"the web process did not answer\n{self.tail('web')}")

    def check(self) -> None:
        """Raises when one of the processes has ended."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise ProductFailed(f"{name} ended with {process.returncode}\n{self.tail(name)}")

    def tail(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")[-4000:]

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def stop(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes.values():
            end_group(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that was started in a session of its own, and what it started: politely, then not."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)
