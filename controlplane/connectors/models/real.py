"""Real providers through pydantic-ai's model layer. One attempt each: retries belong to whoever pays for them.

Importing this module takes seconds, so only `models.complete` imports it.
"""

import asyncio
import math
from collections.abc import Iterator, Mapping
from typing import Any

import anthropic
import httpx2
import openai
from pydantic_ai import direct, exceptions, settings
from pydantic_ai import messages as parts
from pydantic_ai import models as layer
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.tools import ToolDefinition

from audit import canonical, outcomes, strict
from controlplane import egress
from controlplane.connectors import interface
from controlplane.connectors.models.completion import Completion, Message, ModelRequest, ProviderRefused, RateLimited, Tool

TIMEOUT_S = 120.0
HOMES = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
LONGEST_MESSAGE = 500
UNREADABLE = "INVALID_JSON"
FINISH = {"tool_call": "tool_calls"}
# What the SDKs raise over an answer of another shape than they expect: the work may have been done and billed.
SURPRISES = (TypeError, ValueError, AttributeError, LookupError, AssertionError)
# Egress frames the message itself.
FRAMING = {"host", "content-length", "transfer-encoding", "accept-encoding", "connection"}


class OneWayOut(httpx2.AsyncBaseTransport):
    """The SDKs' requests leave through egress like every other: checked addresses, no redirects, no proxies.

    It blocks, and may: its event loop has this one request to wait for. It keeps egress's own verdict, which the SDKs would blur.
    """

    def __init__(self, request: ModelRequest) -> None:
        self.options = request.options
        self.failure: interface.NotSent | interface.Unknown | None = None
        self.status = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        out = egress.Request(
            method=request.method,
            url=str(request.url),
            headers={name: value for name, value in request.headers.items() if name.lower() not in FRAMING},
            body=await request.aread(),
            timeout_s=float(self.options.get("timeout_s") or TIMEOUT_S),
            allow_private=bool(self.options.get("allow_private")),
            partition=("model", str(self.options.get("api_key") or "")),
        )
        try:
            answer = egress.client.send(out)
        except (interface.NotSent, interface.Unknown) as failure:
            self.failure = failure
            raise
        self.status = answer.status
        return httpx2.Response(answer.status, headers=dict(answer.headers), content=answer.body, request=request)


def complete(request: ModelRequest) -> Completion:
    """Asks once. Raises NotSent, Unknown, RateLimited or ProviderRefused; never call it from a running event loop."""
    # What a caller leaves out the SDKs would look for in our environment: a tenant's call never runs on the house's key or address.
    needed = "base_url" if request.provider == "compatible" else "api_key"
    if not request.options.get(needed):
        raise ProviderRefused(f"The provider {request.provider} needs options.{needed}.", code=f"{needed}_missing")
    out = OneWayOut(request)
    try:
        return _completion(request, asyncio.run(_ask(request, out)))
    except exceptions.ModelAPIError as fault:
        raise out.failure or _in_our_words(fault, out.status) from fault
    except exceptions.UserError as fault:
        raise ProviderRefused(_short(fault), code="not_configured") from fault
    except (exceptions.UnexpectedModelBehavior, *SURPRISES) as fault:
        if not out.status:
            raise
        raise interface.Unknown(f"The provider answered something that is not a completion: {_short(fault)}") from fault


async def _ask(request: ModelRequest, out: OneWayOut) -> parts.ModelResponse:
    asked = settings.ModelSettings(max_tokens=request.max_output_tokens)
    if request.temperature is not None:
        asked["temperature"] = request.temperature
    if request.options.get("thinking"):
        asked["thinking"] = request.options["thinking"]
    async with httpx2.AsyncClient(follow_redirects=False, trust_env=False, transport=out) as client:
        return await direct.model_request(
            _model(request, client),
            list(_messages(request)),
            model_settings=asked,
            model_request_parameters=layer.ModelRequestParameters(function_tools=[_tool(tool) for tool in request.tools]),
            instrument=False,
        )


def _model(request: ModelRequest, client: httpx2.AsyncClient) -> layer.Model:
    key, headers = str(request.options.get("api_key") or ""), dict(request.options.get("headers") or {})
    base_url = str(request.options.get("base_url") or HOMES[_system(request)])
    if request.provider == "anthropic":
        there = anthropic.AsyncAnthropic(api_key=key, base_url=base_url, default_headers=headers, http_client=client, max_retries=0)
        return AnthropicModel(request.model, provider=AnthropicProvider(anthropic_client=there))
    here = openai.AsyncOpenAI(
        # Local servers want no key, the client wants one.
        api_key=key or "none",
        base_url=base_url,
        default_headers=headers,
        http_client=client,
        max_retries=0,
    )
    return OpenAIChatModel(request.model, provider=OpenAIProvider(openai_client=here))


def _tool(tool: Tool) -> ToolDefinition:
    # strict=False: the provider may not rewrite the schema the gate will check against.
    return ToolDefinition(
        name=str(tool["name"]),
        description=tool.get("description") or None,
        parameters_json_schema=dict(tool.get("input_schema") or {"type": "object", "properties": {}}),
        strict=False,
    )


def _messages(request: ModelRequest) -> Iterator[parts.ModelMessage]:
    """Neighbours on our side of the conversation become one request: providers want the sides to alternate."""
    tools = {call["id"]: call["tool"] for message in request.messages for call in message.get("calls") or []}
    ours: list[parts.ModelRequestPart] = []
    for message in request.messages:
        if message.get("role") == "assistant":
            if ours:
                yield parts.ModelRequest(parts=ours)
                ours = []
            yield parts.ModelResponse(parts=list(_said(message)), provider_name=_system(request))
        else:
            ours.append(_heard(message, tools))
    if ours:
        yield parts.ModelRequest(parts=ours)


def _heard(message: Message, tools: Mapping[str, str]) -> parts.ModelRequestPart:
    text = str(message.get("text") or "")
    if message.get("role") == "system":
        return parts.SystemPromptPart(content=text)
    if message.get("role") != "tool":
        return parts.UserPromptPart(content=text)
    result = message.get("result") or {}
    call_id = str(message["call_id"])
    return parts.ToolReturnPart(
        tool_name=str(message.get("tool") or tools.get(call_id, "")),
        content=text or _result_text(result),
        tool_call_id=call_id,
        outcome="failed" if result.get("isError") else "success",
    )


def _result_text(result: Mapping[str, Any]) -> str:
    """What a model reads of an MCP result: the structured half where there is one, it says more than the text."""
    if isinstance(result.get("structuredContent"), Mapping):
        return canonical.text(result["structuredContent"])
    return "\n".join(str(part.get("text") or f"[{part.get('type')}]") for part in result.get("content") or [])


def _said(message: Message) -> Iterator[parts.ModelResponsePart]:
    for part in message.get("reasoning_parts") or []:
        yield parts.ThinkingPart(
            content=part["content"], id=part.get("id"), signature=part.get("signature"), provider_name=part.get("provider")
        )
    if message.get("text"):
        yield parts.TextPart(content=str(message["text"]))
    for call in message.get("calls") or []:
        yield parts.ToolCallPart(tool_name=call["tool"], args=dict(call.get("arguments") or {}), tool_call_id=call["id"])


def _system(request: ModelRequest) -> str:
    return "anthropic" if request.provider == "anthropic" else "openai"


def _completion(request: ModelRequest, response: parts.ModelResponse) -> Completion:
    thoughts = [part for part in response.parts if isinstance(part, parts.ThinkingPart)]
    calls = [part for part in response.parts if isinstance(part, parts.ToolCallPart)]
    reason = str(response.finish_reason or ("tool_call" if calls else "stop"))
    return Completion(
        text="".join(part.content for part in response.parts if isinstance(part, parts.TextPart)),
        reasoning="\n".join(part.content for part in thoughts if part.content),
        calls=[{"id": part.tool_call_id, "tool": part.tool_name, "arguments": _arguments(part.args)} for part in calls],
        usage={
            "input_tokens": response.usage.input_tokens,
            "output_tokens": response.usage.output_tokens,
            "cached_tokens": response.usage.cache_read_tokens,
        },
        model=response.model_name or request.model,
        finish_reason=FINISH.get(reason, reason),
        reasoning_parts=[
            {"content": part.content, "id": part.id, "signature": part.signature, "provider": part.provider_name} for part in thoughts
        ],
    )


def _arguments(written: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """The arguments by our strict reading. What it refuses (NaN, a key twice, half an object) becomes one argument no schema names."""
    try:
        raw = written.encode() if isinstance(written, str) else canonical.encode(written or {})
        value = strict.parse(raw or b"{}")
    except (outcomes.Refused, ValueError, TypeError):
        return {UNREADABLE: str(written)[:2000]}
    return value if isinstance(value, dict) else {UNREADABLE: str(written)[:2000]}


def _in_our_words(fault: exceptions.ModelAPIError, status: int) -> Exception:
    said = _short(fault)
    match fault:
        case exceptions.ModelRateLimitError() | exceptions.ModelUnavailableError():
            return RateLimited(said, retry_after_s=_seconds(fault.retry_after), status=status)
        case exceptions.ModelQuotaExceededError() | exceptions.ModelRequestRejectedError():
            return ProviderRefused(said, code=fault.provider_error_code or fault.provider_error_type or "", status=status)
    if 300 <= status < 500:
        return ProviderRefused(said, code=fault.provider_error_code or "", status=status)
    return interface.Unknown(f"Whether the provider did the work is not known: {said}")


def _seconds(said: float | None) -> float | None:
    return said if said is not None and math.isfinite(said) and said >= 0 else None


def _short(fault: Exception) -> str:
    return str(fault)[:LONGEST_MESSAGE]
