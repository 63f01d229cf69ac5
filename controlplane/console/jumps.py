"""Jumping: from an id, a name or a word to the page it belongs to; otherwise what was found under these words."""

from collections.abc import Callable
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET

from agents import contracts, runs, tools
from approvals import requests
from audit import log, outcomes
from controlplane.console import asked, frame, render
from controlplane.console.frame import NAVIGATION, Place

MOST = 8


@dataclass(frozen=True, slots=True)
class Found:
    address: str
    name: str
    about: str


@require_GET
@frame.page()
def go(request: HttpRequest, place: Place) -> HttpResponse:
    """Straight there when the words name exactly one thing that this person may see."""
    words = asked.text(request, "q")
    target = _exact(place, words) if words else ""
    if target:
        return redirect(f"{place.root}/{target}")
    return render.page(request, "console/go.html", {"words": words, "found": _similar(place, words) if words else []})


def _exact(place: Place, words: str) -> str:
    """The address of the one thing that bears this id or name, or nothing."""
    prefix, upper = words.upper().partition("-")[0], words.upper()
    for item in NAVIGATION:
        if words.lower() in {item.slug, item.label.lower()} and place.may(item.permission):
            return item.slug
    seekers: dict[str, tuple[str, Callable[[Place, str], str]]] = {
        "R": ("runs_view", _run),
        "C": ("runs_view", _call),
        "APR": ("approvals_view", _request),
        "EV": ("audit_view", _entry),
        "AG": ("agents_view", _agent),
    }
    permission, seek = seekers.get(prefix, ("", None))
    try:
        if seek is not None and "-" in words and place.may(permission):
            return seek(place, upper)
    except outcomes.Refused:
        pass
    for permission, seek in (("agents_view", _agent), ("tools_view", _tool)):
        try:
            if place.may(permission):
                return seek(place, words)
        except outcomes.Refused:
            continue
    return ""


def _run(place: Place, identifier: str) -> str:
    run = runs.get(identifier, by=place.principal)
    return f"runs/{run.id}" if run.workspace_id == place.workspace.id else ""


def _call(place: Place, identifier: str) -> str:
    call = runs.get_call(identifier, by=place.principal)
    return f"runs/{call.run_id}?call={call.id}#call" if call.run.workspace_id == place.workspace.id else ""


def _request(place: Place, identifier: str) -> str:
    request = requests.get(identifier, by=place.principal)
    return f"approvals/{request.id}" if request.workspace_id == place.workspace.id else ""


def _entry(place: Place, identifier: str) -> str:
    entry = log.get(identifier)
    return f"audit/{entry.id}" if entry is not None and entry.workspace_id in {"", place.workspace.id} else ""


def _agent(place: Place, name: str) -> str:
    return f"agents/{contracts.get(name, workspace=place.workspace).slug}"


def _tool(place: Place, name: str) -> str:
    return f"tools/{tools.get(name, workspace=place.workspace).name}"


def _similar(place: Place, words: str) -> list[Found]:
    """Agents, tools and runs whose names hold the words."""
    lower, found = words.lower(), []
    if place.may("agents_view"):
        hits = [each for each in contracts.in_workspace(place.workspace.id) if lower in f"{each.slug} {each.name}".lower()][:MOST]
        found += [Found(f"agents/{each.slug}", each.name, f"agent {each.slug}") for each in hits]
    if place.may("tools_view"):
        rows = [each for each in tools.all_versions(place.workspace.id) if lower in f"{each.tool.name} {each.title}".lower()][:MOST]
        found += [Found(f"tools/{row.tool.name}", row.tool.name, "tool") for row in rows]
    if place.may("runs_view"):
        some = runs.narrowed(runs.visible(by=place.principal, workspace=place.workspace.id), text=words)[:MOST]
        found += [Found(f"runs/{run.id}", run.title or run.agent.slug, f"run {run.id} {run.reference}") for run in some]
    return found
