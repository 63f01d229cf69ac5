"""tools/list: what this caller may use, in our words. The other side's hints are not repeated: whoever confirmed a tool classified it."""

import json
from typing import Any

import orjson

from agents import tools
from agents.organisations import Principal
from audit import canonical, tenancy
from controlplane import examination

WAIT = "approvals_wait"
WAIT_MOST_S, WAIT_USUAL_S = 45, 25
WAIT_SCHEMA = canonical.text(
    {
        "type": "object", "additionalProperties": False, "required": ["call"],
        "properties": {
            "call": {"type": "string", "description": "The call id that the held call was answered with."},
            "seconds": {"type": "integer", "minimum": 1, "maximum": WAIT_MOST_S, "description": f"How long; {WAIT_USUAL_S} if not said."},
        },
    }
)  # fmt: skip
WAIT_DIGEST = canonical.digest(WAIT_SCHEMA)
_MIRROR = "x-mcp-header"
_ONE = frozenset(
    {
        "items",
        "contains",
        "unevaluatedItems",
        "additionalProperties",
        "unevaluatedProperties",
        "propertyNames",
        "not",
        "if",
        "then",
        "else",
        "contentSchema",
    }
)
_LISTS, _MAPS = (
    frozenset({"allOf", "anyOf", "oneOf", "prefixItems"}),
    frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"}),
)
_WAITING: dict[str, Any] = {
    "name": WAIT, "title": "Wait for a decision", "inputSchema": orjson.Fragment(WAIT_SCHEMA),
    "description": "Wait until people have decided on a held call; answers with its result, or why it was refused. Changes nothing.",
    "annotations": {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": False},
}  # fmt: skip


def listed(principal: Principal, run: str) -> list[dict[str, Any]]:
    """The tools of the run's pinned version that its capability leaves, and the one to wait with; sorted by name."""
    context = examination.read(principal.organisation, agent=principal.id, run=run)
    with tenancy.within(principal.organisation, read_only=True):
        usable = tools.usable(context["run"]["version"], context["capability"])
    return sorted([_described(tool) for tool in usable if tool.name != WAIT] + [_WAITING], key=lambda tool: str(tool["name"]))


def _described(tool: tools.Facts) -> dict[str, Any]:
    described: dict[str, Any] = {"name": tool.name, "inputSchema": orjson.Fragment(_schema(tool.input_schema))}
    described |= {name: value for name, value in (("title", tool.title), ("description", tool.description)) if value}
    # A write may be answered with "pending", which its own output schema does not allow, and clients check that.
    if tool.output_schema and not tool.is_write:
        described["outputSchema"] = orjson.Fragment(tool.output_schema)
    described["annotations"] = {
        "readOnlyHint": not tool.is_write,
        "destructiveHint": tool.is_write and not tool.is_reversible,
        "idempotentHint": not tool.is_write,
    }
    return described


def _schema(text: str) -> str:
    """The stored schema without the upstream's wish to see arguments repeated in headers: that was for the hop behind us."""
    return canonical.text(_without_mirrors(json.loads(text))) if _MIRROR in text else text


def _without_mirrors(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in _ONE:
            kept[keyword] = _without_mirrors(value)
        elif keyword in _LISTS and isinstance(value, list):
            kept[keyword] = [_without_mirrors(item) for item in value]
        elif keyword in _MAPS and isinstance(value, dict):
            kept[keyword] = {name: _without_mirrors(item) for name, item in value.items()}
        elif keyword != _MIRROR:
            kept[keyword] = value
    return kept
