"""How the installation is, in numbers for whoever runs it: workers, work that waits, the database, and how this web process answers."""

import time
from dataclasses import dataclass

from django.db import connection

from audit import tenancy
from controlplane import metering

BEGAN = time.time()
DOORS = {"calls": "Governed calls (REST)", "mcp": "Governed calls (MCP)", "api": "REST, the rest", "pages": "Pages"}
ENOUGH = 20  # requests under which a percentile says nothing


@dataclass(frozen=True, slots=True)
class Door:
    """What one class of door answered since this process began. `p95_s` is the bucket's upper edge: at most that long."""

    name: str
    requests: int
    failed: int
    p95_s: float | None

    @property
    def share(self) -> str:
        """Requests that failed on our side, in per cent."""
        return f"{100 * self.failed / self.requests:.1f} %" if self.requests else "0 %"


def doors() -> list[Door]:
    """This process only: another web process counts its own. /metrics has them for Prometheus to add up."""
    counts: dict[str, dict[str, int]] = {}
    buckets: dict[str, list[tuple[float, float]]] = {}
    for family in (*metering.REQUESTS.collect(), *metering.SECONDS.collect()):
        for sample in family.samples:
            door = sample.labels.get("door", "")
            if sample.name.endswith("requests_total"):
                counts.setdefault(door, {})[sample.labels["status"]] = int(sample.value)
            elif sample.name.endswith("_bucket"):
                buckets.setdefault(door, []).append((float(sample.labels["le"]), sample.value))
    found = []
    for name, word in DOORS.items():
        statuses = counts.get(name, {})
        found.append(Door(word, sum(statuses.values()), _failed(statuses), _p95(buckets.get(name, []))))
    return found


def _failed(statuses: dict[str, int]) -> int:
    return statuses.get("5xx", 0) + statuses.get("none", 0)


def _p95(buckets: list[tuple[float, float]]) -> float | None:
    ordered = sorted(buckets)
    total = ordered[-1][1] if ordered else 0
    if total < ENOUGH:
        return None
    return next((edge for edge, count in ordered if count >= 0.95 * total and edge != float("inf")), None)


def sockets() -> int:
    """Live sockets that are open in this process."""
    return int(next(iter(metering.SOCKETS.collect())).samples[0].value)


@dataclass(frozen=True, slots=True)
class Database:
    """The server behind it all, and who listens there for work."""

    version: str
    size: int
    connections: int
    most: int
    workers: int


def database() -> Database:
    """Raises DatabaseError. A worker is seen by the connection on which it listens for work; one that hangs before that is not."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select current_setting('server_version'), pg_database_size(current_database()),"
            " (select count(*) from pg_stat_activity where datname = current_database()), current_setting('max_connections')::int,"
            " (select count(*) from pg_stat_activity where datname = current_database() and application_name = 'remit listen'"
            "  and query ilike 'listen%%remit_work%%')"
        )
        version, size, in_use, most, workers = cursor.fetchone()
    return Database(str(version).partition(" ")[0], int(size), int(in_use), int(most), int(workers))


@dataclass(frozen=True, slots=True)
class Queue:
    """One kind of work of an organisation: how much is due, under way and for later, and how old the oldest is."""

    kind: str
    due: int
    leased: int
    later: int
    oldest_s: float
    attempts: int


def queues(organisation: str) -> list[Queue]:
    """The organisation's own work by kind. Raises DatabaseError."""
    with tenancy.within(organisation, read_only=True), connection.cursor() as cursor:
        cursor.execute(
            "select kind, count(*) filter (where due_at <= clock_timestamp() and (lease_until is null or lease_until < clock_timestamp())),"
            " count(*) filter (where lease_until >= clock_timestamp()), count(*) filter (where due_at > clock_timestamp()),"
            " coalesce(extract(epoch from clock_timestamp() - min(due_at) filter (where due_at <= clock_timestamp())), 0)::float8,"
            " max(attempts) from agents_work group by kind order by kind"
        )
        return [Queue(*row) for row in cursor.fetchall()]
