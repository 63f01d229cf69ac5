"""The log: in the transaction of the change, canonical bytes, never changed, never removed, never seen by another organisation."""

import csv
import hashlib
import io
import json
import os

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from agents import identity, organisations
from audit import canonical, events, exports, log, tenancy
from audit.models import Entry
from tests.world import World


def entries(world: World) -> list[Entry]:
    with tenancy.within(world.organisation):
        return list(log.entries())


def test_an_entry_is_canonical_and_its_leaf_is_the_hash_of_its_bytes(world: World) -> None:
    run = world.start()
    run.call("get_account", {"account": 'ä\u2028"\\\u0001😀'})
    run.call("nope", {})
    for _ in range(7):
        run.call("get_account", {"account": "a"})
    found = entries(world)
    assert {"call.refused", "run.handed_off", "run.loop_flagged"} <= {entry.event for entry in found}
    for entry in found:
        body = json.loads(entry.body)
        assert canonical.text(body) == entry.body
        assert hashlib.sha256(b"\x00" + entry.body.encode()).digest() == bytes(entry.leaf)
        assert (body["id"], body["event"], body["organisation"]) == (entry.id, entry.event, world.organisation)
        assert entry.event in events.CATALOGUE


@pytest.mark.parametrize(
    "statement",
    [
        "update audit_entry set event = 'x.y'",
        "delete from audit_entry",
        "truncate audit_entry",
        "alter table audit_entry disable trigger all",
    ],
)
def test_the_application_can_neither_change_nor_remove_an_entry(world: World, statement: str) -> None:
    with pytest.raises(DatabaseError), tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute(statement)


def test_if_the_entry_cannot_be_written_the_change_did_not_happen(world: World) -> None:
    before = len(entries(world))

    def change() -> None:
        with tenancy.within(world.organisation):
            organisations.create_workspace(by=world.people["olga"], slug="third", name="Third")
            log.append("no.such_event", by=world.people["olga"])

    with pytest.raises(log.UnknownEvent):
        change()
    assert len(entries(world)) == before
    with tenancy.within(world.organisation), pytest.raises(organisations.NotFound):
        organisations.workspace_of(world.people["olga"], "third")


def test_an_entry_outside_a_transaction_is_refused(world: World) -> None:
    with pytest.raises(RuntimeError):
        log.append("audit.read", by=world.people["ada"])


def test_an_entry_holds_no_floats_and_no_secrets(world: World) -> None:
    with pytest.raises(TypeError), tenancy.within(world.organisation):
        log.append("audit.read", by=world.people["ada"], detail={"amount": 0.1})
    with tenancy.within(world.organisation):
        identifier = log.append("audit.read", by=world.people["ada"], detail={"password": "hunter2", "note": "key AKIAIOSFODNN7EXAMPLX"})
        body = Entry.objects.get(id=identifier).body
    assert "hunter2" not in body


def test_nobody_reads_another_organisations_log(world: World, elsewhere: World) -> None:
    assert {entry.organisation_id for entry in entries(world)} == {world.organisation}
    with tenancy.within(world.organisation):
        assert not Entry.objects.filter(organisation_id=elsewhere.organisation).exists()
    with transaction.atomic():
        assert Entry.objects.count() == 0


def test_entries_are_filtered_by_event_group_subject_and_run(world: World) -> None:
    run = world.start()
    said = run.call("pay", {"account": "a", "amount": 1})
    assert world.events(event="effect.*", run=run.run.id) == ["effect.intended", "effect.applied"]
    assert world.events(subject=said.call, event="call.admitted") == ["call.admitted"]


def test_exports_carry_the_exact_bytes_and_no_formula(world: World) -> None:
    with tenancy.within(world.organisation):
        log.append("audit.read", by=world.people["ada"], subject="=cmd|' /C calc'!A0")
        lines = b"".join(exports.stream(log.entries(), kind="jsonl")).splitlines()
        table = list(csv.DictReader(io.StringIO(b"".join(exports.stream(log.entries(), kind="csv")).decode())))
        bodies = [entry.body for entry in log.entries()]
    assert [line.decode() for line in lines] == bodies
    assert [row["body"] for row in table] == bodies
    assert table[0]["subject"].startswith("'=cmd")


def test_a_connection_that_was_cut_costs_nobody_their_request(world: World) -> None:
    token = world.start().token
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as other, connection.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        other.execute("select pg_terminate_backend(%s, 10000)", cursor.fetchone())  # and it is gone, not only told to go
    assert identity.authenticate(token).kind == "agent"
