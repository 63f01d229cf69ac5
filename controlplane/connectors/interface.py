"""What a connector is: the words between the gate and a tool server, and the two questions that any server with reads can answer.

Its class says what the other side offers after a crash: E0 is a read, E1 honours our key, E2 a precondition, E3 can be asked, E4 nothing.
"""

import copy
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from agents.offers import Offer
from audit import outcomes, strict
from controlplane import egress

NotSent = egress.NotSent
Unknown = egress.Unknown


@dataclass(frozen=True, slots=True)
class Upstream:
    """`headers` are rendered and may differ from call to call; `identity` (the connector's id) tells equal-looking upstreams apart."""

    kind: str
    slug: str
    url: str
    headers: Mapping[str, str]
    timeout_s: float
    allow_private: bool
    protocol: str = ""  # an MCP revision; empty: ask the server
    identity: str = ""
    document: str = ""  # an OpenAPI document as JSON text; empty: ask the server


@dataclass(frozen=True, slots=True)
class Outbound:
    """`detail` is what the tool version's connector noted at discovery. Without a class the call is taken for an opaque write."""

    upstream: Upstream
    operation: str
    arguments: dict[str, Any]
    idempotency_key: str
    call_id: str
    detail: Mapping[str, Any]
    connector_class: str = "E4"

    @property
    def is_read(self) -> bool:
        return self.connector_class == "E0"


@dataclass(frozen=True, slots=True)
class Answer:
    """`result` is MCP-shaped: content, isError, and structuredContent when there is a JSON object to give."""

    result: dict[str, Any]
    is_error: bool


@dataclass(frozen=True, slots=True)
class Preview:
    entity: str
    before: dict[str, Any]
    after: dict[str, Any]
    kind: str = "fields"
    facts: dict[str, Any] = field(default_factory=dict)


class DiscoveryFailed(outcomes.Refused):
    """The upstream could not be asked for its tools, or what it listed cannot be taken over as it is."""

    code: ClassVar[str] = "discovery_failed"


class PreviewFailed(outcomes.Refused):
    """The present state could not be read, so nobody can be shown what would change."""

    code: ClassVar[str] = "preview_failed"


class Connector(Protocol):
    def send(self, outbound: Outbound, /) -> Answer:
        """One attempt. Raises NotSent or Unknown; what the upstream itself says went wrong is an Answer."""

    def discover(self, upstream: Upstream, /) -> list[Offer]:
        """Raises DiscoveryFailed."""

    def preview(self, outbound: Outbound, spec: Mapping[str, Any] | None, /) -> Preview | None:
        """None when there is no spec. Raises PreviewFailed."""

    def look_up(self, outbound: Outbound, /) -> Answer | None:
        """An answer only when the upstream shows that the call happened; None decides nothing. Raises NotSent or Unknown."""


def answer(text: str, *, structured: Any = None, is_error: bool = False) -> Answer:
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": is_error}
    if isinstance(structured, dict):
        result["structuredContent"] = structured
    return Answer(result, is_error)


def text_of(found: Answer) -> str:
    return "\n".join(str(block.get("text", "")) for block in found.result["content"] if block.get("type") == "text")


def parse(raw: bytes) -> Any:
    """An upstream's JSON: as strict as our own callers', with more room. Raises strict.Malformed."""
    size = egress.ANSWER_BYTES
    return strict.parse(raw, max_bytes=size, max_depth=64, max_keys=200_000, max_string=size, max_array=100_000)


# Names under which credentials travel: two callers that differ in one of these are two callers to the upstream.
_CREDENTIAL = re.compile(r"auth|cookie|key|token|secret|credential|session|tenant|account", re.IGNORECASE)


def identity(upstream: Upstream) -> tuple[Any, ...]:
    """What may share connections and sessions: not the headers that name a run, but every one that says who is calling."""
    credentials = tuple(item for item in sorted(upstream.headers.items()) if _CREDENTIAL.search(item[0]))
    return (upstream.kind, upstream.slug, upstream.identity, upstream.url, upstream.protocol, credentials)


# Asking by reading ----------------------------------------------------------------------------------------------------------------------

Read = Callable[[str, dict[str, Any]], Answer]
_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_.-]{1,128})\}", re.ASCII)


def preview(outbound: Outbound, spec: Mapping[str, Any] | None, read: Read) -> Preview | None:
    """Reads the entity that the call is about and writes the expected change into a copy.

    The spec is `{"tool": .., "arguments": {name: binding}, "entity": "order/{order_id}", "set": {pointer: binding}}`, and a binding is
    `{"argument": name}`, `{"value": ..}` or `{"idempotency_key": true}`. An argument that the call leaves out is left out of the read, and
    its place is left as it is.
    """
    if spec is None:
        return None
    try:
        found = read(spec["tool"], _bound(outbound, spec.get("arguments", {})))
        changes = _bound(outbound, spec.get("set", {}))
    except (NotSent, Unknown) as error:
        raise PreviewFailed(f"The present state could not be read: {error}", rule=str(spec["tool"])) from None
    except (LookupError, TypeError, AttributeError):
        raise PreviewFailed(
            "The tool's preview is not written as one.", next_step="Correct the preview and confirm the tool again."
        ) from None
    before = _state(found, str(spec["tool"]))
    after = copy.deepcopy(before)
    for pointer, value in changes.items():
        _write(after, pointer, copy.deepcopy(value))
    entity = _PLACEHOLDER.sub(lambda name: str(outbound.arguments.get(name[1], "")), str(spec.get("entity", "")))
    return Preview(entity, before, after)


def look_up(outbound: Outbound, read: Read) -> Answer | None:
    """`detail["read_back"]` = `{"tool": .., "arguments": {name: binding}, "found": pointer?}`.

    The read's answer when it shows that the call happened: it is no error and, for tools that answer a search with an empty list, the
    pointer leads to something. None is no proof of the contrary.
    """
    spec = outbound.detail.get("read_back")
    if spec is None:
        return None
    found = read(spec["tool"], _bound(outbound, spec.get("arguments", {})))
    if found.is_error or ("found" in spec and not _leads(_json(found), spec["found"])):
        return None
    return found


def _bound(outbound: Outbound, bindings: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, binding in bindings.items():
        if "value" in binding:
            values[name] = binding["value"]
        elif binding.get("idempotency_key"):
            values[name] = outbound.idempotency_key
        elif binding["argument"] in outbound.arguments:
            values[name] = outbound.arguments[binding["argument"]]
    return values


def _json(found: Answer) -> Any:
    """The answer's JSON, or None."""
    if "structuredContent" in found.result:
        return found.result["structuredContent"]
    try:
        return parse(text_of(found).encode("utf-8", "surrogatepass"))
    except strict.Malformed:
        return None


def _state(found: Answer, tool: str) -> dict[str, Any]:
    if found.is_error:
        raise PreviewFailed(f"The present state could not be read: {text_of(found)[:500]}", rule=tool)
    state = _json(found)
    if not isinstance(state, dict):
        raise PreviewFailed("The present state is not a JSON object.", rule=tool)
    return state


def _steps(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _child(place: Any, step: str) -> Any:
    """Raises LookupError."""
    if isinstance(place, dict):
        return place[step]
    if isinstance(place, list) and step.isdecimal():
        return place[int(step)]
    raise LookupError(step)


def _leads(document: Any, pointer: str) -> bool:
    try:
        return functools.reduce(_child, _steps(pointer), document) not in (None, "", [], {}, False)
    except LookupError:
        return False


def _write(document: dict[str, Any], pointer: str, value: Any) -> None:
    """Sets the place a JSON pointer names. Its parents must be there, and so must an array's element."""
    *parents, last = _steps(pointer) or [""]
    try:
        place: Any = functools.reduce(_child, parents, document)
        if isinstance(place, list):
            _child(place, last)
            place[int(last)] = value
        else:
            place[last] = value
    except (LookupError, TypeError):
        raise PreviewFailed(f"The present state has no place {pointer}.", rule=pointer) from None
