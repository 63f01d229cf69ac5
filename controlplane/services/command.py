"""The verbs of the command line, one function each."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from controlplane.services import doctor, programs, schema, supervisor, surroundings
from controlplane.services.trouble import CannotStart


def obey(chosen: argparse.Namespace, root: Path) -> int:
    """Carries out what the command line asks for and returns the exit code. Raises CannotStart."""
    verbs: dict[str, Callable[[argparse.Namespace, Path], int]] = {
        "run": _run,
        "exec": _execute,
        "migrate": _migrate,
        "stop": _stop,
        "reset": _reset,
        "doctor": _doctor,
    }
    return verbs[chosen.verb](chosen, root)


def _run(chosen: argparse.Namespace, root: Path) -> int:
    return supervisor.run(root, host=chosen.host, port=chosen.port, as_json=chosen.json)


def _execute(chosen: argparse.Namespace, root: Path) -> int:
    _unwind_on_signals()
    with ExitStack() as leaving:
        data = leaving.enter_context(surroundings.fresh_data(root, chosen.fresh)) if chosen.fresh else None
        variables = leaving.enter_context(surroundings.session(root, data))
        return _beside(
            chosen.command, {"REMIT_DEMO": "1", **surroundings.at(data or surroundings.data_of(root)), **os.environ, **variables}
        )


def _migrate(_chosen: argparse.Namespace, root: Path) -> int:
    _unwind_on_signals()
    with surroundings.session(root) as services:
        code = _beside(list(programs.of_this_checkout().migrate.command), programs.owner_variables(services, "http://127.0.0.1:8000"))
        if code == 0:
            schema.mark_current(services["DATABASE_OWNER_URL"], root)
    return code


def _stop(_chosen: argparse.Namespace, root: Path) -> int:
    surroundings.stop(root)
    return 0


def _reset(_chosen: argparse.Namespace, root: Path) -> int:
    surroundings.wipe(root)
    return 0


def _doctor(_chosen: argparse.Namespace, root: Path) -> int:
    return doctor.examine(root)


def _unwind_on_signals() -> None:
    """Until the command runs, a signal ends the start as an exception would: what was started is stopped."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, leave)


def _beside(command: list[str], environment: dict[str, str]) -> int:
    """Runs the command in our own process group, so that Ctrl-C reaches it too, and waits for its end.

    A command that dies by a signal gives 128 plus its number, as a shell does.
    """
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGHUP, pass_on)
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        child = subprocess.Popen(command, env=environment)
    except FileNotFoundError:
        raise CannotStart(f"{command[0]} does not exist", "make setup") from None
    for number in early:
        child.send_signal(number)
    code = child.wait()
    return code if code >= 0 else 128 - code
