"""What is deployed: the boundary as the catalogue has it, the sample files against the code, and processes that leave when asked."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import yaml
from django.db import connection

from agents import identity
from audit import tenancy
from controlplane.services import programs
from tests.controlplane import hosted, processes, wire
from tests.world import World

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
TENANT_TABLES = """
select c.oid from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
  and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'organisation_id' and not a.attisdropped)
"""
# People belong to several organisations, and Django's permissions to none: these tables stay on the coordinator, or are reference tables.
SHARED = {("agents_member", "auth_user"), ("agents_workspacepermission", "auth_user"), ("agents_workspacepermission", "auth_permission")}


def rows(query: str) -> list[tuple[str, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return [tuple(map(str, row)) for row in cursor.fetchall()]


def test_there_are_tenant_tables_to_look_at() -> None:
    assert len(rows(TENANT_TABLES)) >= 30


def test_every_unique_index_of_a_tenant_table_carries_the_organisation() -> None:
    without = rows(f"""
        select i.indrelid::regclass, i.indexrelid::regclass from pg_index i where i.indisunique and i.indrelid in ({TENANT_TABLES})
          and not exists (select from unnest(i.indkey::int[]) k join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k
                          where a.attname = 'organisation_id')""")
    assert without == []


def test_no_index_of_text_beside_the_organisation_is_left_over() -> None:
    """Django's own for LIKE would be written with each row and never be read."""
    assert (
        rows(f"""select i.indexrelid::regclass from pg_index i where i.indrelid in ({TENANT_TABLES}) and not i.indisunique
        and i.indexrelid::regclass::text ~ '(_like|_[0-9a-f]{{8}})"?$'""")
        == []
    )


def test_every_foreign_key_of_a_tenant_table_carries_the_organisation_on_both_sides() -> None:
    keys = rows(f"""
        select k.conrelid::regclass, k.confrelid::regclass, k.conname, exists (
            select from unnest(k.conkey, k.confkey) pair (ours, theirs)
            join pg_attribute a on a.attrelid = k.conrelid and a.attnum = pair.ours and a.attname = 'organisation_id'
            join pg_attribute b on b.attrelid = k.confrelid and b.attnum = pair.theirs and b.attname = 'organisation_id')
        from pg_constraint k where k.contype = 'f' and k.conparentid = 0
          and (k.conrelid in ({TENANT_TABLES}) or k.confrelid in ({TENANT_TABLES}))""")
    assert len(keys) > 20
    without = {(table, target) for table, target, _, carries in keys if carries != "True"}
    assert without == SHARED


def test_row_level_security_is_forced_and_checks_what_is_written() -> None:
    loose = rows(f"select oid::regclass from pg_class where oid in ({TENANT_TABLES}) and not (relrowsecurity and relforcerowsecurity)")
    assert loose == []
    unguarded = rows(f"""
        select c.oid::regclass from pg_class c where c.oid in ({TENANT_TABLES}) and not exists (
            select from pg_policy p where p.polrelid = c.oid and p.polcmd = '*' and p.polpermissive and p.polroles = '{{0}}'
              and pg_get_expr(p.polqual, p.polrelid) like '%organisation_id = %app.organisation%'
              and pg_get_expr(p.polwithcheck, p.polrelid) like '%organisation_id = %app.organisation%')""")
    assert unguarded == []
    # Any other policy widens: only a person's own memberships, and the role that dispatches work and counts.
    wider = "polname <> 'tenant' and polroles = '{0}'"
    others = rows(f"select polrelid::regclass, polname from pg_policy where polrelid in ({TENANT_TABLES}) and {wider}")
    assert others == [("agents_member", "own")]


def test_the_application_owns_nothing_and_may_not_alter_the_log_or_make_effects() -> None:
    assert rows("select relname from pg_class where relowner = 'remit_app'::regrole") == []
    assert rows("select proname from pg_proc where proowner = 'remit_app'::regrole") == []
    append_only = {"audit_entry": {"SELECT", "INSERT"}, "approvals_vote": {"SELECT", "INSERT"}, "agents_agentversion": {"SELECT", "INSERT"}}
    money = {"budgets_ledgerentry", "budgets_reservation", "budgets_window", "budgets_dayspending", "budgets_runspending"}
    by_function_only = {name: {"SELECT"} for name in {"agents_effect"} | money}
    for table, expected in (append_only | by_function_only).items():
        held = rows(
            f"select privilege_type from information_schema.role_table_grants where grantee = 'remit_app' and table_name = '{table}'"
        )
        assert {privilege for (privilege,) in held} == expected, table


def test_what_runs_with_the_owner_s_rights_finds_only_what_is_meant() -> None:
    definers = "pg_proc p where p.prosecdef and p.pronamespace = 'public'::regnamespace"
    assert len(rows(f"select proname from {definers}")) >= 5
    assert rows(f"select proname from {definers} and has_function_privilege('public', p.oid, 'execute')") == []


def read_names() -> set[str]:
    """Every variable that the product reads."""
    source = (ROOT / "controlplane" / "settings.py").read_text()
    return set(re.findall(r'env(?:_bool|_secret)?\("([A-Z_]+)"', source))


def test_the_sample_environment_names_every_variable_and_no_other() -> None:
    named = set(re.findall(r"^#?([A-Z][A-Z_]+)=", (DEPLOY / "env.example").read_text(), re.MULTILINE))
    beyond_settings = {"REMIT_ROLE"}
    assert named - beyond_settings == read_names()


def texts() -> list[Path]:
    return [path for path in DEPLOY.rglob("*") if path.is_file() and path.parent.name != "secrets"]


def test_no_sample_names_a_machine_a_registry_or_a_secret() -> None:
    for path in texts():
        text = path.read_text()
        assert not re.search(r"((?:docker|ghcr|quay)[.]io|registry[.]|/(?:work|root|home)/)", text), path
        assert not re.search(r"(?i)password\s*[=:]\s*['\"]?[a-z0-9]{6,}", text), path
        assert "latest" not in re.findall(r"(?:image|FROM)[: ]+\S+:(\S+)", text), path


def test_samples_start_the_same_programs_as_make_run() -> None:
    checkout = programs.of_this_checkout()
    worker = " ".join(checkout.worker.command[2:])
    for name in ("compose.yaml", "systemd/remit-worker@.service"):
        text = re.sub(r'[",\[\]]+', " ", (DEPLOY / name).read_text())
        assert worker.replace("celery ", "", 1) in re.sub(r" +", " ", text), name
    web = checkout.web("HOST", 1).command
    for name in ("Dockerfile", "systemd/remit-web@.service"):
        text = (DEPLOY / name).read_text()
        for option in ("--interface", "--workers", "--workers-kill-timeout", web[-1]):
            assert option in text, (name, option)


def test_compose_pins_its_images_closes_its_containers_and_gives_the_owner_s_password_to_one_job() -> None:
    house = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = house["services"]
    assert set(services) == {"postgres", "valkey", "migrate", "web", "worker", "sweep"}
    assert all(re.fullmatch(r"\S+:\d[\w.-]+", service["image"]) for service in services.values())
    assert {name for name, service in services.items() if "database_owner_url" in service["secrets"]} == {"migrate"}
    assert {name for service in services.values() for name in service["secrets"]} == set(house["secrets"])
    for name in ("migrate", "web", "worker", "sweep"):
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
    assert house["networks"]["inside"]["internal"]
    assert services["postgres"]["networks"] == services["valkey"]["networks"] == ["inside"]
    assert "ports" not in services["postgres"]
    assert services["web"]["ports"] == ["127.0.0.1:8000-8009:8000"]


def test_the_units_are_what_systemd_takes(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    for path in (DEPLOY / "systemd").iterdir():
        text = re.sub(r"/opt/remit/.venv/bin/\S+", "/bin/true", path.read_text())
        (tmp_path / path.name.replace("@.", "@8001.")).write_text(text)
    units = [str(path) for path in tmp_path.glob("*.service")]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if "remit" in line] == []


def test_secrets_are_made_once_and_stay(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    script = str(DEPLOY / "compose" / "secrets.sh")
    subprocess.run([script, str(folder)], check=True, capture_output=True)
    first = {path.name: path.read_text() for path in folder.iterdir()}
    wanted = set(re.findall(r"compose/secrets/(\w+)", (DEPLOY / "compose.yaml").read_text()))
    assert set(first) == wanted
    assert len(first["secret_key"]) > 80
    assert len({first[name] for name in ("postgres_password", "owner_password", "app_password", "redis_password")}) == 4
    assert psycopg.conninfo.conninfo_to_dict(first["database_url"])["password"] == first["app_password"]
    subprocess.run([script, str(folder)], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == first
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[processes.Fleet]:
    with processes.fleet(tmp_path) as running:
        yield running


@pytest.mark.slow
def test_the_probe_asks_as_the_proxy_would(fleet: processes.Fleet) -> None:
    fleet.environment |= {"REMIT_PUBLIC_URL": "https://remit.example", "REMIT_HOSTS": "remit.example", "REMIT_BEHIND_PROXY": "1"}
    port = processes.free_port()
    probe = [sys.executable, str(DEPLOY / "probe.py"), "--port", str(port), "/readyz"]
    nobody = subprocess.run(probe, env=fleet.environment, capture_output=True, text=True, check=False)
    assert (nobody.returncode, "Refused" in nobody.stderr) == (1, True)
    fleet.ports["web"] = port
    fleet.begin_web("web")
    within = subprocess.run([*probe, "--within", "40"], env=fleet.environment, capture_output=True, text=True, check=False)
    assert within.returncode == 0, within.stderr
    assert processes.ask(port, "GET", "/readyz")[0] == 400, "asked by another name it does not answer"


def export_that_stays_open(port: int, token: str) -> socket.socket:
    """A client that asks for the whole log and reads one buffer of it."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(20)
    reader.connect(("127.0.0.1", port))
    reader.sendall(
        f"GET /api/v1/audit/export?format=jsonl HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {token}\r\n\r\n".encode()
    )
    assert reader.recv(1024).startswith(b"HTTP/1.1 200")
    return reader


def rest_of(reader: socket.socket) -> bytes:
    heard = b""
    with reader:
        try:
            while part := reader.recv(1 << 16):
                heard = (heard + part)[-64:]
        except ConnectionResetError:
            return b"reset"
    return heard


@pytest.mark.slow
def test_a_web_process_leaves_in_time_although_a_page_and_an_export_are_open(
    world: World, fleet: processes.Fleet, record_property: Callable[[str, object], None]
) -> None:
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute(
            "select count(audit_append(%s, %s, 'audit.read', 'system', 'tests', '', '', %s)) from generate_series(1, 15000)",
            [world.organisation, world.workspace.id, '{"filler":"' + "x" * 900 + '"}'],
        )
    port = fleet.web("web")
    token = identity.issue(by=world.people["olga"], member=world.members["olga"]).token
    export = export_that_stays_open(port, token)
    with wire.Socket(port, "/live/?workspace=desk", {"authorization": f"Bearer {token}"}):
        took = fleet.end("web", within_s=10)
    record_property("left_after_s", round(took, 2))
    assert took < 5
    assert not rest_of(export).endswith(b"0\r\n\r\n"), "the export was cut, so it was open all the while"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=2)
    hosted.until(lambda: not connections_of(world))


def connections_of(world: World) -> list[tuple[str, ...]]:
    """What is left of the web process in PostgreSQL and could hold a lock."""
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:
        return owner.execute(
            "select pid::text from pg_stat_activity"
            " where datname = current_database() and usename = 'remit_app' and state like 'idle in transaction%'"
        ).fetchall()
