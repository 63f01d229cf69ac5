"""Effective access: agents by tools, computed by the engine that decides at run time; one cell explained; who can call a tool."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from agents import access, cedar, contracts, organisations, stops, tools, vocabulary
from agents.models import Agent
from approvals import tiers
from controlplane.console import frame, render
from controlplane.console.frame import Place

MOST_AGENTS, MOST_TOOLS = 60, 40


@require_GET
@frame.page("policies_view", at="permissions")
def matrix(request: HttpRequest, place: Place) -> HttpResponse:
    """The matrix; with `?tool=` who can call it; with `?agent=` and `?tool=` why that cell says what it says."""
    workspace = place.workspace.id
    agents = [agent for agent in contracts.in_workspace(workspace) if agent.state != Agent.State.RETIRED]
    columns = [tools.facts(row) for row in tools.active(workspace)]
    ground = ground_of(place)
    by_slug, by_name = {agent.slug: agent for agent in agents}, {column.name: column for column in columns}
    slug, name = request.GET.get("agent", ""), request.GET.get("tool", "")
    if (slug and slug not in by_slug) or (name and name not in by_name):
        raise Http404
    shown_agents, shown_columns = agents[:MOST_AGENTS], columns[:MOST_TOOLS]
    context: dict[str, Any] = {
        "rows": access.matrix(ground, shown_agents, shown_columns),
        "columns": shown_columns,
        "all_tools": columns,
        "agents": agents,
        "hidden": (len(agents) - len(shown_agents), len(columns) - len(shown_columns)),
        "active": ground.active,
        "fits": isinstance(ground.compiled, cedar.Compiled),
        "now": timezone.now(),
        "asked_agent": slug,
        "asked_tool": name,
    }
    if slug and name:
        context["cell"] = access.matrix(ground, [by_slug[slug]], [by_name[name]])[0][1][0]
        context["agent"], context["column"] = by_slug[slug], by_name[name]
        context["people"] = _people(place, by_slug[slug])
    elif name:
        context["column"] = by_name[name]
        context["callers"] = access.who_can(ground, agents, by_name[name])
        context["people"] = _people(place, None)
    return render.page(request, "permissions/matrix.html", context)


def ground_of(place: Place) -> access.Ground:
    """What the cells of this workspace rest on, at this moment."""
    return access.ground(
        organisation=place.organisation.id,
        workspace=place.workspace.id,
        engaged=list(stops.engaged()),
        clock=vocabulary.clock(timezone.now()),
        tier_for=tiers.tier_for,
    )


def _people(place: Place, agent: Agent | None) -> dict[str, list[str]]:
    """Who may be one of the humans: the owner of an agent never decides for it."""
    owner = agent.owner.person if agent else ""
    return {
        words: [member.name for member in organisations.holding(permission, place.workspace.id) if member.person != owner]
        for words, permission in (("One human", "approvals_decide"), ("Two humans", "approvals_decide_two"))
    }
