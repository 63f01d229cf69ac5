"""Tools: what is registered, how a person classified it, what its arguments are, and which agents are pinned to it."""

import json
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from agents import stops, tools
from agents.models import ToolVersion
from audit import outcomes
from controlplane.console import asked, frame, render
from controlplane.console.frame import Place

RULES = (
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minItems",
    "maxItems",
    "default",
)
DEEPEST = 3


def standing(row: ToolVersion) -> str:
    """The state of a tool by its newest version. DRIFTED: it was on, then its definition changed upstream, so it is refused."""
    if row.tool.state == "RETIRED":
        return "RETIRED"
    return "DRIFTED" if row.state == "DRAFT" and row.tool.state == "ACTIVE" else str(row.state)


@require_GET
@frame.page("tools_view", at="tools")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    """The newest version of every tool."""
    text, kind, risk = asked.text(request, "q").lower(), asked.text(request, "kind"), asked.text(request, "risk")
    everything = list(tools.all_versions(place.workspace.id))
    agents: dict[str, int] = {}
    for pin in tools.pinning(place.workspace.id):
        agents[pin.tool_version.tool_id] = agents.get(pin.tool_version.tool_id, 0) + 1
    found = [
        row
        for row in everything
        if text in f"{row.tool.name} {row.title} {row.tool.connector.slug}".lower()
        and (not kind or row.is_write == (kind == "write"))
        and (not risk or row.risk == risk)
    ]
    rows = [(row, standing(row), agents.get(row.tool_id, 0)) for row in found]
    context = {"rows": rows, "everything": len(everything), "q": text, "kind": kind, "risk": risk, "risks": ToolVersion.Risk.values}
    return render.page(request, "tools/list.html", context)


@require_GET
@frame.page("tools_view", at="tools")
def detail(request: HttpRequest, place: Place, name: str) -> HttpResponse:
    """One tool."""
    try:
        tool = tools.get(asked.identifier(name), workspace=place.workspace)
    except outcomes.Refused as refused:
        raise Http404 from refused
    versions = list(tools.versions(tool)[:20])
    row = versions[0]
    context = {
        "tool": tool,
        "row": row,
        "standing": standing(row),
        "versions": versions,
        "pins": list(tools.pinning(place.workspace.id, tool.id)),
        "arguments": arguments(json.loads(row.input_schema)),
        "schema": json.loads(row.input_schema),
        "output": json.loads(row.output_schema) if row.output_schema else None,
        "stop": next(
            (stop for stop in stops.engaged() if (stop.scope, stop.target) in {("tool", tool.id), ("connector", tool.connector_id)}), None
        ),
    }
    return render.page(request, "tools/detail.html", context)


def arguments(schema: dict[str, Any], prefix: str = "", depth: int = 0) -> list[dict[str, Any]]:
    """A schema's properties as rows: name, type, whether it must be there, what it must satisfy, what it means."""
    rows: list[dict[str, Any]] = []
    properties = schema.get("properties")
    for name, each in (properties if isinstance(properties, dict) else {}).items():
        found = each if isinstance(each, dict) else {}
        said = found.get("description")
        rules = [(rule, found[rule]) for rule in RULES if rule in found]
        rows.append(
            {
                "name": prefix + name,
                "type": _type(found),
                "required": name in schema.get("required", []),
                "rules": rules,
                "said": said or "",
            }
        )
        inner = found.get("items") if isinstance(found.get("items"), dict) else found
        if depth < DEEPEST and isinstance(inner, dict):
            rows += arguments(inner, f"{prefix}{name}{'[]' if inner is not found else ''}.", depth + 1)
    return rows


def _type(found: dict[str, Any]) -> str:
    kind = found.get("type", found.get("$ref", "one of several" if "anyOf" in found or "oneOf" in found else "anything"))
    named = " or ".join(map(str, kind)) if isinstance(kind, list) else str(kind)
    items = found.get("items")
    return f"{named} of {items.get('type', 'anything')}" if named == "array" and isinstance(items, dict) else named
