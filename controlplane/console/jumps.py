"""Jumping: from an id, a name or a word to the page it belongs to; otherwise what was found under these words."""

from collections.abc import Callable

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from agents import contracts, policies, runs, seats, stops, tools
from approvals import requests
from audit import ids, log, outcomes, tenancy
from controlplane.console import asked, audit, frame, search
from controlplane.console import render as rendering
from controlplane.console.frame import NAVIGATION, Place
from controlplane.console.search import Found


@require_safe
@frame.page()
def go(request: HttpRequest, place: Place) -> HttpResponse:
    """Straight there when the words name exactly one thing that this person may see; the palette shows it first instead."""
    words = asked.text(request, "q")
    target = _exact(place, words) if words else ""
    in_palette = request.headers.get("HX-Target") == "options"
    if target and not in_palette:
        return redirect(f"{place.root}/{target}")
    groups = search.grouped(place, words)
    if target:
        groups.insert(0, ("Best match", [Found(target, words, "goes straight there")]))
    return rendering.page(request, "console/go.html", {"words": words, "groups": groups}, fragment="options" if in_palette else "")


@require_safe
@login_required
def anywhere(request: HttpRequest, identifier: str) -> HttpResponse:
    """`/go/APR-1042`: a short link that knows no workspace. It works before sign-in and leads to whichever of one's workspaces has it."""
    assert request.user.pk is not None
    words = asked.identifier(identifier)
    for seat in seats.places(request.user.pk) if ids.prefix_of(words.upper()) else []:
        place = frame.find(request, seat.organisation, seat.workspace)
        with tenancy.within(place.organisation.id, read_only=True):
            target = _exact(place, words)
        if target:
            return redirect(f"{place.root}/{target}")
    return render(request, "404.html", status=404)


@require_safe
@login_required
def workspaces(request: HttpRequest) -> HttpResponse:
    """The workspaces one may enter; switching keeps the page, where the other workspace has it."""
    assert request.user.pk is not None
    kept = request.GET.get("at", "")
    at = kept if kept in {item.slug for item in NAVIGATION} else "overview"
    held: dict[tuple[str, str], list[seats.Seating]] = {}
    for seat in seats.places(request.user.pk):
        held.setdefault((seat.organisation, seat.workspace), []).append(seat)
    return render(request, "console/workspaces.html", {"seats": list(held.values()), "at": at})


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
        "STP": ("agents_view", _stop),
        "POL": ("policies_view", _policy),
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
    return f"audit/{entry.id}" if entry is not None and audit.may_read(place, entry) else ""


def _stop(place: Place, identifier: str) -> str:
    here = stops.of_workspace(place.workspace.id, organisation=place.organisation.id).filter(id=identifier)
    return f"stops/{identifier}" if here.exists() else ""


def _policy(place: Place, identifier: str) -> str:
    rules = policies.get(identifier)
    return f"policies/{rules.id}" if rules.workspace_id == place.workspace.id else ""


def _agent(place: Place, name: str) -> str:
    return f"agents/{contracts.get(name, workspace=place.workspace).slug}"


def _tool(place: Place, name: str) -> str:
    return f"tools/{tools.get(name, workspace=place.workspace).name}"
