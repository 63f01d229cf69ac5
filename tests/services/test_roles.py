"""deploy/sql/roles.sql draws the boundary that row-level security stands on, on every PostgreSQL we support."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from controlplane import services
from controlplane.services import roles, surroundings
from controlplane.services.postgres import Cluster

pytestmark = pytest.mark.slow

SERVERS = [pytest.param(None, id="embedded")]
if Path("/usr/lib/postgresql/15/bin/initdb").exists():
    SERVERS.append(pytest.param("/usr/lib/postgresql/15/bin", id="system-15"))

TABLES = """
CREATE TABLE tool (id int, organisation_id int);
ALTER TABLE tool ENABLE ROW LEVEL SECURITY;
ALTER TABLE tool FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tool USING (organisation_id = nullif(current_setting('remit.organisation', true), '')::int);
GRANT SELECT, INSERT, UPDATE, DELETE ON tool TO remit_app;
CREATE TABLE secret AS SELECT 1 AS id, 1 AS organisation_id;
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE secret FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON secret USING (organisation_id = nullif(current_setting('remit.organisation', true), '')::int);
GRANT SELECT ON tool TO remit_dispatch;
CREATE POLICY dispatch ON tool FOR SELECT TO remit_dispatch USING (true);
CREATE FUNCTION claim() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public AS 'SELECT count(*) FROM tool';
"""
HAND_OVER = """
GRANT CREATE ON SCHEMA public TO remit_dispatch;
ALTER FUNCTION claim() OWNER TO remit_dispatch;
REVOKE CREATE ON SCHEMA public FROM remit_dispatch;
"""


@pytest.fixture(scope="module", params=SERVERS)
def given(request: pytest.FixtureRequest, shared_root: Path) -> Iterator[dict[str, str]]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "DEMO_DATABASE_URL", "REDIS_URL", "REMIT_POSTGRES_BIN"):
            patch.delenv(name, raising=False)
        if request.param:
            patch.setenv("REMIT_POSTGRES_BIN", request.param)
        data = shared_root / ".data" / Path(request.param or "embedded").parts[-2 if request.param else -1]
        variables = services.environment(shared_root, data)
        with psycopg.connect(variables["DATABASE_OWNER_URL"]) as owner:
            owner.execute(TABLES)
            owner.execute("SELECT set_config('remit.organisation', '1', true)")
            owner.execute("INSERT INTO tool VALUES (1, 1)")
            owner.execute("SELECT set_config('remit.organisation', '2', true)")
            owner.execute("INSERT INTO tool VALUES (2, 2)")
        yield variables | {"SUPERUSER_URL": Cluster(data).url}
        services.stop(shared_root, data)


@pytest.fixture
def app(given: dict[str, str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(given["DATABASE_URL"], autocommit=True) as connection:
        yield connection


@pytest.fixture
def owner(given: dict[str, str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(given["DATABASE_OWNER_URL"], autocommit=True) as connection:
        yield connection


def ids(connection: psycopg.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT id FROM tool ORDER BY id")]


def test_row_level_security_binds_the_application(app: psycopg.Connection) -> None:
    assert ids(app) == []
    with app.transaction():
        app.execute("SELECT set_config('remit.organisation', '1', true)")
        assert ids(app) == [1]
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"), app.transaction():
            app.execute("INSERT INTO tool VALUES (3, 2)")
    assert ids(app) == []


def test_row_level_security_binds_the_owner_too_save_where_dispatch_has_a_policy(owner: psycopg.Connection) -> None:
    assert owner.execute("SELECT * FROM secret").fetchall() == []
    assert ids(owner) == [1, 2]


@pytest.mark.parametrize(
    "attempt",
    [
        "CREATE TABLE mine (id int)",
        "CREATE TEMP TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE tool DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE tool NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON tool",
        "TRUNCATE tool",
        "SET ROLE remit_owner",
        "SET ROLE remit_dispatch",
        "SET SESSION AUTHORIZATION remit_owner",
        "ALTER ROLE remit_app BYPASSRLS",
        "GRANT remit_owner TO remit_app",
        "ALTER FUNCTION claim() OWNER TO remit_app",
        "COPY tool TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/passwd')",
    ],
)
def test_the_application_cannot_widen_what_it_may_do(app: psycopg.Connection, attempt: str) -> None:
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue)):
        app.execute(attempt)


def test_the_application_owns_nothing_and_belongs_to_nobody(app: psycopg.Connection) -> None:
    own = "SELECT count(*) FROM pg_class WHERE relowner = 'remit_app'::regrole"
    member = "SELECT count(*) FROM pg_auth_members WHERE member = 'remit_app'::regrole"
    powers = "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles WHERE rolname = 'remit_app'"

    assert app.execute(own).fetchone() == (0,)
    assert app.execute(member).fetchone() == (0,)
    assert app.execute(powers).fetchone() == (False, False, False, False, False)


def test_neither_owner_nor_dispatch_can_step_round_row_level_security(owner: psycopg.Connection) -> None:
    rows = owner.execute(
        "SELECT rolname, rolsuper, rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname LIKE 'remit%' ORDER BY 1"
    ).fetchall()

    assert rows == [
        ("remit_app", False, False, True),
        ("remit_demo", False, False, True),
        ("remit_dispatch", False, False, False),
        ("remit_owner", False, False, True),
    ]


def test_every_session_is_guarded(app: psycopg.Connection, owner: psycopg.Connection) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")

    assert [app.execute(f"SHOW {name}").fetchone() for name in names] == [("10s",), ("2s",), ("10s",)]
    assert [owner.execute(f"SHOW {name}").fetchone() for name in names] == [("0",), ("2s",), ("1min",)]


def test_a_migration_hands_a_function_to_dispatch_by_borrowing_create(given: dict[str, str]) -> None:
    with psycopg.connect(given["DATABASE_OWNER_URL"]) as owner:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="schema public"), owner.transaction():
            owner.execute("ALTER FUNCTION claim() OWNER TO remit_dispatch")
        with owner.transaction():
            owner.execute(HAND_OVER)
        with owner.transaction():
            # A later migration replaces it without borrowing anything, and it stays dispatch's.
            owner.execute(
                "CREATE OR REPLACE FUNCTION claim() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public "
                "AS 'SELECT count(*) FROM tool WHERE id > 0'"
            )
        who = "SELECT proowner::regrole::text FROM pg_proc WHERE proname = 'claim'"
        assert owner.execute(who).fetchone() == ("remit_dispatch",)
        assert owner.execute("SELECT has_schema_privilege('remit_dispatch', 'public', 'CREATE')").fetchone() == (False,)
    with psycopg.connect(given["DATABASE_URL"]) as app:
        assert app.execute("SELECT claim()").fetchone() == (2,)
        assert ids(app) == []


def test_a_test_database_made_by_the_owner_has_the_same_boundary(given: dict[str, str]) -> None:
    with psycopg.connect(given["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("CREATE DATABASE test_remit")
    try:
        with psycopg.connect(roles.with_login(given["DATABASE_OWNER_URL"], database="test_remit")) as owner:
            owner.execute(TABLES)
            owner.execute(HAND_OVER)
        with psycopg.connect(roles.with_login(given["DATABASE_URL"], database="test_remit")) as app:
            assert app.execute("SELECT claim()").fetchone() == (0,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute("CREATE TABLE mine (id int)")
    finally:
        with psycopg.connect(given["DATABASE_OWNER_URL"], autocommit=True) as owner:
            owner.execute("DROP DATABASE test_remit")


def test_the_demo_and_remit_cannot_look_into_each_other(given: dict[str, str]) -> None:
    for name, database in (("DATABASE_URL", "remit_demo"), ("DATABASE_OWNER_URL", "remit_demo"), ("DEMO_DATABASE_URL", "remit")):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(roles.with_login(given[name], database=database))
    with psycopg.connect(given["DEMO_DATABASE_URL"]) as demo:
        demo.execute("CREATE TABLE invoice (id int)")


def test_roles_sql_is_run_by_hand_with_psql_as_its_first_lines_say(given: dict[str, str], shared_root: Path) -> None:
    del shared_root
    with psycopg.connect(given["SUPERUSER_URL"], autocommit=True) as superuser:
        superuser.execute("CREATE DATABASE by_hand")
    try:
        by_hand = roles.with_login(given["SUPERUSER_URL"], database="by_hand")
        psql = Cluster(shared_data(given)).binaries / "psql"
        command = [str(psql), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-1", "-d", by_hand, "-f", str(surroundings.ROLES_SQL)]
        for _again in range(2):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")
        with psycopg.connect(by_hand) as connection:
            owned = connection.execute("SELECT datdba::regrole::text FROM pg_database WHERE datname = 'by_hand'").fetchone()
            assert owned == ("remit_owner",)
    finally:
        with psycopg.connect(given["SUPERUSER_URL"], autocommit=True) as superuser:
            superuser.execute("DROP DATABASE by_hand")


def shared_data(given: dict[str, str]) -> Path:
    return Path(given["REMIT_DATA_DIR"])


def test_roles_sql_refuses_the_servers_own_database(given: dict[str, str]) -> None:
    with (
        psycopg.connect(given["SUPERUSER_URL"]) as superuser,
        pytest.raises(psycopg.errors.RaiseException, match="connect to the database that Remit is to use"),
    ):
        superuser.execute(surroundings.ROLES_SQL.read_bytes())


def test_roles_sql_refuses_an_application_that_was_made_a_member_of_the_owner(given: dict[str, str]) -> None:
    inside = roles.with_login(given["SUPERUSER_URL"], database="remit")
    with psycopg.connect(inside) as superuser, superuser.transaction(force_rollback=True):
        superuser.execute("GRANT remit_owner TO remit_app")
        with pytest.raises(psycopg.errors.RaiseException, match="revoke that membership"), superuser.transaction():
            superuser.execute(surroundings.ROLES_SQL.read_bytes())
