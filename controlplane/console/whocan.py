"""Who can do it: a tool, and with what. The agents with their outcome, and the people who approve, change the rule or the cap."""

import re
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_safe

from agents import access, contracts, seats, tools
from agents.models import Agent
from audit import outcomes
from controlplane import rehearsal
from controlplane.console import asked, explaining, frame, permissions, render, typed
from controlplane.console.frame import Place
from controlplane.templatetags import reach

_ABOVE = re.compile(r"\b(?:over|above|more than|for|of)\s+\$?([0-9][0-9,]*(?:\.[0-9]+)?)", re.IGNORECASE)
PEOPLE = (
    ("Change the rules", "policies_propose", "propose; another person puts them in force"),
    ("Put rules in force", "policies_activate", ""),
    ("Change the cap", "budgets_set", ""),
    ("Change what the agent is pinned to, or its stage", "agents_manage", ""),
    ("Say what the tool does, or retire it", "tools_manage", ""),
    ("Stop it now", "agents_stop", ""),
)


@require_safe
@frame.page("access_view", at="permissions")
def who(request: HttpRequest, place: Place) -> HttpResponse:
    """The answer has an address of its own. A question in words (`?q=`) is turned into one."""
    known = dict(tools.active(place.workspace.id).values_list("tool__name", "id"))
    q = asked.text(request, "q")
    if q and (read := _read(q, known, place)):
        return redirect(f"{place.root}/permissions/who?{urlencode(read)}")
    name = asked.text(request, "tool")
    if name and name not in known:
        raise Http404
    context: dict[str, Any] = {"names": sorted(known), "name": name, "q": q, "now": timezone.now()}
    if name:
        context |= _answer(request, place, tools.version(place.organisation.id, known[name]))
    return render.page(request, "permissions/who.html", context)


def _answer(request: HttpRequest, place: Place, tool: tools.Facts) -> dict[str, Any]:
    fields, arguments = typed.read(tools.schema(tool.input_schema), request.GET.dict())
    agents = list(contracts.in_use(place.workspace.id))
    only = asked.text(request, "agent")
    if only:
        agents = [agent for agent in agents if agent.slug == only]
    stage = rehearsal.prepare(place.organisation.id, place.workspace.id)
    ground, about = stage.ground(), explaining.circumstances(request)
    wrong = _wrong(tool, arguments)
    lines = (
        [] if wrong else [(agent, access.access_with(ground, agent, tool.name, arguments, about.subject, about.hour)) for agent in agents]
    )
    able = [(agent, one) for agent, one in lines if one.is_possible]
    tiers = {tier for _, one in able for tier in (one.lowest, one.highest, *(case.tier for case in one.cases))} & {"ONE", "TWO"}
    humans = permissions.humans(place, None) if tool.is_write else {}
    return {
        "tool": tool,
        "fields": fields,
        "faults": [field for field in fields if field.fault],
        "wrong": wrong,
        "given": {field.name: field.given for field in fields if field.name in arguments},
        "subject": asked.text(request, "subject"),
        "only": only,
        "active": stage.active,
        "able": able,
        "unable": [(agent, one) for agent, one in lines if not one.is_possible],
        "sentence": f"No agent can call {tool.name} with that: its schema refuses it." if wrong else _sentence(tool, able, len(lines)),
        "approvers": [(tier, humans.get(tier, [])) for tier in ("ONE", "TWO") if tier in tiers],
        "people": [
            (words, note, [member.name for member in seats.holding(permission, place.workspace.id)]) for words, permission, note in PEOPLE
        ],
    }


def _wrong(tool: tools.Facts, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """What the tool's schema has against the arguments that were given; those that are missing are not asked about."""
    try:
        tools.validate_arguments(tool, arguments)
    except outcomes.Refused as refused:
        faults: list[dict[str, Any]] = refused.details.get("faults", [])
        return [fault for fault in faults if str(fault["pointer"]).lstrip("/").partition("/")[0] in arguments]
    return []


def _sentence(tool: tools.Facts, able: list[tuple[Agent, access.Access]], asked_of: int) -> str:
    """The answer in one line, true also when it is nobody."""
    if not able:
        why = "each is refused, for the reasons below" if asked_of else "none is registered"
        return f"No agent can call {tool.name} with that: {why}."
    said = {reach.reach(one) for _, one in able}
    outcome = next(iter(said)).lower() if len(said) == 1 else "with the outcomes below"
    words = {"auto": "no person is asked", "one human": "one human must agree", "two humans": "two humans must agree"}.get(outcome, outcome)
    return f"{len(able)} of {asked_of} agent{'s' if asked_of != 1 else ''} can call {tool.name}: {words}."


def _read(q: str, known: dict[str, str], place: Place) -> dict[str, str]:
    """The question "who can issue_refund over 500?" as parameters; nothing when no tool, or more than one, is meant."""
    said = set(re.findall(r"[a-z0-9_]+", q.lower()))
    words = {word for word in said if len(word) > 3} - {"call", "over", "above", "more", "than"}
    parts = {name: set(name.lower().split("_")) for name in known}
    meant = [name for name in known if name.lower() in said] or [
        name for name in known if any(word in name.lower() or set(word.split("_")) <= parts[name] for word in words)
    ]
    if len(meant) != 1:
        return {}
    return question(q, tools.version(place.organisation.id, known[meant[0]]))


def question(words: str, tool: tools.Facts) -> dict[str, str]:
    """The parameters of the question about this tool, with the amount that the words name where the tool takes exactly one number."""
    found, amount = {"tool": tool.name}, _ABOVE.search(words)
    properties = tools.schema(tool.input_schema).get("properties", {})
    numeric = [name for name, each in properties.items() if isinstance(each, dict) and each.get("type") in {"integer", "number"}]
    if amount and len(numeric) == 1:
        value = float(amount[1].replace(",", ""))
        scaled = value * 100 if numeric[0].endswith("_cents") else value
        above = re.search(r"over|above|more than", words, re.IGNORECASE)
        found[f"a.{numeric[0]}"] = str(int(scaled) + 1 if above else int(scaled))
    return found
