"""The migration that gives auditors their end: what they alone allow ends with it, each has a timer and an entry. And the way back."""

import datetime
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from agents import roles
from tests.conftest import ROOT, database_url

BEFORE = (("agents", "0011"), ("approvals", "0011"))
MEMBERS = {"ada": ("auditor",), "bob": ("auditor", "finance"), "vera": ("viewer",)}
TABLES = ["agents_seat", "agents_member", "agents_workspacepermission", "agents_work", "audit_entry"]
GIVE = """
INSERT INTO agents_workspacepermission (organisation_id, user_id, permission_id, content_object_id)
SELECT %s, %s, id, 'WS-1' FROM auth_permission WHERE codename = ANY(%s)
"""
GIVEN = """
SELECT m.name, a.codename, g.until
  FROM agents_workspacepermission g JOIN agents_member m USING (user_id) JOIN auth_permission a ON a.id = g.permission_id
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def database() -> Iterator[str]:
    """An installation of the version before, as its owner sees it."""
    owner, name = os.environ["DATABASE_OWNER_URL"], f"remit_until_{os.getpid()}"
    with psycopg.connect(database_url(owner, "postgres"), autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        for app, number in BEFORE:
            migrate(name, app, number)
        yield database_url(owner, name)
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def migrate(name: str, *to: str) -> None:
    url = {key: database_url(os.environ[key], name) for key in ("DATABASE_URL", "DATABASE_OWNER_URL")}
    environment = {**os.environ, **url, "DATABASE_URL": url["DATABASE_OWNER_URL"], "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0", *to], cwd=ROOT, env=environment, check=True)


def insert(owner: psycopg.Connection, table: str, **row: Any) -> None:
    into, marks = ", ".join(row), ", ".join(["%s"] * len(row))
    owner.execute(f"insert into {table} ({into}) values ({marks})", list(row.values()))


def people(owner: psycopg.Connection) -> None:
    """Two organisations of the same people, with the permissions that their roles gave them."""
    for number in "12":
        org, now = enter(owner, number), datetime.datetime.now(datetime.UTC)
        insert(owner, "agents_organisation", organisation_id=org, id=org, slug=f"o{number}", name="O", created_at=now)
        place = {"organisation_id": org, "id": "WS-1", "slug": "desk", "name": "D"}
        insert(owner, "agents_workspace", **place, environment="production", registry=1, created_at=now)
        for user, (name, held) in enumerate(MEMBERS.items(), int(number) * 10):
            account = dict.fromkeys(("password", "first_name", "last_name", "email"), "") | {"is_superuser": False, "is_staff": False}
            insert(owner, "auth_user", id=user, username=name + number, **account, is_active=True, date_joined=now)
            who = {"organisation_id": org, "id": f"MEM-{name}", "user_id": user, "person": name, "name": name}
            insert(owner, "agents_member", **who, is_active=True, created_at=now)
            for role in held:
                seat = {"organisation_id": org, "id": f"SEA-{name}{role}", "member_id": f"MEM-{name}", "workspace_id": "WS-1", "role": role}
                insert(owner, "agents_seat", **seat, created_at=now)
            owner.execute(GIVE, [org, user, sorted(roles.permissions(held))])


def enter(owner: psycopg.Connection, number: str) -> str:
    owner.execute("select set_config('app.organisation', %s, false)", [f"ORG-{number}"])
    return f"ORG-{number}"


def test_auditors_there_are_end_ninety_days_after_it_with_what_they_alone_allow(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as owner:
        people(owner)
    name = database.rpartition("/")[2]
    migrate(name)
    with psycopg.connect(database, autocommit=True) as owner:
        for number in "12":
            enter(owner, number)
            ends_follow(owner)
        forced = owner.execute("select bool_and(relforcerowsecurity) from pg_class where relname = any(%s)", [TABLES])
        assert forced.fetchone() == (True,)
        with pytest.raises(psycopg.errors.CheckViolation):
            owner.execute("update agents_seat set until = null")
    migrate(name, "approvals", "0011")
    migrate(name, "agents", "0011")
    with psycopg.connect(database, autocommit=True) as owner:
        enter(owner, "1")
        assert owner.execute("select count(*) from agents_work where kind = 'seat.end'").fetchone() == (0,)
        assert owner.execute("select count(*) from agents_seat").fetchone() == (4,)
        assert owner.execute("select prosrc like '%g.until%' from pg_proc where proname = 'gate_intend'").fetchone() == (False,)
    for app in ("approvals", "budgets", "agents", "audit"):  # every other one goes back as well, and forward again
        migrate(name, app, "zero")
    migrate(name)


def ends_follow(owner: psycopg.Connection) -> None:
    """Seats, permissions, timers and entries of one organisation say the same."""
    seats: dict[str, datetime.datetime | None] = dict(owner.execute("select id, until from agents_seat").fetchall())
    ends = {key: until for key, until in seats.items() if until}
    assert set(ends) == {"SEA-adaauditor", "SEA-bobauditor"}
    ahead = "select min(until) > now() + interval '89 days', max(until) < now() + interval '91 days' from agents_seat"
    assert owner.execute(ahead).fetchone() == (True, True)
    rows = {(who, codename): until for who, codename, until in owner.execute(GIVEN).fetchall()}
    assert len(rows) == sum(len(roles.permissions(held)) for held in MEMBERS.values())
    for (who, codename), until in rows.items():
        others = roles.permissions(set(MEMBERS[who]) - {"auditor"})
        assert until == (None if codename in others else ends[f"SEA-{who}auditor"]), (who, codename)
    assert dict(owner.execute("select subject, due_at from agents_work where kind = 'seat.end'").fetchall()) == ends
    told = owner.execute("select subject, body::jsonb->'detail', workspace_id, actor_id from audit_entry where event = 'seat.end_set'")
    assert sorted((subject, detail["role"], detail["before"], place, by) for subject, detail, place, by in told.fetchall()) == [
        (f"MEM-{who}", "auditor", "", "WS-1", "upgrade") for who in ("ada", "bob")
    ]
