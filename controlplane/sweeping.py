"""The periodic process: rings for work that is due, passes signals on to open pages, and keeps the tables' months and sessions in order.

Any number may run. Each rings; one of them, whoever holds the lock in PostgreSQL, does the rest, and when it dies the next one takes over.
"""

import importlib
import logging
import time
from typing import Any

import psycopg
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from controlplane import doorbell, listening, outbox, publish

logger = logging.getLogger(__name__)
LEADER = 0x52656D6974  # "Remit": the key of the session lock that only one sweep holds
GATHER_S = 0.1  # signals of the same moment travel together
REMIND_S = 5.0  # how often to ring again for work that stays due
MOST_RINGS = 8
MONTHS_AHEAD = 3
PARTITIONED = ("audit_entry", "agents_step")
DAY_S, SOON_S = 24 * 3600.0, 60.0


def forever() -> None:
    """Until the process is told to stop. PostgreSQL and Redis may come and go."""
    while True:
        try:
            with listening.connect("remit_work", publish.CHANNEL) as wire:
                Sweep(wire).go_on()
        except (psycopg.Error, DatabaseError, OSError) as error:
            logger.warning("the sweep lost its database", extra={"why": type(error).__name__})
        close_old_connections()
        time.sleep(listening.LONGEST_S)


class Sweep:
    """One connection's worth of sweeping."""

    def __init__(self, wire: "psycopg.Connection[Any]") -> None:
        self._wire = wire
        self._leads = False
        self._reminded_at = self._upkeep_at = self._retold_at = self._told_at = 0.0
        self._bell_is_heard = self._has_told_all = True

    def go_on(self) -> None:
        """Raises psycopg.Error or DatabaseError when the database is gone."""
        self.once([])
        while True:  # the first signal after a quiet moment waits for nobody
            is_busy = time.monotonic() - self._told_at < GATHER_S
            self.once(list(listening.heard(self._wire, gather_s=GATHER_S if is_busy else 0.0)))

    def once(self, heard: list[psycopg.Notify]) -> None:
        if not self._leads:
            self._try_to_lead()
        if self._leads:
            self._pass_on([each.payload for each in heard if each.channel == publish.CHANNEL])
        self._ring(was_told=any(each.channel == "remit_work" for each in heard))
        if self._leads:
            self._keep_up()

    def _try_to_lead(self) -> None:
        row = self._wire.execute("select pg_try_advisory_lock(%s)", [LEADER]).fetchone()
        self._leads = bool(row and row[0])
        self._has_told_all = not self._leads  # whatever was said while nobody led was said to nobody

    def _pass_on(self, payloads: list[str]) -> None:
        """What could not be said is made up for: once Redis is back, every page looks again."""
        if payloads:
            self._told_at = time.monotonic()
        self._has_told_all = publish.announce(payloads) and self._has_told_all
        if not self._has_told_all and time.monotonic() - self._retold_at >= REMIND_S:
            self._retold_at = time.monotonic()
            self._has_told_all = publish.look_again()

    def _ring(self, *, was_told: bool) -> None:
        """At once when PostgreSQL says so; for what became due by itself, or stays due, now and then."""
        due = int(outbox.waiting()["due"])
        if not due or not (was_told or time.monotonic() - self._reminded_at >= REMIND_S):
            return
        self._reminded_at = time.monotonic()
        is_heard = all(doorbell.ring() for _ in range(min(due, MOST_RINGS)))
        if is_heard != self._bell_is_heard:
            logger.warning("the bell works again" if is_heard else "the bell does not work; workers look by themselves")
        self._bell_is_heard = is_heard

    def _keep_up(self) -> None:
        if time.monotonic() < self._upkeep_at:
            return
        self._upkeep_at = time.monotonic() + DAY_S
        try:
            make_months()
            importlib.import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
        except DatabaseError as error:  # somebody holds a lock: not now, then
            self._upkeep_at = time.monotonic() + SOON_S
            logger.warning("upkeep is put off", extra={"why": str(error).partition("\n")[0]})
            close_old_connections()


def make_months(ahead: int = MONTHS_AHEAD) -> dict[str, int]:
    """The partitions of this month and the next ones; says how many were made for each table."""
    made = {}
    with connection.cursor() as cursor:
        for table in PARTITIONED:
            cursor.execute("select partition_months(%s, %s)", [table, ahead])
            made[table] = int(cursor.fetchone()[0])
    return made
