"""`make run` with stand-ins for the programs and real servers: what it prints, what it survives, and that it leaves nothing behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from controlplane.services import processes, surroundings
from controlplane.services.ports import any_free
from controlplane.services.postgres import Cluster

pytestmark = pytest.mark.slow
HOUSE = Path(__file__).parents[2]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(root: Path, bare_environment: dict[str, str]) -> Iterator[Start]:
    """Starts a supervisor on the checkout; whatever still runs at the end is killed."""
    (root / "pyproject.toml").write_text('[project]\nname = "remit"\nversion = "0.1.0"\n')
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, port: int | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.services.standin", str(root), str(port or any_free()), *arguments]
        process = subprocess.Popen(command, cwd=HOUSE, env=bare_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate()


def until_ready(process: subprocess.Popen[str]) -> str:
    """All it printed up to the last line of the screen."""
    assert process.stdout
    told: str = ""
    for line in process.stdout:
        told += line
        if "Clean start" in line or line.startswith("{"):
            return told
    process.wait()
    pytest.fail(told + (process.stderr.read() if process.stderr else ""))


def eventually(claim: Callable[[], object], within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def child_pid(root: Path, name: str) -> int:
    return int(json.loads((root / ".data" / "children" / f"{name}.json").read_text())["pid"])


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def test_it_prints_what_is_ready_and_leaves_nothing_behind_after_ctrl_c(root: Path, start: Start) -> None:
    port = any_free()
    process = start(port=port)
    screen = until_ready(process)
    pids = [child_pid(root, name) for name in ("web", "worker", "sweep")]
    assert all(processes.is_alive(pid) for pid in pids)

    process.send_signal(signal.SIGINT)

    assert ended(process) == (0, "")
    assert not any(processes.is_alive(pid) for pid in pids)
    assert surroundings.fallen(root / ".data")
    assert list((root / ".data" / "children").iterdir()) == []
    lines = [" ".join(line.split()) for line in screen.splitlines()]
    assert any(line.startswith("Remit 0.1.0 ready in") for line in lines)
    for line in (
        f"Open http://127.0.0.1:{port}/start/K7QM-2XPD signs you in once",
        "Waiting 1 request needs you: Refund $84.50 to Kestrel Ltd (14:58 left)",
        "Other views Security /start/AAAA Finance /start/BBBB",
        f"Your agent MCP http://127.0.0.1:{port}/mcp REST http://127.0.0.1:{port}/api/v1",
        "Stop Ctrl-C Clean start make reset",
    ):
        assert line in lines
    assert "\033" not in screen
    assert max(len(line) for line in screen.splitlines() if "/.data/" not in line) <= 80


def test_with_json_it_prints_one_object_and_sigterm_ends_it_too(root: Path, start: Start) -> None:
    process = start("json")
    facts = json.loads(until_ready(process))

    assert facts["requests"] == [{"title": "Refund $84.50 to Kestrel Ltd", "id": "APR-1042", "expires_in_s": 898}]
    assert facts["links"]["approver"] == facts["url"] + "/start/K7QM-2XPD"
    assert facts["pid"] == process.pid
    process.terminate()
    assert process.wait(30) == 0


def test_the_second_start_does_not_migrate_again_until_a_migration_changes(root: Path, start: Start) -> None:
    migrations = root / "agents" / "migrations"
    migrations.mkdir(parents=True)
    for change in ("", "", "a new column"):
        (migrations / "0001.py").write_text(change)
        process = start()
        until_ready(process)
        process.terminate()
        assert process.wait(30) == 0

    assert (root / "migrations").read_text().split() == ["owner", "owner"]
    assert (root / "seeds").read_text() == "111"


def test_programs_are_given_the_applications_role_and_not_the_owners(root: Path, start: Start) -> None:
    until_ready(start())
    eventually((root / "worker-ready").exists)

    assert (root / "worker-ready").read_text().startswith("postgresql://remit_app:")


def test_a_killed_child_is_brought_back(root: Path, start: Start) -> None:
    until_ready(start())
    before = child_pid(root, "worker")

    os.kill(before, signal.SIGKILL)

    eventually(lambda: child_pid(root, "worker") != before)
    assert processes.is_alive(child_pid(root, "worker"))


def test_a_killed_postgres_is_brought_back_at_the_same_address(root: Path, start: Start) -> None:
    until_ready(start())
    eventually((root / "worker-ready").exists)
    url = (root / "worker-ready").read_text()
    before = Cluster(root / ".data").pid
    assert before

    os.kill(before, signal.SIGKILL)

    eventually(lambda: Cluster(root / ".data").pid not in {before, None} and Cluster(root / ".data").is_running)
    psycopg.connect(url).close()


def test_what_a_killed_supervisor_left_running_is_ended_by_the_next(root: Path, start: Start) -> None:
    first = start()
    until_ready(first)
    left = [child_pid(root, name) for name in ("web", "worker", "sweep")]
    first.kill()
    first.wait()
    assert all(processes.is_alive(pid) for pid in left)

    second = start()
    until_ready(second)

    assert not any(processes.is_alive(pid) for pid in left)
    second.terminate()
    assert second.wait(30) == 0
    assert surroundings.fallen(root / ".data")


def test_a_note_whose_number_has_become_another_process_ends_nobody(root: Path, start: Start) -> None:
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)
    notes = root / ".data" / "children"
    notes.mkdir(parents=True)
    (notes / "web.json").write_text(json.dumps({"pid": bystander.pid, "birth": "1"}))
    try:
        until_ready(start())
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_child_that_does_not_listen_is_ended_with_all_it_started(root: Path, start: Start) -> None:
    (root / "worker-is-deaf").touch()
    process = start()
    until_ready(process)
    eventually((root / "worker-ready").exists)
    deaf, grandchild = child_pid(root, "worker"), int((root / "grandchild").read_text())

    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0

    assert 4.5 < time.monotonic() - began < 15
    eventually(lambda: not processes.is_alive(deaf) and not processes.is_alive(grandchild))


def test_a_busy_port_is_passed_over_and_said(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        screen = until_ready(start(port=port))

    assert f"Port {port} is busy, {port + 1} is used instead." in screen or f"Port {port} is busy" in screen
    assert f"http://127.0.0.1:{port}/" not in screen


def test_a_second_supervisor_on_the_same_data_is_refused_with_the_address_of_the_first(root: Path, start: Start) -> None:
    first = start()
    until_ready(first)

    code, said = ended(start())

    assert code == 1
    assert f"Remit already runs from {root / '.data'}, at http://127.0.0.1:" in said
    assert f"\n  kill {first.pid}" in said
    assert first.poll() is None


def test_a_child_that_never_stays_up_is_named_with_its_last_words(root: Path, start: Start) -> None:
    (root / "worker-cannot").touch()
    (root / "never-ready").touch()
    code, said = ended(start())

    assert code == 1
    assert said.splitlines() == ["worker does not stay up: the worker has lost its tools", f"  tail -n 40 {root}/.data/logs/worker.log"]
    assert surroundings.fallen(root / ".data")


def test_a_failed_migration_is_one_line_of_cause_and_one_command(root: Path, start: Start) -> None:
    (root / "migrate-cannot").touch()
    code, said = ended(start())

    assert code == 1
    assert said.splitlines() == [
        'migrate failed: relation "agents_agent" already exists',
        f"  tail -n 40 {root}/.data/logs/migrate.log",
    ]


@pytest.mark.parametrize("moment_s", [0.4, 0.9, 1.5])
def test_a_stop_in_the_middle_of_a_start_leaves_nothing_behind(root: Path, start: Start, moment_s: float) -> None:
    process = start()
    time.sleep(moment_s)
    process.terminate()

    assert process.wait(30) in {0, -signal.SIGTERM}
    assert not (root / ".data").exists() or surroundings.fallen(root / ".data")
