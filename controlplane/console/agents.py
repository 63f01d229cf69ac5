"""Agents: what each is for, what it may never do, how far it may go and how it does; and how far people let it go on."""

import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agents import contracts, organisations, register, runs, stops, tools, usage
from agents.models import Agent
from approvals import counts
from audit import outcomes, tenancy
from budgets import reservations
from controlplane.console import agent_tabs, asked, frame, lists, render
from controlplane.console.frame import Place

WEEK = datetime.timedelta(days=7)
CONTRACT = {"purpose": 4_000, "never": 10_000, "output": 4_000}  # what the form says, and how long it may be
STAGES = {
    "READ_ONLY": "Reads only; every write is refused.",
    "DRAFT": "Writes become proposals that a person may apply within seven days.",
    "NARROW": "Every write needs at least one human.",
    "GATED": "The policy decides about each write.",
}


@require_safe
@frame.page("agents_view", at="agents")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    """Every agent of the workspace: its authority and its health in one row."""
    text, stage = asked.text(request, "q").lower(), asked.text(request, "stage")
    everyone = list(contracts.in_workspace(place.workspace.id))
    since = (timezone.now() - WEEK).replace(second=0, microsecond=0)
    week = runs.tally(place.workspace.id, since=since)
    pinned = tools.pin_counts(place.workspace.id, by="agent")
    stopped = {stop.target for stop in stops.on() if stop.scope == "agent"}
    found = [each for each in everyone if (not stage or each.stage == stage) and text in f"{each.slug} {each.name}".lower()]
    after = lists.after_name(asked.text(request, "after", longest=400))
    found, further = lists.cut_by_name([each for each in found if each.slug > after], "slug")
    shown = [each.id for each in found]
    pulses = usage.pulses(place.organisation.id, place.workspace.id, since=since, agents=shown)
    spent = {one.target: one for one in reservations.balances(place.organisation.id)} if place.may("budgets_view") else {}
    waiting = counts.open_by_agent(place.workspace.id) if place.may("approvals_all") else {}
    context = {
        "rows": [
            {
                "agent": each,
                "week": week.get(each.id),
                "judged": week.get(each.id, {}).get("runs", 0) >= usage.ENOUGH,
                "tools": pinned.get(each.id, 0),
                "stopped": each.id in stopped,
                "spent": spent.get(each.id),
                "waiting": waiting.get(each.id, 0),
                "pulse": pulses.get(each.id),
            }
            for each in found
        ],
        "everyone": len(everyone),
        "next": asked.address(request, after=further) if further else "",
        "first": asked.address(request, after="") if after else "",
        "q": text,
        "stage": stage,
        "stages": dict(Agent.Stage.choices),
        "since": f"{since:%Y-%m-%dT%H:%M}",
        "enough": usage.ENOUGH,
        "beats": usage.MOST_BEATS,
    }
    return render.page(request, "agents/list.html", context)


@require_POST
@frame.page("agents_view", at="agents")
def export(request: HttpRequest, place: Place) -> HttpResponseBase:
    """The register of agents as CSV. That it was taken away is entered first."""
    name = f"agents-{place.workspace.slug}-{timezone.now():%Y%m%dT%H%M%SZ}.csv"
    return StreamingHttpResponse(
        register.export(by=place.principal, workspace=place.workspace),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


@require_safe
@frame.page("agents_view", at="agents")
def detail(request: HttpRequest, place: Place, slug: str) -> HttpResponse:
    """One agent: its passport, or another of its tabs."""
    return show(request, place, get(place, slug))


@require_POST
@frame.page("agents_manage", at="agents")
def change(request: HttpRequest, place: Place, slug: str) -> HttpResponse:
    """Move it to another stage, pause it or let it go on. What waits is checked against the new state before it is sent."""
    with tenancy.within(place.organisation.id, read_only=True):
        agent = get(place, slug)
    changes = {name: request.POST[name] for name in ("stage", "state") if request.POST.get(name)}
    try:
        if changes:
            contracts.change(by=place.principal, agent=agent, changes=changes)
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id):
            return show(request, place, get(place, slug), refused=refused)
    messages.success(request, f"{agent.slug} is {'retired' if changes.get('state') == Agent.State.RETIRED else 'changed'}.")
    return redirect(f"{place.root}/agents/{agent.slug}")


@require_POST
@frame.page("agents_manage", at="agents")
def publish(request: HttpRequest, place: Place, slug: str) -> HttpResponse:
    """A new version that says what the agent is for; prompt and models stay, tools too, each at the version that is active now."""
    typed = {name: request.POST.get(name, "").replace("\r\n", "\n").strip() for name in CONTRACT}
    seen = request.POST.get("seen")
    try:
        with tenancy.within(place.organisation.id):
            agent = get(place, slug)
            _fits(typed)
            goal = contracts.Goal(typed["purpose"], [line.strip() for line in typed["never"].split("\n") if line.strip()], typed["output"])
            version = contracts.publish(by=place.principal, agent=agent, goal=goal, pinning=agent_tabs.pinned_now(place, agent), seen=seen)
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id, read_only=True):
            return show(request, place, get(place, slug), refused=refused, tab="change", typed=typed)
    messages.success(request, f"Version {version.number} of {agent.slug} is published. Runs under way keep the one they started with.")
    return redirect(f"{place.root}/agents/{agent.slug}?tab=versions")


@require_POST
@frame.page("agents_manage", at="agents")
def owner(request: HttpRequest, place: Place, slug: str) -> HttpResponse:
    """Give it to another owner."""
    try:
        with tenancy.within(place.organisation.id):
            agent, to = get(place, slug), organisations.member(asked.identifier(request.POST.get("owner", "")))
            contracts.change_owner(by=place.principal, agent=agent, owner=to)
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id, read_only=True):
            return show(request, place, get(place, slug), refused=refused, tab="change")
    messages.success(request, f"{agent.slug} belongs to {to.name}.")
    return redirect(f"{place.root}/agents/{agent.slug}")


def _fits(typed: dict[str, str]) -> None:
    for name, longest in CONTRACT.items():
        if len(typed[name]) > longest:
            raise organisations.Conflict(
                f"The {name} is too long.",
                rule="goal contract",
                current=f"{len(typed[name])} characters",
                limit=longest,
                next_step="Shorten it.",
            )


def get(place: Place, slug: str) -> Agent:
    """Raises Http404."""
    return frame.found(place, lambda slug: contracts.get(slug, workspace=place.workspace), slug)


def show(request: HttpRequest, place: Place, agent: Agent, *, refused: outcomes.Refused | None = None, **more: Any) -> HttpResponse:
    """One of the agent's tabs. Call inside `tenancy.within`."""
    tab = more.pop("tab", "") or asked.text(request, "tab")
    tabs = agent_tabs.open_to(place, agent)
    tab = tab if tab in tabs else "passport"
    now, own = timezone.now(), f"{place.root}/agents/{agent.slug}"
    versions = list(contracts.versions(agent)[:50])
    version = next((each for each in versions if each.id == agent.version_id), None)
    context: dict[str, Any] = {
        "agent": agent,
        "version": version,
        "versions": versions,
        "tab": tab,
        "tabs": [(name, word, f"{own}?tab={name}" if name != "passport" else own) for name, word in tabs.items()],
        "stage_means": STAGES.get(agent.stage, ""),
        "stage_names": dict(Agent.Stage.choices),
        "now": now,
        "unsaid": version is not None and version.purpose == contracts.UNSAID and "change" in tabs,
        "stop": next((stop for stop in stops.on() if stop.scope == "agent" and stop.target == agent.id), None),
        "refused": refused.as_dict() if refused else None,
    }
    context |= agent_tabs.FILL[tab](request, place, agent, context) | more
    return render.page(request, f"agents/{tab}.html", context, status=render.status_of(refused) if refused else 200)
