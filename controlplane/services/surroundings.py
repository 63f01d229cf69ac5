"""What a Remit process needs around it - PostgreSQL, Valkey, a secret key - and who is using it at the moment.

A DATABASE_URL or REDIS_URL of yours always wins. Servers started by a session end with the last session that uses them;
servers started by a bare `environment()` run until `stop()`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import psycopg

from controlplane.services import keyring, roles
from controlplane.services.postgres import Cluster
from controlplane.services.trouble import CannotStart
from controlplane.services.valkey import Store

ROLES_SQL = Path(__file__).parents[2] / "deploy" / "sql" / "roles.sql"
SESSION_MARK = "started-by-a-session"


def data_of(root: Path) -> Path:
    """Where the checkout at `root` keeps its data."""
    return root / ".data"


def environment(root: Path, data: Path | None = None) -> dict[str, str]:
    """Starts what is missing and returns the variables a Remit process reads. Raises CannotStart."""
    data = (data or data_of(root)).absolute()
    with _locked(data):
        _start(data)
        return _variables(data)


def at(data: Path) -> dict[str, str]:
    """Where the Remit that runs from this data is reached, as the variable that says so; nothing when none runs."""
    try:
        _, _, url = (data / "run.lock").read_text().strip().partition(" ")
    except OSError:
        return {}
    return {"REMIT_PUBLIC_URL": url} if url else {}


def fallen(data: Path) -> bool:
    """Whether a server that ought to run does not."""
    return not all(server.is_running for server in _servers(data))


def stop(root: Path, data: Path | None = None) -> None:
    """Stops the embedded servers, whoever started them. Does nothing when none run."""
    data = (data or data_of(root)).absolute()
    if data.exists():
        with _locked(data):
            _stop(data)


def wipe(root: Path) -> None:
    """Stops the servers and deletes all data of the checkout, the tests' too. Raises CannotStart while somebody uses any of it."""
    data = data_of(root)
    if not data.exists():
        return
    with _locked(data), ExitStack() as held:
        for path in [data / "in-use", *data.glob(".*.lock")]:
            try:
                fcntl.flock(held.enter_context(path.open("a")), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CannotStart(f"{data} is in use, by `make run` or by a test run", "make stop reset") from None
        for place in [*data.glob("*/postgres/cluster"), data / "postgres" / "cluster"]:
            _stop(place.parents[1])
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def session(root: Path, data: Path | None = None) -> Iterator[dict[str, str]]:
    """The same variables for as long as the block lasts. The last session out stops the servers that a session started."""
    data = (data or data_of(root)).absolute()
    with ExitStack() as leaving:
        with _locked(data):
            in_use = leaving.enter_context((data / "in-use").open("a"))
            fcntl.flock(in_use, fcntl.LOCK_SH)
            leaving.callback(_leave, data, in_use)
            if not any(server.is_running for server in _servers(data)):
                # Before the start, not after: one that is interrupted halfway is cleaned up as well.
                (data / SESSION_MARK).touch()
            _start(data)
            variables = _variables(data)
        yield variables


@contextmanager
def fresh_data(root: Path, wanted: Path) -> Iterator[Path]:
    """An empty data directory nobody else uses: the wanted one, or the first of its numbered neighbours that is free.

    What the run before left there is removed at entry, not at the end: its logs are for reading.
    """
    wanted = wanted.absolute()
    if not wanted.parent.exists():
        _make_private(wanted.parent)
        wanted.parent.chmod(0o711)
    for number in range(1, 100):
        data = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        with data.with_name(f".{data.name}.lock").open("a") as claim:
            try:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            stop(root, data)
            shutil.rmtree(data, ignore_errors=True)
            yield data
            return
    raise CannotStart(f"{wanted} and 98 neighbours are all in use", f"ls -d {wanted}*")


def _servers(data: Path) -> list[Cluster | Store]:
    """The servers that nobody else provides."""
    wanted: list[Cluster | Store] = []
    if not os.environ.get("DATABASE_URL"):
        wanted.append(Cluster(data))
    if not os.environ.get("REDIS_URL"):
        wanted.append(Store(data))
    return wanted


def _start(data: Path) -> None:
    for server in _servers(data):
        server.start()


def _stop(data: Path) -> None:
    if (data / "valkey").exists():
        Store(data).stop()
    if (data / "postgres").exists():
        Cluster(data).stop()
    (data / SESSION_MARK).unlink(missing_ok=True)


def _leave(data: Path, in_use: IO[str]) -> None:
    with _locked(data):
        try:
            fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if (data / SESSION_MARK).exists():
            _stop(data)


def _variables(data: Path) -> dict[str, str]:
    logins = _logins(data)
    variables = {
        "DATABASE_URL": logins.app,
        "DATABASE_OWNER_URL": logins.owner,
        "REDIS_URL": _redis_url(data),
        "REMIT_SECRET_KEY": keyring.secret_key(data),
        "REMIT_DATA_DIR": str(data),
    }
    demo = os.environ.get("DEMO_DATABASE_URL") or logins.demo
    return variables | ({"DEMO_DATABASE_URL": demo} if demo else {})


def _logins(data: Path) -> roles.Logins:
    given, owner = os.environ.get("DATABASE_URL"), os.environ.get("DATABASE_OWNER_URL")
    if given and owner:
        return roles.Logins(app=given, owner=owner, demo=None)
    if given and not roles.is_superuser(given):
        raise CannotStart(
            f"DATABASE_URL logs in as {urlsplit(given).username or 'nobody'}, who is no superuser, and DATABASE_OWNER_URL is not set",
            "export DATABASE_OWNER_URL=postgresql://remit_owner:...@host/remit   # the roles: deploy/sql/roles.sql",
        )
    try:
        return roles.provision(given or Cluster(data).url, ROLES_SQL, lambda role: keyring.password(data, role))
    except psycopg.Error as error:
        remedy = "psql -v ON_ERROR_STOP=1 -1 -d remit -f deploy/sql/roles.sql" if given else "make stop run"
        if isinstance(error, psycopg.errors.DiskFull):
            remedy = f"df -h {data}"
        raise CannotStart(f"the roles cannot be made: {str(error).strip().splitlines()[0]}", remedy) from None


def _redis_url(data: Path) -> str:
    given = os.environ.get("REDIS_URL")
    if not given:
        return Store(data).url
    parts = urlsplit(given)
    if parts.scheme in {"redis", "rediss"}:
        try:
            socket.create_connection((parts.hostname or "localhost", parts.port or 6379), timeout=5).close()
        except OSError as error:
            raise CannotStart(f"REDIS_URL does not answer: {error}", "unset REDIS_URL   # make run then brings its own") from None
    return given


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    """One start or stop at a time."""
    prepare(data)
    with (data / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prepare(data: Path) -> None:
    """Makes the data directory, closed to others."""
    _make_private(data)
    _make_private(data / "logs")
    (data / "lock").touch(mode=0o600)


def _make_private(folder: Path) -> None:
    """Makes the folder and what is missing above it, closed to others. An account that must pass through opens the way itself."""
    if folder.exists():
        return
    if not folder.parent.exists():
        _make_private(folder.parent)
        # The servers of a folder below may run as somebody else, who has to walk through.
        folder.parent.chmod(0o711)
    folder.mkdir(mode=0o700)
