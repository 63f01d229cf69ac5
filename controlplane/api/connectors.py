"""Connectors: register a way to a system, and ask it for its tools."""

import re
from typing import Any

from rest_framework import serializers

from agents import models, organisations, tools
from audit import tenancy
from controlplane import discovery
from controlplane.api import inputs, pages
from controlplane.api import tools as tool_doors
from controlplane.api.routing import Asked, Said, door

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_SCHEMES = {"mcp": ("https://", "http://"), "http": ("https://", "http://"), "builtin": ("builtin:",)}


class Connector(serializers.Serializer[models.Connector]):
    """Secrets are never shown."""

    id = serializers.CharField()
    slug = serializers.CharField()
    kind = serializers.CharField()
    url = serializers.CharField()
    workspace = serializers.CharField(source="workspace_id")
    headers = serializers.DictField(child=serializers.CharField())
    timeout_s = serializers.SerializerMethodField()
    allow_private = serializers.BooleanField()
    created_at = serializers.DateTimeField()

    def get_timeout_s(self, connector: models.Connector) -> float:
        return connector.timeout_ms / 1000


class NewConnector(inputs.InWorkspace):
    """`headers` are templates: {run.reference}, {run.id}, {call.id}, {agent.slug}, {secret.name}."""

    slug = inputs.Slug()
    kind = inputs.Choice(choices=models.Connector.Kind.values)
    url = inputs.Text(max_length=2000)
    headers = serializers.DictField(child=inputs.Text(max_length=2000), required=False, default=dict)
    secrets = serializers.DictField(child=inputs.Text(max_length=8000), required=False, default=dict)
    timeout_s = serializers.FloatField(required=False, default=15, min_value=0.1, max_value=120)
    allow_private = inputs.Flag(required=False, default=False)
    document = inputs.Text(required=False, default="", allow_blank=True, max_length=256 * 1024)

    def validate_headers(self, headers: dict[str, str]) -> dict[str, str]:
        for name, template in headers.items():
            if not _HEADER.fullmatch(name) or not (template.isascii() and template.isprintable()):
                raise serializers.ValidationError(f"{name[:40]!r} is no header of visible ASCII characters")
        return headers

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs["url"].startswith(_SCHEMES[attrs["kind"]]) or not attrs["url"].isprintable():
            raise serializers.ValidationError({"url": [f"an address that begins with {' or '.join(_SCHEMES[attrs['kind']])}"]})
        return attrs


class Discovered(serializers.Serializer[Any]):
    tools = tool_doors.Tool(many=True)


class InWorkspaceOnly(inputs.InWorkspace):
    """The workspace, where there are several."""


@door(Said(query=pages.InWorkspace, gives=Connector))
def listed(asked: Asked) -> pages.Page:
    """The connectors of a workspace."""
    workspace = organisations.workspace_of(asked.by, asked.query.get("workspace", ""))
    organisations.require(asked.by, "tools_view", workspace.id)
    return pages.cut(tools.connectors(workspace.id), asked.query, order=("slug", "id"))


@door(Said(body=NewConnector, gives=Connector, status=201))
def register(asked: Asked) -> models.Connector:
    """Register a way to a system. Its tools are discovered next, and are off until a person confirms each."""
    given = asked.body
    with tenancy.within(asked.by.organisation):
        workspace = organisations.workspace_of(asked.by, given.get("workspace", ""))
    tools.register_connector(
        by=asked.by,
        workspace=workspace,
        slug=given["slug"],
        kind=given["kind"],
        url=given["url"],
        headers=given["headers"],
        secrets=given["secrets"],
        document=given["document"],
        timeout_ms=int(given["timeout_s"] * 1000),
        allow_private=given["allow_private"],
    )
    with tenancy.within(asked.by.organisation):
        return tools.get_connector(given["slug"], workspace=workspace)


@door(Said(body=InWorkspaceOnly, gives=Discovered))
def discover(asked: Asked, slug: str) -> dict[str, Any]:
    """Ask the system for its tools. New and changed ones are drafts; a changed one that was on is off from now on."""
    with tenancy.within(asked.by.organisation):
        workspace = organisations.workspace_of(asked.by, asked.body.get("workspace", ""))
        connector = tools.get_connector(slug, workspace=workspace)
    return {"tools": discovery.discover(by=asked.by, connector=connector)}
