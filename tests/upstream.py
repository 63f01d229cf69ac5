"""A real MCP server on loopback for tests: a bank of accounts with state. It records what arrives and can be told to misbehave."""

import http.server
import json
import threading
from dataclasses import dataclass, field
from typing import Any

TOOLS: list[dict[str, Any]] = [
    {
        "name": "get_account",
        "title": "Look at an account",
        "description": "Balance and owner.",
        "inputSchema": {"type": "object", "properties": {"account": {"type": "string"}}, "required": ["account"]},
    },
    {
        "name": "pay",
        "title": "Pay",
        "description": "Move money out of an account.",
        "inputSchema": {
            "type": "object",
            "properties": {"account": {"type": "string"}, "amount": {"type": "integer", "minimum": 1}, "note": {"type": "string"}},
            "required": ["account", "amount"],
        },
    },
    {
        "name": "close_account",
        "title": "Close an account",
        "description": "For ever.",
        "inputSchema": {"type": "object", "properties": {"account": {"type": "string"}}, "required": ["account"]},
    },
    {
        "name": "slow_read",
        "title": "A slow read",
        "description": "Waits for the event.",
        "inputSchema": {"type": "object", "properties": {}},
    },
]


@dataclass
class Bank:
    """The upstream's state. `arrived` lists (tool, arguments, idempotency key) in order; `applied` maps keys to answers."""

    accounts: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {name: {"account": name, "balance": 1000, "owner": f"customer-{name}", "open": True} for name in "abc"}
    )
    arrived: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)
    applied: dict[str, dict[str, Any]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    hang_up_after: str = ""  # a tool that is applied, after which the connection is cut without an answer
    gate: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def writes(self) -> list[tuple[str, dict[str, Any], str]]:
        """What arrived that changes something."""
        return [item for item in self.arrived if item[0] in {"pay", "close_account"}]

    def call(self, tool: str, arguments: dict[str, Any], key: str) -> dict[str, Any]:
        """Answer one call as an MCP result. The same key is applied once."""
        if tool == "slow_read":
            self.gate.wait(10)
        with self.lock:
            self.arrived.append((tool, arguments, key))
            if key in self.applied:
                return self.applied[key]
            account = self.accounts.get(arguments.get("account", ""))
            if tool == "slow_read":
                return _result({"waited": True})
            if account is None:
                return {"content": [{"type": "text", "text": "no such account"}], "isError": True}
            if tool == "pay":
                account["balance"] -= arguments["amount"]
            if tool == "close_account":
                account["open"] = False
            answer = _result(dict(account))
            if tool != "get_account":
                self.applied[key] = answer
            return answer


def _result(value: dict[str, Any]) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": json.dumps(value)}], "structuredContent": value, "isError": False}


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, bank: Bank) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bank = bank


class Handler(http.server.BaseHTTPRequestHandler):
    """MCP as far as a bank needs it."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "id" not in message:
            return self._send(202, b"")
        answer = self._answer(message["method"], message.get("params", {}))
        if answer is None:
            self.close_connection = True
            return None
        return self._send(200, json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}).encode())

    def _answer(self, method: str, params: dict[str, Any]) -> dict[str, Any] | None:
        """What to say; None to hang up without a word."""
        if method == "initialize":
            version = params["protocolVersion"]
            return {"result": {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": "bank", "version": "1"}}}
        if method == "tools/list":
            return {"result": {"tools": TOOLS}}
        if method == "tools/call":
            bank = self.server.bank
            result = bank.call(params["name"], params.get("arguments", {}), self.headers.get("idempotency-key", ""))
            return None if bank.hang_up_after == params["name"] else {"result": result}
        return {"error": {"code": -32601, "message": "no such method"}}

    def do_GET(self) -> None:
        self._send(405, b"")

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve() -> Bank:
    """Start the bank on a free port; it ends with the test process."""
    bank = Bank()
    server = Server(bank)
    bank.url = f"http://127.0.0.1:{server.server_port}/mcp"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return bank
