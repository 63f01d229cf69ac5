"""`make run`: starts everything, waits until a person can use it, keeps it running, and takes down what it started."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import signal
import socket
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NoReturn

from controlplane.services import children, ports, readiness, schema, surroundings
from controlplane.services.children import Child
from controlplane.services.programs import Programs, app_variables, of_this_checkout, owner_variables
from controlplane.services.report import Ready, Report
from controlplane.services.trouble import CannotStart

READY_WITHIN_S = 60.0
SHOWS_WITHIN_S = 25.0  # the seed has ended by now: what it left is there, or will not come
TOO_MANY_CRASHES = 3
TICK_S = 0.1
SERVERS_EVERY_S = 2.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopping(BaseException):
    """Somebody asked us to stop. Like KeyboardInterrupt it may arrive anywhere."""


@dataclass(slots=True)
class House:
    """A Remit under supervision."""

    root: Path
    data: Path
    host: str
    port: int
    report: Report
    programs: Programs
    services: dict[str, str]
    began: float
    children: list[Child] = field(default_factory=list)
    history: Child | None = None

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        return app_variables(self.services, self.url)

    # -- starting -------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Everything from migrations to the screen. Raises CannotStart."""
        children.end_leftovers(self.data)
        seed = Child(self.programs.seed, self.root, self.data, self.variables)
        if schema.is_current(self.services["DATABASE_OWNER_URL"], self.root):
            # The data is there already: looking it over may take place beside the start.
            self._start(seed)
        else:
            self._migrate()
            self._timed("Demo data", lambda: children.run_to_end(seed))
            self._start(None)
        self._await_ready(seed)
        self._recall()
        self.report.ready(Ready(version(self.root), time.monotonic() - self.began, self.url, self.data, self._await_demo()))

    def _migrate(self) -> None:
        task = Child(self.programs.migrate, self.root, self.data, owner_variables(self.services, self.url))
        self._timed("Tables", lambda: children.run_to_end(task))
        schema.mark_current(self.services["DATABASE_OWNER_URL"], self.root)

    def _start(self, seed: Child | None) -> None:
        programs = self.programs
        tasks = [programs.web(self.host, self.port), programs.worker, programs.sweep]
        self.children = [Child(task, self.root, self.data, self.variables) for task in tasks]
        for child in [*self.children, *([seed] if seed else [])]:
            child.start()

    def _recall(self) -> None:
        """The rest of the demo's past is played while people look around. It ends by itself, and nothing waits for it."""
        self.history = Child(self.programs.history, self.root, self.data, self.variables)
        self.history.start()

    def _await_ready(self, seed: Child) -> None:
        since, deadline = time.monotonic(), time.monotonic() + READY_WITHIN_S
        try:
            while why := self._unready(seed):
                if time.monotonic() > deadline:
                    raise CannotStart(f"not ready after {READY_WITHIN_S:.0f} s: {why}", "make doctor")
                self._look_at_start()
        finally:
            seed.end()
        self.report.step("Web, worker and sweep", time.monotonic() - since)

    def _unready(self, seed: Child) -> str:
        """What is still missing, empty when nothing is."""
        if restless := [child.task.name for child in self.children if not child.is_settled]:
            return f"{restless[0]} is not up"
        if seed.pid and not children.complete(seed):
            return "the demo data is not complete"
        return readiness.problem(self.host, self.port)

    def _await_demo(self) -> readiness.Demo | None:
        """The demo's first request, or None when it keeps us waiting too long: the screen then goes without."""
        deadline = time.monotonic() + SHOWS_WITHIN_S
        while time.monotonic() < deadline:
            shown = readiness.demo(self.programs.waiting, self.root, self.variables)
            self._look_at_start()
            if shown and all(child.is_settled for child in self.children):
                return shown
        self.report.note("The demo has no request waiting. Why: make doctor")
        return None

    def _look_at_start(self) -> None:
        """What crashes again and again now will not get better by itself. Raises CannotStart."""
        self._look()
        for child in self.children:
            if child.crashes >= TOO_MANY_CRASHES:
                raise CannotStart(f"{child.task.name} does not stay up: {child.last_words()}", f"tail -n 40 {child.log}")
        time.sleep(TICK_S)

    def _timed(self, what: str, work: Callable[[], None]) -> None:
        since = time.monotonic()
        work()
        self.report.step(what, time.monotonic() - since)

    # -- running --------------------------------------------------------------------------------------------------------

    def watch(self) -> NoReturn:
        """Brings back what falls, until Stopping is raised."""
        next_look_at_servers = 0.0
        while True:
            self._look()
            if time.monotonic() > next_look_at_servers:
                self._look_at_servers()
                next_look_at_servers = time.monotonic() + SERVERS_EVERY_S
            time.sleep(TICK_S)

    def _look(self) -> None:
        for child in self.children:
            if child.look():
                self.report.note(f"{child.task.name} stopped and is started again. Log: {child.log}")

    def _look_at_servers(self) -> None:
        if not surroundings.fallen(self.data):
            return
        self.report.note("A server stopped and is started again. Logs: " + str(self.data / "logs"))
        try:
            services = surroundings.environment(self.root, self.data)
        except CannotStart as why:
            self.report.note(f"{why.cause}   {why.remedy}")
            return
        if services != self.services:
            # It came back at another port: everybody has to hear of it.
            self.services = services
            self.close()
            self._start(None)
            self._recall()

    def close(self) -> None:
        children.stop([*self.children, *([self.history] if self.history else [])])
        self.history = None


def run(root: Path, *, host: str, port: int, as_json: bool, programs: Programs | None = None) -> int:
    """Runs until SIGINT, SIGTERM or SIGHUP and returns 0. Raises CannotStart when something stands in the way."""
    began = time.monotonic()
    refuse_open_address(host)
    report, data = Report(as_json=as_json), surroundings.data_of(root)
    _listen_to_signals()
    with ExitStack() as leaving:
        try:
            leaving.enter_context(_only_one(data))
            services = leaving.enter_context(surroundings.session(root, data))
            _require_demo_database(services)
            report.step("PostgreSQL and Valkey", time.monotonic() - began)
            chosen = ports.next_free(port, host)
            if port not in {0, chosen}:
                report.note(f"Port {port} is busy, {chosen} is used instead.")
            house = House(root, data, host, chosen, report, programs or of_this_checkout(), services, began)
            leaving.callback(house.close)
            _note_address(data, house.url)
            house.open()
            house.watch()
        except Stopping:
            report.note("Stopping.")
        finally:
            _ignore_signals()
    return 0


def refuse_open_address(host: str) -> None:
    """The demo's links sign in whoever holds them, so it is for this machine only. Raises CannotStart."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        found = set()
    if not found or not all(ipaddress.ip_address(str(address).split("%")[0]).is_loopback for address in found):
        raise CannotStart(
            f"the demo signs people in by link, so it listens on this machine only, and {host} is not it", "make run HOST=127.0.0.1"
        )


def version(root: Path) -> str:
    with (root / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def _require_demo_database(services: dict[str, str]) -> None:
    if "DEMO_DATABASE_URL" not in services:
        raise CannotStart(
            "the demo's own systems need a database beside DATABASE_URL, and DEMO_DATABASE_URL is not set",
            "export DEMO_DATABASE_URL=postgresql://remit_demo:...@host/remit_demo",
        )


@contextmanager
def _only_one(data: Path) -> Iterator[None]:
    """One supervisor for one data directory. Raises CannotStart while another runs."""
    surroundings.prepare(data)
    with (data / "run.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid, _, url = lock.read().strip().partition(" ")
            raise CannotStart(f"Remit already runs from {data}" + (f", at {url}" if url else ""), f"kill {pid or 0}   # stops it") from None
        yield
        lock.truncate(0)


def _note_address(data: Path, url: str) -> None:
    (data / "run.lock").write_text(f"{os.getpid()} {url}\n")


def _listen_to_signals() -> None:
    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        _ignore_signals()
        raise Stopping

    for number in SIGNALS:
        signal.signal(number, stop)


def _ignore_signals() -> None:
    """Stopping is under way and ends by itself within seconds; a second Ctrl-C must not leave half of it behind."""
    for number in SIGNALS:
        # A function, not SIG_IGN, which the programs that stop the servers would inherit.
        signal.signal(number, lambda _number, _frame: None)
