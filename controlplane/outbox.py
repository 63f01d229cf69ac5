"""Work that waits for a worker. PostgreSQL is the authority: rows are written with the change that needs them, claimed with SKIP LOCKED,
leased and fenced. A Celery message only rings the bell; lost, repeated or forged ones change latency and nothing else.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.conf import settings
from django.db import connection, transaction

from audit import tenancy

logger = logging.getLogger(__name__)
MOST_ATTEMPTS = 5


class LostLease(RuntimeError):
    """Somebody else holds this work now; whatever was under way here must stop."""


@dataclass(frozen=True, slots=True)
class Lease:
    """One claimed row. Every write made under it names its fence."""

    organisation: str
    id: str
    kind: str
    subject: str
    fence: int
    attempts: int
    rings: int

    @property
    def is_last_attempt(self) -> bool:
        return self.attempts >= MOST_ATTEMPTS


def _ours(lease: Lease) -> list[str | int]:
    return [lease.organisation, lease.id, lease.fence]


def claim() -> Lease | None:
    """The next due work of any organisation, leased to this thread; None when there is none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select organisation_id, id, kind, subject, fence, attempts, rings from work_claim(%s)", [float(settings.LEASE_SECONDS)]
        )
        row = cursor.fetchone()
    return Lease(*row) if row else None


def finish(lease: Lease) -> None:
    """Done: the row goes, unless somebody rang again meanwhile."""
    with tenancy.within(lease.organisation), connection.cursor() as cursor:
        cursor.execute(
            "delete from agents_work where organisation_id = %s and id = %s and fence = %s and rings = %s",
            [*_ours(lease), lease.rings],
        )
        if cursor.rowcount == 0:
            cursor.execute(
                "update agents_work set lease_until = null, due_at = clock_timestamp(), attempts = 0 "
                "where organisation_id = %s and id = %s and fence = %s",
                _ours(lease),
            )


def give_back(lease: Lease) -> None:
    """It went wrong: try again later, longer each time."""
    with tenancy.within(lease.organisation), connection.cursor() as cursor:
        cursor.execute(
            "update agents_work set lease_until = null, due_at = clock_timestamp() + make_interval(secs => %s) "
            "where organisation_id = %s and id = %s and fence = %s",
            [float(min(2**lease.attempts, 300)), *_ours(lease)],
        )


def extend(lease: Lease) -> bool:
    """The heartbeat: keep the lease while working. False when it is lost."""
    with tenancy.within(lease.organisation), connection.cursor() as cursor:
        cursor.execute(
            "update agents_work set lease_until = clock_timestamp() + make_interval(secs => %s) "
            "where organisation_id = %s and id = %s and fence = %s",
            [float(settings.LEASE_SECONDS), *_ours(lease)],
        )
        return bool(cursor.rowcount)


def hold(lease: Lease) -> None:
    """Raises LostLease unless this lease is still ours; locks it until the end of the transaction. Call inside `tenancy.within`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select 1 from agents_work where organisation_id = %s and id = %s and fence = %s for update",
            _ours(lease),
        )
        if cursor.fetchone() is None:
            raise LostLease(lease.id)


@contextmanager
def heartbeat(lease: Lease) -> Iterator[None]:
    """Extends the lease in the background for as long as the block runs."""
    done = threading.Event()

    def beat() -> None:
        try:
            while not done.wait(settings.LEASE_SECONDS / 4):
                if not extend(lease):
                    return
        except Exception:
            logger.exception("heartbeat failed", extra={"work": lease.id})
        finally:
            connection.close()

    thread = threading.Thread(target=beat, name=f"heartbeat-{lease.id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def enqueue(*, organisation: str, kind: str, subject: str) -> None:
    """Ask for work in the transaction under way."""
    if not connection.in_atomic_block:
        raise RuntimeError("Work is asked for in the transaction that makes it necessary.")
    with connection.cursor() as cursor:
        cursor.execute("select work_ring(%s, %s, %s)", [organisation, kind, subject])


def waiting() -> dict[str, float]:
    """How much work is due and leased, and how old the oldest is: for metrics and doctor."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("select due, leased, oldest_s from work_waiting()")
        due, leased, oldest = cursor.fetchone()
    return {"due": due, "leased": leased, "oldest_s": oldest}
