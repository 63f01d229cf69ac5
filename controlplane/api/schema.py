"""What the OpenAPI document says about the two hot doors, which Django does not route, and about credentials."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.api import calls, errors
from controlplane.api.routing import KEY, Problem

WAIT = OpenApiParameter("wait", OpenApiTypes.INT, description=f"Seconds to wait for the decision, at most {calls.LONGEST_WAIT_S}.")
PROBLEM = {("default", errors.PROBLEM): Problem}


class Credentials(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "controlplane.guard.TokenOrSession"
    name = ["bearer", "session"]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [{"type": "http", "scheme": "bearer", "bearerFormat": "remit_..."}, {"type": "apiKey", "in": "cookie", "name": "remit"}]


class Proposal(serializers.Serializer[Any]):
    """One tool call. `arguments` is checked against the tool's schema; `run` is only needed with an agent's own key."""

    tool = serializers.CharField()
    arguments = serializers.JSONField()
    run = serializers.CharField(required=False)


class Call(serializers.Serializer[Any]):
    """How a call stands. The members about an approval are there while people decide; those of a problem when it was refused."""

    call = serializers.CharField()
    status = serializers.ChoiceField(
        choices=["applied", "failed", "pending_approval", "drafted", "running", "in_doubt", "refused", "denied", "expired", "void"]
    )
    result = serializers.JSONField(required=False, help_text="MCP-shaped: content, structuredContent, isError.")
    approval = serializers.CharField(required=False)
    plan = serializers.CharField(required=False)
    expires_at = serializers.CharField(required=False)
    poll_after_ms = serializers.IntegerField(required=False)
    url = serializers.CharField(required=False)
    wait = serializers.CharField(required=False)
    tool = serializers.CharField(required=False)
    run = serializers.CharField(required=False)
    number = serializers.IntegerField(required=False)
    tier = serializers.CharField(required=False)
    fingerprint = serializers.CharField(required=False)
    code = serializers.CharField(required=False)
    detail = serializers.CharField(required=False)


@extend_schema(
    operation_id="calls_propose",
    tags=["calls"],
    auth=[{"bearer": []}],  # type: ignore[list-item]
    summary="Propose one tool call.",
    description=calls.propose.__doc__,
    request=Proposal,
    parameters=[KEY],
    responses={200: Call, 202: Call, **PROBLEM},
)
@api_view(["POST"])
def propose(request: Request) -> Response:
    """Put one tool call through the gate: it is answered, held for people, or refused with what to do next."""
    raise NotImplementedError  # served by asgi.HOT


@extend_schema(
    operation_id="calls_show",
    tags=["calls"],
    auth=[{"bearer": []}],  # type: ignore[list-item]
    summary="How a call stands; waits for its decision when asked to.",
    parameters=[WAIT],
    responses={200: Call, **PROBLEM},
)
@api_view(["GET"])
def show(request: Request, identifier: str) -> Response:
    """How a call stands, or how it stands once people have decided."""
    raise NotImplementedError  # served by asgi.door_of


def with_hot_doors(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """Adds them to what Django routes (drf-spectacular's preprocessing hook)."""
    return [
        *endpoints,
        ("/api/v1/calls", "^api/v1/calls$", "POST", propose),
        ("/api/v1/calls/{identifier}", "^api/v1/calls/(?P<identifier>[^/]+)$", "GET", show),
    ]
