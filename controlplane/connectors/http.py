"""Tools of an HTTP API that an OpenAPI document describes. The answer is shaped like an MCP tool result."""

import functools
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

from agents.offers import Offer
from audit import strict
from controlplane import egress
from controlplane.connectors import interface, openapi

# A gateway's word that it does not know what became of the request behind it.
_GATEWAY = frozenset({502, 503, 504})
_READS = frozenset({"GET", "HEAD"})
# What a server may take for a separator after decoding: no path argument needs it, and with it one tool could be turned into another.
_UNSAFE_IN_PATH = re.compile(r"[/\\\x00-\x1f\x7f]")


def send(outbound: interface.Outbound) -> interface.Answer:
    """One request. Its refusal (4xx, 500) is an answer that is an error; a gateway's or a redirect leaves a write in doubt."""
    request = _request(outbound)
    response = egress.client.send(request)
    if 300 <= response.status < 400 or (response.status in _GATEWAY and not outbound.is_read):
        raise interface.Unknown(f"The upstream answered with HTTP {response.status}.")
    return _answer(response)


def discover(upstream: interface.Upstream) -> list[Offer]:
    """The document's operations. Raises DiscoveryFailed."""
    return list(_tools(upstream.document or _fetched(upstream)))


def preview(outbound: interface.Outbound, spec: Mapping[str, Any] | None) -> interface.Preview | None:
    return interface.preview(outbound, spec, functools.partial(_read, outbound, spec or {}))


def look_up(outbound: interface.Outbound) -> interface.Answer | None:
    return interface.look_up(outbound, functools.partial(_read, outbound, outbound.detail.get("read_back") or {}))


@functools.lru_cache(maxsize=16)
def _tools(document: str) -> tuple[Offer, ...]:
    try:
        return tuple(openapi.tools(interface.parse(document.encode("utf-8", "surrogatepass"))))
    except strict.Malformed as malformed:
        raise interface.DiscoveryFailed(f"The document is not acceptable JSON: {malformed.message}") from None


def _fetched(upstream: interface.Upstream) -> str:
    request = egress.Request(
        method="GET",
        url=upstream.url.rstrip("/") + "/openapi.json",
        headers={**_lowered(upstream), "accept": "application/json"},
        timeout_s=upstream.timeout_s,
        allow_private=upstream.allow_private,
        partition=interface.identity(upstream),
        repeatable=True,
    )
    try:
        response = egress.client.send(request)
    except (interface.NotSent, interface.Unknown) as error:
        raise interface.DiscoveryFailed(f"The document could not be fetched: {error}") from None
    if response.status != 200:
        raise interface.DiscoveryFailed(f"The document could not be fetched: HTTP {response.status}.")
    return response.body.decode("utf-8", "surrogateescape")


def _read(outbound: interface.Outbound, spec: Mapping[str, Any], tool: str, arguments: dict[str, Any]) -> interface.Answer:
    """Calls the read that a spec names; the spec carries the tool's detail, or else the document is asked."""
    detail = spec.get("detail")
    if detail is None:
        try:
            detail = next((one.detail for one in discover(outbound.upstream) if one.name == tool), None)
        except interface.DiscoveryFailed as failed:
            raise interface.NotSent(failed.message) from None
    if detail is None or detail.get("method") not in _READS:
        raise interface.NotSent(f"{tool} is not a read of this upstream.")
    return send(interface.Outbound(outbound.upstream, tool, arguments, "", outbound.call_id, detail, "E0"))


def _lowered(upstream: interface.Upstream) -> dict[str, str]:
    return {name.lower(): value for name, value in upstream.headers.items()}


def _request(outbound: interface.Outbound) -> egress.Request:
    detail, upstream = outbound.detail, outbound.upstream
    if not isinstance(detail.get("method"), str) or not isinstance(detail.get("path"), str) or {"?", "#"} & set(upstream.url):
        raise interface.NotSent("The tool does not say which request it is, or its upstream's URL has a query.")
    given: dict[str, dict[str, Any]] = {"path": {}, "query": {}, "header": {}, "body": {}, "whole": {}}
    query: list[str] = []
    for name, value in outbound.arguments.items():
        place = detail.get("places", {}).get(name)
        if place is None:
            raise interface.NotSent(f"The tool has no argument {name!r}.")
        given[place["in"]][place["name"]] = value
        if place["in"] == "query":
            query += _in_query(place, name, value)
    body = given["whole"].get("body") if detail.get("body") == "whole" else given["body"]
    if not body and detail.get("body") in {"none", "optional"}:
        body = None
    return _finished(
        outbound, _path(detail["path"], given["path"]) + ("?" + "&".join(query) if query else ""), _headers(upstream, given["header"]), body
    )


def _headers(upstream: interface.Upstream, given: Mapping[str, Any]) -> dict[str, str]:
    headers = _lowered(upstream)
    for name, value in given.items():
        if name.lower() in headers:
            raise interface.NotSent(f"The header {name!r} is the connector's to set.")
        if value is not None:
            headers[name.lower()] = _scalar(name, value)
    return headers


def _finished(outbound: interface.Outbound, path: str, headers: dict[str, str], body: Any) -> egress.Request:
    headers["accept"] = "application/json"
    raw = b""
    if body is not None:
        headers["content-type"] = "application/json"
        try:
            raw = orjson.dumps(body)
        except TypeError as error:
            raise interface.NotSent(f"The arguments cannot be written as JSON: {error}") from None
    if outbound.idempotency_key:
        headers["idempotency-key"] = outbound.idempotency_key
    return egress.Request(
        method=outbound.detail["method"],
        url=outbound.upstream.url.rstrip("/") + path,
        headers=headers,
        body=raw,
        timeout_s=outbound.upstream.timeout_s,
        allow_private=outbound.upstream.allow_private,
        partition=interface.identity(outbound.upstream),
        repeatable=outbound.is_read,
    )


def _scalar(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return orjson.dumps(value).decode()
    raise interface.NotSent(f"The argument {name!r} has to be a single value.")


def _path(template: str, given: Mapping[str, Any]) -> str:
    path = template
    for name, value in given.items():
        text = _scalar(name, value)
        if not text or _UNSAFE_IN_PATH.search(text):
            raise interface.NotSent(f"The argument {name!r} cannot be a part of a path.")
        path = path.replace("{" + name + "}", _quoted(name, text))
    if "{" in path or not {".", ".."}.isdisjoint(path.split("/")):
        raise interface.NotSent("The arguments do not make a path.")
    return path


def _in_query(place: Mapping[str, Any], name: str, value: Any) -> list[str]:
    if value is None:
        return []
    key = _quoted(name, place["name"])
    items = [_quoted(name, _scalar(name, one)) for one in (value if isinstance(value, list) else [value])]
    if place.get("joined"):
        return [f"{key}={','.join(items)}"]
    return [f"{key}={item}" for item in items]


def _quoted(name: str, text: str) -> str:
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise interface.NotSent(f"The argument {name!r} is not Unicode text.") from None


def _answer(response: egress.Response) -> interface.Answer:
    is_error = response.status >= 400
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    structured: Any = None
    if kind == "application/json" or kind.endswith("+json"):
        try:
            structured = interface.parse(response.body)
        except strict.Malformed:
            structured = None  # the text below still says what came; the status has already said whether it was done
    try:
        text = response.body.decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}")
    except UnicodeDecodeError:
        text = f"[{len(response.body)} bytes of {kind or 'an unnamed type'}]"
    return interface.answer(f"HTTP {response.status} {text}".rstrip() if is_error else text, structured=structured, is_error=is_error)
