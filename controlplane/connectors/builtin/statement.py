"""Reads one SQL statement for the demo warehouse and refuses what reaches beyond it. What it cannot parse it does not call safe."""

import logging
from dataclasses import dataclass

import sqlglot
from sqlglot import errors, exp

from controlplane.connectors.builtin.operation import Rejected

# sqlglot says on this logger what it could not parse; we say it to the caller instead.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

LONGEST = 8000
HOME = "warehouse"
CHANGES: tuple[type[exp.Expression], ...] = (
    exp.Insert,
    exp.Update,
    exp.Delete,
    exp.TruncateTable,
    exp.Create,
    exp.Alter,
    exp.Drop,
    exp.Comment,
)
KINDS = {"TABLE", "INDEX", "VIEW"}
# The server lends a few functions that read files, sleep or run text as SQL; whatever the parser does not know by heart stays out.
KNOWN = {"btrim", "age", "date_trunc", "to_char", "make_date", "gen_random_uuid", "octet_length", "strpos", "translate", "row_number"}


@dataclass(frozen=True, slots=True)
class Statement:
    text: str
    verb: str
    tables: tuple[str, ...]
    is_data_change: bool
    has_where: bool
    has_returning: bool
    warnings: tuple[str, ...]


def read(text: str) -> Statement:
    """One SELECT on the warehouse. Raises Rejected."""
    text, tree = _one(text)
    if not isinstance(tree, exp.Query) or any(tree.find_all(*CHANGES, exp.Into, exp.Lock)):
        raise Rejected("not_a_read", "Only one SELECT is allowed here; changes go through warehouse_change_schema.")
    return _described(text, tree, schemas={"", HOME, "information_schema"})


def change(text: str) -> Statement:
    """One DDL or DML statement on the warehouse. Raises Rejected."""
    text, tree = _one(text)
    if not isinstance(tree, CHANGES) or str(tree.args.get("kind") or "TABLE").upper() not in KINDS:
        raise Rejected(
            "statement_not_allowed",
            "Allowed are INSERT, UPDATE, DELETE, TRUNCATE, COMMENT and CREATE, ALTER or DROP of a table, an index or a view.",
        )
    return _described(text, tree, schemas={"", HOME})


def _one(text: str) -> tuple[str, exp.Expression]:
    """The statement without its semicolon and what follows it, and its tree."""
    if len(text) > LONGEST:
        raise Rejected("statement_too_long", f"A statement may have {LONGEST} characters.")
    try:
        trees = [tree for tree in sqlglot.parse(text, read="postgres") if tree is not None and not isinstance(tree, exp.Semicolon)]
        ends = [token.start for token in sqlglot.tokenize(text, read="postgres") if token.token_type is sqlglot.TokenType.SEMICOLON]
    except (errors.SqlglotError, RecursionError) as fault:
        raise Rejected("cannot_parse", f"The statement cannot be parsed: {str(fault)[:300]}") from fault
    if len(trees) != 1 or not isinstance(trees[0], exp.Expression):
        raise Rejected("not_one_statement", f"Send exactly one statement, not {len(trees)}.")
    if any(trees[0].find_all(exp.Command)):
        raise Rejected("cannot_parse", "The statement is of a kind that cannot be read safely.")
    own = text[: ends[0] if ends else None].strip()
    if not own:
        raise Rejected("cannot_parse", "The statement begins with a semicolon.")
    return own, trees[0]


def _described(text: str, tree: exp.Expression, *, schemas: set[str]) -> Statement:
    names = _tables(tree, schemas=schemas)
    for call in tree.find_all(exp.Anonymous):
        if call.name.lower() not in KNOWN:
            raise Rejected("function_not_allowed", f"The function {call.name} is not allowed.", function=call.name)
    has_where = tree.args.get("where") is not None
    verb = type(tree).__name__
    said = []
    if isinstance(tree, exp.Update | exp.Delete) and not has_where:
        said.append("There is no WHERE: every row of the table is affected.")
    if isinstance(tree, exp.Drop | exp.TruncateTable) or any(tree.find_all(exp.Drop)):
        said.append("What is dropped cannot be brought back.")
    return Statement(
        text=text,
        verb={"TruncateTable": "TRUNCATE"}.get(verb, verb.upper()),
        tables=names,
        is_data_change=isinstance(tree, exp.Insert | exp.Update | exp.Delete | exp.TruncateTable),
        has_where=has_where,
        has_returning=tree.args.get("returning") is not None,
        warnings=tuple(said),
    )


def _tables(tree: exp.Expression, *, schemas: set[str]) -> tuple[str, ...]:
    local = {query.alias for query in tree.find_all(exp.CTE)}
    names = set()
    for table in tree.find_all(exp.Table):
        if table.catalog or table.db not in schemas or (not table.db and table.name.startswith("pg_")):
            raise Rejected("outside_the_warehouse", f"{table.sql(dialect='postgres')} is not a table of the warehouse.")
        if table.name and not (table.name in local and not table.db):
            names.add(table.name)
    return tuple(sorted(names))
