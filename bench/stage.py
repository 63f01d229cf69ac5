"""The stage a measurement needs: two upstreams, the product's own processes, a workspace with one agent, and runs for it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import load
from tests.real import doors, product, tape

HERE = Path(__file__).parent
RUNS = 16
CAST = {"olga": "owner", "ann": "approver"}
READS = {"echo": "echo", "sdk_echo": "echo-sdk"}
MOST = 2_000_000_000
LIMITS = {"tool_calls": MOST, "steps": MOST, "tokens": MOST, "seconds": 86_400, "micros": MOST, "retries": MOST}


@dataclass(frozen=True, slots=True)
class Stage:
    product: product.Product
    doors: doors.Doors
    direct: dict[str, str]  # tool -> the address of its upstream
    tokens: list[str]  # one run each
    approver: str

    def governed(self, tool: str) -> load.Target:
        return load.Target(f"{self.product.url}/mcp", mcp_call(tool), must="echo:hi", tokens=self.tokens[:1], headers=MCP)

    def ungoverned(self, tool: str) -> load.Target:
        return load.Target(self.direct[tool], mcp_call(tool), must="echo:hi", headers=MCP)

    def rest(self, *, runs: int = RUNS) -> load.Target:
        body = {"tool": "echo", "arguments": {"text": "hi %ID%"}}
        return load.Target(f"{self.product.url}/api/v1/calls", body, must="echo:hi", tokens=self.tokens[:runs])

    def vote_to_applied_ms(self) -> float:
        """One held write: from the approver's click to the moment the waiting agent has its result."""
        answer, facts = self.doors.call_over_mcp(self.tokens[0], "store", {"text": f"at {time.time_ns()}"})
        if answer.status != doors.HELD:
            raise load.Unanswered(f"store: {answer}")
        began = time.perf_counter()
        ballot = {"verdict": "approve", "plan": facts["plan"], "reason": ""}
        self.doors.ask("POST", f"/api/v1/approvals/{facts['approval']}/votes", self.approver, ballot)
        told = self.doors.outcome(self.tokens[0], answer.call)
        if told.status != "applied":
            raise load.Unanswered(f"store: {told}")
        return (time.perf_counter() - began) * 1000


MCP = {"MCP-Protocol-Version": "2025-11-25"}


def mcp_call(tool: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": "%ID%", "method": "tools/call", "params": {"name": tool, "arguments": {"text": "hi %ID%"}}}


@contextmanager
def set_up(logs: Path) -> Iterator[Stage]:
    with ExitStack() as leaving:
        running = leaving.enter_context(product.Product(logs=logs))
        direct = {tool: leaving.enter_context(upstream(tool, logs)) for tool in READS}
        running.manage("migrate", "--verbosity", "0", owner=True)
        tokens = running.bootstrap(CAST)["tokens"]
        running.start()
        rest = doors.Doors(port=running.port)
        _furnish(rest, tokens["olga"], direct)
        wanted = {"agent": "bench", "workspace": "desk", "reference": "bench", "subject": [], "expires_in_s": 86_400}
        runs = [rest.ask("POST", "/api/v1/runs", tokens["olga"], wanted)["token"] for _ in range(RUNS)]
        yield Stage(product=running, doors=rest, direct=direct, tokens=runs, approver=tokens["ann"])


def _furnish(rest: doors.Doors, owner: str, direct: dict[str, str]) -> None:
    for tool, slug in READS.items():
        connector = {
            "workspace": "desk",
            "slug": slug,
            "kind": "mcp",
            "url": direct[tool],
            "headers": {},
            "timeout_s": 30,
            "allow_private": True,
        }
        rest.ask("POST", "/api/v1/connectors", owner, connector)
        rest.ask("POST", f"/api/v1/connectors/{slug}/discover", owner, {})
    facts = {"reversible": False, "data_domain": "bench", "price_micros": 0, "subjects": {}, "preview": None, "redact": []}
    for tool in READS:
        rest.ask("POST", f"/api/v1/tools/{tool}/confirm", owner, facts | {"is_write": False, "risk": "low", "connector_class": "E0"})
    rest.ask("POST", "/api/v1/tools/store/confirm", owner, facts | {"is_write": True, "risk": "medium", "connector_class": "E4"})
    rules = rest.ask("POST", "/api/v1/policies", owner, {"workspace": "desk", "cedar": (HERE / "policies.cedar").read_text()})
    rest.ask("POST", f"/api/v1/policies/{rules['id']}/activate", owner, {})
    agent = {"workspace": "desk", "slug": "bench", "name": "Bench", "category": "bounded", "stage": "GATED"}
    rest.ask(
        "POST",
        "/api/v1/agents",
        owner,
        agent | {"purpose": "Is measured.", "never": ["Store anything that nobody signed."], "output": "text"},
    )
    rest.ask("POST", "/api/v1/agents/bench/versions", owner, {"prompt": "", "tools": [*READS, "store"], "models": []})
    rest.ask("PUT", "/api/v1/agents/bench/limits", owner, LIMITS)


@contextmanager
def upstream(tool: str, logs: Path) -> Iterator[str]:
    """Serves one of the two upstreams until the block ends, and yields its address."""
    port, logs_to = tape.free_port(), logs / f"upstream-{tool}.log"
    serve = ["--interface", "asgi", "--host", "127.0.0.1", "--port", str(port), "--no-ws", "--log-level", "warning"]
    command = ["granian", *serve, "bench.upstream:application"] if tool == "echo" else ["bench.upstream_sdk", str(port)]
    with logs_to.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=HERE.parent,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(port, process)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        product.end_group(process)


def wait_for(port: int, process: subprocess.Popen[bytes], *, within_s: float = 30.0) -> None:
    until = time.monotonic() + within_s
    while time.monotonic() < until and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise product.ProductFailed(f"nothing answers on port {port}")
