"""The demo's warehouse: a SQL schema agents may read, and change one statement at a time."""

import datetime
from typing import Any

import psycopg

from controlplane.connectors.builtin import operation, statement
from controlplane.connectors.builtin.operation import Arguments, Cursor, Operation, Rejected, Row, Snapshot

MOST_ROWS = 200
SAMPLE = 5
LONGEST_CELL = 2000
COUNTED = "SELECT count(*) AS rows, md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) AS sum FROM {} t"
STATEMENT = operation.text("One statement. Tables need no schema name.", longest=statement.LONGEST)


def run_query(cursor: Cursor, arguments: Arguments, _reference: str) -> Row:
    asked = statement.read(arguments["statement"])
    _execute(cursor, asked)
    columns = [column.name for column in cursor.description or ()]
    if len(set(columns)) != len(columns):
        raise Rejected("same_name_twice", "Two columns of the answer have the same name: give one another name with AS.")
    found = cursor.fetchmany(MOST_ROWS + 1)
    _stay_inside(cursor)
    rows = [[_plain(row[name]) for name in columns] for row in found[:MOST_ROWS]]
    return {"columns": columns, "rows": rows, "row_count": len(rows), "truncated": len(found) > MOST_ROWS}


def change_schema(cursor: Cursor, arguments: Arguments, _reference: str) -> Row:
    asked = statement.change(arguments["statement"])
    _execute(cursor, asked)
    affected = max(cursor.rowcount, 0) if asked.is_data_change else 0
    _stay_inside(cursor)
    return {"verb": asked.verb, "tables": list(asked.tables), "rows_affected": affected, "statement": asked.text}


def _execute(cursor: Cursor, asked: statement.Statement) -> None:
    cursor.execute("SET LOCAL search_path = warehouse")
    # Binary results travel by the extended protocol, which takes one statement only: a second border behind the parser.
    cursor.execute(asked.text.encode(), binary=True)


def _stay_inside(cursor: Cursor) -> None:
    """The server's own lock table says what the statement touched, through views, functions and references too."""
    cursor.connection.execute("SET LOCAL search_path = pg_catalog")
    found = cursor.connection.execute(
        "SELECT DISTINCT n.nspname || '.' || c.relname AS name FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation'"
        " AND n.nspname NOT IN ('warehouse', 'pg_catalog', 'information_schema', 'pg_toast', 'remit_demo') AND l.database <> 0 ORDER BY 1"
    ).fetchall()
    if found:
        raise Rejected("outside_the_warehouse", f"The statement reaches {', '.join(row['name'] for row in found)}, outside the warehouse.")


def _plain(value: Any) -> Any:
    """A cell as JSON. Numbers with a fraction become text: a float would change them."""
    match value:
        case None | bool():
            return value
        case int() if abs(value) < 2**53:
            return value
        case datetime.date() | datetime.time():
            return value.isoformat()
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {str(name): _plain(item) for name, item in value.items()}
    return str(value)[:LONGEST_CELL]


def snapshot(cursor: Cursor, arguments: Arguments, _reference: str) -> Snapshot:
    """Columns, indexes and row counts of every table the statement names; the rows themselves only join the version."""
    asked = statement.change(arguments["statement"])
    tables: dict[str, Any] = {}
    contents: dict[str, Any] = {}
    for name in asked.tables:
        shape = _shape(cursor, name)
        if shape is None:
            continue
        quoted = psycopg.sql.Identifier(statement.HOME, name)
        cursor.execute(psycopg.sql.SQL(COUNTED).format(quoted))
        (counted,) = cursor.fetchall()
        tables[name] = shape | {"rows": counted["rows"]}
        contents[name] = counted["sum"]
    return Snapshot(f"warehouse/{asked.tables[0] if asked.tables else 'schema'}", tables, contents if asked.is_data_change else None)


def _shape(cursor: Cursor, name: str) -> Row | None:
    cursor.execute(
        "SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END"
        " || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '') AS type"
        " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
        " WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'v', 'm', 'p') AND a.attnum > 0 AND NOT a.attisdropped"
        " ORDER BY a.attnum",
        [statement.HOME, name],
    )
    columns = {row["name"]: row["type"] for row in cursor.fetchall()}
    cursor.execute("SELECT indexname FROM pg_indexes WHERE schemaname = %s AND tablename = %s ORDER BY 1", [statement.HOME, name])
    indexes = [row["indexname"] for row in cursor.fetchall()]
    return {"columns": columns, "indexes": indexes} if columns else None


def facts(cursor: Cursor, arguments: Arguments, outcome: Row) -> Row:
    asked = statement.change(arguments["statement"])
    cursor.execute(
        "SELECT c.relname AS table, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE l.pid = pg_backend_pid() AND n.nspname = %s"
        " AND c.relkind = 'r' AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')"
        " ORDER BY 1, 2",
        [statement.HOME],
    )
    return {
        "statement": asked.text,
        "verb": asked.verb,
        "tables": list(asked.tables),
        "has_where": asked.has_where,
        "warnings": list(asked.warnings),
        "rows_affected": outcome.get("rows_affected"),
        "locks": cursor.fetchall(),
        "reach": {"records": outcome.get("rows_affected"), "tables": len(asked.tables)},
        "undo": None,
    }


def rehearse(cursor: Cursor, arguments: Arguments) -> Row:
    """A few rows as they are and as they would be. PostgreSQL knows `old` and `new` since 18; an older one shows none."""
    asked = statement.change(arguments["statement"])
    if asked.verb not in {"INSERT", "UPDATE", "DELETE"} or asked.has_returning or cursor.connection.info.server_version < 180_000:
        return {"sample": []}
    cursor.execute("SET LOCAL search_path = warehouse")
    # The line break ends a comment the statement may close with.
    cursor.execute(f"{asked.text}\nRETURNING to_jsonb(old) AS before, to_jsonb(new) AS after".encode(), binary=True)
    return {"sample": [{"before": _plain(row["before"]), "after": _plain(row["after"])} for row in cursor.fetchmany(SAMPLE)]}


OPERATIONS = (
    Operation(
        name="warehouse_run_query",
        title="Query the warehouse",
        description=f"Runs one SELECT in the warehouse, at most {MOST_ROWS} rows. Column names are in information_schema.columns.",
        input_schema=operation.schema({"statement": STATEMENT}),
        output_schema=operation.schema(
            {
                "columns": operation.TAGS,
                "rows": operation.listing("Cells in the order of the columns.", {"type": "array"}),
                "row_count": operation.COUNT,
                "truncated": {"type": "boolean"},
            }
        ),
        run=run_query,
        hints={"data_domain": "warehouse", "formats": {"statement": {"kind": "sql", "dialect": "postgres"}}},
    ),
    Operation(
        name="warehouse_change_schema",
        title="Change the warehouse",
        description="Runs one INSERT, UPDATE, DELETE, TRUNCATE, COMMENT, or CREATE, ALTER or DROP of a table, an index or a view.",
        input_schema=operation.schema({"statement": STATEMENT}),
        output_schema=operation.schema(
            {"verb": operation.TEXT, "tables": operation.TAGS, "rows_affected": operation.COUNT, "statement": operation.TEXT}
        ),
        run=change_schema,
        snapshot=snapshot,
        facts=facts,
        rehearse=rehearse,
        kind="sql",
        hints={
            "risk": "critical",
            "reversible": False,
            "data_domain": "warehouse",
            "formats": {"statement": {"kind": "sql", "dialect": "postgres"}},
        },
    ),
)
