"""The public doors as a client sees them: REST and MCP over kept-alive HTTP, one connection per thread."""

import http.client
import itertools
import json
import threading
import time
from typing import Any

from tests.real import scores

HELD = "pending_approval"
WAIT_S = 25
GIVE_UP_AFTER_S = 120.0
IDLE_S = 10.0  # a connection that lay idle longer may have been closed by the server; a call is never sent twice, so it is not risked


class DoorAnswered(Exception):
    """A door gave an answer that the harness did not ask for."""


class Doors:
    def __init__(self, *, host: str = "127.0.0.1", port: int) -> None:
        self._address = (host, port)
        self._local = threading.local()
        self._ids = itertools.count(1)

    def exchange(self, method: str, path: str, token: str, body: Any = None) -> tuple[int, Any]:
        """(status, parsed JSON) of one exchange; never repeated."""
        connection, used_at = getattr(self._local, "connection", (None, 0.0))
        if connection is None or time.monotonic() - used_at > IDLE_S:
            if connection is not None:
                connection.close()
            connection = http.client.HTTPConnection(*self._address, timeout=90)
        headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
        raw = None
        if body is not None:
            raw = json.dumps(body, ensure_ascii=False).encode()
            headers["content-type"] = "application/json"
        if path == "/mcp":
            headers["mcp-protocol-version"] = "2025-11-25"
        try:
            connection.request(method, path, raw, headers)
            response = connection.getresponse()
            text = response.read().decode()
        except BaseException:
            connection.close()
            self._local.connection = (None, 0.0)
            raise
        self._local.connection = (connection, time.monotonic())
        return response.status, _parsed(response.getheader("content-type") or "", text)

    def ask(self, method: str, path: str, token: str, body: Any = None) -> Any:
        """The JSON of a 2xx answer; anything else raises."""
        status, answer = self.exchange(method, path, token, body)
        if not 200 <= status < 300:
            raise DoorAnswered(f"{method} {path}: {status} {json.dumps(answer)[:1500]}")
        return answer

    def call_over_mcp(self, token: str, tool: str, arguments: Any) -> tuple[scores.Answer, dict[str, Any]]:
        """The answer and, for a held call, what the agent was told to wait with."""
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
        status, reply = self.exchange("POST", "/mcp", token, request)
        if not isinstance(reply, dict) or ("result" not in reply and "error" not in reply):
            raise DoorAnswered(f"tools/call {tool}: {status} {json.dumps(reply)[:1500]}")
        if "error" in reply:
            error = reply["error"]
            data = error.get("data") if isinstance(error.get("data"), dict) else {}
            code = str(data.get("code") or f"json-rpc {error.get('code')}")
            return scores.Answer(status="refused", code=code, text=str(error.get("message"))), data
        result = reply["result"]
        facts = result.get("structuredContent") if isinstance(result.get("structuredContent"), dict) else {}
        if facts.get("status") == HELD:
            return scores.Answer(status=HELD, call=facts["call"]), facts
        if result.get("isError") and "code" in facts:
            return scores.Answer(status="refused", code=str(facts["code"]), text=text_of(result), call=str(facts.get("call") or "")), facts
        return scores.Answer(status="applied", text=text_of(result), is_error=bool(result.get("isError"))), facts

    def call_over_rest(self, token: str, tool: Any, arguments: Any) -> scores.Answer:
        _status, answer = self.exchange("POST", "/api/v1/calls", token, {"tool": tool, "arguments": arguments})
        return answer_of(answer)

    def known(self, token: str, call: str) -> scores.Answer:
        """What GET /calls/{id} says now, with the fingerprint."""
        return answer_of(self.ask("GET", f"/api/v1/calls/{call}", token))

    def outcome(self, token: str, call: str) -> scores.Answer:
        """Waits until a held call is no longer pending."""
        until = time.monotonic() + GIVE_UP_AFTER_S
        while True:
            answer = answer_of(self.ask("GET", f"/api/v1/calls/{call}?wait={WAIT_S}", token))
            if answer.status not in {HELD, "running"} or time.monotonic() > until:
                return answer


def answer_of(answer: dict[str, Any]) -> scores.Answer:
    call = answer.get("call")
    known: dict[str, Any] = {"call": str(call) if call else "", "fingerprint": str(answer.get("fingerprint") or "")}
    if "code" in answer and "result" not in answer:
        return scores.Answer(status="refused", code=str(answer["code"]), text=str(answer.get("detail") or ""), **known)
    result = answer.get("result") or {}
    return scores.Answer(status=str(answer.get("status")), text=text_of(result), is_error=bool(result.get("isError")), **known)


def text_of(result: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in result.get("content") or [] if isinstance(part, dict))


def _parsed(content_type: str, text: str) -> Any:
    if content_type.startswith("text/event-stream"):
        data = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
        return json.loads(data[-1]) if data else None
    return json.loads(text) if text else None
