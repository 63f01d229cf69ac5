"""What a SQL statement would touch, read from its syntax and never by running it. What cannot be read is said to be unreadable."""

import functools
import importlib
import logging
from collections.abc import Iterator
from typing import Any

LONGEST = 64_000
UNREADABLE = "UNREADABLE"

# From harmless to hardest to take back: the verb of several statements is that of the worst.
# fmt: off
_VERBS = (
    "NOTHING", "SELECT", "EXPLAIN", "BEGIN", "COMMIT", "ROLLBACK", "SET", "COMMENT", "INSERT", "UPDATE", "MERGE", "COPY", "DELETE",
    "CREATE", "ALTER", "GRANT", "REVOKE", "OTHER", "TRUNCATE", "DROP", UNREADABLE,
)
_KEYS = {
    "union": "SELECT", "except": "SELECT", "intersect": "SELECT", "subquery": "SELECT", "values": "SELECT", "show": "SELECT",
    "describe": "EXPLAIN", "transaction": "BEGIN", "truncatetable": "TRUNCATE",
}
_FINAL = {"TRUNCATE", "DROP", "ALTER", "GRANT", "REVOKE"}
# The statement's own table, or every table it names.
_WRITES_ONE = {"INSERT", "UPDATE", "MERGE", "COPY", "DELETE", "CREATE", "ALTER", "COMMENT"}
_WRITES_ALL = {"TRUNCATE", "DROP", "GRANT", "REVOKE"}
_NO_EFFECT = frozenset({
    "now", "date_trunc", "to_char", "to_date", "array_agg", "string_agg", "json_agg", "jsonb_agg", "generate_series", "unnest",
})
# fmt: on


def facts(statement: str, *, dialect: str = "postgres") -> dict[str, Any]:
    """{statements, verb, tables, writes, has_where, warnings}. Never raises: a statement that cannot be read has the verb UNREADABLE."""
    found, problem = _read(statement, dialect)
    if problem:
        return {"statements": 0, "verb": UNREADABLE, "tables": [], "writes": [], "has_where": False, "warnings": [problem]}
    warnings = [f"{len(found)} statements in one."] if len(found) > 1 else []
    tables: set[str] = set()
    writes: set[str] = set()
    worst, bounded = "NOTHING", True
    for tree in found:
        verbs = [_verb(node) for node in _acting(tree)] or ["NOTHING"]
        worst = max(worst, *verbs, key=_VERBS.index)
        aliases = {cte.alias for cte in tree.find_all(_exp().CTE)}
        tables |= {_name(table) for table in tree.find_all(_exp().Table) if table.name not in aliases or table.args.get("db")}
        for node in _acting(tree):
            writes |= set(_written(node))
            warnings += _warnings(node)
            bounded &= _bounded(node)
        warnings += _calls(tree)
    return {
        "statements": len(found),
        "verb": worst,
        "tables": sorted(name for name in tables if name),
        "writes": sorted(name for name in writes if name),
        "has_where": bounded and any(tree.find(_exp().Where) is not None for tree in found),
        "warnings": list(dict.fromkeys(warnings)),
    }


@functools.cache
def _sqlglot() -> Any:
    """Loaded when the first statement is read: most installations never look at SQL, and it is two megabytes of grammar."""
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    return importlib.import_module("sqlglot")


def _exp() -> Any:
    return _sqlglot().exp


def _read(statement: str, dialect: str) -> tuple[list[Any], str]:
    if len(statement) > LONGEST:
        return [], f"Longer than {LONGEST} characters: nobody can read this."
    try:
        found = [tree for tree in _sqlglot().parse(statement, read=dialect) if tree is not None]
        # Walked here once, so that a tree too deep to walk is unreadable and not an error later.
        for tree in found:
            list(tree.walk())
    except (_sqlglot().errors.SqlglotError, ValueError, RecursionError) as error:
        return [], f"Could not be read ({type(error).__name__})."
    return found, ""


def _acting(tree: Any) -> Iterator[Any]:
    """The statement itself and every writing statement inside it: a WITH may delete while the outside only selects."""
    exp = _exp()
    inside = (exp.Insert, exp.Update, exp.Delete, exp.Merge)
    yield tree
    # A branch of MERGE is an Update or an Insert of the merge itself.
    yield from (node for node in tree.find_all(*inside) if node is not tree and node.find_ancestor(exp.When) is None)


def _verb(node: Any) -> str:
    if node.key == "command":
        return "OTHER"
    if node.key == "select" and node.args.get("into") is not None:
        return "CREATE"
    word = _KEYS.get(node.key, node.key.upper())
    return word if word in _VERBS else "OTHER"


def _written(node: Any) -> Iterator[str]:
    exp = _exp()
    verb = _verb(node)
    if node.key == "select":
        into = node.args.get("into")
        yield from (_name(table) for table in into.find_all(exp.Table)) if into is not None else ()
    elif verb in _WRITES_ALL:
        yield from (_name(table) for table in node.find_all(exp.Table))
    elif verb in _WRITES_ONE and isinstance(node.this, exp.Expression):
        target = node.this if isinstance(node.this, exp.Table) else node.this.find(exp.Table)
        yield _name(target) if target is not None else ""


def _warnings(node: Any) -> Iterator[str]:
    verb = _verb(node)
    names = ", ".join(sorted({name for name in _written(node) if name})) or "its target"
    if node.key in ("update", "delete"):
        where = node.args.get("where")
        if where is None:
            yield f"{verb} without WHERE: every row of {names}."
        elif _always_true(where.this):
            yield f"{verb} with a WHERE that is always true: every row of {names}."
    if verb in _FINAL:
        yield f"{verb} {names}: not undone by another statement."
    if verb == "OTHER" or node.key == "command":
        yield f"{str(node.this).upper()[:40] if node.key == 'command' else verb}: its effect cannot be read from the statement."
    if node.parent is not None:
        yield f"A {verb} is hidden inside another statement."


def _bounded(node: Any) -> bool:
    where = node.args.get("where")
    return node.key not in ("update", "delete") or (where is not None and not _always_true(where.this))


def _always_true(condition: Any) -> bool:
    """Only the plain forms: TRUE, 1, 1 = 1, x = x, and either side of an OR. Not a theorem prover."""
    exp = _exp()
    condition = condition.unnest()
    if isinstance(condition, exp.Or):
        return _always_true(condition.left) or _always_true(condition.right)
    if isinstance(condition, exp.And):
        return _always_true(condition.left) and _always_true(condition.right)
    if isinstance(condition, exp.Boolean):
        return bool(condition.this)
    if isinstance(condition, exp.EQ | exp.GTE | exp.LTE):
        return bool(condition.left.sql() == condition.right.sql())
    return isinstance(condition, exp.Literal) and not condition.is_string and str(condition.this) not in ("0", "0.0")


def _calls(tree: Any) -> Iterator[str]:
    """Functions the grammar does not know may do anything: `SELECT pay_everyone()` is a SELECT."""
    for call in tree.find_all(_exp().Anonymous):
        name = str(call.this)
        if name.lower() not in _NO_EFFECT:
            yield f"Calls {name[:60]}(), whose effect cannot be read from the statement."


def _name(table: Any) -> str:
    return ".".join(part for part in (table.args.get("catalog") and table.catalog, table.args.get("db") and table.db, table.name) if part)
