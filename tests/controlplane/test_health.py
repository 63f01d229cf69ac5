"""What machines ask: each probe finds what it is there to find, each check refuses what it should, and nothing tells of a tenant."""

import asyncio
import contextlib
import datetime
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.core import checks as django_checks
from django.core.management import call_command
from django.db import connection, connections
from django.test import Client, override_settings

from audit import tenancy
from bench import filling
from controlplane import checks, metering, outbox, probes
from tests.controlplane import processes
from tests.world import World

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def connected_as(**changes: Any) -> Iterator[None]:
    """This process's database connection, differently."""
    facts = connections["default"].settings_dict
    before = {name: facts[name] for name in changes}
    connections["default"].close()
    facts.update(changes)
    try:
        yield
    finally:
        connections["default"].close()
        facts.update(before)


def as_owner() -> contextlib.AbstractContextManager[None]:
    parts = urlsplit(os.environ["DATABASE_OWNER_URL"])
    return connected_as(USER=parts.username, PASSWORD=parts.password)


@contextlib.contextmanager
def altered(change: str, back: str) -> Iterator[None]:
    """The owner changes something by hand, and puts it right again."""
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute(change.encode())
        try:
            yield
        finally:
            owner.execute(back.encode())


def ready() -> tuple[int, dict[str, Any]]:
    answer = Client().get("/readyz")
    return answer.status_code, answer.json()


def nothing_waits() -> None:
    """What other tests of this process left is done with."""
    while (lease := outbox.claim()) is not None:
        outbox.finish(lease)


def nowhere() -> str:
    return f"redis://127.0.0.1:{processes.free_port()}/0"


def test_a_process_lives_whatever_the_database_does() -> None:
    with connected_as(PORT=str(processes.free_port())):
        assert Client().get("/healthz").json() == {"status": "alive"}


def test_it_is_ready_when_it_can_serve_and_says_what_waits() -> None:
    nothing_waits()
    status, body = ready()
    assert (status, body["status"]) == (200, "ready")
    assert set(body["checks"].values()) == {"ok"}
    assert set(body["work"]) == {"due", "leased", "oldest_s"}


def test_without_redis_it_serves_and_says_so() -> None:
    with override_settings(REDIS_URL=nowhere()):
        status, body = ready()
    assert (status, body["status"]) == (200, "degraded")
    assert "does not answer" in body["checks"]["redis"]


def test_without_its_database_it_is_not_ready_and_tells_strangers_no_address() -> None:
    port = str(processes.free_port())
    with connected_as(PORT=port):
        answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert port not in answer.content.decode()
    assert "remit_app" not in answer.content.decode()


def test_a_role_that_owns_the_tables_is_refused() -> None:
    with as_owner():
        status, body = ready()
    assert (status, body["status"]) == (503, "unready")
    assert "owns" in body["checks"]["database role"]


def test_a_database_older_than_the_code_is_refused_and_a_newer_one_is_not() -> None:
    name = "0003_gate"
    with altered(
        f"delete from django_migrations where app = 'approvals' and name = '{name}'",
        f"insert into django_migrations (app, name, applied) values ('approvals', '{name}', now())",
    ):
        status, body = ready()
        assert (status, body["status"]) == (503, "unready")
        assert f"approvals.{name}" in body["checks"]["migrations"]
    with altered(
        "insert into django_migrations (app, name, applied) values ('approvals', '9999_from_tomorrow', now())",
        "delete from django_migrations where name = '9999_from_tomorrow'",
    ):
        assert ready()[0] == 200


def test_work_that_nobody_does_is_seen(world: World) -> None:
    nothing_waits()
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute("select work_ring(%s, 'call.resume', 'C-0000000000')", [world.organisation])
        cursor.execute(
            "update agents_work set due_at = clock_timestamp() - interval '2 minutes' where organisation_id = %s", [world.organisation]
        )
    try:
        status, body = ready()
        assert (status, body["status"]) == (200, "degraded")
        assert body["work"]["oldest_s"] >= 120
    finally:
        with tenancy.within(world.organisation), connection.cursor() as cursor:
            cursor.execute("delete from agents_work where organisation_id = %s", [world.organisation])
    assert ready()[1]["status"] == "ready"


TAMPERED = {
    "not forced": ("alter table agents_run no force row level security", "alter table agents_run force row level security"),
    "switched off": ("alter table budgets_cap disable row level security", "alter table budgets_cap enable row level security"),
    "unchecked": (
        "alter policy tenant on agents_key rename to was; create policy tenant on agents_key using (true)",
        "drop policy tenant on agents_key; alter policy was on agents_key rename to tenant",
    ),
    "beside the parent": ("grant select on audit_entry_default to remit_app", "revoke select on audit_entry_default from remit_app"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_the_doctor_reads_the_boundary_from_the_catalogue(what: str) -> None:
    assert probes.isolation().is_ok
    with altered(*TAMPERED[what]):
        found = probes.isolation()
    assert not found.is_ok
    assert found.is_fatal
    assert any(table in found.says for table in ("agents_run", "budgets_cap", "agents_key", "audit_entry_default"))
    assert probes.isolation().is_ok


def test_a_month_that_is_missing_is_found_and_made() -> None:
    month = (datetime.datetime.now(tz=datetime.UTC).replace(day=1) + datetime.timedelta(days=32)).strftime("%Y_%m")
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute(f"drop table audit_entry_{month}".encode())
    found = probes.partitions()
    assert (found.is_ok, found.is_fatal) == (False, False)
    assert f"audit_entry_{month}" in found.says
    call_command("partitions", stdout=io.StringIO())
    assert probes.partitions().is_ok


def test_a_database_to_measure_pages_with_has_the_months_that_are_over() -> None:
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:
        for table in filling.PARTITIONED:  # such a database is new; in this one other tests may have played months that are over
            owner.execute(f"alter table {table} detach partition {table}_default")
        filling.past_partitions(owner)
        found = owner.execute("select count(*) from pg_inherits where inhparent = 'audit_entry'::regclass").fetchone()
        owner.rollback()
    assert found is not None
    assert found[0] > filling.MONTHS


def manage(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "controlplane.settings", "REMIT_DEMO": "0", **changes}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_doctor_leaves_with_one_when_something_is_wrong_and_names_the_remedy() -> None:
    well = manage("doctor", "--json")
    assert well.returncode == 0, well.stdout + well.stderr
    told = json.loads(well.stdout)
    assert told["ok"]
    assert {
        "settings",
        "database role",
        "migrations",
        "isolation",
        "partitions",
        "clock",
        "work",
        "sweep",
        "redis",
        "web",
        "static files",
        "disk",
    } == {each["name"] for each in told["checks"]}
    ill = manage("doctor", DATABASE_URL=os.environ["DATABASE_OWNER_URL"])
    assert ill.returncode == 1
    assert "roles.sql" in ill.stdout
    gone = manage("doctor", DATABASE_URL="postgresql://remit_app@127.0.0.1:1/remit")
    assert gone.returncode == 1
    assert gone.stdout.count("could not be asked") == len(probes.OF_THE_DATABASE)


def found_by(check: Callable[..., list[django_checks.CheckMessage]], **settings: Any) -> set[str]:
    with override_settings(**settings):
        return {str(message.id) for message in check(None)}


def test_the_demo_and_the_debugger_refuse_to_be_reached_from_elsewhere() -> None:
    home = {"ALLOWED_HOSTS": ["127.0.0.1", "localhost", "[::1]"], "PUBLIC_URL": "http://127.0.0.1:8000"}
    for away in (
        {"ALLOWED_HOSTS": ["remit.example"]},
        {"PUBLIC_URL": "https://10.0.0.7"},
        {"ALLOWED_HOSTS": ["*"]},
        {"ALLOWED_HOSTS": [".example.com"]},
    ):
        assert found_by(checks.demo_stays_at_home, DEMO=True, **{**home, **away}) == {"remit.E001"}
        assert found_by(checks.demo_stays_at_home, DEMO=False, DEBUG=True, **{**home, **away}) == {"remit.E002"}
        assert found_by(checks.demo_stays_at_home, DEMO=False, DEBUG=False, **{**home, **away}) == set()
    assert found_by(checks.demo_stays_at_home, DEMO=True, DEBUG=False, **home) == set()


def test_what_is_not_right_for_customers_is_refused() -> None:
    public = {
        "PUBLIC_URL": "https://remit.example",
        "SECURE": True,
        "ALLOWED_HOSTS": ["remit.example"],
        "SECURE_PROXY_SSL_HEADER": ("a", "b"),
    }
    assert found_by(checks.reached_by_https, **public) == set()
    assert found_by(checks.reached_by_https, **{**public, "SECURE": False}) == {"remit.E008"}
    assert found_by(checks.reached_by_https, **{**public, "SECURE_PROXY_SSL_HEADER": None}) == {"remit.E009"}
    assert found_by(checks.reached_by_https, **{**public, "ALLOWED_HOSTS": ["*"]}) == {"remit.E010", "remit.E011"}
    kept = {
        "SECRET_KEY": "q8" * 10 + "vKz31mZp0sW4xTnB7rYd2LhGcJfAeU6oIi",
        "DATABASE_OWNER_URL": "",
        "DEMO_DATABASE_URL": "",
        "REDIS_URL": "redis://:secret@redis/0",
    }
    assert found_by(checks.secrets_are_secret, **kept) == set()
    assert found_by(checks.secrets_are_secret, **{**kept, "SECRET_KEY": "short"}) == {"remit.E004"}
    assert found_by(checks.secrets_are_secret, **{**kept, "SECRET_KEY": "a" * 80}) == {"remit.E004"}
    assert found_by(checks.secrets_are_secret, **{**kept, "DATABASE_OWNER_URL": "postgresql://x"}) == {"remit.W005"}
    assert found_by(checks.secrets_are_secret, **{**kept, "DEMO_DATABASE_URL": "postgresql://x", "DEMO": False}) == {"remit.W006"}
    assert found_by(checks.secrets_are_secret, **{**kept, "REDIS_URL": "redis://redis/0"}) == {"remit.W007"}
    assert found_by(checks.lease_outlives_a_heartbeat, LEASE_SECONDS=1) == {"remit.E003"}
    assert found_by(checks.database_holds_the_boundary) == set()
    with as_owner():
        assert found_by(checks.database_holds_the_boundary) == {"remit.E012"}


PRODUCTION = {
    "REMIT_PUBLIC_URL": "https://remit.example",
    "REMIT_HOSTS": "remit.example",
    "REMIT_BEHIND_PROXY": "1",
    "REMIT_SECRET_KEY": "pL9vQ2xW7zR4tY8uI3oP6aS1dF5gH0jK-mN_bV4cX7zL2kJ9hG6fD3sA8qW1eR5t",
    "DATABASE_OWNER_URL": "",
    "DEMO_DATABASE_URL": "",
}


def test_the_deploy_checks_are_clean_in_production_and_not_at_home() -> None:
    clean = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)
    assert clean.returncode == 0, clean.stderr
    home = manage("check", "--deploy", "--fail-level", "WARNING", REMIT_DEMO="1")
    assert home.returncode != 0


def test_measures_are_for_this_machine_and_for_whoever_has_the_token() -> None:
    assert Client().get("/metrics").status_code == 200
    for header in (
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_X_REAL_IP": "127.0.0.1"},
        {"HTTP_FORWARDED": "for=127.0.0.1"},
        {"REMOTE_ADDR": "10.0.0.7"},
    ):
        assert Client().get("/metrics", **header).status_code == 404  # type: ignore[arg-type]
        with override_settings(METRICS_TOKEN="t" * 32):
            assert Client().get("/metrics", headers={"authorization": "Bearer " + "t" * 32}, **header).status_code == 200  # type: ignore[arg-type]
            assert Client().get("/metrics", headers={"authorization": "Bearer " + "t" * 31}, **header).status_code == 404  # type: ignore[arg-type]
        with override_settings(METRICS_TOKEN=""):
            assert Client().get("/metrics", headers={"authorization": "Bearer "}, **header).status_code == 404  # type: ignore[arg-type]


def test_the_installation_is_counted_and_no_tenant_is_named(world: World, elsewhere: World) -> None:
    def number(line: str) -> float:
        text = Client().get("/metrics").content.decode()
        assert "ORG-" not in text
        assert world.workspace.id not in text
        return float(next((each.rpartition(" ")[2] for each in text.splitlines() if each.startswith(line)), 0))

    before = number('remit_requests_open{kind="",state="OPEN"}')
    for one in (world, elsewhere):
        one.start().call("pay", {"account": "a", "amount": 50})
    assert number('remit_requests_open{kind="",state="OPEN"}') == before + 2
    assert number('remit_runs_unfinished{kind="",state="WAITING"}') >= 2
    sent = number('remit_calls_unfinished{kind="",state="APPROVED"}')
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute("select work_ring(%s, 'call.resume', 'C-0000000000')", [world.organisation])
    assert number('remit_calls_unfinished{kind="",state="APPROVED"}') == sent + 1, "a tool's or a model's"
    assert number("remit_work_oldest_seconds") >= 0
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute("delete from agents_work where organisation_id = %s", [world.organisation])


def test_the_role_that_counts_sees_states_and_nothing_else() -> None:
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:
        owner.execute("set role remit_dispatch")
        owner.execute("select state from agents_run")
        for column in ("id", "organisation_id", "summary", "options"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), owner.transaction():
                owner.execute(f"select {column} from agents_run".encode())


def test_requests_are_counted_by_door_and_status_and_never_by_path() -> None:
    async def answering(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/api/v1/breaks":
            raise RuntimeError
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def nothing(*_: Any) -> Any:
        return None

    application = metering.counted(answering)

    def sample(door: str, status: str) -> float:
        return metering.REGISTRY.get_sample_value("remit_http_requests_total", {"door": door, "status": status}) or 0.0

    doors = {
        "/api/v1/calls/C-1": "calls",
        "/api/v1/runs": "api",
        "/mcp": "mcp",
        "/static/a.css": "static",
        "/readyz": "health",
        "/runs/R-SECRET": "pages",
    }
    before = {door: sample(door, "2xx") for door in doors.values()}
    broken = sample("api", "none")
    for path in doors:
        asyncio.run(application({"type": "http", "path": path, "headers": []}, nothing, nothing))
    with contextlib.suppress(RuntimeError):
        asyncio.run(application({"type": "http", "path": "/api/v1/breaks", "headers": []}, nothing, nothing))
    assert {door: sample(door, "2xx") - before[door] for door in doors.values()} == dict.fromkeys(doors.values(), 1.0)
    assert sample("api", "none") == broken + 1
    assert "R-SECRET" not in Client().get("/metrics").content.decode()
