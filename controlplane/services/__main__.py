"""`python -m controlplane.services run | exec | migrate | stop | reset | doctor`: what the Makefile calls."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

FOLDER_TROUBLES = {
    errno.ENOSPC: "df -h {place}",
    errno.EDQUOT: "df -h {place}",
    errno.EROFS: "df -h {place}",
    errno.EACCES: "ls -ld {place}",
    errno.EPERM: "ls -ld {place}",
}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m controlplane.services", description="The servers around Remit.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="start everything, with the demo, and stay until Ctrl-C")
    run.add_argument("--host", default="127.0.0.1")
    run.add_argument("--port", type=int, default=8000, help="the next free one is taken when it is busy; 0 for any")
    run.add_argument("--json", action="store_true", default=os.environ.get("JSON") == "1", help="one JSON line instead of the screen")
    execute = verbs.add_parser("exec", help="run a command with the servers beside it")
    execute.add_argument("--fresh", metavar="DIR", type=Path, help="with empty servers of its own, kept in DIR")
    execute.add_argument("command", nargs="+", help="after --")
    verbs.add_parser("migrate", help="bring the tables to this checkout, as their owner")
    verbs.add_parser("stop", help="stop the servers")
    verbs.add_parser("reset", help="stop the servers and delete their data")
    verbs.add_parser("doctor", help="look at everything and say what is wrong")
    return parser


def main() -> int:
    chosen = arguments().parse_args()
    try:
        from controlplane.services import command, report  # noqa: PLC0415 - without a venv these fail, and we say so
        from controlplane.services.trouble import CannotStart  # noqa: PLC0415
    except ModuleNotFoundError as error:
        sys.stderr.write(f"{error.name} is not installed for {sys.executable}\n  make setup\n")
        return 1
    try:
        return command.obey(chosen, ROOT)
    except CannotStart as trouble:
        report.trouble(trouble)
    except OSError as error:
        if error.errno not in FOLDER_TROUBLES:
            raise
        place = error.filename or ROOT
        report.trouble(CannotStart(f"{place} cannot be written: {error.strerror}", FOLDER_TROUBLES[error.errno].format(place=place)))
    return 1


if __name__ == "__main__":
    sys.exit(main())
