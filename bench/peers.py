"""What we are measured against, on the same PostgreSQL: one governed transaction by pgbench, and the smallest Django app round it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg

from controlplane.services import keyring, postgres, roles

SCRATCH = "limits"  # the name that ../shared/bench/djapp.py connects to
SUPERUSER = "postgres"


class Scratch:
    """A scratch database beside Remit's, reached as the embedded cluster's superuser. Raises LookupError at another server."""

    def __init__(self, bench: Path) -> None:
        data = os.environ.get("REMIT_DATA_DIR", "")
        parts = urlsplit(os.environ["DATABASE_URL"])
        if not (Path(data) / "postgres" / "cluster").is_dir():
            raise LookupError("the database is not our embedded one, so there is no superuser to make a scratch database")
        self.bench, self.port = bench, str(parts.port)
        self.password = unquote(keyring.password(Path(data), SUPERUSER))
        self.environment = {**os.environ, "PGPASSWORD": self.password, "BENCH_PGPORT": self.port}
        server = f"postgresql://{parts.hostname}:{parts.port}/postgres"
        admin = roles.with_login(server, user=SUPERUSER, password=self.password, database="postgres")
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {SCRATCH}")
            connection.execute(f"CREATE DATABASE {SCRATCH}")
            row = connection.execute("SHOW server_version").fetchone()
        self.version = str(row[0]) if row else ""
        self.inside = roles.with_login(server, user=SUPERUSER, password=self.password, database=SCRATCH)
        with psycopg.connect(self.inside) as connection:
            connection.execute((bench / "sql" / "schema.sql").read_text().encode())

    def settle(self) -> None:
        """Statistics for the planner, as autovacuum gathers them within a minute: plans made while tables were empty are forgotten."""
        for address in (os.environ["DATABASE_OWNER_URL"], self.inside):
            with psycopg.connect(address, autocommit=True) as connection:
                connection.execute("ANALYZE")

    @property
    def server(self) -> int:
        """The process id of the PostgreSQL that serves both."""
        return int((Path(os.environ["REMIT_DATA_DIR"]) / "postgres" / "cluster" / "postmaster.pid").read_text().split()[0])

    def governed_transactions(self, *, at_once: int, seconds: int) -> float:
        """Commits a second of the one-statement governed call: take from one of 1000 budgets, log the call."""
        beside = postgres.find_binaries() / "pgbench"
        pgbench = str(beside) if beside.exists() else shutil.which("pgbench")
        if not pgbench:
            raise LookupError("pgbench is not installed")
        where = ["-h", "127.0.0.1", "-p", self.port, "-U", SUPERUSER]
        how = ["-n", "-M", "prepared", "-c", str(at_once), "-j", "1", "-T", str(seconds), "-D", "keys=1000"]
        script = str(self.bench / "sql" / "gov1_cte.sql")
        command = [pgbench, *where, *how, "-f", script, SCRATCH]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        found = re.search(r"tps = ([\d.]+) \(without", done.stdout)
        if not found:
            raise LookupError(f"pgbench: {done.stdout[-300:]}")
        return float(found.group(1))

    def django(self, port: int, log: Path) -> subprocess.Popen[bytes]:
        """granian with 16 threads around Django REST framework and that one statement: no tokens, schemas, policies, audit or upstream."""
        options = ["--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--blocking-threads", "16", "--log-level", "warning"]
        command = [sys.executable, "-m", "granian", *options, "djapp:wsgi"]
        environment = {**self.environment, "PYTHONPATH": str(self.bench)}
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        with log.open("wb") as out:
            return subprocess.Popen(
                command,
                cwd=self.bench,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
