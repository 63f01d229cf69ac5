"""The demo's warehouse: one statement at a time, inside one schema, shown before it happens."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from controlplane.connectors import builtin, interface
from tests.controlplane import builtin_world as world

CHANGE, QUERY = "warehouse_change_schema", "warehouse_run_query"


@pytest.fixture(scope="module", autouse=True)
def dsn() -> Iterator[str]:
    with world.fresh_database() as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEMO_DATABASE_URL", address)
        builtin.install(address)
        yield address


def query(statement: str) -> list[list[Any]]:
    rows: list[list[Any]] = world.send(QUERY, {"statement": statement})["rows"]
    return rows


def preview(statement: str) -> interface.Preview:
    shown = builtin.preview(world.outbound(CHANGE, {"statement": statement}), {"kind": "sql"})
    assert shown is not None
    return shown


def columns(table: str) -> list[str]:
    return [row[0] for row in query(f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}' ORDER BY 1")]


def test_a_column_is_shown_before_it_is_added_and_there_afterwards() -> None:
    statement = "ALTER TABLE shipments ADD COLUMN carrier_reference text"

    shown = preview(statement)

    assert "carrier_reference" not in columns("shipments")
    assert shown.entity == "warehouse/shipments"
    assert "carrier_reference" not in shown.before["shipments"]["columns"]
    assert shown.after["shipments"]["columns"]["carrier_reference"] == "text"
    assert shown.after["shipments"]["rows"] == shown.before["shipments"]["rows"] > 0
    assert (shown.facts["verb"], shown.facts["tables"]) == ("ALTER", ["shipments"])
    assert {"table": "shipments", "mode": "AccessExclusiveLock"} in shown.facts["locks"]
    done = world.send(CHANGE, {"statement": statement})
    assert (done["verb"], done["tables"]) == ("ALTER", ["shipments"])
    assert "carrier_reference" in columns("shipments")
    assert preview(statement).facts["would_fail"]["code"] == "statement_failed"


def test_a_data_change_is_counted_and_sampled_in_a_transaction_that_is_undone() -> None:
    statement = "UPDATE products SET stock = stock + 1 WHERE sku LIKE 'SCN-%'; -- restock"
    before = query("SELECT sku, stock FROM products ORDER BY sku")

    shown = preview(statement)

    assert query("SELECT sku, stock FROM products ORDER BY sku") == before
    assert shown.facts["rows_affected"] == 2
    assert shown.facts["warnings"] == []
    sample = shown.facts["sample"]
    assert [each["after"]["stock"] - each["before"]["stock"] for each in sample] == [1, 1]
    assert world.send(CHANGE, {"statement": statement})["rows_affected"] == 2


def test_a_change_without_where_is_named_as_such() -> None:
    shown = preview("DELETE FROM shipments")
    assert shown.facts["has_where"] is False
    assert shown.facts["rows_affected"] == shown.before["shipments"]["rows"]
    assert shown.after["shipments"]["rows"] == 0
    assert any("WHERE" in warning for warning in shown.facts["warnings"])
    assert any("dropped" in warning for warning in preview("TRUNCATE shipments").facts["warnings"])


def test_the_version_notices_a_row_that_changed_in_between() -> None:
    statement = "UPDATE products SET reorder_at = 50 WHERE sku = 'CBL-003'"
    first = preview(statement).facts["version"]
    assert preview(statement).facts["version"] == first
    world.send(CHANGE, {"statement": "UPDATE products SET name = 'Cables' WHERE sku = 'CBL-003'"})
    assert preview(statement).facts["version"] != first


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("DELETE FROM billing.invoices", "outside_the_warehouse"),
        ("UPDATE warehouse.products SET stock = 0 FROM billing.invoices", "outside_the_warehouse"),
        ("INSERT INTO products SELECT id, description, 1, 1, 1 FROM helpdesk.tickets", "outside_the_warehouse"),
        ("CREATE TABLE stolen AS SELECT * FROM billing.customers", "outside_the_warehouse"),
        ("CREATE TABLE stolen (customer text REFERENCES billing.customers (id))", "outside_the_warehouse"),
        ("CREATE TABLE stolen (LIKE billing.customers)", "outside_the_warehouse"),
        ("CREATE TABLE stolen (x int) INHERITS (billing.customers)", "outside_the_warehouse"),
        ("DELETE FROM products WHERE EXISTS (SELECT FROM pg_class)", "outside_the_warehouse"),
        ("DELETE FROM remit_demo.keys", "outside_the_warehouse"),
        ("DROP SCHEMA warehouse CASCADE", "statement_not_allowed"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "statement_not_allowed"),
        ("CREATE TRIGGER t BEFORE INSERT ON products EXECUTE FUNCTION f()", "statement_not_allowed"),
        ("GRANT ALL ON products TO PUBLIC", "statement_not_allowed"),
        ("COPY products TO PROGRAM 'cat'", "statement_not_allowed"),
        ("SELECT 1", "statement_not_allowed"),
        ("DO $$ BEGIN END $$", "cannot_parse"),
        ("ALTER TABLE products SET SCHEMA billing", "cannot_parse"),
        ("SET ROLE postgres", "cannot_parse"),
        ("UPDATE products SET stock = stock; DROP TABLE products", "not_one_statement"),
        ("UPDATE products SET name = pg_read_file('/etc/passwd')", "function_not_allowed"),
        ("UPDATE products SET name = query_to_xml('SELECT * FROM billing.customers', true, true, '')::text", "function_not_allowed"),
        ("; UPDATE products SET stock = 0", "cannot_parse"),
        ("ALTER TABLE", "cannot_parse"),
        ("UPDATE products SET stock = 'many'", "statement_failed"),
        ("DROP TABLE nothing_here", "statement_failed"),
        ("UPDATE products SET name = E'a\\000b'", "statement_failed"),
        ("UPDATE products SET name = '\0'", "statement_failed"),
        (("(" * 3000) + "1", "cannot_parse"),
    ],
)
def test_a_change_that_reaches_further_is_refused_and_leaves_nothing(statement: str, code: str) -> None:
    before = query("SELECT count(*) AS n, sum(stock) AS s FROM products")
    assert world.refused(CHANGE, {"statement": statement}) == code
    assert query("SELECT count(*) AS n, sum(stock) AS s FROM products") == before
    assert "stolen" not in [row[0] for row in query("SELECT table_name FROM information_schema.tables")]


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("DELETE FROM products RETURNING *", "not_a_read"),
        ("WITH gone AS (DELETE FROM products RETURNING *) SELECT * FROM gone", "not_a_read"),
        ("SELECT * INTO stolen FROM products", "not_a_read"),
        ("SELECT * FROM products FOR UPDATE", "not_a_read"),
        ("SELECT * FROM billing.customers", "outside_the_warehouse"),
        ("SELECT (SELECT count(*) FROM mail.outbox) AS n", "outside_the_warehouse"),
        ("SELECT * FROM pg_stat_activity", "outside_the_warehouse"),
        ("SELECT pg_sleep(100)", "function_not_allowed"),
        ("SELECT set_config('role', 'postgres', false)", "function_not_allowed"),
        ("SELECT 1 AS a; SELECT 2 AS a", "not_one_statement"),
        ("SELECT sku, sku FROM products", "same_name_twice"),
        ("SELECT nothing FROM products", "statement_failed"),
        ("EXPLAIN SELECT 1", "cannot_parse"),
        ("", "invalid_arguments"),
    ],
)
def test_a_query_reads_the_warehouse_and_nothing_else(statement: str, code: str) -> None:
    assert world.refused(QUERY, {"statement": statement}) == code


def test_a_view_does_not_lead_out_of_the_warehouse(dsn: str) -> None:
    """The parser sees a table of the warehouse; the server's locks see what is behind it."""
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE VIEW warehouse.harmless AS SELECT name FROM billing.customers")
    assert world.refused(QUERY, {"statement": "SELECT * FROM harmless"}) == "outside_the_warehouse"
    assert world.refused(CHANGE, {"statement": "CREATE TABLE stolen AS SELECT * FROM harmless"}) == "outside_the_warehouse"
    assert "stolen" not in [row[0] for row in query("SELECT table_name FROM information_schema.tables")]


def test_rows_come_as_json_and_not_without_end() -> None:
    answer = world.send(
        QUERY, {"statement": "SELECT id, shipped_on, quantity / 2.0 AS half, NULL AS nothing, ARRAY[1, 2] AS pair FROM shipments"}
    )
    assert answer["columns"] == ["id", "shipped_on", "half", "nothing", "pair"]
    first = answer["rows"][0]
    assert (type(first[1]), type(first[2]), first[3], first[4]) == (str, str, None, [1, 2])
    many = world.send(QUERY, {"statement": "SELECT a.id AS a, b.id AS b FROM shipments a CROSS JOIN shipments b"})
    assert (many["row_count"], many["truncated"]) == (200, True)


def test_the_same_key_changes_once() -> None:
    call = {"statement": "UPDATE products SET stock = stock + 100 WHERE sku = 'BAT-020'"}
    ((before,),) = query("SELECT stock FROM products WHERE sku = 'BAT-020'")
    for _ in range(3):
        assert world.send(CHANGE, call, key="key-stock")["rows_affected"] == 1
    assert query("SELECT stock FROM products WHERE sku = 'BAT-020'") == [[before + 100]]
