"""No row of another organisation, whatever the application's role asks for (I-40), and none at all when no organisation is set (I-41)."""

import contextlib
import os

import psycopg
import pytest
from django.apps import apps
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from agents.models import Member
from audit import tenancy
from tests.world import World

TENANT_MODELS = [model for model in apps.get_models() if any(field.name == "organisation_id" for field in model._meta.concrete_fields)]


def busy(world: World) -> World:
    """Leave something in as many tables as one story touches."""
    run = world.start(subject=["customer-a"])
    run.call("pay", {"account": "a", "amount": 5})
    held = run.call("pay", {"account": "a", "amount": 50})
    world.approve(held, "ann")
    return world


def test_an_unscoped_query_returns_no_foreign_row(world: World, elsewhere: World) -> None:
    busy(world)
    busy(elsewhere)
    seen = 0
    with tenancy.within(world.organisation):
        for model in TENANT_MODELS:
            owners = set(model._default_manager.values_list("organisation_id", flat=True))
            assert owners <= {world.organisation}, model
            seen += bool(owners)
    assert seen >= 20


def test_an_unscoped_view_made_by_the_owner_returns_no_foreign_row(world: World, elsewhere: World) -> None:
    busy(world)
    busy(elsewhere)
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("create or replace view deliberately_unscoped as select organisation_id, id, arguments from agents_call")
        owner.execute("grant select on deliberately_unscoped to remit_app")
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute("select distinct organisation_id from deliberately_unscoped")
        assert cursor.fetchall() == [(world.organisation,)]
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from deliberately_unscoped")
        assert cursor.fetchone() == (0,)


def test_without_an_organisation_there_are_no_rows_and_no_writes(world: World) -> None:
    busy(world)
    for model in TENANT_MODELS:
        with transaction.atomic():
            assert model._default_manager.count() == 0, model
    with pytest.raises(DatabaseError), transaction.atomic():
        type(world.workspace).objects.create(id="WS-1", slug="x", name="x")


def test_after_a_transaction_the_connection_remembers_no_organisation(world: World) -> None:
    with tenancy.within(world.organisation):
        pass
    with connection.cursor() as cursor:
        cursor.execute("select coalesce(current_setting('app.organisation', true), '')")
        assert cursor.fetchone() == ("",)


@pytest.mark.parametrize("statement", ["update {table} set organisation_id = %s", "insert into {table} select * from {table}"])
def test_a_row_cannot_be_written_into_another_organisation(world: World, elsewhere: World, statement: str) -> None:
    with pytest.raises(DatabaseError), tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute(statement.format(table="agents_workspace"), [elsewhere.organisation] if "%s" in statement else [])


def test_row_level_security_cannot_be_switched_off_by_the_application(world: World) -> None:
    statements = (
        "alter table agents_call disable row level security",
        "drop policy tenant on agents_call",
        "set role remit_owner",
        "create table mine (id int)",
    )
    for statement in statements:
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    with connection.cursor() as cursor:
        cursor.execute("select rolsuper or rolbypassrls from pg_roles where rolname = current_user")
        assert cursor.fetchone() == (False,)


def test_a_transaction_stays_in_one_organisation(world: World, elsewhere: World) -> None:
    with pytest.raises(tenancy.NoOrganisation), tenancy.within(world.organisation), tenancy.within(elsewhere.organisation):
        pass


def test_a_transaction_inside_one_that_only_reads_costs_nothing_and_inside_one_that_writes_is_taken_back_alone(world: World) -> None:
    with tenancy.within(world.organisation, read_only=True), CaptureQueriesContext(connection) as asked:
        with pytest.raises(LookupError), tenancy.within(world.organisation):
            raise LookupError
        with tenancy.within(world.organisation):
            assert Member.objects.exists()
    assert len(asked) == 1, [each["sql"] for each in asked]
    with tenancy.within(world.organisation):
        before = Member.objects.get(id=world.members["ann"].id).name
        with contextlib.suppress(LookupError), tenancy.within(world.organisation):
            Member.objects.filter(id=world.members["ann"].id).update(name="Nobody")
            raise LookupError
        assert Member.objects.get(id=world.members["ann"].id).name == before
    with pytest.raises(tenancy.NoOrganisation), tenancy.within(world.organisation, read_only=True), tenancy.within("ORG-ELSEWHERE"):
        pass
