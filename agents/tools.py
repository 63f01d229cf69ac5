"""The tool registry: connectors, tools and their immutable versions, pins, and the directory of who owns which object."""

import functools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError
from django.db.models import Count, F, QuerySet

from agents import organisations, schemas
from agents.models import Agent, Connector, Pin, Tool, ToolVersion, Workspace
from agents.organisations import Principal
from audit import canonical, ids, log, outcomes, tenancy, vault


class UnknownTool(outcomes.Refused):
    code = "unknown_tool"


class InvalidArguments(outcomes.Refused):
    code = "invalid_arguments"


@dataclass(frozen=True, slots=True)
class Facts:
    """An immutable tool version as the gate needs it."""

    version: str
    tool: str
    name: str
    title: str
    description: str
    operation: str
    detail: Mapping[str, Any]
    input_schema: str
    output_schema: str
    is_write: bool
    risk: str
    is_reversible: bool
    data_domain: str
    connector: str
    connector_slug: str
    connector_class: str
    preview: Mapping[str, Any] | None
    subjects: Mapping[str, str]
    redact: frozenset[str]
    price_micros: int | None
    digest: str
    schema_digest: str


def facts(row: ToolVersion) -> Facts:
    """The version's facts. `row` carries its tool and connector."""
    return Facts(
        version=row.id,
        tool=row.tool_id,
        name=row.tool.name,
        title=row.title,
        description=row.description,
        operation=row.operation,
        detail=row.detail,
        input_schema=row.input_schema,
        output_schema=row.output_schema,
        is_write=row.is_write,
        risk=row.risk,
        is_reversible=row.is_reversible,
        data_domain=row.data_domain,
        connector=row.tool.connector_id,
        connector_slug=row.tool.connector.slug,
        connector_class=row.connector_class,
        preview=row.preview,
        subjects=row.subjects,
        redact=frozenset(row.redact),
        price_micros=row.price_micros,
        digest=row.digest,
        schema_digest=canonical.digest(row.input_schema),
    )


@functools.lru_cache(maxsize=4096)
def version(organisation: str, identifier: str) -> Facts:
    """A tool version by id. Versions never change, so they are kept; whether one is active is asked of the database each time."""
    with tenancy.within(organisation, read_only=True):
        return facts(ToolVersion.objects.select_related("tool__connector").get(id=identifier))


def register_connector(  # noqa: PLR0913 - one field of the form each
    *,
    by: Principal,
    workspace: Workspace,
    slug: str,
    kind: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    document: str = "",
    timeout_ms: int = 15_000,
    allow_private: bool = False,
) -> Connector:
    """A new way to a system. Secrets are sealed and only ever appear in the headers sent there."""
    if kind not in Connector.Kind.values:
        raise organisations.Conflict(
            f"There is no connector kind {kind}.",
            rule="connector kind",
            current=kind,
            limit=", ".join(Connector.Kind.values),
            next_step="Choose one of them.",
        )
    with tenancy.within(by.organisation):
        organisations.require(by, "tools_manage", workspace.id)
        identifier = ids.new("CON")
        sealed = vault.seal(json.dumps(dict(secrets)).encode(), aad=f"{by.organisation}/{identifier}") if secrets else None
        try:
            connector = Connector.objects.create(
                id=identifier,
                workspace=workspace,
                slug=slug,
                kind=kind,
                url=url,
                headers=dict(headers or {}),
                sealed_secrets=sealed,
                document=document,
                timeout_ms=timeout_ms,
                allow_private=allow_private,
            )
        except IntegrityError as error:
            raise organisations.Conflict(
                f"There is a connector {slug} already.", rule="connector_slug", current=slug, next_step="Choose another slug."
            ) from error
        log.append(
            "connector.registered",
            by=by,
            subject=connector.id,
            workspace=workspace.id,
            detail={"slug": slug, "kind": kind, "url": url, "headers": sorted(headers or {})},
        )
    return connector


def confirm(*, by: Principal, name: str, workspace: Workspace, classification: Mapping[str, Any]) -> ToolVersion:
    """A person classifies the newest version of a tool and turns it on. Classifying an active one anew writes a new version.

    classification: is_write, risk, is_reversible, data_domain, connector_class, price_micros, subjects, preview, redact.
    Raises Conflict when it contradicts itself (a write is no E0; a tool without a price is refused at the gate).
    """
    fields = {"is_write", "risk", "is_reversible", "data_domain", "connector_class", "price_micros", "subjects", "preview", "redact"}
    given = {key: value for key, value in classification.items() if key in fields}
    with tenancy.within(by.organisation):
        organisations.require(by, "tools_manage", workspace.id)
        tool = get(name, workspace=workspace)
        row = tool.versions.select_for_update().order_by("-number").first()
        assert row is not None  # a tool is made together with its first version
        if row.state != ToolVersion.State.DRAFT:
            row.pk, row.number, row._state.adding = ids.new("TV"), row.number + 1, True
        for field, value in given.items():
            setattr(row, field, value)
        if row.is_write and row.connector_class == "E0":
            raise organisations.Conflict(
                "A tool that writes cannot be of class E0.",
                rule="connector class",
                current="E0",
                limit="E1, E2, E3 or E4",
                next_step="Choose the class that the connector can keep.",
            )
        unknown = set(row.subjects) - set(json.loads(row.input_schema).get("properties", {}))
        if unknown:
            raise organisations.Conflict(
                f"The tool has no argument {', '.join(sorted(unknown))}.",
                rule="subjects",
                current=sorted(unknown),
                next_step="Name arguments of the tool's schema.",
            )
        tool.versions.filter(state=ToolVersion.State.ACTIVE).update(state=ToolVersion.State.RETIRED)
        row.state = ToolVersion.State.ACTIVE
        row.save()
        Tool.objects.filter(id=tool.id).update(state=Tool.State.ACTIVE)
        registry_changed(workspace.id)
        log.append(
            "tool.confirmed",
            by=by,
            subject=tool.id,
            workspace=workspace.id,
            detail={"name": name, "version": row.number, "digest": row.digest, **{k: v for k, v in given.items() if k != "preview"}},
        )
    return row


def retire(*, by: Principal, name: str, workspace: Workspace) -> None:
    """Take a tool away from every agent."""
    with tenancy.within(by.organisation):
        organisations.require(by, "tools_manage", workspace.id)
        tool = get(name, workspace=workspace)
        Tool.objects.filter(id=tool.id).update(state=Tool.State.RETIRED)
        registry_changed(workspace.id)
        log.append("tool.retired", by=by, subject=tool.id, workspace=workspace.id, detail={"name": name})


def get(name: str, *, workspace: Workspace) -> Tool:
    """A tool by name. Raises NotFound. Call inside `tenancy.within`."""
    tool = Tool.objects.filter(workspace=workspace, name=name).first()
    if tool is None:
        raise organisations.NotFound(f"There is no tool {name} in this workspace.", rule="tool", current=name, next_step="List the tools.")
    return tool


def get_connector(slug: str, *, workspace: Workspace) -> Connector:
    """A connector by slug. Raises NotFound. Call inside `tenancy.within`."""
    connector = Connector.objects.filter(workspace=workspace, slug=slug).first()
    if connector is None:
        raise organisations.NotFound(
            f"There is no connector {slug} in this workspace.", rule="connector", current=slug, next_step="List the connectors."
        )
    return connector


def connectors(workspace: str) -> QuerySet[Connector]:
    """The connectors of a workspace by slug. Call inside `tenancy.within`."""
    return Connector.objects.filter(workspace_id=workspace).order_by("slug")


def registry_changed(workspace: str) -> None:
    """Whatever was kept of the workspace's tools holds no more. Call inside `tenancy.within`."""
    Workspace.objects.filter(id=workspace).update(registry=F("registry") + 1)


def active(workspace: str) -> QuerySet[ToolVersion]:
    """The versions that agents may be pinned to, by name. Call inside `tenancy.within`."""
    return (
        ToolVersion.objects.filter(tool__workspace_id=workspace, tool__state=Tool.State.ACTIVE, state=ToolVersion.State.ACTIVE)
        .select_related("tool__connector")
        .order_by("tool__name")
    )


def names(workspace: str, *, writes: bool = False) -> dict[str, str]:
    """id -> name of the tools that agents may be pinned to, or of those that write, by name. Call inside `tenancy.within`."""
    found = active(workspace).filter(is_write=True) if writes else active(workspace)
    return dict(found.values_list("tool_id", "tool__name"))


def facts_of_active(organisation: str, workspace: str) -> list[Facts]:
    """The same as facts. Call inside `tenancy.within`."""
    return [version(organisation, identifier) for identifier in active(workspace).values_list("id", flat=True)]


def all_versions(workspace: str) -> QuerySet[ToolVersion]:
    """The newest version of every tool, confirmed or not. Call inside `tenancy.within`."""
    return (
        ToolVersion.objects.filter(tool__workspace_id=workspace)
        .select_related("tool__connector")
        .order_by("tool__name", "-number")
        .distinct("tool__name")
    )


def newest(workspace: str) -> QuerySet[ToolVersion]:
    """The same, in no order: for pages. Call inside `tenancy.within`."""
    return ToolVersion.objects.filter(id__in=all_versions(workspace).values("id")).select_related("tool__connector")


def pinned(agent_version: str) -> list[Facts]:
    """The tools an agent version may name and that are active now, by name. Call inside `tenancy.within`."""
    rows = (
        ToolVersion.objects.filter(pinned_by__agent_version_id=agent_version, state=ToolVersion.State.ACTIVE, tool__state=Tool.State.ACTIVE)
        .select_related("tool__connector")
        .order_by("tool__name")
    )
    return [facts(row) for row in rows]


def pinned_by_agent(organisation: str, workspace: str) -> dict[str, dict[str, Facts]]:
    """agent -> name -> the active version it is pinned to, for every agent's current version. Call inside `tenancy.within`."""
    found: dict[str, dict[str, Facts]] = {}
    rows = pinning(workspace).filter(tool_version__state=ToolVersion.State.ACTIVE, tool_version__tool__state=Tool.State.ACTIVE)
    for agent, name, version_ in rows.order_by().values_list("agent_version__agent_id", "name", "tool_version_id"):
        found.setdefault(agent, {})[name] = version(organisation, version_)
    return found


def usable(agent_version: str, capability: Mapping[str, Any] | None) -> list[Facts]:
    """The tools this caller may use: pinned, active, and in its capability. Call inside `tenancy.within`."""
    allowed = capability["tools"] if capability else None
    return [tool for tool in pinned(agent_version) if allowed is None or tool.name in allowed]


def pins(agent_version: str) -> QuerySet[Pin]:
    """The pins of an agent version by name, whether or not what they point at is active. Call inside `tenancy.within`."""
    return Pin.objects.filter(agent_version_id=agent_version).select_related("tool_version__tool__connector").order_by("name")


def pinned_names(agent_versions: Collection[str]) -> dict[str, list[str]]:
    """agent version -> the names it pins, in order. Call inside `tenancy.within`."""
    found: dict[str, list[str]] = {}
    for version, name in Pin.objects.filter(agent_version_id__in=agent_versions).order_by("name").values_list("agent_version_id", "name"):
        found.setdefault(version, []).append(name)
    return found


def pin_counts(workspace: str, *, by: str) -> dict[str, int]:
    """How many tools the current version of each agent may name (`by="agent"`), or how many agents each tool has (`by="tool"`).

    Call inside `tenancy.within`.
    """
    of = {"agent": "agent_version__agent_id", "tool": "tool_version__tool_id"}[by]
    return dict(pinning(workspace).order_by().values_list(of).annotate(number=Count("id")))


def pinning(workspace: str, tool: str = "") -> QuerySet[Pin]:
    """The pins of the agents' current versions, of one tool or of all. Call inside `tenancy.within`."""
    current = Agent.objects.filter(workspace_id=workspace, version__isnull=False).exclude(state=Agent.State.RETIRED).values("version_id")
    found = Pin.objects.filter(agent_version_id__in=current, **({"tool_version__tool_id": tool} if tool else {}))
    return found.select_related("tool_version", "agent_version__agent").order_by("agent_version__agent__slug")


def versions(tool: Tool) -> QuerySet[ToolVersion]:
    """Every version of a tool, newest first. Call inside `tenancy.within`."""
    return ToolVersion.objects.filter(tool=tool).select_related("tool__connector").order_by("-number")


def unknown(name: str, *, listed: Sequence[Facts]) -> UnknownTool:
    """The refusal of a name that is not registered and pinned for this caller. It lists what the caller may use, and nothing else."""
    return UnknownTool(
        f"There is no tool {name[:80]!r} for this agent.",
        rule="registered and pinned",
        current=name[:200],
        limit=f"{len(listed)} tools",
        who="whoever manages this agent",
        next_step="Use one of the tools listed.",
        tools=[tool.name for tool in listed],
    )


def validate_arguments(tool: Facts, arguments: Any) -> None:
    """JSON Schema 2020-12 of the pinned version, and no unnamed argument. Raises InvalidArguments with pointer, expected and got."""
    found = schemas.faults(tool.input_schema, arguments, digest=tool.schema_digest)
    if found:
        raise InvalidArguments(
            f"The arguments of {tool.name} do not fit its schema.",
            rule=f"schema of {tool.name}",
            current=f"{len(found)} faults",
            limit="0 faults",
            who="whoever proposes the call",
            next_step="Correct what the faults name and propose the call again.",
            faults=[{"pointer": f.pointer, "expected": f.expected, "got": f.got} for f in found],
        )


def schema(text: str) -> dict[str, Any]:
    """The stored schema as an object."""
    parsed: dict[str, Any] = json.loads(text)
    return parsed
