"""Tools: what is registered, its classification by a person, its end; and the directory of who owns which object."""

import json
from typing import Any

from rest_framework import serializers

from agents import directory, models, organisations, runs, tools
from agents.organisations import Principal
from audit import tenancy
from controlplane.api import inputs, pages, parsing
from controlplane.api.routing import Asked, Said, door


class Tool(serializers.Serializer[Any]):
    """The newest version of a tool. Agents are pinned to a version, and lose the tool when it is replaced."""

    name = serializers.CharField(source="tool.name")
    state = serializers.SerializerMethodField()
    connector = serializers.CharField(source="tool.connector.slug")
    version = serializers.CharField(source="id")
    number = serializers.IntegerField()
    title = serializers.CharField()
    description = serializers.CharField()
    input_schema = serializers.SerializerMethodField()
    is_write = serializers.BooleanField()
    risk = serializers.CharField()
    reversible = serializers.BooleanField(source="is_reversible")
    data_domain = serializers.CharField()
    connector_class = serializers.CharField()
    price_micros = serializers.IntegerField(allow_null=True)
    subjects = serializers.DictField(child=serializers.CharField())
    preview = serializers.JSONField(allow_null=True)
    redact = serializers.ListField(child=serializers.CharField())
    digest = serializers.CharField()

    def get_state(self, row: models.ToolVersion) -> str:
        return models.Tool.State.RETIRED.value if row.tool.state == models.Tool.State.RETIRED else str(row.state)

    def get_input_schema(self, row: models.ToolVersion) -> dict[str, Any]:
        return dict(json.loads(row.input_schema))


class Confirmation(inputs.InWorkspace):
    """What a person says a tool is. What is left out stays as it is; a write that nobody described is risky, opaque and unpriced."""

    is_write = inputs.Flag()
    risk = inputs.Choice(required=False, choices=models.ToolVersion.Risk.values)
    reversible = inputs.Flag(required=False)
    data_domain = inputs.Text(required=False, allow_blank=True, max_length=80)
    connector_class = inputs.Choice(required=False, choices=models.ToolVersion.Class.values)
    price_micros = inputs.Whole(required=False, allow_null=True)
    subjects = serializers.DictField(child=inputs.Text(max_length=80), required=False)
    preview = serializers.DictField(required=False, allow_null=True)
    redact = serializers.ListField(child=inputs.Text(max_length=100), required=False, max_length=200)


class Owners(serializers.DictField):
    """Object to customer; checked in one go, because there may be a hundred thousand."""

    def run_child_validation(self, data: Any) -> Any:
        for name, owner in data.items():
            if not isinstance(owner, str) or not 0 < len(owner) <= 200 or not 0 < len(name) <= 300:
                raise serializers.ValidationError({name[:100]: ["an object id of at most 300 characters, and a customer of at most 200"]})
        return data


class Load(inputs.InWorkspace):
    """Which customer each object of a kind belongs to."""

    kind = inputs.Text(max_length=80)
    owners = Owners(child=serializers.CharField())


class Loaded(serializers.Serializer[Any]):
    objects = serializers.IntegerField()


class Retirement(inputs.InWorkspace):
    """The workspace, where there are several."""


@door(Said(query=pages.InWorkspace, gives=Tool))
def listed(asked: Asked) -> pages.Page:
    """The tools of a workspace. An agent sees those it may use."""
    workspace = organisations.workspace_of(asked.by, asked.query.get("workspace", ""))
    rows = tools.all_versions(workspace.id)
    if asked.by.kind == "agent":
        usable = _usable(asked.by)
        return pages.Page(items=[row for row in rows if row.id in usable], next="")
    organisations.require(asked.by, "tools_view", workspace.id)
    return pages.cut(tools.newest(workspace.id), asked.query, order=("tool__name", "id"))


def _usable(by: Principal) -> set[str]:
    """The versions that this key's run, or the agent's next run, may name."""
    return {facts.version for facts in runs.tools_of(by)}


@door(Said(body=Confirmation, gives=Tool))
def confirm(asked: Asked, name: str) -> models.ToolVersion:
    """Say what the newest version of a tool is, and turn it on."""
    given = dict(asked.body)
    with tenancy.within(asked.by.organisation):
        workspace = organisations.workspace_of(asked.by, given.pop("workspace", ""))
    if "reversible" in given:
        given["is_reversible"] = given.pop("reversible")
    return tools.confirm(by=asked.by, name=name, workspace=workspace, classification=given)


@door(Said(body=Retirement))
def retire(asked: Asked, name: str) -> None:
    """Take a tool away from every agent."""
    with tenancy.within(asked.by.organisation):
        workspace = organisations.workspace_of(asked.by, asked.body.get("workspace", ""))
    tools.retire(by=asked.by, name=name, workspace=workspace)


@door(Said(body=Load, gives=Loaded, max_bytes=parsing.MAX_LOAD))
def load(asked: Asked) -> dict[str, int]:
    """Tell Remit who owns which object, as the system of record has it. Up to 8 MiB; what is named again is replaced."""
    given = asked.body
    with tenancy.within(asked.by.organisation):
        workspace = organisations.workspace_of(asked.by, given.get("workspace", ""))
    return {"objects": directory.load(by=asked.by, workspace=workspace, kind=given["kind"], owners=given["owners"])}
