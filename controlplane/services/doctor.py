"""`make doctor`: looks at what `make run` needs and at what runs now. Every bad line ends with the command that helps."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg

from controlplane.services import postgres, readiness, report, schema, surroundings, valkey
from controlplane.services.trouble import CannotStart

ENOUGH_MB = 1024


def examine(root: Path) -> int:
    """Prints one line for each thing looked at. Returns 0 when all is well, 1 otherwise."""
    data = surroundings.data_of(root)
    healthy = True
    for name, look in LOOKS.items():
        try:
            report.finding(name, look(root, data))
        except CannotStart as why:
            healthy = False
            report.finding(name, f"BAD: {why.cause}", why.remedy)
    return 0 if healthy else 1


def _disk(root: Path, _data: Path) -> str:
    free_mb = shutil.disk_usage(root).free // 2**20
    if free_mb < ENOUGH_MB:
        raise CannotStart(f"{free_mb} MB free", f"df -h {root}")
    return f"{free_mb / 1024:.1f} GB free"


def _programs(_root: Path, _data: Path) -> str:
    if os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"):
        return "yours, by DATABASE_URL and REDIS_URL"
    binaries = postgres.find_binaries()
    return f"PostgreSQL {postgres.version_of(binaries)} and {valkey.find_program().name} are installed"


def _servers(_root: Path, data: Path) -> str:
    if not data.exists() or surroundings.fallen(data):
        return "not running (make run starts them)"
    return "running"


def _tables(root: Path, data: Path) -> str:
    if not data.exists() or surroundings.fallen(data):
        return "unknown while the servers are down"
    owner = surroundings.environment(root)["DATABASE_OWNER_URL"]
    if not schema.is_current(owner, root):
        raise CannotStart("older than this checkout", "make migrate")
    return "as this checkout wants them"


def _boundary(root: Path, data: Path) -> str:
    """The application's role must not be able to step round row-level security."""
    if not data.exists() or surroundings.fallen(data):
        return "unknown while the servers are down"
    with psycopg.connect(surroundings.environment(root)["DATABASE_URL"], connect_timeout=10) as connection:
        row = connection.execute("SELECT current_user, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user").fetchone()
    if row is None or row[1]:
        raise CannotStart("the application's role can bypass row-level security", "psql -d remit -f deploy/sql/roles.sql")
    return f"{row[0]} is bound by row-level security"


def _children(_root: Path, data: Path) -> str:
    notes = [json.loads(path.read_text()) | {"name": path.stem} for path in sorted((data / "children").glob("*.json"))]
    return ", ".join(f"{note['name']} ({note['pid']})" for note in notes) or "none"


def _web(_root: Path, data: Path) -> str:
    noted = (data / "run.lock").read_text().split() if (data / "run.lock").exists() else []
    if len(noted) < 2:
        return "not running (make run starts it)"
    host, _, port = noted[1].removeprefix("http://").rpartition(":")
    if why := readiness.problem(host.strip("[]"), int(port)):
        raise CannotStart(f"{noted[1]} is not ready: {why}", f"tail -n 40 {data / 'logs' / 'web.log'}")
    return f"{noted[1]} is ready"


LOOKS: dict[str, Callable[[Path, Path], str]] = {
    "Disk": _disk,
    "Programs": _programs,
    "Servers": _servers,
    "Tables": _tables,
    "Boundary": _boundary,
    "Children": _children,
    "Web": _web,
}
