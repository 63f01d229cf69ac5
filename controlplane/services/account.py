"""Under which account the embedded servers run. PostgreSQL refuses to run as root, and nothing that listens should.

As root the servers drop to an ordinary user who can reach the data; where nobody can (everything under a 0700 home), they
run in a user namespace of their own, which maps root to an ordinary number and leaves the files root's.
"""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from controlplane.services.trouble import CannotStart

NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000")


@dataclass(frozen=True, slots=True)
class Account:
    """How to start a server program, and who owns its files then."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    def run(self, command: list[str | Path], *, log: IO[bytes] | int, timeout_s: float = 60) -> int:
        """Runs the program to its end and returns its exit code. What it leaves behind writes to `log` too."""
        environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
        done = subprocess.run(
            [*self.prefix, *map(str, command)],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            timeout=timeout_s,
            check=False,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
        )
        return done.returncode

    def walk_through(self, data: Path) -> None:
        """Lets a dropped user pass through the data directory to its own folders, without listing or reading anything."""
        if self.uid is not None:
            data.chmod(0o711)
            (data / "logs").chmod(0o711)

    def folder(self, path: Path) -> Path:
        """Makes `path` a folder that only this account can enter, with everything in it."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_uid != self._owner[0] and os.geteuid() == 0:
            for entry in [path, *path.rglob("*")]:
                os.chown(entry, *self._owner, follow_symlinks=False)
        path.chmod(0o700)
        return path

    def file(self, path: Path, text: str | None = None) -> Path:
        """Makes `path` a file that only this account can read; its text is replaced when one is given."""
        if text is not None:
            path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "a") as file:
            if os.geteuid() == 0:
                os.fchown(file.fileno(), *self._owner)
            file.write(text or "")
        return path

    @property
    def _owner(self) -> tuple[int, int]:
        return (os.geteuid(), os.getegid()) if self.uid is None or self.gid is None else (self.uid, self.gid)


def account_for(data: Path, *programs: Path) -> Account:
    """The account that can run `programs` on files below `data`. Raises CannotStart when root finds none."""
    if os.geteuid() != 0:
        return Account()
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        if _can_reach(user.pw_uid, data.resolve().parent, *programs):
            return Account(uid=user.pw_uid, gid=user.pw_gid)
    if _namespaces_work():
        return Account(prefix=NAMESPACE)
    raise CannotStart(
        f"PostgreSQL does not run as root, and no ordinary user can reach {data}",
        "DATABASE_URL=postgresql://postgres@localhost/remit make run",
    )


@functools.cache
def _namespaces_work() -> bool:
    return bool(shutil.which(NAMESPACE[0])) and subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


def _can_reach(uid: int, *paths: Path) -> bool:
    folders = {folder for path in paths for folder in [path.resolve(), *path.resolve().parents]}
    states = [folder.stat() for folder in folders]
    return all(state.st_uid == uid or state.st_mode & 0o001 for state in states)
