"""The stop switches of a workspace: see what a stop would hold, engage it, and let another person release it."""

import datetime
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agents import contracts, organisations, runs, seats, stops, tools
from agents.models import Run, Stop
from approvals import requests
from audit import outcomes, tenancy
from controlplane.console import asked, frame, render
from controlplane.console.frame import Place

SHOWN = 50
MOST_RUNS = 100
EXAMPLES = 5
ENDS = {"": "Until a person lets it go on", "900": "For 15 minutes", "3600": "For an hour", "14400": "For 4 hours", "86400": "For a day"}
FIELDS = ("what", "reason", "for")
Choices = list[tuple[str, list[tuple[str, str]]]]


@dataclass(frozen=True, slots=True)
class Row:
    """One switch as people read it. `why_not` says why this person may not release it."""

    stop: Stop
    label: str
    by: str
    released_by: str
    why_not: str


@require_safe
@frame.page("agents_view", at="stops")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    """What is stopped now, the form with its preview, and the history."""
    return _list(request, place, request.GET.dict())


@require_safe
@frame.page("agents_view", at="stops")
def form(request: HttpRequest, place: Place) -> HttpResponse:
    """The form alone, for a dialog on any page; `?what=agent/AG-…` chooses. Opened as a page, the page it stands in."""
    return _list(request, place, request.GET.dict(), fragment="form")


@require_http_methods(["GET", "POST"])
@frame.page("agents_view", at="stops")
def preview(request: HttpRequest, place: Place) -> HttpResponse:
    """What a stop would hold. Asked by a script, the sentence alone; by the form's own button, the page. It changes nothing."""
    if request.method == "GET":
        return _list(request, place, request.GET.dict(), fragment="preview")
    with tenancy.within(place.organisation.id, read_only=True):
        return _list(request, place, request.POST.dict())


@require_safe
@frame.page("agents_view", at="stops")
def show(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """One switch: what was stopped and why, what it holds now, and who may let it go on."""
    return _show(request, place, _here(place, identifier))


@require_POST
@frame.page("agents_view", at="stops")
def engage(request: HttpRequest, place: Place) -> HttpResponse:
    """Pull the brake on something in this workspace, or on the whole organisation."""
    typed = {name: request.POST.get(name, "") for name in FIELDS}
    scope, _, target = typed["what"].partition("/")
    try:
        with tenancy.within(place.organisation.id):
            if typed["what"] not in _named(_choices(place)):
                raise organisations.Conflict(
                    "There is no such thing to stop in this workspace.", rule="stop target", next_step="Choose one of the list."
                )
            if not typed["reason"].strip():
                raise organisations.Conflict(
                    "A stop needs a reason: it is shown to everybody it holds up.", rule="stop", next_step="Type one."
                )
            stop = stops.engage(by=place.principal, scope=scope, target=target, reason=typed["reason"].strip()[:500], ends_at=_end(typed))
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id, read_only=True):
            return _list(request, place, typed, refused=refused)
    return redirect(f"{place.root}/stops/{stop.id}")


@require_POST
@frame.page("agents_view", at="stops")
def release(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """Let it go on: another person than the one who stopped it."""
    try:
        with tenancy.within(place.organisation.id):
            stops.release(by=place.principal, stop=_here(place, identifier))
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id, read_only=True):
            return _show(request, place, _here(place, identifier), refused=refused)
    return redirect(f"{place.root}/stops/{identifier}")


def _here(place: Place, identifier: str) -> Stop:
    stop = stops.of_workspace(place.workspace.id, organisation=place.organisation.id).filter(id=asked.identifier(identifier)).first()
    if stop is None:
        raise Http404
    return stop


def _end(typed: dict[str, str]) -> datetime.datetime | None:
    lasts = typed["for"] if typed["for"] in ENDS else ""
    return timezone.now() + datetime.timedelta(seconds=int(lasts)) if lasts else None


def _list(
    request: HttpRequest, place: Place, typed: dict[str, str], *, refused: outcomes.Refused | None = None, fragment: str = ""
) -> HttpResponse:
    found = stops.of_workspace(place.workspace.id, organisation=place.organisation.id)
    engaged = list(found.filter(released_at=None)[:SHOWN])
    past = list(found.exclude(released_at=None).order_by("-released_at", "id")[: SHOWN + 1])
    rows = _rows(place, engaged + past[:SHOWN])
    context = _typed(place, typed) | {
        "engaged_here": rows[: len(engaged)],
        "history": rows[len(engaged) :],
        "refused": refused.as_dict() if refused else None,
        "is_cut": len(past) > SHOWN,
    }
    return render.page(request, "stops/list.html", context, fragment=fragment, status=render.status_of(refused) if refused else 200)


def _show(request: HttpRequest, place: Place, stop: Stop, *, refused: outcomes.Refused | None = None) -> HttpResponse:
    context = _holds(place, stop.scope, stop.target) | {
        "row": _rows(place, [stop])[0],
        "may_release": place.may("agents_stop") or place.may("runs_stop"),
        "refused": refused.as_dict() if refused else None,
    }
    return render.page(request, "stops/show.html", context, status=render.status_of(refused) if refused else 200)


def _typed(place: Place, typed: dict[str, str]) -> dict[str, Any]:
    """What the form shows: the choices, what was typed, and what the chosen one would hold."""
    choices, what = _choices(place), typed.get("what", "")
    named = _named(choices)
    context: dict[str, Any] = {"choices": choices, "typed": typed, "ends": ENDS}
    if what not in named:
        return context
    scope, _, target = what.partition("/")
    over = stops.engaged_over(place.workspace.id, organisation=place.organisation.id)
    context |= {"chosen": named[what], "is_on": over.filter(scope=scope, target=target).first()}
    return context | _holds(place, scope, target)


def _holds(place: Place, scope: str, target: str) -> dict[str, Any]:
    """What a switch holds right now, and who besides this person may release it."""
    under = stops.runs_under(scope, target)
    here = under.filter(workspace_id=place.workspace.id).select_related("agent").order_by("-started_at")
    needed = stops.PERMISSION.get(Stop.Scope(scope), "agents_stop")
    others = seats.holding(needed, place.workspace.id).exclude(person=place.principal.person)
    return {
        "running": under.count(),
        "open": requests.open_under(scope, target).count(),
        "sent": stops.calls_on_their_way(scope, target).count(),
        "examples": list(here[:EXAMPLES]),
        "releasers": [member.name for member in others[:EXAMPLES]],
    }


def _choices(place: Place) -> Choices:
    """(group, [(scope/id, label)]) of what this person may stop here."""
    groups: Choices = []
    workspace, organisation = place.workspace, place.organisation
    if place.may("agents_stop"):
        groups.append(("Agents", [(f"agent/{key}", slug) for key, slug in contracts.slugs(workspace.id).items()]))
        groups.append(("Tools", [(f"tool/{key}", name) for key, name in tools.names(workspace.id).items()]))
        groups.append(("Connectors", [(f"connector/{row.id}", row.slug) for row in tools.connectors(workspace.id)]))
        groups.append(("Everything", [(f"workspace/{workspace.id}", f"The whole workspace {workspace.name}")]))
        groups[-1][1].append((f"organisation/{organisation.id}", f"The whole organisation {organisation.name}, every workspace"))
    if place.may("runs_stop"):
        going = runs.visible(by=place.principal, workspace=workspace.id).exclude(state__in=Run.OVER)[:MOST_RUNS]
        groups.insert(0, ("Runs under way", [(f"run/{run.id}", f"{run.id} of {run.agent.slug}") for run in going]))
    return [group for group in groups if group[1]]


def _named(choices: Choices) -> dict[str, str]:
    return {key: label for _, labelled in choices for key, label in labelled}


def _rows(place: Place, found: list[Stop]) -> list[Row]:
    labels = stops.labels(found)
    concerned = {stop.engaged_by for stop in found} | {stop.released_by for stop in found}
    people = {member.id: member for member in organisations.members().filter(id__in=concerned)}
    rows = []
    for stop in found:
        by, releaser = people.get(stop.engaged_by), people.get(stop.released_by)
        needed = stops.PERMISSION.get(Stop.Scope(stop.scope), "agents_stop")
        why_not = "" if place.may(needed) else f"This needs the permission {needed}."
        if by is not None and by.person == place.principal.person:
            why_not = "You stopped it; another person lets it go on."
        released_by = releaser.name if releaser else "itself, at its end" if stop.released_by == "stops" else stop.released_by
        rows.append(Row(stop, labels[stop.id], by.name if by else stop.engaged_by, released_by, why_not))
    return rows
