"""A database with a million runs and what belongs to them, made by the tables' owner in a few minutes.

Foreign keys and indexes are taken off while rows are added and put back after: a key that points nowhere would refuse to come back.
"""

import datetime
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

PARTS = dict(re.findall(r"-- @name (\w+)\n(.*?)(?=-- @name |\Z)", (Path(__file__).parent / "filling.sql").read_text(), re.S))
# The tables that grow with the work, referenced before referencing.
LARGE = (
    "agents_run",
    "agents_call",
    "agents_step",
    "agents_effect",
    "approvals_plan",
    "approvals_request",
    "approvals_vote",
    "audit_entry",
    "budgets_window",
    "budgets_ledgerentry",
)
EACH = ("registry", "numbers", "runs", "calls", "steps", "requests", "entries", "money")
ROLES = ("owner", "admin", "security", "approver", "finance", "auditor", "builder", "viewer")
# (organisation, workspace, share of the runs, agents, tools)
WORKSPACES = (
    ("shop", "desk", 0.60, 120, 160),
    ("shop", "lab", 0.15, 20, 40),
    ("north", "desk", 0.15, 40, 40),
    ("south", "desk", 0.06, 20, 20),
    ("west", "desk", 0.04, 10, 20),
)
LONG, PEOPLE, MONTHS = 1_000, 300, 7
PARTITIONED = ("audit_entry", "agents_step")
OPEN = 2_000  # of the newest runs of a workspace, each that asked people still waits

Connection = psycopg.Connection[Any]


def fill(owner_url: str, runs: int, say: Callable[[str], None]) -> None:
    """Fill the organisations that `bootstrap` made."""
    with psycopg.connect(owner_url, autocommit=True) as database:
        database.execute("set synchronous_commit = off")
        database.execute("set maintenance_work_mem = '512MB'")
        database.execute("set work_mem = '256MB'")
        with as_owner(database):
            past_partitions(database)
            with without_indexes(database, say):
                _fill(database, runs, say)
            began = time.monotonic()
            for (organisation,) in database.execute("select id from agents_organisation order by id").fetchall():
                database.execute("select budget_sum_again(%s)", [organisation])
            say(f"sums of spending: {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        database.execute("analyze")
        say(f"analyze: {time.monotonic() - began:.0f} s")


def _fill(database: Connection, runs: int, say: Callable[[str], None]) -> None:
    database.execute(
        "insert into agents_workspace (organisation_id, id, slug, name, environment, registry) "
        "select organisation_id, 'WS-LAB', 'lab', 'Lab', 'production', 1 from agents_organisation where slug = 'shop'"
    )
    first = 1
    for tenant, workspace, share, agents, tools in WORKSPACES:
        org, ws = _one(database, "select o.id, w.id from agents_organisation o join agents_workspace w on w.organisation_id = o.id "
                       "where o.slug = %s and w.slug = %s", tenant, workspace)  # fmt: skip
        owner, approver = (
            _one(database, "select id from agents_member where organisation_id = %s and name = %s", org, name)[0]
            for name in ("olga", "ann")
        )
        asked: dict[str, Any] = {"org": org, "ws": ws, "tag": f"{tenant}{workspace}".upper(), "owner": owner, "approver": approver}
        asked |= {"first": first, "runs": int(runs * share), "agents": agents, "tools": tools, "open": OPEN}
        for part in EACH:
            began = time.monotonic()
            run(database, part, asked)
            say(f"{tenant}/{workspace} {part}: {time.monotonic() - began:.0f} s")
        if first == 1:
            long = _one(database, "select id from numbers where not writes and age > 2000 order by age limit 1")[0]
            run(database, "long", {"org": org, "run": long, "long": LONG})
            run(database, "own", asked)
            run(database, "people", {**asked, "people": PEOPLE})
        first += asked["runs"]


def run(database: Connection, part: str, asked: dict[str, Any]) -> None:
    for statement in PARTS[part].split(";\n"):
        if any(line.strip() and not line.startswith("--") for line in statement.splitlines()):
            # Values are written into the text: several are used both as text and beside ||, which a typed parameter refuses.
            psycopg.ClientCursor(database).execute(statement, asked)


def _one(database: Connection, statement: str, *values: Any) -> tuple[Any, ...]:
    row = database.execute(statement, values).fetchone()
    if row is None:
        raise LookupError(statement)
    return tuple(row)


@contextmanager
def as_owner(database: Connection) -> Iterator[None]:
    """The owner is bound by row-level security like everybody; while it fills, it is not."""
    tables = [row[0] for row in database.execute("select relname from pg_class where relforcerowsecurity order by relname")]
    for table in tables:
        database.execute(f'alter table "{table}" no force row level security')
    try:
        yield
    finally:
        for table in tables:
            database.execute(f'alter table "{table}" force row level security')


@contextmanager
def without_indexes(database: Connection, say: Callable[[str], None]) -> Iterator[None]:
    """Take off the large tables' constraints and indexes, and put them back when the rows are there."""
    names = list(LARGE)
    foreign = database.execute(
        "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint "
        "where contype = 'f' and conparentid = 0 and (conrelid::regclass::text = any(%s) or confrelid::regclass::text = any(%s))",
        [names, names],
    ).fetchall()
    keys = database.execute(
        "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint "
        "where contype in ('p', 'u') and conparentid = 0 and conrelid::regclass::text = any(%s)",
        [names],
    ).fetchall()
    indexes = database.execute(
        "select indexrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index where indrelid::regclass::text = any(%s) "
        "and not exists (select from pg_constraint where conindid = indexrelid)",
        [names],
    ).fetchall()
    for table, name, _ in [*foreign, *keys]:
        database.execute(f'alter table {table} drop constraint "{name}"')
    for name, _ in indexes:
        database.execute(f"drop index {name}")
    yield
    began = time.monotonic()
    for table, name, definition in keys:
        database.execute(f'alter table {table} add constraint "{name}" {definition}')
    for _, definition in indexes:
        database.execute(definition.replace(" ON ONLY ", " ON "))
    say(f"indexes: {time.monotonic() - began:.0f} s")
    began = time.monotonic()
    for table, name, definition in foreign:
        database.execute(f'alter table {table} add constraint "{name}" {definition}')
    say(f"foreign keys, each checked: {time.monotonic() - began:.0f} s")


def past_partitions(database: Connection) -> None:
    """A database that has run for months has a partition for each of them."""
    month = datetime.datetime.now(datetime.UTC).date().replace(day=1)
    for _ in range(MONTHS):
        after, month = month, (month - datetime.timedelta(days=1)).replace(day=1)
        for table in PARTITIONED:
            database.execute(
                f"create table if not exists {table}_{month:%Y_%m} partition of {table} "
                f"for values from ('{month} 00:00+00') to ('{after} 00:00+00')"
            )


def counted(database: Connection) -> dict[str, int]:
    """How many rows there are of what grows."""
    names = {
        "runs": "agents_run",
        "steps": "agents_step",
        "calls": "agents_call",
        "requests": "approvals_request",
        "entries": "audit_entry",
    }
    with as_owner(database):
        return {name: int(_one(database, f"select count(*) from {table}")[0]) for name, table in names.items()}


def examples(database: Connection) -> tuple[str, str, str]:
    """The run with LONG steps, an open request and an ordinary run, all of the largest workspace."""
    with as_owner(database):
        place = "select o.id from agents_organisation o where slug = 'shop'"
        long = _one(database, f"select run_id from agents_call where organisation_id = ({place}) and id = 'C-LONG3'")[0]
        where = f"organisation_id = ({place}) and workspace_id <> 'WS-LAB'"
        request = _one(database, f"select id from approvals_request where {where} and state = 'OPEN' order by expires_at limit 1")[0]
        run = _one(database, f"select run_id from approvals_request where {where} and state = 'APPLIED' limit 1")[0]
    return str(long), str(request), str(run)
