"""A round trip to one of our SQL functions."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from audit import functions


def test_a_server_that_forgot_a_prepared_statement_is_asked_plainly_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "_prepares", True)
    assert functions.ask("select %s::text || 'b'", "a") == "ab"
    with connection.cursor() as cursor:  # what a pooler does that hands the next transaction to another server connection
        cursor.execute("deallocate all")
    assert functions.ask("select %s::text || 'b'", "c") == "cb"
    assert not functions._prepares
    assert functions.ask("select %s::text || 'b'", None) is None


def _read_by_a_question_after_a_thousand_rows() -> int:
    """Rows that one look-up by key reads, on a connection that had asked the same while the table was empty."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("create temp table grows as select * from agents_call limit 0")  # as wide as a real one
            cursor.execute("create unique index on grows (organisation_id, run_id, key)")
            cursor.execute("create unique index on grows (organisation_id, id)")
            cursor.execute(
                "create function pg_temp.look(t text, p text, k text) returns text language plpgsql as"
                " 'begin return (select id from pg_temp.grows g where g.organisation_id = t and g.run_id = p and g.key = k); end'"
            )
        for _ in range(7):
            assert functions.ask("select pg_temp.look(%s, %s, %s)", "a", "b", "c") is None
        with connection.cursor() as cursor:
            cursor.execute(
                "insert into grows (organisation_id, id, run_id, key, arguments)"
                " select 'a', 'id' || n, 'b', n::text, repeat('x', 900) from generate_series(1, 1000) n"
            )
        assert functions.ask("select pg_temp.look(%s, %s, %s)", "a", "b", "1") == "id1"
        with connection.cursor() as cursor:
            cursor.execute("select pg_stat_force_next_flush()")
            cursor.execute("select sum(idx_tup_read) from pg_stat_user_indexes where relname = 'grows'")
            return int(cursor.fetchone()[0])
    finally:
        connection.close()


def test_a_plan_made_over_an_empty_table_is_not_kept() -> None:
    with ThreadPoolExecutor(1) as thread:  # a connection of its own that has asked nothing yet
        assert thread.submit(_read_by_a_question_after_a_thousand_rows).result() == 1
