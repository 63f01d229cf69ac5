"""The stop switches of a workspace: see what a stop would hold, engage it, and let another person release it."""

from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST

from agents import contracts, organisations, runs, stops, tools
from agents.models import Run, Stop
from approvals import requests
from audit import outcomes, tenancy
from controlplane.console import frame, render
from controlplane.console.frame import Place

SHOWN = 50
MOST_RUNS = 100


@dataclass(frozen=True, slots=True)
class Row:
    """One switch as people read it. `why_not` says why this person may not release it."""

    stop: Stop
    what: str
    by: str
    released_by: str
    why_not: str


@require_GET
@frame.page("agents_view", at="stops")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    """What is stopped now, the form with its preview, and the history."""
    return _show(request, place, request.GET.dict())


@require_POST
@frame.page("agents_view", at="stops")
def engage(request: HttpRequest, place: Place) -> HttpResponse:
    """Pull the brake on something in this workspace."""
    typed = {name: request.POST.get(name, "") for name in ("what", "reason")}
    scope, _, target = typed["what"].partition("/")
    try:
        with tenancy.within(place.organisation.id):
            if not any(key == typed["what"] for _, choices in _choices(place) for key, _ in choices):
                raise organisations.Conflict(
                    "There is no such thing to stop in this workspace.", rule="stop target", next_step="Choose one of the list."
                )
            if not typed["reason"].strip():
                raise organisations.Conflict(
                    "A stop needs a reason: it is shown to everybody it holds up.", rule="stop", next_step="Type one."
                )
            stops.engage(by=place.principal, scope=scope, target=target, reason=typed["reason"].strip()[:500])
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id, read_only=True):
            return _show(request, place, typed, refused=refused)
    return redirect(f"{place.root}/stops")


@require_POST
@frame.page("agents_view", at="stops")
def release(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """Let it go on: another person than the one who stopped it."""
    try:
        with tenancy.within(place.organisation.id):
            stop = stops.of_workspace(place.workspace.id, organisation=place.organisation.id).filter(id=identifier).first()
            if stop is None:
                raise Http404
            stops.release(by=place.principal, stop=stop)
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id, read_only=True):
            return _show(request, place, {}, refused=refused)
    return redirect(f"{place.root}/stops")


def _show(request: HttpRequest, place: Place, typed: dict[str, str], *, refused: outcomes.Refused | None = None) -> HttpResponse:
    people = {member.id: (member.name, member.person) for member in organisations.members()}
    found = stops.of_workspace(place.workspace.id, organisation=place.organisation.id)
    choices = _choices(place)
    named = {key: label for _, labelled in choices for key, label in labelled}
    context: dict[str, Any] = {
        "engaged_here": [_row(place, stop, people, named) for stop in found.filter(released_at=None)],
        "history": [_row(place, stop, people, named) for stop in found.exclude(released_at=None).order_by("-released_at", "id")[:SHOWN]],
        "choices": choices,
        "typed": typed,
        "refused": refused.as_dict() if refused else None,
        "may_release": place.may("agents_stop") or place.may("runs_stop"),
    }
    what = typed.get("what", "")
    if what in named:
        scope, _, target = what.partition("/")
        under = stops.runs_under(scope, target)
        held = requests.open_under(scope, target)
        context |= {
            "chosen": named[what],
            "scope": scope,
            "running": under.count(),
            "open": held.count(),
            "examples": list(under.select_related("agent").order_by("-started_at")[:5]),
            "is_on": found.filter(released_at=None, scope=scope, target=target).exists(),
        }
    return render.page(request, "stops/list.html", context, status=render.status_of(refused) if refused else 200)


def _choices(place: Place) -> list[tuple[str, list[tuple[str, str]]]]:
    """(group, [(scope/id, label)]) of what this person may stop here."""
    groups: list[tuple[str, list[tuple[str, str]]]] = []
    workspace = place.workspace
    if place.may("agents_stop"):
        groups.append(("Everything", [(f"workspace/{workspace.id}", f"The whole workspace {workspace.name}")]))
        groups.append(("Agents", [(f"agent/{agent.id}", agent.slug) for agent in contracts.in_workspace(workspace.id)]))
        groups.append(("Tools", [(f"tool/{row.tool_id}", row.tool.name) for row in tools.active(workspace.id)]))
        groups.append(("Connectors", [(f"connector/{row.id}", row.slug) for row in tools.connectors(workspace.id)]))
    if place.may("runs_stop"):
        going = runs.visible(by=place.principal, workspace=workspace.id).exclude(state__in=Run.OVER)[:MOST_RUNS]
        groups.append(("Runs under way", [(f"run/{run.id}", f"{run.id} of {run.agent.slug}") for run in going]))
    return [group for group in groups if group[1]]


def _row(place: Place, stop: Stop, people: dict[str, tuple[str, str]], named: dict[str, str]) -> Row:
    by, person = people.get(stop.engaged_by, (stop.engaged_by, ""))
    labels = {"organisation": place.organisation.name, "workspace": place.workspace.name}
    what = labels.get(stop.scope) or named.get(f"{stop.scope}/{stop.target}", stop.target)
    needed = stops.PERMISSION.get(Stop.Scope(stop.scope), "agents_stop")
    why_not = f"This needs the permission {needed}." if not place.may(needed) else ""
    if person and person == place.principal.person:
        why_not = "You stopped it; another person lets it go on."
    return Row(stop=stop, what=what, by=by, released_by=people.get(stop.released_by, (stop.released_by, ""))[0], why_not=why_not)
