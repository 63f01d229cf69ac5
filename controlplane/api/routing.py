"""One address, one function a method. What a door takes and gives is said beside it, and checked, rendered and documented from there."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import DataError, IntegrityError
from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from agents import answers
from agents.organisations import Principal
from audit import outcomes, tenancy
from controlplane import guard
from controlplane.api import errors, inputs, pages, parsing

Handler = Callable[..., Any]
View = Callable[..., HttpResponseBase]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request at a door: by whom, and what was sent, checked. `request` is for who must know how they came."""

    by: Principal
    request: Request
    body: dict[str, Any]
    query: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """How a door is declared. `many`: a list that fits on one page; a query of `pages.Paged` says that it may not."""

    body: type[inputs.Body] | None = None
    query: type[inputs.Query] = inputs.Query
    gives: type[serializers.Serializer[Any]] | None = None
    status: int = 200
    many: bool = False
    max_bytes: int = parsing.MAX_BODY
    media_types: tuple[str, ...] = (parsing.JSON,)

    @property
    def is_list(self) -> bool:
        return self.many or issubclass(self.query, pages.Paged)


@dataclass(frozen=True, slots=True)
class Door:
    """A function with what it takes and gives."""

    serve: Handler
    said: Said

    @property
    def noun(self) -> str:
        return self.serve.__module__.rpartition(".")[2]


def door(said: Said) -> Callable[[Handler], Door]:
    """Makes a function a door."""
    return lambda serve: Door(serve=serve, said=said)


class Problem(serializers.Serializer[Any]):
    """RFC 9457, with what was refused, by which rule, and what to do next."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    rule = serializers.CharField(allow_blank=True)
    current = serializers.JSONField(required=False)
    limit = serializers.JSONField(required=False)
    who = serializers.CharField(allow_blank=True)
    next = serializers.CharField(allow_blank=True)


class AlwaysJSON(BaseContentNegotiation):
    """These doors speak one language; a header or a `format` parameter cannot choose another."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


def at(**by_method: Door) -> View:
    """The view of one address."""

    def serve(request: Request, **path: str) -> HttpResponseBase:
        by = guard.require(request)
        method = "GET" if request.method == "HEAD" else str(request.method)
        return _answer(by_method[method], by, request, path)

    names = {found.serve.__module__ for found in by_method.values()}
    serve.__module__, serve.__name__ = names.pop(), "_".join(found.serve.__name__ for found in by_method.values())
    serve.content_negotiation_class, serve.metadata_class = AlwaysJSON, None  # type: ignore[attr-defined]
    view: Any = api_view(list(by_method))(serve)
    view.cls.http_method_names = [method.lower() for method in by_method]  # and no OPTIONS
    for method, found in by_method.items():
        view = _documented(view, method, found)
    return view  # type: ignore[no-any-return]


def _answer(found: Door, by: Principal, request: Request, path: Mapping[str, str]) -> HttpResponseBase:
    inputs.plain_path(request.path)
    asked = Asked(
        by=by,
        request=request,
        query=inputs.checked(found.said.query, inputs.query(request._request.GET, request.META.get("QUERY_STRING", ""))),
        body=_body(found, request),
    )
    if request.method in {"GET", "HEAD"}:
        with tenancy.within(by.organisation):
            return _rendered(found, found.serve(asked, **path))
    key = inputs.idempotency_key(request.headers.get("idempotency-key"))
    return _once(found, asked, key, request, path) if key else _done(found, asked, path)


def _done(found: Door, asked: Asked, path: Mapping[str, str]) -> HttpResponseBase:
    given = found.serve(asked, **path)
    with tenancy.within(asked.by.organisation):
        return _rendered(found, given)


def _once(found: Door, asked: Asked, key: str, request: Request, path: Mapping[str, str]) -> HttpResponseBase:
    """Under a key: done once, answered as often as it is asked."""
    sent = json.dumps([request.method, request.path, asked.query, asked.body], default=str, sort_keys=True)
    kept = answers.claim(by=asked.by, key=key, body_digest=hashlib.sha256(sent.encode()).hexdigest())
    if kept is not None:
        headers = {"Cache-Control": "no-store", "Idempotent-Replayed": "true"}
        return HttpResponse(kept.body, status=kept.status, content_type=parsing.JSON, headers=headers)
    try:
        answer = _done(found, asked, path)
    except (outcomes.Refused, DataError, IntegrityError):  # nothing happened
        answers.release(by=asked.by, key=key)
        raise
    if isinstance(answer, Response):
        answers.keep(by=asked.by, key=key, answer=answers.Kept(answer.status_code, JSONRenderer().render(answer.data)))
    return answer


def _body(found: Door, request: Request) -> dict[str, Any]:
    if found.said.body is None:
        return {}
    raw = request._request.read(found.said.max_bytes + 1)
    if not raw and not any(part.required for part in found.said.body().fields.values()):
        return inputs.checked(found.said.body, {})
    return inputs.checked(found.said.body, parsing.of_bytes(raw, request.headers.get("Content-Type", ""), max_bytes=found.said.max_bytes))


def _rendered(found: Door, given: Any) -> HttpResponseBase:
    if isinstance(given, HttpResponseBase):
        return given
    shown: Any = {}
    if isinstance(given, pages.Page) and found.said.gives is not None:
        shown = {"items": found.said.gives(given.items, many=True).data, "next": given.next}
    elif found.said.gives is not None:
        shown = found.said.gives(given).data
    return Response(shown, status=found.said.status, headers={"Cache-Control": "no-store"})


# The document --------------------------------------------------------------------------------------------------------------------------


KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="1 to 255 visible ASCII characters. The same key again is answered from the record.",
)


class Nothing(serializers.Serializer[Any]):
    """An empty object."""


@dataclass
class _Pages:
    """The page serializers, one for each kind of item."""

    made: dict[str, type[serializers.Serializer[Any]]] = field(default_factory=dict)

    def of(self, item: type[serializers.Serializer[Any]]) -> type[serializers.Serializer[Any]]:
        if item.__name__ not in self.made:
            members = {
                "items": item(many=True),
                "next": serializers.CharField(allow_blank=True, help_text="Give it as `after`; empty on the last page."),
            }
            self.made[item.__name__] = type(f"{item.__name__}Page", (serializers.Serializer,), members)
        return self.made[item.__name__]


_PAGES = _Pages()


def _documented(view: Any, method: str, found: Door) -> Any:
    gives: Any = found.said.gives or Nothing
    if found.said.is_list:
        gives = _PAGES.of(gives)
    if parsing.JSON not in found.said.media_types:
        gives = bytes
    says = (found.serve.__doc__ or found.serve.__name__).strip()
    return extend_schema(
        methods=[method],
        operation_id=f"{found.noun}_{found.serve.__name__}",
        summary=says.split("\n")[0][:120],
        description=says,
        tags=[found.noun],
        auth=[{"bearer": []}, {"session": []}],  # type: ignore[list-item]
        request=found.said.body,
        parameters=([found.said.query] if found.said.query().fields else []) + ([] if method == "GET" else [KEY]),
        responses={(found.said.status, *found.said.media_types): gives, ("default", errors.PROBLEM): Problem},
    )(view)
