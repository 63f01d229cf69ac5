"""Tools of an MCP server over streamable HTTP, in both eras: with a handshake and perhaps a session, or stateless since 2026-07-28.

A small client of its own: the official one costs 5-7 ms of CPU a call and wants an event loop. What a server asks its
client (sampling, elicitation, roots) is not answered: no capability for it is declared.
"""

import base64
import itertools
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from agents.offers import Offer
from controlplane import egress
from controlplane.connectors import interface, jsonrpc

SESSION_ERA = "2025-11-25"
STATELESS_ERA = "2026-07-28"
KEY = "remit/idempotency-key"
PROBE_S = 5.0
PAGES = 50
TOOLS = 2000
SESSIONS = 1024

_CLIENT = {"name": "remit", "version": "1"}
_META = {
    "io.modelcontextprotocol/protocolVersion": STATELESS_ERA,
    "io.modelcontextprotocol/clientInfo": _CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}
_UNSUPPORTED_VERSION = -32022
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}", re.ASCII)
_PLAIN = re.compile(r"(?! )[\x20-\x7e]*(?<! )", re.ASCII)
_SENTINEL = re.compile(r"=\?base64\?.*\?=", re.ASCII)
_HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
_ids = itertools.count(2)  # not from one: True == 1, and true is nobody's answer


# Sessions -------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Session:
    """What was agreed with a server. Most session-era servers give no id, and then there is nothing to lose."""

    version: str
    id: str = ""

    @property
    def is_stateless(self) -> bool:
        return self.version == STATELESS_ERA


class _Agreement:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.session: Session | None = None


class _Agreements:
    """One per upstream identity, least recently used first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.by_identity: OrderedDict[tuple[Any, ...], _Agreement] = OrderedDict()

    def of(self, identity: tuple[Any, ...]) -> _Agreement:
        with self.lock:
            found = self.by_identity.get(identity)
            if found is None:
                found = self.by_identity[identity] = _Agreement()
            self.by_identity.move_to_end(identity)
            if len(self.by_identity) > SESSIONS:
                self.by_identity.popitem(last=False)
            return found


_agreements = _Agreements()


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One question to one server: who asks, until when, and whether asking twice is harmless."""

    upstream: interface.Upstream
    identity: tuple[Any, ...]
    deadline: float
    repeatable: bool

    @classmethod
    def begin(cls, upstream: interface.Upstream, *, repeatable: bool) -> "_Exchange":
        return cls(upstream, interface.identity(upstream), time.monotonic() + upstream.timeout_s, repeatable)

    def ask(self, method: str, params: dict[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """The result. A session that the server forgot is agreed on again, once: it refused the call for it, so nothing happened.

        Raises jsonrpc.RpcError, NotSent and Unknown.
        """
        agreement = _agreements.of(self.identity)
        session = self._agreed(agreement, stale=None)
        try:
            return self._post(session, method, params, headers)
        except jsonrpc.RpcError as error:
            if not (error.status == 404 and session.id) and error.code != _UNSUPPORTED_VERSION:
                if error.status in {400, 404} and not session.is_stateless:
                    agreement.session = None  # perhaps the server wants a new handshake: the next call offers one, this one is not repeated
                raise
        return self._post(self._agreed(agreement, stale=session), method, params, headers)

    def _agreed(self, agreement: _Agreement, *, stale: Session | None) -> Session:
        """Whatever goes wrong here, the question itself was not sent."""
        session = agreement.session
        if session is not None and session is not stale:
            return session
        if not agreement.lock.acquire(timeout=max(0.0, self.deadline - time.monotonic())):
            raise interface.NotSent("The MCP server has not answered its greeting.")
        try:
            if agreement.session is None or agreement.session is stale:
                agreement.session = None
                agreement.session = self._negotiated()
            session = agreement.session
        except jsonrpc.RpcError as error:
            raise interface.NotSent(f"The MCP server refuses us: {error.message}") from None
        except interface.Unknown as error:
            raise interface.NotSent(f"The MCP server could not be greeted: {error}") from None
        finally:
            agreement.lock.release()
        return session

    def _negotiated(self) -> Session:
        """The stateless era is asked for first; any server that does not speak it says so in its own way and is greeted by handshake."""
        wanted = self.upstream.protocol
        if wanted == STATELESS_ERA or (not wanted and self._is_stateless()):
            return Session(STATELESS_ERA)
        version = wanted or SESSION_ERA
        agreed: dict[str, str] = {}
        params = {"protocolVersion": version, "capabilities": {}, "clientInfo": _CLIENT}
        result = self._post(Session(version), "initialize", params, {}, repeatable=True, agreed=agreed)
        chosen = result.get("protocolVersion")
        if not isinstance(chosen, str) or not re.fullmatch(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}", chosen):
            raise interface.Unknown("The MCP server chose no protocol version.")
        session = Session(chosen, agreed.get("mcp-session-id", ""))
        self._notify(session, "notifications/initialized")
        return session

    def _is_stateless(self) -> bool:
        probe = _Exchange(self.upstream, self.identity, min(self.deadline, time.monotonic() + PROBE_S), repeatable=True)
        try:
            result = probe._post(Session(STATELESS_ERA), "server/discover", {}, {})
        except (jsonrpc.RpcError, interface.Unknown):
            return False
        versions = result.get("supportedVersions")
        return isinstance(versions, list) and STATELESS_ERA in versions

    def _request(self, session: Session, body: Mapping[str, Any], headers: Mapping[str, str], *, repeatable: bool) -> egress.Request:
        try:
            raw = orjson.dumps(body)
        except TypeError as error:
            raise interface.NotSent(f"The arguments cannot be written as JSON: {error}") from None
        sent = {name.lower(): value for name, value in self.upstream.headers.items()}
        sent.update(headers)
        sent["content-type"] = "application/json"
        sent["accept"] = "application/json, text/event-stream"
        if body["method"] != "initialize":
            sent["mcp-protocol-version"] = session.version
        if session.id:
            sent["mcp-session-id"] = session.id
        if session.is_stateless:
            sent["mcp-method"] = body["method"]
        return egress.Request(
            method="POST",
            url=self.upstream.url,
            headers=sent,
            body=raw,
            timeout_s=self.deadline - time.monotonic(),
            allow_private=self.upstream.allow_private,
            partition=self.identity,
            repeatable=repeatable,
        )

    def _notify(self, session: Session, method: str) -> None:
        request = self._request(session, {"jsonrpc": "2.0", "method": method}, {}, repeatable=True)
        answer = egress.client.send(request)
        if answer.status >= 300:
            raise jsonrpc.RpcError(answer.status, 0, f"{method} was answered with HTTP {answer.status}")

    def _post(
        self,
        session: Session,
        method: str,
        params: dict[str, Any],
        headers: Mapping[str, str],
        *,
        repeatable: bool | None = None,
        agreed: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        number = next(_ids)
        if session.is_stateless:
            params = {**params, "_meta": {**_META, **params.get("_meta", {})}}
        body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        request = self._request(session, body, headers, repeatable=self.repeatable if repeatable is None else repeatable)
        with egress.client.open(request) as reply:
            if agreed is not None:
                agreed.update({name: reply.headers[name] for name in ("mcp-session-id",) if name in reply.headers})
            return jsonrpc.result(jsonrpc.received(reply, number), reply.status)


def _answer(result: dict[str, Any]) -> interface.Answer:
    """Only what a tool result is made of; everything else that a server adds is left behind."""
    kind = result.get("resultType", "complete")
    if kind == "input_required":
        return interface.answer("The upstream asks its user for input, which Remit does not pass on. The call was not made.", is_error=True)
    content, is_error, structured = result.get("content", []), result.get("isError", False), result.get("structuredContent")
    if kind != "complete" or not isinstance(is_error, bool) or ("content" not in result and structured is None):
        raise interface.Unknown("The upstream's result is not a tool result.")
    if not isinstance(content, list) or not all(isinstance(block, dict) and isinstance(block.get("type"), str) for block in content):
        raise interface.Unknown("The upstream's result is not a tool result.")
    shaped: dict[str, Any] = {"content": content, "isError": is_error}
    if isinstance(structured, dict):
        shaped["structuredContent"] = structured
    return interface.Answer(shaped, is_error)


# What the gate asks ---------------------------------------------------------------------------------------------------------------------


def send(outbound: interface.Outbound) -> interface.Answer:
    """Calls the tool once. What the server itself refuses, by HTTP status or JSON-RPC error, is an answer that is an error."""
    params: dict[str, Any] = {"name": outbound.operation, "arguments": outbound.arguments}
    headers = {"mcp-name": _encoded(outbound.operation)}
    if outbound.idempotency_key:
        params["_meta"] = {KEY: outbound.idempotency_key}
        headers["idempotency-key"] = outbound.idempotency_key
    for mirrored in outbound.detail.get("mirrored", ()):
        value = _at(outbound.arguments, mirrored["path"])
        if isinstance(value, str | int):
            headers[f"mcp-param-{mirrored['token'].lower()}"] = _encoded(_spelled(value))
    exchange = _Exchange.begin(outbound.upstream, repeatable=outbound.is_read)
    try:
        result = exchange.ask("tools/call", params, headers)
    except jsonrpc.RpcError as error:
        return interface.answer(f"The upstream refused the call: {error.message}", is_error=True)
    return _answer(result)


def discover(upstream: interface.Upstream) -> list[Offer]:
    """Every tool of every page, in the server's order. Raises DiscoveryFailed."""
    exchange = _Exchange.begin(upstream, repeatable=True)
    found: dict[str, Offer] = {}
    try:
        for tool in _listed(exchange):
            one = _discovered(tool)
            if one.name in found:
                raise interface.DiscoveryFailed(f"The upstream lists {one.name} twice.", rule=one.name)
            found[one.name] = one
            if len(found) > TOOLS:
                raise interface.DiscoveryFailed("The upstream lists too many tools.", limit=TOOLS)
    except jsonrpc.RpcError as error:
        raise interface.DiscoveryFailed(f"The upstream refused to list its tools: {error.message}") from None
    except (interface.NotSent, interface.Unknown) as error:
        raise interface.DiscoveryFailed(f"The upstream could not be asked for its tools: {error}") from None
    return list(found.values())


def preview(outbound: interface.Outbound, spec: Mapping[str, Any] | None) -> interface.Preview | None:
    return interface.preview(outbound, spec, lambda tool, arguments: send(_reading(outbound, tool, arguments)))


def look_up(outbound: interface.Outbound) -> interface.Answer | None:
    return interface.look_up(outbound, lambda tool, arguments: send(_reading(outbound, tool, arguments)))


def _reading(outbound: interface.Outbound, tool: str, arguments: dict[str, Any]) -> interface.Outbound:
    return interface.Outbound(outbound.upstream, tool, arguments, "", outbound.call_id, {}, "E0")


def _listed(exchange: _Exchange) -> Iterator[Any]:
    params: dict[str, Any] = {}
    cursors: set[str] = set()
    for _ in range(PAGES):
        page = exchange.ask("tools/list", params, {})
        tools, cursor = page.get("tools"), page.get("nextCursor")
        if not isinstance(tools, list):
            raise interface.DiscoveryFailed("The upstream's list of tools is not a list.")
        yield from tools
        if cursor is None:
            return
        if not isinstance(cursor, str) or len(cursor) > 4096 or cursor in cursors:
            raise interface.DiscoveryFailed("The upstream's list of tools leads in circles.")
        cursors.add(cursor)
        params = {"cursor": cursor}
    raise interface.DiscoveryFailed("The upstream's list of tools has too many pages.", limit=PAGES)


def _discovered(tool: Any) -> Offer:
    if not isinstance(tool, dict) or not isinstance(tool.get("name"), str) or not _NAME.fullmatch(tool["name"]):
        raise interface.DiscoveryFailed(
            "The upstream lists a tool whose name is not 1 to 128 ASCII letters, digits, dots, dashes or underscores."
        )
    name, schema, output = tool["name"], tool.get("inputSchema"), tool.get("outputSchema")
    if not isinstance(schema, dict) or not isinstance(output, dict | None):
        raise interface.DiscoveryFailed(f"The upstream lists {name} without a usable schema.", rule=name)
    claims = tool.get("annotations")
    claims = claims if isinstance(claims, dict) else {}
    title = tool.get("title", claims.get("title", ""))
    description = tool.get("description", "")
    mirrored = list(_mirrored(schema, ()))
    return Offer(
        name=name,
        title=title if isinstance(title, str) else "",
        description=description if isinstance(description, str) else "",
        input_schema=schema,
        output_schema=output,
        hints={hint: claims[hint] for hint in _HINTS if isinstance(claims.get(hint), bool)},
        detail={"mirrored": mirrored} if mirrored else {},
    )


# Arguments that the stateless era repeats in headers (x-mcp-header) ----------------------------------------------------------------------


def _mirrored(schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    properties = schema.get("properties")
    if not isinstance(properties, dict) or len(path) >= 8:
        return
    for name, sub in properties.items():
        if isinstance(sub, dict):
            token = sub.get("x-mcp-header")
            if isinstance(token, str) and _TOKEN.fullmatch(token) and sub.get("type") in {"string", "integer", "boolean"}:
                yield {"path": [*path, name], "token": token}
            yield from _mirrored(sub, (*path, name))


def _at(arguments: Any, path: list[str]) -> Any:
    for name in path:
        arguments = arguments.get(name) if isinstance(arguments, dict) else None
    return arguments


def _spelled(value: str | int) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _encoded(text: str) -> str:
    """As the specification writes values that a header cannot carry."""
    if _PLAIN.fullmatch(text) and not _SENTINEL.fullmatch(text):
        return text
    return f"=?base64?{base64.b64encode(text.encode('utf-8', 'surrogatepass')).decode('ascii')}?="
