"""Who may log in to which database: applies deploy/sql/roles.sql through a superuser and hands out one URL per role."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from controlplane.services.trouble import CannotStart

OWNER, APP, DEMO = "remit_owner", "remit_app", "remit_demo"
DATABASE, DEMO_DATABASE = "remit", "remit_demo"
SERVERS_OWN = {"", "postgres", "template0", "template1"}
LOCK = 0x52454D4954
"""Held while roles change: they are shared by all databases of a server, and two starts may meet."""


@dataclass(frozen=True, slots=True)
class Logins:
    """One URL for each role that logs in."""

    app: str
    owner: str
    demo: str | None


def provision(superuser_url: str, roles_sql: Path, password: Callable[[str], str]) -> Logins:
    """Makes the roles, Remit's database and the demo's, as far as they are missing. `password` keeps one for each role.

    The database is the one the URL names, unless that is the server's own: then `remit` is made beside it.
    """
    named = urlsplit(superuser_url).path.lstrip("/")
    database = DATABASE if named in SERVERS_OWN else named
    with psycopg.connect(superuser_url, autocommit=True, connect_timeout=10) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        _database(connection, database)
        inside = with_login(superuser_url, database=database)
        with psycopg.connect(inside, connect_timeout=10) as target:
            target.execute(roles_sql.read_bytes())
        for role in (OWNER, APP):
            _set_password(connection, role, password(role))
        # The tests make databases of their own. Production applies roles.sql by hand and has no use for this.
        connection.execute(sql.SQL("ALTER ROLE {} CREATEDB").format(sql.Identifier(OWNER)))
        _demo(connection, password(DEMO))
    return Logins(
        app=with_login(superuser_url, user=APP, password=password(APP), database=database),
        owner=with_login(superuser_url, user=OWNER, password=password(OWNER), database=database),
        demo=with_login(superuser_url, user=DEMO, password=password(DEMO), database=DEMO_DATABASE),
    )


def is_superuser(url: str) -> bool:
    """Whether the URL's login is a superuser. Raises CannotStart when nobody answers there."""
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise CannotStart(f"DATABASE_URL does not answer: {reason}", "unset DATABASE_URL   # make run then brings its own") from None
    return bool(row and row[0])


def with_login(url: str, *, database: str, user: str = "", password: str = "") -> str:
    """The same server, reached as somebody else or at another database."""
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    if user:
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return urlunsplit((parts.scheme, f"{login}@{host}" if login else host, "/" + quote(database, safe=""), parts.query, ""))


def _database(connection: psycopg.Connection, name: str) -> None:
    if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _demo(connection: psycopg.Connection, password: str) -> None:
    """The systems the demo's agents work on stand in for somebody else's: a role that sees nothing of Remit."""
    role, database = sql.Identifier(DEMO), sql.Identifier(DEMO_DATABASE)
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [DEMO]).fetchone() is None:
        connection.execute(sql.SQL("CREATE ROLE {}").format(role))
    connection.execute(sql.SQL("ALTER ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE").format(role))
    _set_password(connection, DEMO, password)
    _database(connection, DEMO_DATABASE)
    connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, role))
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))


def _set_password(connection: psycopg.Connection, role: str, password: str) -> None:
    # Hashed here: neither the statement log nor an extension that watches statements ever sees the password.
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier)))
