"""Keys of agents, by form: a new one, one in the place of another, the end of one. A secret is in the answer to the form, nowhere else."""

import datetime

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from agents import identity, organisations
from agents.models import Key
from audit import outcomes, tenancy
from controlplane.console import agent_tabs, agents, asked, frame
from controlplane.console.frame import Place

LABEL = 80


@require_POST
@frame.page("agents_manage", at="agents")
def issue(request: HttpRequest, place: Place, slug: str) -> HttpResponse:
    """A new key of the agent."""
    days = request.POST.get("days", "")
    label = "".join(each for each in request.POST.get("label", "") if each.isprintable()).strip()[:LABEL]
    with tenancy.within(place.organisation.id):
        agent = agents.get(place, slug)
        organisations.require(place.principal, "agents_manage", agent.workspace_id)
        life = datetime.timedelta(days=int(days)) if days and days in agent_tabs.LIVES else None
        issued = identity.issue(by=place.principal, agent=agent, label=label, expires_in=life)
        return agents.show(request, place, agent, tab="keys", issued=issued)


@require_POST
@frame.page("agents_manage", at="agents")
def roll(request: HttpRequest, place: Place, slug: str, identifier: str) -> HttpResponse:
    """A new key in the place of this one, which goes on for a day."""
    try:
        with tenancy.within(place.organisation.id):
            key = _key(place, slug, identifier)
            issued = identity.roll(by=place.principal, key=key)
            return agents.show(request, place, agents.get(place, slug), tab="keys", issued=issued, rolled=key)
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id):
            return agents.show(request, place, agents.get(place, slug), refused=refused, tab="keys")


@require_POST
@frame.page("agents_manage", at="agents")
def revoke(request: HttpRequest, place: Place, slug: str, identifier: str) -> HttpResponse:
    """The end of a key: every request that starts after the answer is refused."""
    with tenancy.within(place.organisation.id):
        key = _key(place, slug, identifier)
        if key.revoked_at is None:
            identity.revoke(by=place.principal, key=key)
    messages.success(request, f"The key {key.label or key.id} is revoked.")
    return redirect(f"{place.root}/agents/{slug}?tab=keys")


def _key(place: Place, slug: str, identifier: str) -> Key:
    """A key of this very agent. Raises Http404."""
    agent = agents.get(place, slug)
    try:
        key = identity.get_key(asked.identifier(identifier), by=place.principal)
    except outcomes.Refused as refused:
        raise Http404 from refused
    if key.agent_id != agent.id:
        raise Http404
    return key
