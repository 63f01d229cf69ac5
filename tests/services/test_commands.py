"""The command line as make uses it: exit codes, and troubles said in two lines."""

import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from controlplane.services import processes, surroundings
from controlplane.services.report import Ready, Report

pytestmark = pytest.mark.slow
HOUSE = Path(__file__).parents[2]


def services(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "controlplane.services", *arguments]
    return subprocess.run(command, cwd=HOUSE, env=environment, capture_output=True, text=True, timeout=120, check=False)


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The two lines of a trouble."""
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    return lines


def test_a_command_runs_beside_servers_of_its_own_and_gives_its_exit_code(root: Path, bare_environment: dict[str, str]) -> None:
    data = root / ".data" / "test"
    program = "import os, psycopg, sys; psycopg.connect(os.environ['DATABASE_URL']).close(); print(os.environ['REMIT_DEMO']); sys.exit(7)"
    done = services(bare_environment, "exec", "--fresh", str(data), "--", sys.executable, "-c", program)

    assert (done.returncode, done.stdout.strip(), done.stderr) == (7, "1", "")
    assert surroundings.fallen(data)


def test_a_command_may_have_options_of_its_own(root: Path, bare_environment: dict[str, str]) -> None:
    done = services(bare_environment, "exec", "--fresh", str(root / "t"), "--", "echo", "--fresh", "-n", "--", "x")

    assert done.stdout == "--fresh -n -- x\n"


def test_sigterm_reaches_the_command_and_the_servers_stop(root: Path, bare_environment: dict[str, str]) -> None:
    data, mark = root / ".data" / "test", root / "pid"
    command = [
        sys.executable,
        "-m",
        "controlplane.services",
        "exec",
        "--fresh",
        str(data),
        "--",
        "sh",
        "-c",
        f"echo $$ > {mark}; exec sleep 600",
    ]
    process = subprocess.Popen(command, cwd=HOUSE, env=bare_environment)
    deadline = time.monotonic() + 60
    while not (mark.exists() and mark.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    process.send_signal(signal.SIGTERM)

    assert process.wait(30) == 128 + signal.SIGTERM
    assert not processes.is_alive(int(mark.read_text()))
    assert surroundings.fallen(data)


def test_a_command_that_does_not_exist_is_named(root: Path, bare_environment: dict[str, str]) -> None:
    done = services(bare_environment, "exec", "--fresh", str(root / "t"), "--", "/no/such/program")

    assert said(done)[0] == "/no/such/program does not exist"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "no-such-host.invalid"])
def test_the_demo_refuses_every_address_but_this_machines_own(bare_environment: dict[str, str], host: str) -> None:
    cause, remedy = said(services(bare_environment, "run", "--host", host))

    assert f"{host} is not it" in cause
    assert remedy == "  make run HOST=127.0.0.1"


def test_a_missing_postgresql_is_one_line_of_cause_and_one_command(root: Path, bare_environment: dict[str, str]) -> None:
    environment = bare_environment | {"REMIT_POSTGRES_BIN": "/nowhere"}
    cause, remedy = said(services(environment, "exec", "--fresh", str(root / "t"), "--", "true"))

    assert cause == "PostgreSQL 15 or newer is not installed in REMIT_POSTGRES_BIN=/nowhere"
    assert remedy.startswith("  make setup")


def test_a_missing_virtual_environment_is_one_line_of_cause_and_one_command(bare_environment: dict[str, str]) -> None:
    command = [sys.executable, "-S", "-m", "controlplane.services", "run"]
    environment = {name: value for name, value in bare_environment.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=HOUSE, env=environment, capture_output=True, text=True, check=False)

    assert said(done) == [f"psycopg is not installed for {sys.executable}", "  make setup"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_folder_that_is_closed_to_us_is_named(root: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    done = subprocess.run(
        [python, "-m", "controlplane.services", "exec", "--fresh", str(root / "t"), "--", "true"],
        cwd=HOUSE,
        env={"PATH": os.defpath, "PYTHONPATH": packages, "PYTHONDONTWRITEBYTECODE": "1"},
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )

    assert said(done) == [f"{root}/.t.lock cannot be written: Permission denied", f"  ls -ld {root}/.t.lock"]


@pytest.mark.parametrize(("no_color", "bold"), [("", True), ("1", False)])
def test_colour_is_for_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_color: str, *, bold: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", no_color)
    Report(as_json=False).ready(Ready("0.1.0", 7.4, "http://127.0.0.1:8000", Path(".data"), None))

    assert ("\033[1m" in capsys.readouterr().out) is bold
