"""A database of its own for the tests of the demo systems, so that they may break and wipe it while others use the demo's."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from controlplane.connectors import builtin, interface
from controlplane.connectors.builtin import database


@contextmanager
def fresh_database() -> Iterator[str]:
    """The address of an empty database; removed afterwards."""
    login = os.environ.get("DATABASE_OWNER_URL") or os.environ["DEMO_DATABASE_URL"]
    name = f"remit_demo_test_{uuid.uuid4().hex[:12]}"
    dsn = urlunsplit(urlsplit(login)._replace(path=f"/{name}"))
    with psycopg.connect(login, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
    try:
        yield dsn
    finally:
        database.close(dsn)
        with psycopg.connect(login, autocommit=True) as connection:
            # Not WITH (FORCE), which would end an autovacuum worker, too, and may not; without it PostgreSQL asks that one to leave.
            own = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s and usename = current_user"
            connection.execute(own, [name])
            connection.execute(f"DROP DATABASE {name}".encode())


def outbound(operation: str, arguments: dict[str, Any], *, key: str = "", timeout_s: float = 5.0) -> interface.Outbound:
    system = operation.partition("_")[0]
    upstream = interface.Upstream("builtin", system, f"builtin:{system}", {}, timeout_s, allow_private=False)
    return interface.Outbound(upstream, operation, arguments, key, "C-1", {})


def send(operation: str, arguments: dict[str, Any], *, key: str = "") -> dict[str, Any]:
    """Sends with a fresh key unless told, and expects the system to agree."""
    answer = builtin.send(outbound(operation, arguments, key=key or uuid.uuid4().hex))
    assert not answer.is_error, answer.result
    found: dict[str, Any] = answer.result["structuredContent"]
    return found


def refused(operation: str, arguments: dict[str, Any], *, key: str = "") -> str:
    """The code of the refusal."""
    answer = builtin.send(outbound(operation, arguments, key=key or uuid.uuid4().hex))
    assert answer.is_error
    assert answer.result["isError"] is True
    return str(answer.result["structuredContent"]["code"])


def invoice(invoice_id: str) -> dict[str, Any]:
    return send("billing_get_invoice", {"invoice_id": invoice_id})


def paid_invoices() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = send("billing_list_invoices", {"status": "paid", "limit": 100})["invoices"]
    return found
