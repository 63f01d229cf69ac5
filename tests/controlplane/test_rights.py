"""What the database lets the application do by itself, whatever its code says."""

import json

import pytest
from django.db import DatabaseError, connection

from agents.models import Effect
from audit import tenancy
from tests.world import World


def test_what_is_unfinished_is_counted_for_the_whole_installation_and_no_row_is_shown(world: World, elsewhere: World) -> None:
    for one in (world, elsewhere):
        assert one.start().call("pay", {"account": "a", "amount": 50}).status == "pending_approval"
    with connection.cursor() as cursor:
        cursor.execute("select what, state, sum(number) from installation_counts() where what in ('run', 'request') group by 1, 2")
        counted = {(what, state): number for what, state, number in cursor.fetchall()}
        cursor.execute("select count(*) from agents_run")
        assert cursor.fetchone()[0] == 0
    assert counted["request", "OPEN"] >= 2
    assert counted["run", "WAITING"] >= 2


def test_the_application_cannot_write_an_effect_without_the_gate(world: World) -> None:
    said = world.start().call("pay", {"account": "a", "amount": 50})
    with pytest.raises(DatabaseError, match="permission denied"), tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute(
            "insert into agents_effect (organisation_id, id, call_id, key, connector_class, state, plan_digest, outbound_digest, required,"
            " lease_until, fence) values (%s, 'EFF-1', %s, 'k', 'E1', 'INTENT', 'd', 'o', 0, now(), 1)",
            [world.organisation, said.call],
        )


def test_a_held_plan_cannot_be_intended_by_asking_the_database(world: World) -> None:
    said = world.start().call("pay", {"account": "a", "amount": 50})
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        policy = world.request(said.approval).policy_set_id
        asked = {
            "organisation": world.organisation,
            "call": said.call,
            "plan_digest": said.plan,
            "outbound_digest": "x",
            "effect_key": "k",
            "policy_set": policy,
            "required": 0,
            "lease_s": "5",
            "scopes": [],
            "amount": 0,
        }
        cursor.execute("select gate_intend(%s::jsonb)", [json.dumps(asked)])
        answer = cursor.fetchone()[0]
    assert json.loads(answer)["verdict"] == "VOID"
    with tenancy.within(world.organisation):
        assert not Effect.objects.exists()


def test_the_functions_that_run_as_their_owner_see_no_temporary_table_first() -> None:
    with connection.cursor() as cursor:
        cursor.execute("select proname, proconfig from pg_proc where prosecdef and pronamespace = 'public'::regnamespace")
        settings = dict(cursor.fetchall())
    assert "gate_intend" in settings
    assert {name for name, given in settings.items() if "search_path=pg_catalog, public, pg_temp" not in (given or [])} == set()
