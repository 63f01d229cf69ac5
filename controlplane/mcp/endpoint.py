"""POST /mcp: who is knocking, one message, its era, one answer. No session is ever made, and one that is named is not looked at."""

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import validate_host

from agents import identity
from agents.organisations import Principal
from audit import log, outcomes, tenancy
from controlplane import hop
from controlplane.mcp import callers, calling, eras, frames, listing, tasks

Method = Callable[[callers.Asked], hop.Answer | hop.Wait]


def serve(request: hop.Request) -> hop.Answer | hop.Wait:
    """Answer one HTTP request. Input that is not acceptable is refused, and written down for whoever sent it."""
    if not _is_ours(request.headers.get("origin")):
        return hop.problem(403, "origin", "Requests from this origin are not answered.")
    if request.method != "POST":
        answer = hop.problem(405, "method_not_allowed", "MCP is served by POST alone; there are no streams and no sessions.")
        return hop.Answer(answer.status, answer.body, {**answer.headers, "allow": "POST"})
    try:
        principal = identity.authenticate(request.token)
    except identity.Unauthenticated as refused:
        challenge = 'Bearer realm="remit"' + (', error="invalid_token"' if request.token else "")
        return _turned_away(401, refused.as_dict(), {"www-authenticate": challenge})
    if principal.kind != "agent":
        return _turned_away(
            403, {"code": "forbidden", "message": "This door is for agents.", "next": "Use a run's token or an agent's key."}, {}
        )
    identifier: int | str | None = None
    try:
        _acceptable(request)
        frame = frames.read(request.body)
        identifier = frame.id
        return _answered(callers.Asked(principal, frame, eras.of(frame, request.headers), request.headers))
    except frames.Rejected as rejected:
        if rejected.recorded:
            _write_down(principal, rejected)
        return frames.rejection(identifier, rejected)


def _is_ours(origin: str | None) -> bool:
    """Browsers say where a script comes from; only our own pages may knock here (DNS rebinding). Other clients send no Origin."""
    if origin is None or origin == settings.PUBLIC_URL:
        return True
    try:
        parts = urlsplit(origin)
        host = parts.hostname or ""
    except ValueError:
        return False
    named = [allowed for allowed in settings.ALLOWED_HOSTS if allowed != "*"]  # any host may serve us; that does not make any origin ours
    return parts.scheme in {"http", "https"} and bool(host) and validate_host(f"[{host}]" if ":" in host else host, named)


def _turned_away(status: int, told: Mapping[str, object], headers: Mapping[str, str]) -> hop.Answer:
    """Before the body was read: a JSON-RPC error without an id, which clients show, beside the status, which they act on."""
    error = frames.Rejected(frames.INVALID_REQUEST, str(told["message"]), code=str(told["code"]), status=status, data=told)
    answer = frames.rejection(None, error)
    return hop.Answer(answer.status, answer.body, headers)


def _acceptable(request: hop.Request) -> None:
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != "application/json" or charset not in {"", "utf-8"}:
        raise frames.Rejected(frames.INVALID_REQUEST, "Send application/json in UTF-8.", code="content_type", status=415)
    accept = request.headers.get("accept", "*/*").lower()
    if not any(kind in accept for kind in ("application/json", "application/*", "*/*")):
        raise frames.Rejected(frames.INVALID_REQUEST, "Answers are application/json.", code="not_acceptable", status=406)


def _answered(asked: callers.Asked) -> hop.Answer | hop.Wait:
    if asked.frame.id is None:
        return hop.Answer(202, None)
    method = (_STATELESS if asked.era.is_stateless else _HANDSHAKE).get(asked.frame.method)
    if method is None:
        status = 404 if asked.era.is_stateless else 200
        raise frames.Rejected(frames.METHOD_NOT_FOUND, "Method not found", code="method_not_found", status=status, recorded=False)
    return method(asked)


def _write_down(principal: Principal, rejected: frames.Rejected) -> None:
    detail = {"door": "mcp", "code": str(rejected.data["code"]), "message": rejected.message[:300], "status": rejected.status}
    with tenancy.within(principal.organisation):
        log.append("input.refused", by=principal, subject=principal.key, workspace=principal.workspace, run=principal.run, detail=detail)


def _initialize(asked: callers.Asked) -> hop.Answer:
    return frames.result(asked.frame.id, eras.initialized(asked.frame.params))


def _ping(asked: callers.Asked) -> hop.Answer:
    return frames.result(asked.frame.id, {})


def _discover(asked: callers.Asked) -> hop.Answer:
    return frames.result(asked.frame.id, eras.discovered(asked.era))


def _list(asked: callers.Asked) -> hop.Answer:
    if asked.frame.params.get("cursor") is not None:
        raise frames.Rejected(
            frames.INVALID_PARAMS, "The list has one page; no cursor was given out.", code="cursor", status=200, recorded=False
        )
    try:
        listed = listing.listed(asked.principal, callers.run_of(asked.principal))
    except outcomes.Refused as refused:
        raise frames.Rejected(
            frames.INVALID_PARAMS, refused.message, code=refused.code, status=200, recorded=False, data=refused.as_dict()
        ) from None
    return frames.result(asked.frame.id, asked.era.listed({"tools": listed}))


_BOTH: dict[str, Method] = {"tools/list": _list, "tools/call": calling.call}
_HANDSHAKE: dict[str, Method] = {**_BOTH, "initialize": _initialize, "ping": _ping}
_STATELESS: dict[str, Method] = {
    **_BOTH,
    "server/discover": _discover,
    "tasks/get": tasks.get,
    "tasks/update": tasks.update,
    "tasks/cancel": tasks.cancel,
}
