"""The real providers' clients against a server on loopback: what goes out, what comes back, what fails how."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from controlplane.connectors import interface, models

Reply = tuple[int, dict[str, str], bytes]
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"order_id": {"type": "string", "pattern": "^#W", "default": "#W1"}, "note": {"type": ["string", "null"]}},
    "required": ["order_id"],
    "additionalProperties": False,
}
# One that a provider could enforce strictly, and would rewrite for it.
PLAIN = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
TOOLS = [
    {"name": "get_order", "description": "Reads an order.", "input_schema": SCHEMA},
    {"name": "ping", "description": "Answers.", "input_schema": PLAIN},
]
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "text": "Be brief."},
    {"role": "user", "text": "Where is #W1?"},
    {"role": "assistant", "text": "Looking.", "calls": [{"id": "call_1", "tool": "get_order", "arguments": {"order_id": "#W1"}}]},
    {
        "role": "tool",
        "call_id": "call_1",
        "tool": "get_order",
        "result": {"content": [{"type": "text", "text": "no"}], "structuredContent": {"code": "out_of_scope"}, "isError": True},
    },
]


@dataclass
class Provider:
    """A provider on loopback: answers with `reply`, remembers what it was asked."""

    url: str = ""
    reply: Callable[[], Reply] = lambda: (500, {}, b"")
    asked: list[dict[str, Any]] = field(default_factory=list)

    def answers(self, status: int, body: Any, **headers: str) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.reply = lambda: (status, {"content-type": "application/json"} | named, raw)


@pytest.fixture
def provider() -> Iterator[Provider]:
    here = Provider()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            here.asked.append({"path": self.path, "headers": headers, "body": body})
            status, named, raw = here.reply()
            if status == 0:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in named.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            with contextlib.suppress(OSError):  # the client of a late answer has left
                self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    here.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    yield here
    server.shutdown()
    server.server_close()
    thread.join()


def request(
    provider: Provider,
    kind: str,
    messages: list[dict[str, Any]] | None = None,
    *,
    tools: list[dict[str, Any]] | None = None,
    **options: Any,
) -> models.ModelRequest:
    url = provider.url if kind == "anthropic" else f"{provider.url}/v1"
    model = "claude-test-1" if kind == "anthropic" else "gpt-4.1" if kind == "openai" else "some-local-model"
    chosen = {"base_url": url, "api_key": "sk-test-1", "allow_private": True, "timeout_s": 5.0} | options
    return models.ModelRequest(kind, model, messages or CONVERSATION, TOOLS if tools is None else tools, 321, 0.25, chosen)


def chat(**message: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4.1-2025",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": None} | message,
                "finish_reason": "tool_calls" if message.get("tool_calls") else "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 90,
            "completion_tokens": 7,
            "total_tokens": 97,
            "prompt_tokens_details": {"cached_tokens": 64},
        },
    }


def said(*content: dict[str, Any], stop: str = "end_turn") -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": list(content),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 26, "output_tokens": 7, "cache_read_input_tokens": 64, "cache_creation_input_tokens": 0},
    }


def tool_call(arguments: str) -> dict[str, Any]:
    return {"id": "call_9", "type": "function", "function": {"name": "get_order", "arguments": arguments}}


USAGE = {"input_tokens": 90, "output_tokens": 7, "cached_tokens": 64}


@pytest.mark.parametrize("kind", ["openai", "compatible"])
def test_openai_hears_the_whole_conversation_and_its_answer_comes_back(provider: Provider, kind: str) -> None:
    provider.answers(200, chat(content="Not yours.", tool_calls=[tool_call('{"order_id": "#W2"}')]))

    answer = models.complete(request(provider, kind))

    (asked,) = provider.asked
    assert (asked["path"], asked["headers"]["authorization"]) == ("/v1/chat/completions", "Bearer sk-test-1")
    body = asked["body"]
    assert [(each["role"], each.get("content")) for each in body["messages"]] == [
        ("system", "Be brief."),
        ("user", "Where is #W1?"),
        ("assistant", "Looking."),
        ("tool", '{"error":"{\\"code\\":\\"out_of_scope\\"}"}'),
    ]
    assert json.loads(body["messages"][2]["tool_calls"][0]["function"]["arguments"]) == {"order_id": "#W1"}
    assert body["messages"][3]["tool_call_id"] == "call_1"
    tool, plain = body["tools"]
    assert plain["function"]["parameters"] == PLAIN
    assert plain["function"].get("strict") is not True
    assert tool["function"]["name"] == "get_order"
    assert tool["function"]["parameters"]["properties"] == SCHEMA["properties"]
    assert tool["function"]["parameters"]["additionalProperties"] is False
    assert body["temperature"] == 0.25
    assert 321 in {body.get("max_tokens"), body.get("max_completion_tokens")}
    assert (answer.text, answer.finish_reason, answer.model) == ("Not yours.", "tool_calls", "gpt-4.1-2025")
    assert answer.calls == [{"id": "call_9", "tool": "get_order", "arguments": {"order_id": "#W2"}}]
    assert answer.usage == USAGE


def test_anthropic_hears_the_whole_conversation_and_its_answer_comes_back(provider: Provider) -> None:
    use = {"type": "tool_use", "id": "toolu_9", "name": "get_order", "input": {"order_id": "#W2"}}
    provider.answers(200, said({"type": "text", "text": "Not yours."}, use, stop="tool_use"))

    answer = models.complete(request(provider, "anthropic"))

    (asked,) = provider.asked
    assert (asked["path"].partition("?")[0], asked["headers"]["authorization"]) == ("/v1/messages", "Bearer sk-test-1")
    body = asked["body"]
    assert "Be brief." in json.dumps(body["system"])
    assert [each["role"] for each in body["messages"]] == ["user", "assistant", "user"]
    back = body["messages"][2]["content"][0]
    assert (back["type"], back["tool_use_id"], back["is_error"]) == ("tool_result", "call_1", True)
    assert "out_of_scope" in json.dumps(back["content"])
    assert body["tools"][0]["input_schema"]["properties"] == SCHEMA["properties"]
    assert (body["max_tokens"], body["temperature"]) == (321, 0.25)
    assert (answer.text, answer.finish_reason, answer.model) == ("Not yours.", "tool_calls", "claude-sonnet-4-5-20250929")
    assert answer.calls == [{"id": "toolu_9", "tool": "get_order", "arguments": {"order_id": "#W2"}}]
    assert answer.usage == USAGE


def reply_to(answer: models.Completion) -> list[dict[str, Any]]:
    turn = {"role": "assistant", "text": answer.text, "calls": answer.calls, "reasoning_parts": answer.reasoning_parts}
    results = [{"role": "tool", "call_id": call["id"], "tool": call["tool"], "text": "on its way", "result": {}} for call in answer.calls]
    return [*CONVERSATION[:2], turn, *results]


def test_reasoning_goes_back_to_anthropic_signed_as_it_came(provider: Provider) -> None:
    thought = {"type": "thinking", "thinking": "Hm, #W2.", "signature": "c2lnbmVk"}
    use = {"type": "tool_use", "id": "toolu_9", "name": "get_order", "input": {"order_id": "#W2"}}
    provider.answers(200, said(thought, use, stop="tool_use"))
    answer = models.complete(request(provider, "anthropic"))
    assert answer.reasoning == "Hm, #W2."
    messages = json.loads(json.dumps(reply_to(answer)))  # as it comes back from a database

    models.complete(request(provider, "anthropic", messages))

    content = provider.asked[1]["body"]["messages"][1]["content"]
    assert content[0] == thought
    assert content[1]["type"] == "tool_use"


def test_reasoning_goes_back_to_a_compatible_server_in_its_own_field(provider: Provider) -> None:
    provider.answers(200, chat(reasoning_content="Hm, #W2.", tool_calls=[tool_call('{"order_id": "#W2"}')]))
    answer = models.complete(request(provider, "compatible"))
    assert answer.reasoning == "Hm, #W2."

    models.complete(request(provider, "compatible", reply_to(answer)))

    assert provider.asked[1]["body"]["messages"][2]["reasoning_content"] == "Hm, #W2."


def test_reasoning_without_its_signature_is_not_made_up_into_text(provider: Provider) -> None:
    provider.answers(200, said({"type": "text", "text": "Yes."}))
    messages = [
        *CONVERSATION[:2],
        {"role": "assistant", "text": "Hello.", "reasoning": "secret thought"},
        {"role": "user", "text": "Go on."},
    ]
    models.complete(request(provider, "anthropic", messages))
    assert "secret thought" not in json.dumps(provider.asked)


@pytest.mark.parametrize(
    "written", ['{"order_id": ', '{"a": 1, "a": 2}', '{"a": NaN}', "[1]", '"text"', '{"a": 1e999}', '{"a": "\\ud800"}']
)
def test_arguments_that_are_not_strict_json_become_one_nobody_accepts(provider: Provider, written: str) -> None:
    provider.answers(200, chat(tool_calls=[tool_call(written)]))
    answer = models.complete(request(provider, "compatible"))
    assert list(answer.calls[0]["arguments"]) == ["INVALID_JSON"]


def test_no_arguments_are_an_empty_object(provider: Provider) -> None:
    provider.answers(200, chat(tool_calls=[tool_call("")]))
    assert models.complete(request(provider, "compatible")).calls[0]["arguments"] == {}


def test_a_plain_answer_stops_and_a_cut_one_says_so(provider: Provider) -> None:
    provider.answers(200, chat(content="Hello."))
    answer = models.complete(request(provider, "compatible", [{"role": "user", "text": "Hi"}], tools=[]))
    assert (answer.text, answer.calls, answer.finish_reason) == ("Hello.", [], "stop")
    assert "tools" not in provider.asked[0]["body"]
    provider.answers(200, said({"type": "text", "text": "Hel"}, stop="max_tokens"))
    assert models.complete(request(provider, "anthropic")).finish_reason == "length"


ERROR = {"type": "error", "error": {"type": "some_error", "message": "because", "code": "some_code"}}


@pytest.mark.parametrize("kind", ["openai", "anthropic", "compatible"])
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, models.ProviderRefused),
        (401, models.ProviderRefused),
        (402, models.ProviderRefused),
        (403, models.ProviderRefused),
        (404, models.ProviderRefused),
        (422, models.ProviderRefused),
        (429, models.RateLimited),
        (500, interface.Unknown),
        (502, interface.Unknown),
        (503, models.RateLimited),
        (529, models.RateLimited),
    ],
)
def test_each_status_has_one_meaning_and_one_attempt(provider: Provider, kind: str, status: int, expected: type[Exception]) -> None:
    provider.answers(status, ERROR, retry_after="7")
    with pytest.raises(expected) as failure:
        models.complete(request(provider, kind))
    assert len(provider.asked) == 1
    assert "sk-test-1" not in str(failure.value)
    if isinstance(failure.value, models.RateLimited):
        assert (failure.value.retry_after_s, failure.value.status) == (7.0, status)
    if isinstance(failure.value, models.ProviderRefused):
        assert failure.value.status == status


def test_spent_credit_is_a_refusal_and_not_a_rate(provider: Provider) -> None:
    provider.answers(
        429, {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": "insufficient_quota"}}
    )
    with pytest.raises(models.ProviderRefused) as no:
        models.complete(request(provider, "openai"))
    assert no.value.code == "insufficient_quota"


@pytest.mark.parametrize("kind", ["anthropic", "compatible"])
def test_nobody_listening_is_not_sent(kind: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = Provider(url=f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(interface.NotSent):
            models.complete(request(nobody, kind))


@pytest.mark.parametrize("kind", ["anthropic", "compatible"])
def test_an_answer_that_breaks_off_is_unknown(provider: Provider, kind: str) -> None:
    provider.reply = lambda: (0, {}, b"")
    with pytest.raises(interface.Unknown):
        models.complete(request(provider, kind))
    assert len(provider.asked) == 1


@pytest.mark.parametrize("kind", ["anthropic", "compatible"])
def test_an_answer_that_comes_too_late_is_unknown(provider: Provider, kind: str) -> None:
    late = threading.Event()

    def reply() -> Reply:
        late.wait(20)
        return 200, {}, b"{}"

    provider.reply = reply
    try:
        with pytest.raises(interface.Unknown):
            models.complete(request(provider, kind, timeout_s=0.3))
    finally:
        late.set()


@pytest.mark.parametrize("kind", ["anthropic", "compatible"])
@pytest.mark.parametrize(
    "body", [b"<html>", b"", b"[]", b'"x"', b"null", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b'{"content": 5}']
)
def test_an_answer_that_is_no_completion_is_unknown(provider: Provider, kind: str, body: bytes) -> None:
    provider.answers(200, body)
    with pytest.raises(interface.Unknown):
        models.complete(request(provider, kind))


@pytest.mark.parametrize("kind", ["anthropic", "compatible"])
def test_a_redirect_does_not_carry_the_key_away(provider: Provider, kind: str) -> None:
    provider.answers(307, {}, location=f"{provider.url}/elsewhere")
    with pytest.raises(models.ProviderRefused):
        models.complete(request(provider, kind))
    assert len(provider.asked) == 1


def test_a_private_address_needs_permission(provider: Provider) -> None:
    with pytest.raises(interface.NotSent):
        models.complete(request(provider, "compatible", allow_private=False))
    assert provider.asked == []


@pytest.mark.parametrize(("kind", "missing"), [("compatible", "base_url"), ("openai", "api_key"), ("anthropic", "api_key")])
def test_what_the_caller_left_out_is_not_taken_from_our_environment(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, kind: str, missing: str
) -> None:
    for name in ("OPENAI", "ANTHROPIC"):
        monkeypatch.setenv(f"{name}_API_KEY", "sk-of-the-house")
        monkeypatch.setenv(f"{name}_BASE_URL", provider.url)
    with pytest.raises(models.ProviderRefused) as no:
        models.complete(request(provider, kind, **{missing: None}))
    assert no.value.code == f"{missing}_missing"
    if missing == "base_url":
        provider.answers(200, chat(content="Hello."))
        models.complete(request(provider, kind, api_key=None))
        assert "sk-of-the-house" not in json.dumps(provider.asked)


def test_a_key_is_not_in_a_request_s_repr(provider: Provider) -> None:
    assert "sk-test-1" not in repr(request(provider, "openai"))


def test_threads_share_nothing_that_breaks(provider: Provider) -> None:
    provider.answers(200, chat(content="Hello."))
    texts: list[str] = []
    threads = [threading.Thread(target=lambda: texts.append(models.complete(request(provider, "compatible")).text)) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert texts == ["Hello."] * 6


def test_asking_for_a_script_does_not_import_the_providers() -> None:
    code = (
        "import sys; from controlplane.connectors import models;"
        "models.complete(models.ModelRequest('scripted', 'support-refunds', []));"
        "print([name for name in ('pydantic_ai', 'openai', 'anthropic') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
