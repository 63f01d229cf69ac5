"""The overview: is anything wrong, is it my turn, and what happened today. Every number leads to the rows behind it."""

import datetime
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from agents import contracts, runs, stops
from agents.models import Run
from approvals import requests
from audit import events, log, outcomes, tenancy
from budgets import reservations
from controlplane.console import frame, render, waterfall
from controlplane.console.frame import Place
from controlplane.demo import border, scene, stories

FEW, RECENT = 5, 8
STORIES = {
    "refund": ("Refund", "A small refund: one person reads what will change and decides."),
    "two-person": ("Two people", "A change of a database table: two people must agree."),
    "loop": ("Loop", "An agent asks the same thing again and again; the gate ends it."),
    "overspend": ("Overspend", "An agent writes at length until its purse is empty."),
    "schema-error": ("Wrong arguments", "A trainee names arguments that do not exist, is told which, and corrects itself."),
    "injection": ("Injection", "A letter gives the agent orders about somebody else's invoice."),
}


@require_GET
@frame.page(at="overview")
def page(request: HttpRequest, place: Place) -> HttpResponse:
    """What a person sees is what they may see; a block they may not see is absent."""
    now = timezone.now()
    today = now.astimezone(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    context: dict[str, Any] = (
        {"today": today.date().isoformat(), "stories": STORIES if _plays(place) else {}} | _attention(place, today) | _numbers(place, today)
    )
    if place.may("runs_view"):
        rows = list(runs.visible(by=place.principal, workspace=place.workspace.id)[:RECENT])
        spent = reservations.of_runs([row.id for row in rows])
        context["rows"] = [(row, spent.get(row.id, 0), waterfall.lasted(row, now)) for row in rows]
    if place.may("audit_view"):
        context["entries"] = [
            (entry, events.CATALOGUE.get(entry.event, entry.event)) for entry in log.entries(workspace=place.workspace.id)[:RECENT]
        ]
    return render.page(request, "overview/page.html", context, fragment="body" if request.headers.get("HX-Target") == "overview" else "")


def _attention(place: Place, today: datetime.datetime) -> dict[str, Any]:
    """What needs a person, most urgent first: by time left, then what is wrong, then what will be."""
    found: dict[str, Any] = {"doubts": [], "handed": [], "decidable": [], "purses": []}
    if place.may("approvals_decide") or place.may("approvals_decide_two"):
        found["decidable"] = list(requests.decidable(by=place.principal, workspace=place.workspace.id)[:FEW])
    if place.may("runs_view"):
        found["doubts"] = list(runs.in_doubt(place.workspace.id)[:FEW])
        handed = runs.narrowed(runs.visible(by=place.principal, workspace=place.workspace.id, state=Run.State.HANDED_OFF), over_since=today)
        found["handed"] = list(handed.order_by("-finished_at", "-id")[: FEW + 1])
    if place.may("agents_view"):
        found["stopped"] = list(stops.engaged()[:FEW])
    agents = {each.id: each.slug for each in contracts.in_workspace(place.workspace.id)}
    found["agents"] = len(agents)
    if place.may("budgets_view"):
        names = {place.organisation.id: place.organisation.name, place.workspace.id: place.workspace.name, **agents}
        found["purses"] = [(purse, names[purse.target]) for purse in reservations.nearly_spent(list(names))[:FEW]]
    found["calm"] = not any(found.get(name) for name in ("doubts", "handed", "decidable", "purses", "stopped"))
    return found


def _numbers(place: Place, today: datetime.datetime) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if place.may("runs_view"):
        states = runs.tally(place.workspace.id, since=today)
        found |= {
            "by_state": [(name, word, states[name]["runs"]) for name, word in Run.State.choices if name in states],
            "today_runs": sum(each["runs"] for each in states.values()),
            "calls": sum(each["calls"] for each in states.values()),
            "writes": sum(each["writes"] for each in states.values()),
        }
        refused = runs.counted(runs.narrowed(runs.visible(by=place.principal, workspace=place.workspace.id), since=today, refused=True))
        found["refused"] = sum(refused.values())
    if place.may("approvals_view"):
        found["open"] = requests.waiting_for(by=place.principal, workspace=place.workspace.id).count()
    if place.may("budgets_view"):
        found["purse"] = reservations.balance("workspace", place.workspace.id)
    return found


def _plays(place: Place) -> bool:
    return bool(settings.DEMO and place.organisation.slug == scene.SLUG and place.workspace.slug == scene.DESK and _may_play(place))


def _may_play(place: Place) -> bool:
    return place.may("runs_start") or place.may("approvals_decide")


@require_POST
@frame.page(at="overview")
def play(request: HttpRequest, place: Place, story: str) -> HttpResponse:
    """Start one of the demo's stories, as `manage.py demo trigger` does; a worker plays it."""
    if not _plays(place) or story not in STORIES:
        raise Http404
    try:
        dsn = border.check()
        made = scene.find()
        if made is None:
            raise Http404
        run = stories.start(made, stories.BY_NAME[story](made, dsn))
    except border.NotHere as no:
        return _shown(request, place, str(no))
    except outcomes.Refused as refused:
        return _shown(request, place, refused.message)
    with tenancy.within(place.organisation.id):
        log.append("demo.triggered", by=place.principal, subject=run.id, workspace=place.workspace.id, run=run.id, detail={"story": story})
    return redirect(f"{place.root}/runs/{run.id}")


def _shown(request: HttpRequest, place: Place, why: str) -> HttpResponse:
    return render.page(request, "overview/not_played.html", {"why": why}, status=409)
