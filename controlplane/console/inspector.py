"""One call of a run from every side, and the words of a hosted run: plain values for the page, cut to what a page should carry."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest

from agents import runs, sight
from agents.models import Call, Run, Step
from approvals import sight as request_sight
from approvals.models import Request
from audit import log
from audit.models import Entry
from controlplane.console import asked, run_record
from controlplane.console.frame import Place

TABS = {
    "policy": "Policy",
    "input": "Input",
    "output": "Output",
    "refusal": "Refusal",
    "diff": "Diff",
    "effect": "Effect",
    "cost": "Cost",
    "raw": "Raw",
    "links": "Links",
}
FIRST = 4096  # characters of a payload that are in the page unless more is asked for
MOST = 512 * 1024
ENTRIES = 50
WEEKDAYS = dict(enumerate(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), start=1))


def opened(request: HttpRequest, place: Place, run: Run, call: Call, waits: Sequence[Request]) -> dict[str, Any]:
    """What the chosen tab shows."""
    effect = runs.effects(run).filter(call=call).first()
    sees_plan = call.is_write and request_sight.of_run(run, by=place.principal)
    has = {"refusal": bool(call.refusal), "effect": effect or call.is_write, "diff": sees_plan}
    has |= dict.fromkeys(set(TABS) - {"cost", "links"}, False) if run.is_withheld else {}
    tabs = {name: word for name, word in TABS.items() if has.get(name, True)}
    tab = asked.text(request, "tab")
    tab = tab if tab in tabs else next(name for name in ("refusal", "policy", "cost") if name in tabs)
    full = asked.text(request, "full") == "1"
    decided = runs.kept(call.decision) or {}
    entries = _entries(place, run, call) if tab == "links" else []
    return {
        "tabs": [(name, word, asked.address(request, call=call.id, tab=name, full="")) for name, word in tabs.items()],
        "tab": tab,
        "decision": decided.get("decision"),
        "overruled": call.state == Call.State.REFUSED and bool((decided.get("decision") or {}).get("allowed")),
        "judged": _judged(decided.get("request") or {}),
        "payload": cut(_payload(call, tab), full=full) if tab in {"input", "output", "raw"} else None,
        "diff": run_record.diff(call, effect) if tab == "diff" else None,
        "cost": run_record.cost(call) if tab == "cost" else None,
        "more": asked.address(request, call=call.id, tab=tab, full="1"),
        "refusal": runs.kept(call.refusal),
        "effect": effect,
        "asked_people": next((each for each in reversed(waits) if each.call_id == call.id), None),
        "entries": entries,
    }


def _entries(place: Place, run: Run, call: Call) -> Iterable[Entry]:
    found = log.entries(run=run.id, subject=call.id).filter(sight.entries(place.principal, place.workspace.id))
    return found.order_by("at", "id")[:ENTRIES]


def _payload(call: Call, tab: str) -> str:
    """The text that a tab is about, as JSON."""
    if tab == "raw":
        return json.dumps(run_record.of_call(call), cls=DjangoJSONEncoder, ensure_ascii=False)
    return call.arguments if tab == "input" else call.result


def cut(text: str, *, full: bool) -> dict[str, Any]:
    """A payload for a <pre>: its beginning, or all of it that is kept, and how much there is."""
    found = runs.kept(text)
    pretty = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, indent=2) if text else ""
    most = MOST if full else FIRST
    return {"text": pretty[:most], "rest": max(len(pretty) - most, 0), "size": len(pretty.encode()), "is_empty": not text}


def _judged(request: dict[str, Any]) -> list[tuple[str, Any]]:
    """The context that the rules were asked with, in words."""
    agent = request.get("agent") or {}
    rows = [
        ("Agent", agent.get("slug")),
        ("Stage", agent.get("stage")),
        ("Category", agent.get("category")),
        ("Action", request.get("action")),
        ("Model", request.get("model")),
        ("Run is about", request.get("subject")),
        ("Objects belong to", request.get("owners")),
        ("Unknown objects", request.get("unknown_objects")),
        ("Calls before", request.get("calls")),
        ("Writes before", request.get("writes")),
        ("Hour (UTC)", request.get("hour")),
        ("Weekday", WEEKDAYS.get(request.get("weekday") or 0)),
    ]
    return [(word, found) for word, found in rows if found not in (None, "", [])]


def conversation(steps: Iterable[Step], *, full: str = "", ended: str = "") -> list[dict[str, Any]]:
    """The record of a hosted run, each part labelled by who wrote it, its end by `ended`. `full` is the id of the one step shown whole."""
    said = []
    for step in steps:
        found = runs.kept(step.content)
        parts = _parts(step.kind, found if isinstance(found, dict) else {"text": str(found)}, ended)
        most = MOST if full == step.id else FIRST
        said.append(
            {
                "step": step,
                "parts": [(source, text[:most]) for source, text in parts if text],
                "rest": sum(max(len(text) - most, 0) for _, text in parts),
            }
        )
    return said


def _parts(kind: str, content: dict[str, Any], ended: str) -> list[tuple[str, str]]:
    if kind == Step.Kind.PROMPT:
        offered = ", ".join(str(tool.get("name")) for tool in content.get("tools", []))
        return [
            ("Written by whoever published this version", str(content.get("system", ""))),
            ("Written by whoever started the run", str(content.get("input", ""))),
            ("Tools offered to the model", offered),
        ]
    if kind == Step.Kind.MODEL:
        calls = [f"{call.get('tool')} {json.dumps(call.get('arguments'), ensure_ascii=False)}" for call in content.get("calls", [])]
        return [
            ("Written by the model: reasoning", str(content.get("reasoning", ""))),
            ("Written by the model", str(content.get("text", ""))),
            ("Calls the model proposed", "\n".join(calls)),
        ]
    if kind == Step.Kind.TOOL:
        blocks = (content.get("result") or {}).get("content", [])
        source = (
            f"From the tool {content.get('tool')}" if content.get("status") == "applied" else f"From the gate, about {content.get('tool')}"
        )
        return [(source, "\n".join(str(block.get("text", block)) for block in blocks))]
    return [(ended or "Left at the end. Not checked.", str(content.get("summary", content.get("text", ""))))]
