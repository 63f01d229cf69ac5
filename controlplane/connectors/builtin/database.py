"""The demo systems' own database: one pool for each address, one transaction for each call, and what a failure of it means."""

import contextlib
import os
import threading
from collections.abc import Iterator

import psycopg
import psycopg_pool
from psycopg import errors, rows

from controlplane.connectors import interface
from controlplane.connectors.builtin.operation import Cursor, Row

Connection = psycopg.Connection[Row]
Pool = psycopg_pool.ConnectionPool[Connection]

# The server itself said that it undid the transaction: nothing happened, and saying so is safe.
UNDONE = (errors.QueryCanceled, errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure)
CONNECT_S = 2.0

_pools: dict[str, Pool] = {}
_guard = threading.Lock()


def _forget_pools() -> None:
    # A forked child shares the parent's sockets: it must neither use nor close them.
    global _guard  # noqa: PLW0603
    _guard = threading.Lock()
    _pools.clear()


os.register_at_fork(after_in_child=_forget_pools)


def address() -> str:
    """Where the demo systems live. Raises NotSent when nobody said."""
    found = os.environ.get("DEMO_DATABASE_URL", "")
    if not found:
        raise interface.NotSent("The demo systems have no database: set DEMO_DATABASE_URL.")
    return found


def pool(dsn: str) -> Pool:
    with _guard:
        if dsn not in _pools:
            _pools[dsn] = psycopg_pool.ConnectionPool(
                dsn,
                connection_class=psycopg.Connection[Row],
                kwargs={
                    "row_factory": rows.dict_row,
                    "prepare_threshold": None,  # change_schema would leave prepared plans that no longer fit their tables
                    "connect_timeout": 2,
                    "application_name": "remit demo systems",
                    "options": "-c lock_timeout=2s -c idle_in_transaction_session_timeout=10s -c timezone=UTC",
                },
                min_size=0,
                max_size=8,
                max_idle=60,
                open=True,
                check=psycopg_pool.ConnectionPool.check_connection,  # a server that was restarted is found out before we send
                name="demo",
            )
        return _pools[dsn]


def close(dsn: str) -> None:
    """Ends the pool of one address; the next call opens a new one."""
    with _guard:
        ended = _pools.pop(dsn, None)
    if ended is not None:
        ended.close()


@contextlib.contextmanager
def transaction(dsn: str, *, timeout_s: float, keep: bool, read_only: bool = False) -> Iterator[Cursor]:
    """One transaction, committed if `keep`, else undone.

    Raises NotSent while surely nothing happened, Unknown when the connection was lost after the first statement left.
    """
    lease = pool(dsn)
    try:
        connection = lease.getconn(timeout=min(CONNECT_S, timeout_s))
    except (psycopg_pool.PoolTimeout, psycopg_pool.PoolClosed, psycopg_pool.TooManyRequests, psycopg.OperationalError) as lost:
        raise interface.NotSent(f"The demo database does not answer ({type(lost).__name__}).") from lost
    try:
        with connection.transaction(force_rollback=not keep), connection.cursor() as cursor:
            if read_only:
                cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{max(1, int(timeout_s * 1000))}ms"])
            yield cursor
    except UNDONE as undone:
        if connection.closed:
            raise interface.Unknown("The connection to the demo database was lost.") from undone
        raise interface.NotSent(f"The demo database gave up waiting and undid the call ({type(undone).__name__}).") from undone
    except psycopg.Error as lost:
        if connection.closed:
            raise interface.Unknown("The connection to the demo database was lost after the call was sent.") from lost
        raise
    finally:
        lease.putconn(connection)
