"""A connection that only listens. It goes to PostgreSQL itself: LISTEN does not pass a transaction pooler."""

from collections.abc import Iterator
from typing import Any

import psycopg
from django.conf import settings
from django.db import connections
from psycopg import sql

LONGEST_S = 1.0  # without a notification, look this often
# A peer that vanished without a word is noticed after about this many seconds: 5 + 3 x 3.
KEEPALIVE: dict[str, Any] = {"keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 3, "keepalives_count": 3}


def connect(*channels: str) -> "psycopg.Connection[Any]":
    """Listening on these channels. Raises psycopg.OperationalError."""
    address = psycopg.conninfo.make_conninfo(_address(), application_name="remit listen", connect_timeout=5, **KEEPALIVE)
    wire = psycopg.connect(address, autocommit=True)
    try:
        for channel in channels:
            wire.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
    except BaseException:
        wire.close()
        raise
    return wire


def heard(wire: "psycopg.Connection[Any]", *, gather_s: float = 0.0) -> Iterator[psycopg.Notify]:
    """What arrives until the first notification or LONGEST_S, and what follows it within `gather_s`. Raises psycopg.OperationalError."""
    first = list(wire.notifies(timeout=LONGEST_S, stop_after=1))
    yield from first
    if first and gather_s:
        yield from wire.notifies(timeout=gather_s)


def _address() -> str:
    """DIRECT_DATABASE_URL where a pooler stands in front of the database, else the database itself."""
    direct = str(getattr(settings, "DIRECT_DATABASE_URL", ""))
    if direct:
        return direct
    facts = connections["default"].settings_dict
    named = {"host": facts["HOST"], "port": facts["PORT"], "user": facts["USER"], "password": facts["PASSWORD"], "dbname": facts["NAME"]}
    return psycopg.conninfo.make_conninfo(**{name: value for name, value in named.items() if value})
