"""The demo's own past. While a history is played, what that one connection records is dated back; every row is right when it is written.

`moment()` is the clock of the record and belongs to the owner of the tables, so the application can give itself no other. Here, and only
where the demo may exist, the owner's login puts a version in its place that subtracts what a session asks for, and puts the product's own
back afterwards, whatever happened. A Remit without REMIT_DEMO never holds the other one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from django.conf import settings
from django.db import connection

from controlplane.demo import border

SETTING = "demo.behind"
TRUE = (Path(settings.BASE_DIR) / "audit" / "sql" / "moment.sql").read_text(encoding="utf-8")
DATED_BACK = f"""
CREATE OR REPLACE FUNCTION moment() RETURNS timestamptz LANGUAGE sql VOLATILE AS
$$ SELECT clock_timestamp() - coalesce(nullif(current_setting('{SETTING}', true), '')::interval, interval '0') $$
"""


class NoOwner(border.NotHere):
    """Nobody gave us the login of the tables' owner, so the demo has no past."""


@contextmanager
def past() -> Iterator[None]:
    """While this lasts `set_back` works. Raises NoOwner."""
    with owner() as login:
        login.execute(DATED_BACK)
    with connection.cursor() as cursor:
        cursor.execute("set synchronous_commit = off")  # what a crash forgets of a made-up past is played again
    try:
        yield
    finally:
        now()
        with owner() as login:
            login.execute(TRUE)


def set_back(by: timedelta) -> None:
    """From here on this connection records what happened that long ago. Call it outside a transaction."""
    with connection.cursor() as cursor:
        cursor.execute("select set_config(%s, %s, false)", [SETTING, f"{by.total_seconds():.3f} s"])


def within_transaction(by: timedelta) -> None:
    """The same inside a transaction, and for no longer than it."""
    with connection.cursor() as cursor:
        cursor.execute("select set_config(%s, %s, true)", [SETTING, f"{by.total_seconds():.3f} s"])


def now() -> None:
    """The true time again."""
    with connection.cursor() as cursor:
        cursor.execute("select set_config(%s, '', false)", [SETTING])
        cursor.execute("reset synchronous_commit")


def owner() -> psycopg.Connection:
    """The login of the tables' owner, where the demo may exist. Raises NoOwner."""
    border.check()
    given = os.environ.get("DATABASE_OWNER_URL", "")
    if not given:
        raise NoOwner("A history needs the tables' owner: set DATABASE_OWNER_URL.")
    here = urlunsplit(urlsplit(given)._replace(path=f"/{settings.DATABASES['default']['NAME']}"))
    return psycopg.connect(here, autocommit=True, connect_timeout=5)
