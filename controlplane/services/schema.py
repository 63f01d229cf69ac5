"""Whether the database already has the tables this checkout asks for, told without starting Django."""

from __future__ import annotations

import hashlib
from pathlib import Path

import psycopg
from psycopg import sql

SOURCES = ("*/migrations/*.py", "*/sql/**/*.sql", "requirements.txt", "controlplane/settings.py")
"""Our migrations and the SQL they install; the lock and the settings, because libraries bring migrations too."""


def is_current(owner_url: str, root: Path) -> bool:
    """Whether `mark_current` was called for these very sources, and nobody has migrated this database since."""
    with psycopg.connect(owner_url, connect_timeout=10) as connection:
        row = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
        ).fetchone()
        return bool(row and row[0] == _mark(connection, root))


def mark_current(owner_url: str, root: Path) -> None:
    """Notes in the database itself, where the fact belongs, which sources it was migrated from."""
    with psycopg.connect(owner_url, connect_timeout=10) as connection:
        database = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, sql.Literal(_mark(connection, root))))


def _mark(connection: psycopg.Connection, root: Path) -> str:
    if connection.execute("SELECT to_regclass('django_migrations')").fetchone() == (None,):
        return "not migrated"
    applied = connection.execute("SELECT count(*), max(id) FROM django_migrations").fetchone()
    digest = hashlib.sha256(repr(applied).encode())
    for pattern in SOURCES:
        for path in sorted(root.glob(pattern)):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return f"remit schema {digest.hexdigest()}"
