"""Policies: the rules in force, every version of them, proposing a new one and putting it in force."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agents import access, cedar, contracts, differences, organisations, policies, tools
from agents.models import PolicySet
from audit import outcomes, tenancy
from controlplane import backtest, rehearsal
from controlplane.console import asked, frame, render
from controlplane.console.frame import Place

LONGEST = 256 * 1024
MOST_CELLS = 20_000
SHOWN_CELLS = 200
SHOWN = 50
DAYS = (7, 30, 90)


@dataclass(frozen=True, slots=True)
class Change:
    """One rule of a version beside the rules in force: Added, Removed or Changed."""

    id: str
    word: str
    before: cedar.Policy | None
    after: cedar.Policy | None


@require_safe
@frame.page("policies_view", at="policies")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    """The rules in force and the versions."""
    active, compiled = policies.in_force(place.organisation.id, place.workspace.id)
    versions = list(policies.listed(place.workspace.id)[: SHOWN + 1])
    context = {
        "active": active,
        "rules": list(compiled.policies.values()) if isinstance(compiled, cedar.Compiled) else [],
        "problem": compiled.as_dict() if isinstance(compiled, outcomes.Refused) else None,
        "versions": versions[:SHOWN],
        "more": len(versions) > SHOWN,
        "names": _names(),
    }
    return render.page(request, "policies/list.html", context)


@require_safe
@frame.page("policies_view", at="policies")
def version(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """One version: its rules, what it changes in text and in access, and who may put it in force."""
    return _version(request, place, _get(place, identifier))


@require_http_methods(["GET", "POST"])
@frame.page("policies_propose", at="policies")
def propose(request: HttpRequest, place: Place) -> HttpResponse:
    """A textarea with the rules in force; posted, a new draft. Problems are named by line, and the text stays."""
    if request.method == "GET":
        active, _ = policies.in_force(place.organisation.id, place.workspace.id)
        return _propose(request, place, active.cedar if active else "", None)
    text = request.POST.get("cedar", "").replace("\r\n", "\n")
    try:
        if not text.strip() or len(text) > LONGEST:
            raise organisations.Conflict(
                "The rules are empty or too long.",
                rule="policy_text",
                current=f"{len(text)} characters",
                limit=f"1 to {LONGEST}",
                next_step="Write at least one rule.",
            )
        row = policies.propose(by=place.principal, workspace=place.workspace, text=text)
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id, read_only=True):
            return _propose(request, place, text, refused)
    return redirect(f"{place.root}/policies/{row.id}")


@require_POST
@frame.page("policies_activate", at="policies")
def activate(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """Put a version in force."""
    try:
        with tenancy.within(place.organisation.id):
            row = _get(place, identifier)
            why_not = policies.why_not_activate(place.principal, row)
            if why_not:
                raise organisations.Forbidden(why_not, rule="two people", next_step="Ask one of them.")
            policies.activate(by=place.principal, policy_set=row)
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id, read_only=True):
            return _version(request, place, _get(place, identifier), refused=refused)
    return redirect(f"{place.root}/policies")


def _get(place: Place, identifier: str) -> PolicySet:
    return frame.found(place, policies.get, identifier)


def _names() -> dict[str, str]:
    return organisations.names()


def _propose(request: HttpRequest, place: Place, text: str, refused: outcomes.Refused | None) -> HttpResponse:
    words = policies.words_of(place.organisation.id, place.workspace.id, policies.registry_of(place.workspace.id))
    said = refused.as_dict() if refused else None
    unseen = [(name, words.invisible(name)) for name in words.tools if words.invisible(name)]
    context = {"text": text, "refused": said, "problems": (said or {}).get("problems", []), "tools": list(words.tools), "unseen": unseen}
    return render.page(request, "policies/propose.html", context, status=render.status_of(refused) if refused else 200)


def _version(request: HttpRequest, place: Place, row: PolicySet, *, refused: outcomes.Refused | None = None) -> HttpResponse:
    compiled = policies.read(place.organisation.id, row)
    active, current = policies.in_force(place.organisation.id, place.workspace.id)
    context: dict[str, Any] = {
        "row": row,
        "active": active,
        "names": _names(),
        "refused": refused.as_dict() if refused else None,
        "rules": list(compiled.policies.values()) if isinstance(compiled, cedar.Compiled) else [],
        "problem": compiled.as_dict() if isinstance(compiled, outcomes.Refused) else None,
        "why_not": policies.why_not_activate(place.principal, row) if place.may("policies_activate") else "",
    }
    if isinstance(compiled, cedar.Compiled) and row.state != PolicySet.State.ACTIVE:
        before = current.policies if isinstance(current, cedar.Compiled) else {}
        context |= {"changes": _changes(before, compiled.policies), "days": DAYS} | _cells(place, compiled)
        days = asked.text(request, "backtest")
        if days in map(str, DAYS) and isinstance(current, cedar.Compiled) and place.may("runs_view"):
            context["backtest"] = backtest.run(
                organisation=place.organisation.id,
                workspace=place.workspace.id,
                now=timezone.now(),
                days=int(days),
                current=current,
                proposed=compiled,
            )
    return render.page(request, "policies/version.html", context, status=render.status_of(refused) if refused else 200)


def _changes(before: dict[str, cedar.Policy], after: dict[str, cedar.Policy]) -> list[Change]:
    found = []
    for id in dict.fromkeys([*before, *after]):
        old, new = before.get(id), after.get(id)
        if old is None or new is None or old.text.strip() != new.text.strip():
            found.append(Change(id, "Added" if old is None else "Removed" if new is None else "Changed", old, new))
    return found


def _cells(place: Place, compiled: cedar.Compiled) -> dict[str, Any]:
    """Every cell of the access matrix that this version would change; none when there are too many to look at on a page."""
    agents = list(contracts.in_use(place.workspace.id))
    columns = tools.facts_of_active(place.organisation.id, place.workspace.id)
    if len(agents) * len(columns) > MOST_CELLS:
        return {"cells": None}
    ground = rehearsal.prepare(place.organisation.id, place.workspace.id).ground()
    found = differences.between(ground, access.under(ground, compiled), agents, columns)
    counts = Counter(each.word for each in found)
    return {
        "cells": found[:SHOWN_CELLS],
        "more_cells": len(found) - SHOWN_CELLS,
        "counts": [(word, counts[word]) for word in differences.WORDS if counts[word]],
    }
