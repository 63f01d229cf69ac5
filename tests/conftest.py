"""A real PostgreSQL as the application's own role, one database a test process. Every test makes its own organisation, so nothing is
ever emptied: row-level security keeps tests apart as it keeps customers apart.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.db import connections

from tests import world as worlds

ROOT = Path(__file__).resolve().parent.parent


def database_url(url: str, name: str) -> str:
    """The same server and role, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def django_db_setup(worker_id: str, django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    """Make this process's database as the owner, then connect to it as the application."""
    owner, app = os.environ["DATABASE_OWNER_URL"], os.environ["DATABASE_URL"]
    name = f"remit_test_{worker_id}_{os.getpid()}"  # several runs may share a server
    with psycopg.connect(database_url(owner, "postgres"), autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    environment = {**os.environ, "DATABASE_URL": database_url(owner, name), "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=ROOT, env=environment, check=True)
    os.environ["DATABASE_URL"], os.environ["DATABASE_OWNER_URL"] = (
        database_url(app, name),
        database_url(owner, name),
    )  # for processes that tests start
    connections["default"].settings_dict["NAME"] = name
    connections["default"].close()
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        yield
    connections.close_all()
    here = "datname = current_database() and usename = current_user and pid <> pg_backend_pid()"  # autovacuum is not ours to end
    others = f"select pg_terminate_backend(pid, 10000) from pg_stat_activity where {here}"
    with psycopg.connect(database_url(owner, "postgres"), autocommit=True) as admin:
        for attempt in reversed(range(6)):
            with psycopg.connect(database_url(app, name), autocommit=True) as last:
                last.execute(others)  # the web pool's threads keep their connections, and the owner may not end another role's
            try:  # not by force: that may not end an autovacuum, which leaves by itself while this waits for it, up to five seconds
                admin.execute(f'DROP DATABASE IF EXISTS "{name}"')
                break
            except psycopg.errors.ObjectInUse:
                if not attempt:
                    raise


@pytest.fixture(autouse=True)
def _database(django_db_setup: None) -> Iterator[None]:
    """Tests commit like the product does. A test that leaves a transaction open is wrong."""
    kept = connections["default"]  # a browser test has another than the rest of its thread, and a test before may have had that one cut
    if kept.connection is not None and not kept.is_usable():
        kept.close()
    yield
    assert not connections["default"].in_atomic_block


@pytest.fixture
def world() -> worlds.World:
    """An organisation with two workspaces, a cast with roles, a real upstream and an agent that may use it."""
    return worlds.make()


@pytest.fixture
def elsewhere() -> worlds.World:
    """Another organisation, for everything that must not cross."""
    return worlds.make()
