"""What the operating system knows about one process: does it live, is it still the one we mean, where does it stand."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")


def is_alive(pid: int) -> bool:
    """Whether `pid` can still do anything. A zombie cannot, though kill(pid, 0) and pg_ctl call it alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    fields = _stat(pid)
    return fields is None or fields[0] not in {"Z", "X"}


def birth(pid: int) -> str:
    """When `pid` started, in the kernel's own count: with the pid it names one process for good. Empty where unknown."""
    fields = _stat(pid)
    return fields[19] if fields else ""


def stands_in(pid: int, folder: Path) -> bool:
    """Whether the working directory of `pid` is `folder`; True where the system does not tell."""
    if not PROC.is_dir():
        return True
    try:
        return (PROC / str(pid) / "cwd").readlink() == folder.resolve()
    except FileNotFoundError:
        return False
    except PermissionError:
        return True


def standing_in(folder: Path) -> list[int]:
    """Every living process whose working directory is `folder`, as far as we may look."""
    if not PROC.is_dir():
        return []
    found = []
    place = folder.resolve()
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "cwd").readlink() == place and is_alive(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the name, which may itself hold spaces and brackets."""
    try:
        return (PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
