"""The embedded servers start, stop, survive being killed, and never answer to a stranger."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from controlplane import services
from controlplane.services import postgres, processes, surroundings
from controlplane.services.postgres import Cluster
from controlplane.services.trouble import CannotStart
from controlplane.services.valkey import Store

pytestmark = pytest.mark.slow
HOUSE = Path(__file__).parents[2]


def query(url: str, statement: str) -> tuple[object, ...] | None:
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchone()


def answer(url: str, *commands: str) -> str:
    """What a Redis server says to a few commands, without any client library."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5) as wire:
        wire.sendall(("\r\n".join([*commands, "QUIT"]) + "\r\n").encode())
        told = b""
        while piece := wire.recv(4096):
            told += piece
    return told.decode()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    while processes.is_alive(pid):
        time.sleep(0.01)


def test_one_call_gives_every_url_and_each_of_them_answers(root: Path) -> None:
    given = services.environment(root)

    assert query(given["DATABASE_URL"], "SELECT current_user, current_database()") == ("remit_app", "remit")
    assert query(given["DATABASE_OWNER_URL"], "SELECT current_user, current_database()") == ("remit_owner", "remit")
    assert query(given["DEMO_DATABASE_URL"], "SELECT current_user, current_database()") == ("remit_demo", "remit_demo")
    assert "+PONG" in answer(given["REDIS_URL"], f"AUTH {urlsplit(given['REDIS_URL']).password}", "PING")
    assert len(given["REMIT_SECRET_KEY"]) > 50


def test_a_second_call_reuses_what_runs(root: Path) -> None:
    first = services.environment(root)
    postmaster = Cluster(root / ".data").pid

    assert services.environment(root) == first
    assert Cluster(root / ".data").pid == postmaster


def test_everything_is_as_it_was_after_a_stop_and_a_start(root: Path) -> None:
    before = services.environment(root)
    with psycopg.connect(before["DATABASE_OWNER_URL"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    answer(before["REDIS_URL"], f"AUTH {urlsplit(before['REDIS_URL']).password}", "SET kept 42")

    services.stop(root)
    assert surroundings.fallen(root / ".data")
    after = services.environment(root)

    assert after == before
    assert query(after["DATABASE_OWNER_URL"], "SELECT answer FROM kept") == (42,)
    assert "42" in answer(after["REDIS_URL"], f"AUTH {urlsplit(after['REDIS_URL']).password}", "GET kept")


def test_a_killed_postgres_comes_back_with_all_that_was_committed(root: Path) -> None:
    given = services.environment(root)
    with psycopg.connect(given["DATABASE_OWNER_URL"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    postmaster = Cluster(root / ".data").pid
    assert postmaster

    kill(postmaster)
    assert services.environment(root) == given

    assert query(given["DATABASE_OWNER_URL"], "SELECT answer FROM kept") == (42,)
    assert Cluster(root / ".data").pid != postmaster


def test_a_killed_postgres_that_nobody_reaps_is_not_taken_for_a_running_one(root: Path) -> None:
    given = services.environment(root)
    services.stop(root)
    # A child that has died and stays a zombie, for we do not wait for it, under the number the pid file names.
    zombie = subprocess.Popen(["true"])
    while processes.is_alive(zombie.pid):
        time.sleep(0.01)
    pid_file = Cluster(root / ".data").files / "postmaster.pid"
    pid_file.write_text(f"{zombie.pid}\n{pid_file.parent}\n0\n1\n\n127.0.0.1\n  1 1\nready\n")

    assert not Cluster(root / ".data").is_running
    assert services.environment(root) == given
    zombie.wait()


def test_a_killed_valkey_comes_back(root: Path) -> None:
    given = services.environment(root)
    kill(int((root / ".data" / "valkey" / "pid").read_text()))

    assert services.environment(root) == given
    assert Store(root / ".data").is_running


def test_a_start_that_was_killed_while_making_the_cluster_does_not_stand_in_the_way(root: Path) -> None:
    half_made = root / ".data" / "postgres" / "cluster.new"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")

    services.environment(root)

    assert not half_made.exists()


def test_a_remembered_port_that_somebody_took_is_given_up(root: Path) -> None:
    before = services.environment(root)
    services.stop(root)
    with socket.create_server(("127.0.0.1", urlsplit(before["DATABASE_URL"]).port or 0)):
        after = services.environment(root)

    assert after["DATABASE_URL"] != before["DATABASE_URL"]
    assert query(after["DATABASE_URL"], "SELECT 1") == (1,)


def test_two_starts_at_once_start_one_set_of_servers(root: Path, bare_environment: dict[str, str]) -> None:
    program = (
        "import pathlib, sys; from controlplane import services; print(services.environment(pathlib.Path(sys.argv[1]))['DATABASE_URL'])"
    )
    racing = [
        subprocess.Popen([sys.executable, "-c", program, str(root)], cwd=HOUSE, env=bare_environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    told = {process.communicate(timeout=60)[0] for process in racing}

    assert len(told) == 1
    assert "remit_app" in told.pop()


def test_no_server_answers_without_the_password(root: Path) -> None:
    given = services.environment(root)
    for user, database in (("postgres", "postgres"), ("remit_app", "remit"), ("remit_owner", "remit")):
        parts = urlsplit(given["DATABASE_URL"])
        for login in (user, f"{user}:wrong"):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(urlunsplit((parts.scheme, f"{login}@127.0.0.1:{parts.port}", f"/{database}", "", "")))
    assert "NOAUTH" in answer(given["REDIS_URL"], "GET anything")


def test_secrets_and_data_are_closed_to_everybody_else(root: Path) -> None:
    services.environment(root)
    data = root / ".data"

    for private in (data / "secrets", data / "postgres", data / "postgres" / "cluster", data / "valkey"):
        assert stat.S_IMODE(private.stat().st_mode) == 0o700, private
    for secret in (data / "secret_key", data / "valkey" / "valkey.conf", *(data / "secrets").iterdir()):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600, secret
    # A dropped user walks through, without being able to list.
    assert stat.S_IMODE(data.stat().st_mode) & 0o066 == 0


def test_passwords_never_reach_a_command_line_or_a_log(root: Path) -> None:
    services.environment(root)
    secrets = [path.read_text().strip() for path in (root / ".data" / "secrets").iterdir()]
    assert len(secrets) == 5
    logs = "".join(path.read_text() for path in (root / ".data" / "logs").iterdir())
    lines = "".join(command_lines())

    for secret in secrets:
        assert secret not in logs
        assert secret not in lines


def command_lines() -> Iterator[str]:
    """Every process's but this one's; those that end meanwhile have none."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if path.parent.name != str(os.getpid()):
                yield path.read_text(errors="replace")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_as_root_the_servers_run_as_an_ordinary_user(root: Path) -> None:
    services.environment(root)
    postmaster = Cluster(root / ".data").pid

    assert Path(f"/proc/{postmaster}").stat().st_uid not in {0, os.geteuid()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_as_root_below_a_folder_only_root_can_enter_the_servers_run_all_the_same(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    try:
        given = services.environment(tmp_path)
        assert query(given["DATABASE_URL"], "SELECT 1") == (1,)
        assert stat.S_IMODE((tmp_path / ".data").stat().st_mode) == 0o700
        assert {path.stat().st_uid for path in (tmp_path / ".data" / "postgres").rglob("*")} == {0}
    finally:
        services.stop(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_data_of_a_dropped_user_is_taken_over_when_its_folder_was_closed(root: Path) -> None:
    before = services.environment(root)
    services.stop(root)
    root.chmod(0o700)

    assert services.environment(root) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_needs_nothing_from_root(root: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    home = root / "nobody"
    home.mkdir()
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    # The system's Python: the one that runs the tests may live under root's closed home.
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    program = (
        "import pathlib, psycopg; from controlplane import services; here = pathlib.Path.cwd(); given = services.environment(here)\n"
        "print(psycopg.connect(given['DATABASE_URL']).execute('SELECT current_user').fetchone()[0]); services.stop(here)"
    )
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    done = subprocess.run(
        [python, "-c", program],
        cwd=home,
        env={"PATH": os.defpath, "PYTHONPATH": f"{HOUSE}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"},
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout.strip(), done.stderr) == ("remit_app", "")


@pytest.mark.skipif(not Path("/usr/lib/postgresql/15/bin/initdb").exists(), reason="needs the distribution's PostgreSQL 15")
def test_the_systems_own_postgresql_serves_as_well(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMIT_POSTGRES_BIN", "/usr/lib/postgresql/15/bin")
    given = services.environment(root)

    assert query(given["DATABASE_URL"], "SELECT current_setting('server_version_num')::int / 10000") == (15,)

    services.stop(root)
    monkeypatch.delenv("REMIT_POSTGRES_BIN")
    with pytest.raises(CannotStart, match="was made by PostgreSQL 15") as caught:
        services.environment(root)
    assert caught.value.remedy == "make reset run"
    monkeypatch.setenv("REMIT_POSTGRES_BIN", "/usr/lib/postgresql/15/bin")


def test_the_last_session_out_stops_the_servers_and_not_the_first(root: Path) -> None:
    with surroundings.session(root):
        with surroundings.session(root):
            pass
        assert not surroundings.fallen(root / ".data")
    assert surroundings.fallen(root / ".data")
    assert Cluster(root / ".data").pid is None


def test_a_session_leaves_servers_alone_that_ran_before_it(root: Path) -> None:
    services.environment(root)
    with surroundings.session(root):
        pass

    assert not surroundings.fallen(root / ".data")


def test_each_test_run_has_servers_of_its_own_and_finds_them_empty(root: Path) -> None:
    wanted = root / ".data" / "test"
    with surroundings.fresh_data(root, wanted) as first, surroundings.fresh_data(root, wanted) as second:
        assert (first.name, second.name) == ("test", "test-2")
        first.mkdir(parents=True)
        (first / "left-over").touch()
    with surroundings.fresh_data(root, wanted) as again:
        assert again == first
        assert not (again / "left-over").exists()


def test_wiping_is_refused_while_somebody_uses_the_data(root: Path) -> None:
    with surroundings.session(root), pytest.raises(CannotStart, match="in use"):
        surroundings.wipe(root)
    with surroundings.fresh_data(root, root / ".data" / "test"), pytest.raises(CannotStart, match="in use"):
        surroundings.wipe(root)
    services.environment(root)
    surroundings.wipe(root)

    assert not (root / ".data").exists()


def test_too_little_room_is_said_before_anything_is_made(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "ROOM_MB", 10**12)
    with pytest.raises(CannotStart, match="MB are free") as caught:
        services.environment(root)

    assert caught.value.remedy.startswith("df -h")
    assert not (root / ".data" / "postgres" / "cluster").exists()


def test_a_postgres_that_cannot_start_gives_its_reason_and_a_command(root: Path) -> None:
    services.environment(root)
    services.stop(root)
    with (root / ".data" / "postgres" / "cluster" / "postgresql.conf").open("a") as file:
        file.write("\nshared_buffers = 'plenty'\n")

    with pytest.raises(CannotStart, match=r"PostgreSQL does not start: .*configuration") as caught:
        services.environment(root)
    assert caught.value.remedy.startswith("tail -n 40 ")


def test_a_database_of_yours_gets_roles_and_none_is_started(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    services.environment(root)
    monkeypatch.setenv("DATABASE_URL", Cluster(root / ".data").url)
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    try:
        given = services.environment(elsewhere)
        assert query(given["DATABASE_URL"], "SELECT current_user, current_database()") == ("remit_app", "remit")
        assert query(given["DATABASE_OWNER_URL"], "SELECT current_user") == ("remit_owner",)
        assert not (elsewhere / ".data" / "postgres").exists()

        monkeypatch.setenv("DATABASE_URL", given["DATABASE_URL"])
        with pytest.raises(CannotStart, match="remit_app, who is no superuser, and DATABASE_OWNER_URL is not set"):
            services.environment(elsewhere)

        monkeypatch.setenv("DATABASE_OWNER_URL", given["DATABASE_OWNER_URL"])
        as_they_are = services.environment(elsewhere)
        assert (as_they_are["DATABASE_URL"], as_they_are["DATABASE_OWNER_URL"]) == (given["DATABASE_URL"], given["DATABASE_OWNER_URL"])
        assert "DEMO_DATABASE_URL" not in as_they_are
    finally:
        services.stop(elsewhere)
        monkeypatch.delenv("DATABASE_URL")
        shutil.rmtree(elsewhere)


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
def test_a_url_where_nobody_answers_is_named(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "postgresql://a:b@127.0.0.1:1/x" if name == "DATABASE_URL" else "redis://127.0.0.1:1/0")
    with pytest.raises(CannotStart, match=f"{name} does not answer") as caught:
        services.environment(root)
    assert caught.value.remedy.startswith(f"unset {name}")
    monkeypatch.delenv(name)


def test_importing_the_package_brings_no_django() -> None:
    program = (
        "import sys, controlplane.services.command; print([name for name in sys.modules if name.split('.')[0] in {'django', 'celery'}])"
    )
    told = subprocess.run([sys.executable, "-c", program], cwd=HOUSE, capture_output=True, text=True, check=True).stdout

    assert told.strip() == "[]"
