"""Agents: what each is for, what it may never do, how far it may go and how it does; and how far people let it go on."""

import datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from agents import contracts, identity, organisations, runs, stops, tools
from agents.models import Agent
from audit import outcomes, tenancy
from budgets import limits, reservations
from controlplane.console import asked, frame, render, waterfall
from controlplane.console.frame import Place

WEEK = datetime.timedelta(days=7)
STAGES = {
    "READ_ONLY": "Reads only; every write is refused.",
    "DRAFT": "Writes become proposals that a person may apply within seven days.",
    "NARROW": "Every write needs at least one human.",
    "GATED": "The policy decides about each write.",
}
LIMITS = (
    ("steps", "Steps", ""),
    ("tool_calls", "Tool calls", ""),
    ("tokens", "Tokens", ""),
    ("micros", "Money", "money"),
    ("step_micros", "Money for one call", "money"),
    ("seconds", "Working time", "time"),
    ("retries", "Retries", ""),
    ("repeats_flag", "Repeats until flagged", ""),
    ("repeats_stop", "Repeats until handed over", ""),
)
RECENT = 10


@require_GET
@frame.page("agents_view", at="agents")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    """Every agent of the workspace: its authority and its health in one row."""
    text, stage = asked.text(request, "q").lower(), asked.text(request, "stage")
    everyone = list(contracts.in_workspace(place.workspace.id))
    week = runs.tally(place.workspace.id, since=timezone.now() - WEEK, by="agent_id")
    pinned: dict[str, int] = {}
    for pin in tools.pinning(place.workspace.id):
        pinned[pin.agent_version.agent_id] = pinned.get(pin.agent_version.agent_id, 0) + 1
    stopped = {stop.target for stop in stops.engaged() if stop.scope == "agent"}
    found = [each for each in everyone if (not stage or each.stage == stage) and text in f"{each.slug} {each.name}".lower()]
    context = {
        "rows": [(each, week.get(each.id), pinned.get(each.id, 0), each.id in stopped) for each in found],
        "everyone": len(everyone),
        "q": text,
        "stage": stage,
        "stages": dict(Agent.Stage.choices),
        "since": (timezone.now() - WEEK).date().isoformat(),
    }
    return render.page(request, "agents/list.html", context)


@require_GET
@frame.page("agents_view", at="agents")
def detail(request: HttpRequest, place: Place, slug: str) -> HttpResponse:
    """One agent's passport."""
    return _show(request, place, _get(place, slug))


@require_POST
@frame.page("agents_manage", at="agents")
def change(request: HttpRequest, place: Place, slug: str) -> HttpResponse:
    """Move it to another stage, pause it or let it go on. What waits is checked against the new state before it is sent."""
    with tenancy.within(place.organisation.id, read_only=True):
        agent = _get(place, slug)
    changes = {name: request.POST[name].replace("\0", "") for name in ("stage", "state") if request.POST.get(name)}
    try:
        if changes.get("state") == Agent.State.RETIRED:
            raise organisations.Conflict("An agent is not retired here.", rule="state", next_step="Use PATCH /api/v1/agents/{slug}.")
        if changes:
            contracts.change(by=place.principal, agent=agent, changes=changes)
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id):
            return _show(request, place, _get(place, slug), refused=refused)
    return redirect(f"{place.root}/agents/{agent.slug}")


def _get(place: Place, slug: str) -> Agent:
    try:
        return contracts.get(asked.identifier(slug), workspace=place.workspace)
    except outcomes.Refused as refused:
        raise Http404 from refused


def _show(request: HttpRequest, place: Place, agent: Agent, *, refused: outcomes.Refused | None = None) -> HttpResponse:
    now = timezone.now()
    rows = list(runs.visible(by=place.principal, workspace=place.workspace.id, agent=agent.slug)[:RECENT]) if place.may("runs_view") else []
    spent = reservations.of_runs([row.id for row in rows])
    capped = limits.of(agent)
    versions = list(contracts.versions(agent)[:20])
    version = next((each for each in versions if each.id == agent.version_id), None)
    context: dict[str, Any] = {
        "agent": agent,
        "version": version,
        "versions": versions,
        "stage_means": STAGES.get(agent.stage, ""),
        "stage_names": dict(Agent.Stage.choices),
        "pins": list(tools.pins(version.id)) if version else [],
        "limits": [(word, getattr(capped, name), unit) for name, word, unit in LIMITS],
        "keys": [
            (key, f"remit_{key.organisation_id[4:]}_{key.id[4:]}_…", key.expires_at is not None and key.expires_at <= now)
            for key in identity.keys(agent)
        ]
        if place.may("agents_manage")
        else None,
        "rows": [(row, spent.get(row.id, 0), waterfall.lasted(row, now)) for row in rows],
        "week": runs.tally(place.workspace.id, since=now - WEEK, by="agent_id").get(agent.id),
        "purse": reservations.balance("agent", agent.id) if place.may("budgets_view") else None,
        "since": (now - WEEK).date().isoformat(),
        "stop": next((stop for stop in stops.engaged() if stop.scope == "agent" and stop.target == agent.id), None),
        "refused": refused.as_dict() if refused else None,
    }
    return render.page(request, "agents/detail.html", context, status=render.status_of(refused) if refused else 200)
