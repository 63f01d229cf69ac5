"""What each tab of a tool's page shows: overview, schema, try it, usage, rules, history."""

import datetime
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest

from agents import contracts, schema_changes, tools, usage
from agents.models import ToolVersion
from controlplane import rehearsal
from controlplane.console import agent_tabs, asked, cells, explaining, typed
from controlplane.console.frame import Place
from controlplane.templatetags import ui

TABS = {"overview": "Overview", "schema": "Schema", "try": "Try it", "usage": "Usage", "rules": "Rules", "history": "History"}
PERIODS = {"7": "7 days", "30": "30 days"}
USUAL = "7"  # what the list of tools counts
# What becomes of a call, in the order it is told; every state is one of them, so that they add up.
ENDS = ("APPLIED", "REFUSED", "DENIED", "EXPIRED", "VOID", "FAILED", "IN_DOUBT", "DRAFTED", "HELD", "APPROVED", "ADMITTED", "SENDING")
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
Context = dict[str, Any]


def overview(_request: HttpRequest, place: Place, shown: Context) -> Context:
    """What the model is told and how a person classified it; the arguments in short; who is pinned to it."""
    row: ToolVersion = shown["row"]
    return {
        "arguments": arguments(json.loads(row.input_schema)),
        "pins": list(tools.pinning(place.workspace.id, shown["tool"].id)),
        "risks": ToolVersion.Risk.values,
        "classes": ToolVersion.Class.choices,
    }


def schema(request: HttpRequest, _place: Place, shown: Context) -> Context:
    """The arguments, and what changed between two versions."""
    by_number = {str(each.number): each for each in shown["versions"]}
    new = by_number.get(asked.text(request, "to")) or shown["row"]
    old = by_number.get(asked.text(request, "from")) or by_number.get(str(new.number - 1))
    changes = schema_changes.between(json.loads(old.input_schema), json.loads(new.input_schema)) if old else []
    return {
        "arguments": arguments(json.loads(new.input_schema)),
        "schema": json.loads(new.input_schema),
        "output": json.loads(new.output_schema) if new.output_schema else None,
        "preview": new.preview,
        "old": old,
        "new": new,
        "changes": changes,
        "breaking": sum(change.is_breaking for change in changes),
    }


def attempt(request: HttpRequest, place: Place, shown: Context) -> Context:
    """A call rehearsed as one of its agents: the gate's own examination, nothing sent."""
    slugs, chosen = (
        [pin.agent_version.agent.slug for pin in tools.pinning(place.workspace.id, shown["tool"].id)],
        asked.text(request, "agent"),
    )
    slug = chosen if chosen in slugs else next(iter(slugs), "")
    row = next((each for each in shown["versions"] if each.state == "ACTIVE"), None)
    if row is None or not slug or not place.may("access_view"):
        return {"agents": slugs, "is_on": row is not None, "agent": None}
    agent, facts = contracts.get(slug, workspace=place.workspace), tools.version(place.organisation.id, row.id)
    stage = rehearsal.prepare(place.organisation.id, place.workspace.id)
    return {
        "agents": slugs,
        "is_on": True,
        "agent": agent,
        "fields": typed.read(tools.schema(facts.input_schema), request.GET.dict())[0],
        "rehearsed": explaining.rehearsed(request, agent, facts, stage),
    }


def since(now: datetime.datetime, days: str) -> datetime.datetime:
    """From when a period counts, to the minute: as an address says it, so that the runs behind a number are those that were counted."""
    return (now - datetime.timedelta(days=int(days))).replace(second=0, microsecond=0)


def used(request: HttpRequest, place: Place, shown: Context) -> Context:
    """How it was called: by outcome, by code, by agent, and which arguments were wrong. Each number leads to its runs."""
    days, name = asked.text(request, "days"), shown["tool"].name
    days = days if days in PERIODS else USUAL
    start, here = since(shown["now"], days), (place.organisation.id, place.workspace.id)
    found = usage.of_tools(*here, since=start, name=name).get(name)
    counted = usage.outcomes(*here, since=start, name=name)

    def behind(*terms: str) -> str:
        words = " ".join((f"tool:{name}", *terms))
        return f"{place.root}/runs?{urlencode({'q': words, 'since': f'{start:%Y-%m-%dT%H:%M}'})}" if place.may("runs_view") else ""

    def rows(by: str, qualifier: str) -> list[tuple[str, usage.Count, str]]:
        common = sorted(((value, each) for value, each in counted[by].items() if value), key=lambda pair: -pair[1].calls)
        return [(value, each, behind(f"{qualifier}:{value}")) for value, each in common[:20]]

    states = [
        (ui.STATES[state][0], counted["state"][state], behind(f"call:{state.lower()}")) for state in ENDS if state in counted["state"]
    ]
    return {
        "use": found,
        "period": PERIODS[days],
        "periods": [(key, words, asked.address(request, days=key)) for key, words in PERIODS.items()],
        "days": days,
        "outcomes": [("Calls", counted[""][""], behind()), *states],
        "codes": rows("code", "refused"),
        "callers": rows("agent", "agent"),
        "faults": usage.faults(*here, since=start, name=name) if found else {},
        "most": usage.MOST_RUNS,
    }


def rules(_request: HttpRequest, place: Place, shown: Context) -> Context:
    """Its column of the matrix: what would become of a call of it, by agent."""
    row = next((each for each in shown["versions"] if each.state == "ACTIVE"), None)
    if not place.may("access_view"):
        return {"cells": None}
    if row is None or shown["tool"].state != "ACTIVE":
        return {"cells": []}
    agents = list(contracts.in_use(place.workspace.id))
    found = cells.field(place, agents, [tools.version(place.organisation.id, row.id)])
    return {"cells": [cell for cell in found.cells if cell.access.word != "NOT_PINNED"]}


def history(_request: HttpRequest, place: Place, shown: Context) -> Context:
    """Who confirmed, changed or retired it."""
    return {"entries": agent_tabs.told(place, shown["tool"].id)}


def arguments(schema: dict[str, Any], prefix: str = "", depth: int = 0) -> list[dict[str, Any]]:
    """A schema's properties as rows: name, type, whether it must be there, what it must satisfy, what it means."""
    rows: list[dict[str, Any]] = []
    properties = schema.get("properties")
    for name, each in (properties if isinstance(properties, dict) else {}).items():
        found = each if isinstance(each, dict) else {}
        said = [(rule, found[rule]) for rule in RULES if rule in found]
        required = name in schema.get("required", [])
        rows.append(
            {"name": prefix + name, "type": _type(found), "required": required, "rules": said, "said": found.get("description") or ""}
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


FILL: dict[str, Callable[[HttpRequest, Place, Context], Context]] = {
    "overview": overview,
    "schema": schema,
    "try": attempt,
    "usage": used,
    "rules": rules,
    "history": history,
}
