"""A read goes by what the gate read for the call before, and by nothing that changed since: each change counts with the very next call."""

import contextlib
import functools
import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from agents import contracts, identity, policies, runs, seats, stops, tools
from agents.models import Agent, Call, Capability, Connector, Key, Member, Tool, ToolVersion, Workspace
from audit import functions as database
from audit import tenancy
from controlplane import examination, gate, recall
from tests import upstream
from tests import world as worlds
from tests.controlplane import api_knocking as knocking
from tests.controlplane.api_knocking import propose
from tests.world import RunUnderTest, World

SQL = Path(__file__).resolve().parents[2]
Change = Callable[[World, RunUnderTest], object]


@pytest.fixture
def world() -> World:
    made = worlds.make()
    made.bank.gate.set()
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The functions of the gate that were asked, in order."""
    said: list[str] = []
    really = database._answered

    def told(opened: Any, statement: bytes, *rest: Any) -> Any:
        said.append(re.findall(rb"select (\w+)\(", statement)[0].decode())
        return really(opened, statement, *rest)

    monkeypatch.setattr(database, "_answered", told)
    return said


def read(run: RunUnderTest, **more: Any) -> knocking.Reply:
    return propose(run.token, "slow_read", {}, **more)


def asked_for(run: RunUnderTest, tool: str = "slow_read") -> recall.Asked:
    return run.principal.organisation, run.principal.key, tool


def kept(run: RunUnderTest, tool: str = "slow_read") -> recall.Recalled | None:
    return recall.of(asked_for(run, tool))


def warm(world: World, **order: Any) -> RunUnderTest:
    """A run whose key was told what the gate reads."""
    run = world.start(**order)
    assert read(run).body["status"] == "applied"
    assert kept(run) is not None
    return run


THREE, TWO = ["gate_open", "gate_admit", "gate_settle"], ["gate_admit", "gate_settle"]


def test_the_second_read_of_a_key_asks_one_question_less(world: World, asked: list[str]) -> None:
    run = world.start()
    del asked[:]
    assert read(run).status == 200
    assert asked == THREE
    del asked[:]
    assert read(run).body["result"]["structuredContent"] == {"waited": True}
    assert asked == TWO


def as_owner(statement: str, *given: Any, organisation: str) -> None:
    """What nobody can do from inside, as an administrator at the prompt."""
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:
        owner.execute("select set_config('app.organisation', %s, true)", [organisation])
        owner.execute(statement, given)


def stop(scope: str, target: Callable[[World, RunUnderTest], str]) -> Change:
    return lambda world, run: stops.engage(by=world.people["olga"], scope=scope, target=target(world, run), reason="Look first.")


def tool_of(world: World) -> str:
    with tenancy.within(world.organisation):
        return tools.get("slow_read", workspace=world.workspace).id


def within(world: World, do: Callable[[], object]) -> None:
    with tenancy.within(world.organisation):
        do()


def rules(text: str) -> Change:
    def activate(world: World, _run: RunUnderTest) -> None:
        proposed = policies.propose(by=world.people["sam"], workspace=world.workspace, text=worlds.POLICIES + text)
        policies.activate(by=world.people["olga"], policy_set=proposed)

    return activate


def retire_tool(world: World, _run: RunUnderTest) -> None:
    tools.retire(by=world.people["olga"], name="slow_read", workspace=world.workspace)


def revoke_capability(world: World, run: RunUnderTest) -> None:
    with tenancy.within(world.organisation):
        held = Capability.objects.get(id=run.run.capability_id)
    identity.revoke_capability(by=world.people["olga"], capability=held)


def revoke_key(world: World, run: RunUnderTest) -> None:
    with tenancy.within(world.organisation):
        held = Key.objects.get(id=run.principal.key)
    identity.revoke(by=world.people["olga"], key=held)


def passes(table: str) -> Change:
    """Its end came: moved, and the epoch put back, so that only the clock can tell."""

    def move(world: World, run: RunUnderTest) -> None:
        told = kept(run)
        assert told is not None
        past = "2020-01-01T00:00:00+00:00"
        context = {**told.context, "until": past} if table == "agents_capability" else told.context
        identifier = run.principal.key if table == "agents_key" else run.run.capability_id
        as_owner(f"update {table} set expires_at = %s where id = %s", past, identifier, organisation=world.organisation)
        as_owner("update agents_epoch set number = %s", context["epoch"], organisation=world.organisation)
        recall.keep(asked_for(run), told.row, context)

    return move


def change(**what: Any) -> Change:
    return lambda world, _run: contracts.change(by=world.people["olga"], agent=world.agent, changes=what)


CHANGES: dict[str, tuple[Change, int, str]] = {
    "organisation stopped": (stop("organisation", lambda world, _: world.organisation), 423, "stopped"),
    "workspace stopped": (stop("workspace", lambda world, _: world.workspace.id), 423, "stopped"),
    "agent stopped": (stop("agent", lambda world, _: world.agent.id), 423, "stopped"),
    "tool stopped": (stop("tool", lambda world, _: tool_of(world)), 423, "stopped"),
    "connector stopped": (stop("connector", lambda _world, _run: "bank"), 423, "stopped"),
    "key stopped": (stop("key", lambda _, run: run.principal.key), 423, "stopped"),
    "run stopped": (stop("run", lambda _, run: run.run.id), 423, "stopped"),
    "rules tightened": (rules('@id("none") forbid (principal, action == Action::"slow_read", resource);'), 403, "policy_denied"),
    "rules unusable": (lambda world, _: within(world, lambda: tools.registry_changed(world.workspace.id)), 200, ""),
    "tool retired": (retire_tool, 404, "unknown_tool"),
    "agent paused": (change(state="PAUSED"), 403, "out_of_scope"),
    "agent retired": (change(state="RETIRED"), 401, "unauthenticated"),
    "key revoked": (revoke_key, 401, "unauthenticated"),
    "key expired": (passes("agents_key"), 401, "unauthenticated"),
    "capability revoked": (revoke_capability, 403, "out_of_scope"),
    "capability expired": (passes("agents_capability"), 403, "out_of_scope"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_counts_with_the_very_next_call(world: World, name: str) -> None:
    make, status, code = CHANGES[name]
    run = warm(world, subject=["customer-a"])
    arrived = len(world.bank.arrived)
    make(world, run)
    said = read(run)
    assert (said.status, said.code if code else "") == (status, code), said
    assert len(world.bank.arrived) == arrived + (status == 200)


def test_a_run_that_ended_is_over_although_its_end_turns_no_epoch(world: World) -> None:
    run = warm(world)
    before = epoch(world)
    runs.end(by=world.people["olga"], run=run.run, state="STOPPED", summary="Enough.")
    assert epoch(world) == before
    assert read(run).code == "run_over"


def test_a_call_goes_to_where_its_connector_points_now(world: World) -> None:
    run = warm(world)
    moved = upstream.serve()
    moved.gate.set()
    within(world, lambda: Connector.objects.filter(slug="bank").update(url=moved.url))
    assert read(run).status == 200
    assert [name for name, *_ in moved.arrived] == ["slow_read"]


def test_a_stop_between_the_look_and_the_record_is_seen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run, really = warm(world), examination.examine
    arrived = len(world.bank.arrived)

    def stopped() -> None:
        stop("agent", lambda world, _: world.agent.id)(world, run)
        connection.close()

    def overtaken(*given: Any) -> Any:
        monkeypatch.setattr(examination, "examine", really)
        examined = really(*given)
        elsewhere = threading.Thread(target=stopped)
        elsewhere.start()
        elsewhere.join()
        return examined

    monkeypatch.setattr(examination, "examine", overtaken)
    assert read(run).code == "stopped"
    assert len(world.bank.arrived) == arrived


def test_a_recorded_answer_is_not_given_to_a_key_that_was_revoked(world: World) -> None:
    run = warm(world)
    assert read(run, key="once").status == 200
    again = read(run, key="once")
    assert (again.status, again.headers["idempotent-replayed"]) == (200, "true")
    revoke_key(world, run)
    assert read(run, key="once").code == "unauthenticated"


def test_the_key_is_still_compared_with_its_secret(world: World) -> None:
    run = warm(world)
    forged = run.token[:-4] + ("AAAA" if run.token[-4:] != "AAAA" else "BBBB")
    assert propose(forged, "slow_read", {}).code == "unauthenticated"


def test_a_key_is_known_in_its_own_organisation_only(world: World, elsewhere: World) -> None:
    run = warm(world)
    for other in (elsewhere.organisation, "ORG-0000000000"):
        said = propose(run.token.replace(world.organisation.removeprefix("ORG-"), other.removeprefix("ORG-")), "slow_read", {})
        assert said.code == "unauthenticated"


def test_a_key_that_is_revoked_while_it_is_decided_admits_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also over MCP and with an agent's own key, whose rows are read before the rest."""
    run, really = world.start(), examination.examine

    def overtaken(*given: Any) -> Any:
        revoke_key(world, run)
        return really(*given)

    monkeypatch.setattr(examination, "examine", overtaken)
    assert propose(run.token, "pay", {"account": "a", "amount": 5}).code == "unauthenticated"
    again = world.start()

    def overtaken_again(*given: Any) -> Any:
        revoke_key(world, again)
        return really(*given)

    monkeypatch.setattr(examination, "examine", overtaken_again)
    with pytest.raises(identity.Unauthenticated):
        again.call("pay", {"account": "a", "amount": 5})
    assert world.bank.writes() == []
    assert world.events("call.admitted") == []


def test_a_number_that_was_lost_does_not_come_again(world: World) -> None:
    """A failover loses the last commits; what was read under them is in processes that live on."""
    run = warm(world)
    told = kept(run)
    assert told is not None
    as_owner("update agents_epoch set number = %s", epoch(world) - 1, organisation=world.organisation)
    seen = set()
    for stage in ("NARROW", "GATED", "NARROW"):
        contracts.change(by=world.people["olga"], agent=world.agent, changes={"stage": stage})
        seen.add(epoch(world))
    assert len(seen) == 3
    assert told.context["epoch"] not in seen


def test_a_key_that_is_refused_leaves_its_entry_although_it_was_known(world: World) -> None:
    run = warm(world)
    revoke_key(world, run)
    read(run)
    assert world.events("key.refused") == ["key.refused"]


def test_what_was_read_for_one_key_or_tool_is_not_used_for_another(world: World, asked: list[str]) -> None:
    warm(world)
    del asked[:]
    read(world.start())
    assert asked[-3:] == THREE


def test_writes_objects_of_customers_and_counting_rules_are_read_anew_each_time(world: World, asked: list[str]) -> None:
    run = world.start()
    del asked[:]
    for tool, arguments in (("pay", {"account": "a", "amount": 5}), ("get_account", {"account": "a"})):
        for _ in range(2):
            assert propose(run.token, tool, arguments).body["status"] == "applied"
            assert kept(run, tool) is None
    rules('@id("few") @why("Two calls.") forbid (principal, action in Action::"read", resource) when { context.calls > 1 };')(world, run)
    assert asked.count("gate_open") == 4
    pacing = world.start()
    del asked[:]
    assert [read(pacing).status for _ in range(3)] == [200, 200, 403]
    assert kept(pacing) is None
    assert asked.count("gate_open") == 3


def test_a_write_is_read_anew_whatever_is_kept(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    monkeypatch.setitem(worlds.CLASSES, "pay", {**worlds.CLASSES["pay"], "subjects": {}})
    world = worlds.make()
    run, small = world.start(), {"account": "a", "amount": 5}
    del asked[:]
    assert propose(run.token, "pay", small).body["status"] == "applied"
    assert kept(run, "pay") is None
    row = identity.knock(world.organisation, run.principal.key)
    assert row is not None
    context = examination.read(world.organisation, agent=world.agent.id, run=run.run.id, name="pay")
    recall.keep(asked_for(run, "pay"), row, context)
    assert propose(run.token, "pay", small).body["status"] == "applied"
    assert asked.count("gate_open") == 2


def test_the_record_says_how_many_calls_there_were(world: World) -> None:
    run = world.start()
    calls = [read(run).body["call"] for _ in range(3)]
    assert propose(run.token, "pay", {"account": "a", "amount": 5}).status == 200
    calls.append(read(run).body["call"])
    with tenancy.within(world.organisation):
        told = [json.loads(Call.objects.get(id=call).decision)["request"] for call in calls]
    assert [(each["calls"], each["writes"]) for each in told] == [(0, 0), (1, 0), (2, 0), (4, 1)]


def test_a_connection_that_was_cut_is_no_answer_and_the_next_one_is_open(world: World) -> None:
    run = warm(world)
    opened = examination.recalled(world.organisation, run.principal.key, name="slow_read", arguments={})
    proposal = examination.Proposal(run.principal, run.run.id, "slow_read", {}, "K", opened)
    connection.ensure_connection()
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s, 10000)", [connection.connection.info.backend_pid])
    assert gate.admit_recalled(proposal) is None
    assert run.call("slow_read", {}, "K").status == "applied"


def test_at_most_so_much_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "_MOST", 2)
    first, second, third = (warm(world) for _ in range(3))
    assert [kept(run) is None for run in (first, second, third)] == [True, False, False]
    within(world, lambda: Connector.objects.filter(slug="bank").update(document="x" * 20_000))
    run = world.start()
    assert read(run).status == 200
    assert kept(run) is None


# The epoch -------------------------------------------------------------------------------------------------------------------------------


def epoch(world: World) -> int:
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute("select number from agents_epoch")
        return int(cursor.fetchone()[0])


def test_the_epoch_is_turned_by_every_table_that_a_decision_is_read_from(world: World) -> None:
    """Runs, calls, keys and what belongs to whom are looked at for each call."""
    text = "".join((SQL / name).read_text() for name in ("controlplane/sql/context.sql", "agents/sql/knock.sql"))
    read_from = set(re.findall(r"(?:FROM|JOIN) (agents_\w+)", text)) - {
        "agents_run",
        "agents_call",
        "agents_owned",
        "agents_key",
        "agents_epoch",
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "select c.relname, array_agg(t.tgname::text order by t.tgname) from pg_trigger t join pg_class c on c.oid = t.tgrelid"
            " where t.tgname in ('epoch_changed', 'epoch_gone', 'epoch_new') and t.tgdeferrable and t.tginitdeferred and t.tgenabled = 'O'"
            " group by 1"
        )
        turned = dict(cursor.fetchall())
    assert len(read_from) >= 11
    for table in read_from:
        assert {"epoch_changed", "epoch_gone"} <= set(turned.get(table, ())), table
    assert all("epoch_new" in turned[table] for table in ("agents_stop", "agents_policyset"))  # what is new there counts, too


def touched(world: World) -> dict[str, Callable[[], object]]:
    """A change of one row of each."""
    by, member = world.people["olga"], world.members["vera"]
    run = world.start(subject=["customer-a"])
    rows = {
        "member": lambda: Member.objects.filter(id=member.id).update(name="Vera V."),
        "agent": lambda: Agent.objects.filter(id=world.agent.id).update(stage="NARROW"),
        "workspace": lambda: Workspace.objects.filter(id=world.workspace.id).update(registry=99),
        "tool": lambda: Tool.objects.filter(name="pay").update(state="RETIRED"),
        "version": lambda: ToolVersion.objects.filter(tool__name="pay").update(state="RETIRED"),
        "connector": lambda: Connector.objects.update(timeout_ms=4000),
        "capability": lambda: Capability.objects.filter(id=run.run.capability_id).update(subject=["customer-b"]),
    }
    made: dict[str, Callable[[], object]] = {name: functools.partial(within, world, do) for name, do in rows.items()}
    return {**made, "stop": lambda: stops.engage(by=by, scope="tool", target="pay", reason="Look.")}


def test_each_change_turns_it_once_and_what_changes_nothing_does_not(world: World) -> None:
    for name, do in touched(world).items():
        before = epoch(world)
        do()
        assert epoch(world) != before, name
    still = epoch(world)
    revoke_key(world, world.start())  # admission looks at the key itself
    within(world, lambda: Agent.objects.filter(id=world.agent.id).update(stage="NARROW"))  # as it was
    seats.grant(by=world.people["olga"], member=world.members["vera"], workspace=world.workspace, role="builder")
    world.start().call("slow_read", {})
    assert epoch(world) == still


def test_it_turns_with_the_transaction_and_not_before(world: World) -> None:
    before = epoch(world)
    with contextlib.suppress(LookupError), tenancy.within(world.organisation):
        Agent.objects.filter(id=world.agent.id).update(stage="NARROW")
        raise LookupError
    assert epoch(world) == before


def test_two_who_change_things_at_once_in_another_order_do_not_wait_in_a_circle(world: World) -> None:
    both = threading.Barrier(2, timeout=20)
    failed: list[BaseException] = []

    def change(order: list[Callable[[], object]]) -> None:
        try:
            with tenancy.within(world.organisation):
                for number, do in enumerate(order):
                    do()
                    if not number:
                        both.wait()  # each has changed something; at once turning the epoch would hold it until the end
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    agent = lambda: Agent.objects.filter(id=world.agent.id).update(name="A")  # noqa: E731
    tool = lambda: Tool.objects.filter(name="slow_read").update(state="DRAFT")  # noqa: E731
    other = lambda: Tool.objects.filter(name="pay").update(state="DRAFT")  # noqa: E731
    before = epoch(world)
    threads = [threading.Thread(target=change, args=[order]) for order in ([agent, other], [tool, lambda: None])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failed
    assert epoch(world) != before


def test_the_application_cannot_turn_it_back(world: World) -> None:
    for statement in ("update agents_epoch set number = 1", "delete from agents_epoch", "insert into agents_epoch values ('x', 'x', 1)"):
        with pytest.raises(Exception, match="permission denied"), tenancy.within(world.organisation), connection.cursor() as cursor:
            cursor.execute(statement)


def test_an_organisation_without_one_admits_nothing(world: World) -> None:
    run = warm(world)
    as_owner("delete from agents_epoch", organisation=world.organisation)
    assert read(run).code == "idempotency_in_progress"
