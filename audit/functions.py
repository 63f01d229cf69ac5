"""One round trip to one of our SQL functions, which answer in JSON. It is on the path of every governed call, several times.

libpq's own call, through psycopg's documented `pq` layer: 15 us of CPU against 117 us for a Django cursor (measured, ARCHITECTURE.md).
"""

import functools
import itertools
import re
from collections.abc import Mapping
from typing import Any

import orjson
import psycopg
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections
from psycopg import pq

from audit import origin

_PLACE = re.compile(r"%s")
_REPLANS = frozenset(8**n for n in range(1, 9))  # the statements of a connection before which it plans anew
_prepares = True


def parameters(asked: Mapping[str, Any]) -> str:
    """A function's JSON argument as text, with how it came in. What is stored or hashed inside it is canonical text already."""
    return orjson.dumps({**asked, "origin": origin.text()}).decode()


def ask(statement: str, *given: Any) -> Any:
    """The first column of the first row, parsed when it is JSON. `%s` marks each parameter: text, numbers, None, or bytes for bytea.

    Raises django.db.DatabaseError like any other statement, and takes part in the transaction under way.

    PostgreSQL keeps the plan it made first. Over an empty table any index looks as good as the right one, so a young connection plans anew.
    """
    connection = connections[DEFAULT_DB_ALIAS]  # once: the proxy looks it up for each attribute
    connection.ensure_connection()
    opened = connection.connection
    assert opened is not None  # ensure_connection
    if connection.in_atomic_block and opened.pgconn.transaction_status == pq.TransactionStatus.IDLE:
        with connection.cursor() as cursor:  # psycopg begins a transaction with its own first statement, and this is not one
            cursor.execute("select 1")
    asked = opened.__dict__["remit_asked"] = opened.__dict__.get("remit_asked", 0) + 1
    values = [_bytes(value) for value in given]
    formats = [pq.Format.BINARY if isinstance(value, bytes | memoryview) else pq.Format.TEXT for value in given]
    with connection.wrap_database_errors:
        if asked in _REPLANS:
            _checked(opened.pgconn, opened.pgconn.exec_(b"discard plans"))
        result = _answered(opened, _numbered(statement), values, formats)
        raw = result.get_value(0, 0) if result.ntuples else None
    return None if raw is None else _parsed(raw, result.ftype(0))


@functools.cache
def _numbered(statement: str) -> bytes:
    places = itertools.count(1)
    return _PLACE.sub(lambda _: f"${next(places)}", statement).encode()


def _answered(opened: psycopg.Connection[Any], statement: bytes, values: list[bytes | None], formats: list[pq.Format]) -> pq.abc.PGresult:
    """Prepared once a connection, which halves what a round trip costs the server. Raises psycopg.Error.

    A pooler that cannot keep prepared statements says so before the statement has run: it is then asked plainly, now and ever after.
    """
    global _prepares  # noqa: PLW0603 - what kind of server this process talks to
    known: dict[bytes, bytes] = opened.__dict__.setdefault("remit_statements", {})
    if _prepares and opened.pgconn.transaction_status == pq.TransactionStatus.IDLE:
        try:
            if statement not in known:
                name = b"remit_%d" % len(known)
                _checked(opened.pgconn, opened.pgconn.prepare(name, statement))
                known[statement] = name
            result = opened.pgconn.exec_prepared(known[statement], values, param_formats=formats)  # type: ignore[arg-type]  # None is NULL
            return _checked(opened.pgconn, result)
        except (psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement):
            _prepares = False
    return _checked(opened.pgconn, opened.pgconn.exec_params(statement, values, param_formats=formats))


def _checked(server: pq.abc.PGconn, result: pq.abc.PGresult) -> pq.abc.PGresult:
    if server.status == pq.ConnStatus.BAD:
        raise psycopg.OperationalError("The connection to the database was lost.")
    if result.status not in {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK}:
        raise psycopg.errors.error_from_result(result)
    return result


def ask_first(statement: str, *given: Any) -> Any:
    """A question that changes nothing and begins a request: asked once more when the kept connection was cut meanwhile, as by a restart."""
    try:
        return ask(statement, *given)
    except OperationalError:
        if connection.in_atomic_block:
            raise
        connection.close()
        return ask(statement, *given)


_JSON, _BOOL, _INTEGERS = {114, 3802}, 16, {20, 21, 23}


def _parsed(raw: bytes, kind: int) -> Any:
    if kind in _JSON:
        return orjson.loads(raw)
    if kind == _BOOL:
        return raw == b"t"
    return int(raw) if kind in _INTEGERS else raw.decode()


def _bytes(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, bool):
        return b"t" if value else b"f"
    return str(value).encode()
