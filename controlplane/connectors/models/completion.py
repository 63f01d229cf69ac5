"""One turn of a model, asked and answered, in words no provider owns. Nothing here imports a provider."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Message = Mapping[str, Any]
Tool = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """Messages in the neutral shape; tools as {"name", "description", "input_schema"}.

    `options`: base_url, api_key, timeout_s, allow_private, headers, thinking (real providers); path, run_id (recorded). It may hold a key,
    so it has no repr.
    """

    provider: str
    model: str
    messages: Sequence[Message]
    tools: Sequence[Tool] = ()
    max_output_tokens: int = 4096
    temperature: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Completion:
    """`finish_reason` is stop, tool_calls, length, content_filter or error. cached_tokens are part of input_tokens.

    `reasoning_parts` is the provider's signed form of its reasoning: hand it back unread as the assistant message's "reasoning_parts".
    """

    text: str = ""
    reasoning: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=lambda: {"input_tokens": 0, "output_tokens": 0, "cached_tokens": 0})
    model: str = ""
    finish_reason: str = "stop"
    reasoning_parts: list[dict[str, Any]] = field(default_factory=list, repr=False)


class RateLimited(Exception):
    """The provider did not serve the request and may later. Nothing was spent."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self.status = status


class ProviderRefused(Exception):
    """The provider, or we before it, will never serve this request as it is. Nothing was spent."""

    def __init__(self, message: str, *, code: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
