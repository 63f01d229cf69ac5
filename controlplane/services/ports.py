"""Which TCP ports are free on this machine, and which one was ours last time."""

from __future__ import annotations

import errno
import socket
from contextlib import closing
from pathlib import Path

from controlplane.services.trouble import CannotStart

LOOPBACK = "127.0.0.1"
REACH = 20
"""How many ports above the wanted one are tried before giving up."""


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen there now. A port still in TIME_WAIT counts as free, as it does for the servers."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno in {errno.EADDRNOTAVAIL, errno.EACCES}:
                raise CannotStart(f"cannot listen on {host} port {port}: {error.strerror}", "make run PORT=8000 HOST=127.0.0.1") from None
            return False
    return True


def any_free(host: str = LOOPBACK) -> int:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port


def next_free(wanted: int, host: str = LOOPBACK) -> int:
    """The wanted port, or the first free one of the next few. Raises CannotStart when all are taken."""
    if wanted == 0:
        return any_free()
    last = min(wanted + REACH, 65535)
    for port in range(wanted, last + 1):
        if is_free(port, host):
            return port
    raise CannotStart(f"ports {wanted} to {last} on {host} are all taken", f"make run PORT={any_free()}")


def remembered(path: Path) -> int:
    """The port noted in `path` when it is free, otherwise a new one, noted there. Keeps a client's URL true across restarts."""
    noted = recorded(path)
    if noted and is_free(noted):
        return noted
    port = any_free()
    path.write_text(f"{port}\n")
    return port


def recorded(path: Path) -> int | None:
    """The port noted in `path`, whether or not it is free."""
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
