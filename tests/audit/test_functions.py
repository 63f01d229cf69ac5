"""A round trip to one of our SQL functions."""

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
