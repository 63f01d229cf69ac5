"""Takes the demo away again: everything its organisation ever had, except its log.

The log is append-only for everybody, so it stays, ends with who removed the rest, and is what later starts know it by. Only the tables'
owner can delete these rows; the application's role cannot, here or anywhere.
"""

from collections.abc import Iterable, Mapping

import psycopg
from psycopg import errors, sql

from agents import organisations
from agents.organisations import Principal
from audit import log, tenancy
from controlplane.demo import border, clock, scene

KEPT = "audit_entry"
ATTEMPTS = 4  # an agent may be in the middle of a call: one of the two waits, and is told to try again
# Tables by organisation, and which of them point at which.
_TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attname = 'organisation_id' AND c.relname <> %s
"""
_POINTERS = """
SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
WHERE contype = 'f' AND conparentid = 0 AND conrelid <> confrelid
"""


def remove(*, by: Principal, slug: str = "") -> dict[str, int]:
    """Table to rows deleted, in one transaction with the entry that says so. Raises border.NotHere outside the demo."""
    border.check()
    organisation = organisations.id_of(slug or scene.SLUG)
    if by.organisation != organisation:
        raise border.NotHere("Only the demo's own organisation can be removed like this.")
    for attempt in range(ATTEMPTS):
        try:
            with clock.owner() as owner, owner.transaction():
                return _remove(owner, organisation, by)
        except (errors.DeadlockDetected, errors.ForeignKeyViolation):
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


def was_removed(slug: str = "") -> bool:
    """Whether somebody took it away. Then it does not come back by itself."""
    with tenancy.within(organisations.id_of(slug or scene.SLUG), read_only=True):
        return log.entries(event="demo.removed").exists()


def _remove(owner: psycopg.Connection, organisation: str, by: Principal) -> dict[str, int]:
    owner.execute("select set_config('app.organisation', %s, true)", [organisation])
    owner.execute("select pg_advisory_xact_lock(hashtextextended('stop:' || %s, 0))", [organisation])  # no call is being admitted
    members = owner.execute("select user_id from agents_member where organisation_id = %s", [organisation]).fetchall()
    # an agent and its version point at each other
    owner.execute("update agents_agent set version_id = null where organisation_id = %s", [organisation])
    gone = {}
    for table in _order(owner):
        statement = sql.SQL("DELETE FROM {} WHERE organisation_id = %s").format(sql.Identifier(table))
        gone[table] = owner.execute(statement, [organisation]).rowcount
    owner.execute("update auth_user set is_active = false where id = any(%s)", [[user for (user,) in members]])
    told = log.detail_text({"rows": sum(gone.values()), "runs": gone["agents_run"], "requests": gone["approvals_request"]})
    owner.execute(
        "select audit_append(%s, '', %s, %s, %s, %s, '', %s)",
        [organisation, log.known("demo.removed"), by.kind, by.id, organisation, told],
    )
    return gone


def _order(owner: psycopg.Connection) -> list[str]:
    """Whoever points at others first."""
    left = {name for (name,) in owner.execute(_TABLES, [KEPT]).fetchall()}
    pointing: Mapping[str, set[str]] = {name: set() for name in left}
    pairs: Iterable[tuple[str, str]] = owner.execute(_POINTERS.encode()).fetchall()
    for source, target in pairs:
        if source in left and target in left and (source, target) != ("agents_agent", "agents_agentversion"):
            pointing[target].add(source)
    order: list[str] = []
    while left:
        free = sorted(name for name in left if not pointing[name] & left)
        order += free
        left -= set(free)
        if not free:
            raise RuntimeError(f"tables that point at each other: {', '.join(sorted(left))}")
    return order
