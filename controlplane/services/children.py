"""The processes the supervisor starts: each in a session of its own, restarted with back-off, stopped politely and then not.

A note of each lies in `<data>/children`, so that a start after kill -9 finds and ends exactly what the one before left.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.services import processes
from controlplane.services.trouble import CannotStart

PATIENCE_S = 5.0
"""How long a child may take to end by itself after SIGTERM."""

LONGEST_PAUSE_S = 30.0
SETTLING_S = 5.0
"""How long a child that has crashed must run before it is believed again."""

STEADY_S = 60.0
"""After this long without a crash the next one counts as the first again."""

LARGEST_LOG = 10 * 2**20


@dataclass(frozen=True, slots=True)
class Task:
    """What a child is called and which program it is."""

    name: str
    command: tuple[str, ...]


@dataclass(slots=True)
class Child:
    """One supervised process."""

    task: Task
    root: Path
    data: Path
    environment: Mapping[str, str]
    crashes: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _started_at: float = 0.0
    _not_before: float = field(default=0.0)

    @property
    def log(self) -> Path:
        return self.data / "logs" / f"{self.task.name}.log"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def code(self) -> int | None:
        """The exit code, None while the process runs or before it was started."""
        return self._process.poll() if self._process else None

    @property
    def is_settled(self) -> bool:
        """Whether it runs and gives no cause to think that it will fall over."""
        has_run_s = time.monotonic() - self._started_at
        return self._process is not None and self._process.poll() is None and (self.crashes == 0 or has_run_s > SETTLING_S)

    def start(self) -> None:
        """Starts the process. Its output goes to its log, the previous log is kept once it has grown large."""
        if self.log.exists() and self.log.stat().st_size > LARGEST_LOG:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.task.command,
                cwd=self.root,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started_at = time.monotonic()
        _note(self.data, self.task.name, self._process.pid)

    def look(self) -> bool:
        """Brings a crashed process back once its pause is over. True when a crash was noticed."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._not_before:
                self.start()
            return False
        if self._process.poll() is None:
            return False
        _end_group(self._process.pid)
        self.crashes = 1 if now - self._started_at > STEADY_S else self.crashes + 1
        self._not_before = now + min(0.5 * 2 ** (self.crashes - 1), LONGEST_PAUSE_S)
        self._process = None
        return True

    def ask_to_stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.terminate()

    def has_stopped(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def end(self) -> None:
        """Ends what is left of the process and of those it started, and forgets it."""
        if self._process:
            _end_group(self._process.pid)
            self._process.wait()
            self._process = None
        _forget(self.data, self.task.name)

    def last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
            return lines[-1].strip()[:200] if lines else ""
        return ""


def stop(children: Sequence[Child], patience_s: float = PATIENCE_S) -> None:
    """SIGTERM to each, SIGKILL to those still there when patience runs out."""
    for child in children:
        child.ask_to_stop()
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and not all(child.has_stopped() for child in children):
        time.sleep(0.02)
    for child in children:
        child.end()


def end_leftovers(data: Path) -> None:
    """Ends the children of a supervisor that was killed. A pid that has since become another process is left alone."""
    left = [(path, _noted(path)) for path in _notes(data).glob("*.json")]
    mine = [pid for _, pid in left if pid is not None]
    for pid in mine:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and any(processes.is_alive(pid) for pid in mine):
        time.sleep(0.02)
    for pid in mine:
        _end_group(pid)
    for path, _ in left:
        path.unlink(missing_ok=True)


def complete(child: Child) -> bool:
    """Whether a program that has an end has reached it. Raises CannotStart with its last words when it failed."""
    if child.code is None:
        return False
    if child.code != 0:
        raise CannotStart(f"{child.task.name} failed: {child.last_words()}", f"tail -n 40 {child.log}")
    return True


def run_to_end(child: Child) -> None:
    """Starts such a program and waits for its end. Raises CannotStart when it fails."""
    child.start()
    try:
        while not complete(child):
            time.sleep(0.05)
    finally:
        child.end()


def _end_group(pid: int) -> None:
    """Each child leads a process group of its own, so this reaches what it started and nothing else."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _notes(data: Path) -> Path:
    return data / "children"


def _note(data: Path, name: str, pid: int) -> None:
    _notes(data).mkdir(mode=0o700, exist_ok=True)
    (_notes(data) / f"{name}.json").write_text(json.dumps({"pid": pid, "birth": processes.birth(pid)}))


def _noted(path: Path) -> int | None:
    """The noted process, if it is still that one."""
    try:
        note = json.loads(path.read_text())
        pid = int(note["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if processes.is_alive(pid) and processes.birth(pid) == note.get("birth") else None


def _forget(data: Path, name: str) -> None:
    (_notes(data) / f"{name}.json").unlink(missing_ok=True)
