"""Every "no" of the HTTP doors as an RFC 9457 problem. The one table from refusal code to status is here, and a test walks all refusals."""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import DatabaseError, DataError, IntegrityError
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from agents import identity, organisations
from agents.organisations import Principal
from audit import log, outcomes, strict, tenancy
from controlplane import hop

Said = TypeVar("Said")
Given = TypeVar("Given")
Asks = TypeVar("Asks", bound="Opening")
Knock = Callable[[str, str], dict[str, Any] | None]
logger = logging.getLogger(__name__)

STATUS: dict[str, int] = {
    # what was sent
    "bad_request": 400,
    "malformed_json": 400,
    "duplicate_key": 400,
    "not_finite": 400,
    "integer_out_of_range": 400,
    "too_deep": 400,
    "too_large": 413,
    "string_too_long": 400,
    "too_many_keys": 400,
    "array_too_long": 400,
    "not_utf8": 400,
    "nul_character": 400,
    "lone_surrogate": 400,
    "unknown_field": 422,
    "invalid_request": 422,
    "invalid_idempotency_key": 400,
    "unsupported_media_type": 415,
    "method_not_allowed": 405,
    # who sent it
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    # what it is about
    "conflict": 409,
    "not_published": 409,
    "not_money": 422,
    "schema_rejected": 422,
    "policy_rejected": 422,
    "vocabulary_rejected": 422,
    "discovery_failed": 502,
    # the gate
    "unknown_tool": 404,
    "invalid_arguments": 422,
    "stopped": 423,
    "out_of_scope": 403,
    "policy_denied": 403,
    "unpriced": 409,
    "limit_reached": 429,
    "no_progress": 409,
    "budget_exceeded": 402,
    "run_over": 409,
    "idempotency_conflict": 422,
    "idempotency_in_progress": 409,
    "unknown_model": 404,
    # what became of a call
    "would_fail": 422,
    "upstream_failed": 502,
    "provider_failed": 502,
    "preview_failed": 502,
    "in_doubt": 409,
    "denied": 403,
    "denied_before": 403,
    "sent_back": 409,
    "withdrawn": 409,
    "expired": 409,
    "void": 409,
    # votes
    "already_decided": 409,
    "plan_changed": 409,
    "cap_changed": 409,
    "not_eligible": 403,
    "reason_needed": 422,
    "no_more_time": 409,
    "no_rule": 409,
    "too_many_rounds": 409,
    "fresh_sign_in": 403,
    # Remit itself
    "refused": 409,
    "unavailable": 503,
    "internal": 500,
}
HEADERS: dict[str, dict[str, str]] = {
    "unauthenticated": {"WWW-Authenticate": "Bearer"},
    "idempotency_in_progress": {"Retry-After": "1"},
    "unavailable": {"Retry-After": "2"},
}
PROBLEM = "application/problem+json"
_NAMED = ("code", "message", "rule", "current", "limit", "who", "next")


class BadRequest(outcomes.Refused):
    """What was sent is not acceptable, whoever sent it. Refusals of this kind are entered in the log when the sender is known."""

    code = "bad_request"


class UnsupportedMediaType(BadRequest):
    code = "unsupported_media_type"


class MethodNotAllowed(outcomes.Refused):
    code = "method_not_allowed"


class Unavailable(outcomes.Refused):
    code = "unavailable"


class Internal(outcomes.Refused):
    code = "internal"


def status_of(code: str) -> int:
    """An unknown code is a refusal all the same."""
    return STATUS.get(code, STATUS["refused"])


def facts(refusal: Mapping[str, Any]) -> dict[str, Any]:
    """A refusal's members as clients see them: `message` is called `detail`. What was asked for in vain is not repeated, so that an id of
    another organisation and one that never was are answered with the same bytes."""
    told = {name: value for name, value in refusal.items() if name not in _NAMED}
    told |= {"code": refusal["code"], "detail": refusal["message"]} | {name: refusal.get(name) for name in ("rule", "limit", "who", "next")}
    return told if refusal["code"] == "not_found" else told | {"current": refusal.get("current")}


def problem(refusal: Mapping[str, Any]) -> dict[str, Any]:
    """The problem body of a refusal's dictionary."""
    code = str(refusal["code"])
    fixed = {
        "type": hop.explained(code),
        "title": code.replace("_", " ").capitalize(),
        "status": status_of(code),
    }
    return {**facts(refusal), **fixed}


def headers_of(refusal: Mapping[str, Any]) -> dict[str, str]:
    given = {"Allow": str(refusal["limit"])} if refusal["code"] == "method_not_allowed" else {}
    return {"Cache-Control": "no-store"} | HEADERS.get(str(refusal["code"]), {}) | given


# The hot doors -------------------------------------------------------------------------------------------------------------------------


def answer(refusal: Mapping[str, Any], *, headers: Mapping[str, str] | None = None) -> hop.Answer:
    """A refusal at a hot door."""
    body = problem(refusal)
    return hop.Answer(body["status"], json.dumps(body).encode(), {"content-type": PROBLEM, **headers_of(refusal), **(headers or {})})


class Opening(Protocol):
    """What a request asks for, read before it is known who asks, so that their key and that are one question to the database.

    Making one raises nothing: whatever is wrong is kept, and said to whoever turns out to ask.
    """

    def knock(self, organisation: str, key: str) -> dict[str, Any] | None: ...


def guarded(door: Callable[[Principal, hop.Request], hop.Answer | hop.Wait]) -> hop.Door:
    """A hot door for whoever holds a key; what goes wrong becomes a problem."""
    return _guarded(door, lambda request: (request, identity.knock))


def opened(opening: Callable[[hop.Request], Asks]) -> Callable[[Callable[[Principal, Asks], hop.Answer | hop.Wait]], hop.Door]:
    """The same for a door that is told what is asked."""

    def enter(request: hop.Request) -> tuple[Asks, Knock]:
        asks = opening(request)
        return asks, asks.knock

    return lambda door: _guarded(door, enter)


def _guarded(door: Callable[[Principal, Given], hop.Answer | hop.Wait], enter: Callable[[hop.Request], tuple[Given, Knock]]) -> hop.Door:
    def serve(request: hop.Request) -> hop.Answer | hop.Wait:
        by: Principal | None = None

        def knock() -> hop.Answer | hop.Wait:
            nonlocal by
            given, read = enter(request)
            by = identity.authenticate(request.token, read=read)
            return door(by, given)

        try:
            said = _mapped(knock)
        except outcomes.Refused as refused:
            record(by, refused, method=request.method, path=request.path)
            return answer(refused.as_dict())
        if isinstance(said, hop.Answer):
            return said
        return hop.Wait(look=lambda: _told(said.look), last=lambda: _told(said.last), seconds=said.seconds)

    return serve


def _mapped(ask: Callable[[], Said]) -> Said:
    try:
        return ask()
    except DatabaseError as error:
        raise of_database(error) from error


def _told(ask: Callable[[], Said]) -> Said | hop.Answer:
    try:
        return _mapped(ask)
    except outcomes.Refused as refused:
        return answer(refused.as_dict())


# The other doors -----------------------------------------------------------------------------------------------------------------------


def handle(error: Exception, context: Mapping[str, Any]) -> Response:
    """Django REST framework's exception handler: everything becomes a problem, and surprises are logged."""
    request: Request = context["request"]
    refused = _refused(error, request)
    if isinstance(refused, Internal):
        logger.error("a door failed", exc_info=error, extra={"path": request.path})
    elif _is_about_input(refused):
        by: Any = getattr(request, "_user", None)  # not `user`: asking for it would authenticate once more
        record(by if isinstance(by, Principal) else None, refused, method=request.method or "", path=request.path)
    body = problem(refused.as_dict())
    return Response(body, status=body["status"], headers=headers_of(refused.as_dict()), content_type=PROBLEM)


def _refused(error: Exception, request: Request) -> outcomes.Refused:
    if isinstance(error, outcomes.Refused):
        return error
    if isinstance(error, exceptions.MethodNotAllowed):
        return not_allowed(request.method or "", ", ".join(sorted(_methods(request))))
    for kind, refusal in _KINDS:
        if isinstance(error, kind):
            return refusal(error)
    return Internal("Remit failed to answer. Nothing was sent that is not recorded.")


def of_database(error: DatabaseError) -> outcomes.Refused:
    """What the database refused. A rule of the schema that no function had checked before is still an answer, not a failure."""
    if isinstance(error, IntegrityError):
        diagnosis = getattr(error.__cause__, "diag", None)
        name = str(getattr(diagnosis, "constraint_name", "") or "")
        return organisations.Conflict("This contradicts what is recorded already.", rule=name, next_step="Look at the present state.")
    if isinstance(error, DataError):
        return BadRequest("A value cannot be stored.", rule="storage", next_step="Send shorter text and smaller numbers.")
    logger.warning("the database refused", exc_info=error)
    return Unavailable(
        "Remit cannot answer now; nothing was decided.", rule="database", next_step="Try again shortly, with the same Idempotency-Key."
    )


def missing() -> organisations.NotFound:
    return organisations.NotFound("There is no such address.", rule="address", next_step="See /api/v1/docs.")


def _unsigned(error: Any) -> outcomes.Refused:
    return organisations.Forbidden(str(error.detail), rule="session", next_step="Send the CSRF token of the session, or a bearer token.")


_KINDS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Callable[[Any], outcomes.Refused]], ...] = (
    (exceptions.PermissionDenied, _unsigned),
    (Http404, lambda _error: missing()),
    (RequestDataTooBig, lambda _error: strict.TooLarge("The body is too large.")),
    ((exceptions.APIException, SuspiciousOperation), lambda error: BadRequest(str(error)[:300])),
    (DatabaseError, of_database),
)


def _methods(request: Request) -> list[str]:
    """The methods that the address knows."""
    view = (request.parser_context or {}).get("view")
    return [name for name in getattr(view, "allowed_methods", []) if name != "OPTIONS"]


def not_allowed(method: str, allowed: str) -> MethodNotAllowed:
    return MethodNotAllowed(
        f"{method[:20]} is not possible here.", rule="method", current=method[:20], limit=allowed, next_step=f"Use {allowed}."
    )


@csrf_exempt  # nothing is done here, and an answer to a program is never a page
def not_there(request: HttpRequest, **_path: str) -> JsonResponse:
    """Whatever else is asked for under /api/."""
    body = problem(missing().as_dict())
    return JsonResponse(body, status=body["status"], content_type=PROBLEM)


# The log -------------------------------------------------------------------------------------------------------------------------------


def _is_about_input(refused: outcomes.Refused) -> bool:
    return isinstance(refused, BadRequest | strict.Malformed)


def record(by: Principal | None, refused: outcomes.Refused, *, method: str, path: str) -> None:
    """Enter a refusal of somebody's input in the log. Other refusals are recorded where they are decided."""
    if by is None or not _is_about_input(refused):
        return
    plain = path[:200].encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    pointer = refused.details.get("pointer") or (refused.details.get("faults") or [{}])[0].get("pointer") or ""
    with tenancy.within(by.organisation):
        detail = {"method": method[:20], "path": plain, "code": refused.code, "pointer": str(pointer)[:300]}
        log.append("input.refused", by=by, subject=by.key or by.id, workspace=by.workspace, run=by.run, detail=detail)
