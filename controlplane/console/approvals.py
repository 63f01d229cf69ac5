"""Approvals: what waits, what exactly it would change, and the decision.

The page shows facts computed by us; the agent's words are marked as such.
"""

import json
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from agents import runs, tools
from approvals import requests, tiers
from approvals.models import Request
from audit import outcomes, tenancy
from budgets import reservations
from controlplane import deciding
from controlplane.console import frame, render
from controlplane.console.frame import Place

TABS = {"mine": "Needs me", "waiting": "Waiting for others", "decided": "Decided", "all": "All"}
SHOWN = 50


@frame.page("approvals_view", at="approvals")
def inbox(request: HttpRequest, place: Place) -> HttpResponse:
    """The list alone, or with the first request that needs this person opened beside it."""
    return _show(request, place, None)


@frame.page("approvals_view", at="approvals")
def detail(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """One request."""
    return _show(request, place, _get(place, identifier))


@require_POST
@frame.page("approvals_view", at="approvals")
def vote(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """Approve or deny the plan whose digest the page showed. A refusal is said on the page, and nothing typed is lost."""
    verdict, reason = request.POST.get("verdict", ""), request.POST.get("reason", "")
    try:
        deciding.vote(by=place.principal, request_id=identifier, verdict=verdict, plan_digest=request.POST.get("plan", ""), reason=reason)
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id):
            return _show(request, place, _get(place, identifier), refused=refused, reason=reason)
    return redirect(f"{place.root}/approvals/{identifier}")


def _get(place: Place, identifier: str) -> Request:
    try:
        found = requests.get(identifier, by=place.principal)
    except outcomes.Refused as refused:
        raise Http404 from refused
    if found.workspace_id != place.workspace.id:
        raise Http404
    return found


def _show(
    request: HttpRequest, place: Place, opened: Request | None, *, refused: outcomes.Refused | None = None, reason: str = ""
) -> HttpResponse:
    tab = request.GET.get("tab", "") or ("mine" if place.may("approvals_decide") else "all")
    mine = requests.decidable(by=place.principal, workspace=place.workspace.id)
    listed = {
        "mine": mine,
        "waiting": requests.waiting_for(by=place.principal, workspace=place.workspace.id).exclude(id__in=mine.values("id")),
        "decided": requests.waiting_for(by=place.principal, workspace=place.workspace.id, state="")
        .exclude(state="OPEN")
        .order_by("-decided_at", "-id"),
        "all": requests.waiting_for(by=place.principal, workspace=place.workspace.id, state="").order_by("-opened_at", "-id"),
    }.get(tab, mine)
    rows = list(listed[: SHOWN + 1])
    context: dict[str, Any] = {
        "tabs": TABS,
        "tab": tab,
        "rows": rows[:SHOWN],
        "more": len(rows) > SHOWN,
        "mine": mine.count(),
        "has_detail": opened is not None,
        "refused": refused.as_dict() if refused else None,
        "reason": reason,
    }
    if opened is None and rows and tab == "mine":
        opened = requests.get(rows[0].id, by=place.principal)
    if opened is not None:
        context |= _opened(place, opened)
    return render.page(
        request, "approvals/inbox.html", context, fragment=_fragment(request), status=render.status_of(refused) if refused else 200
    )


def _fragment(request: HttpRequest) -> str:
    return "list" if request.headers.get("HX-Target") == "list" else "detail" if request.headers.get("HX-Target") == "detail" else ""


def _opened(place: Place, opened: Request) -> dict[str, Any]:
    """Everything the decision needs, as plain values."""
    plan, call = opened.plan, opened.call
    changes = json.loads(plan.changes)
    facts = tools.version(opened.organisation_id, opened.tool_version_id)
    why_not = tiers.why_not(place.principal, required=opened.required, requesters=opened.requesters, workspace=opened.workspace_id)
    votes = list(requests.votes(opened))
    voted = any(vote.member_id == place.principal.id for vote in votes)
    agent_balance = reservations.balance("workspace", place.workspace.id)
    return {
        "opened": opened,
        "plan": plan,
        "call": call,
        "changes": changes,
        "viewer": plan.viewer,
        "facts": json.loads(plan.facts),
        "tool": facts,
        "votes": votes,
        "why_not": "You have voted." if voted and opened.state == "OPEN" else why_not if opened.state == "OPEN" else "",
        "may_decide": opened.state == "OPEN" and not why_not and not voted,
        "arguments": json.loads(call.arguments),
        "said": _said(call),
        "result": json.loads(call.result) if call.result else None,
        "balance": agent_balance,
        "effect": runs.effects(opened.run).filter(call=call).first(),
        "eligible": requests.eligible(opened),
    }


def _said(call: Any) -> str:
    """What the agent wrote as its reason, if its tool takes one. It is shown as the agent's words and nothing more."""
    arguments = json.loads(call.arguments)
    return next(
        (
            str(arguments[name])
            for name in ("reason", "why", "note", "comment", "summary")
            if isinstance(arguments, dict) and arguments.get(name)
        ),
        "",
    )
