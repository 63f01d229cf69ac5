"""The overview: is anything wrong, is it my turn, and how did it go. Every number leads to the rows behind it."""

import itertools
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from agents import contracts, runs, sight
from audit import log
from controlplane.console import asked, attention, first_steps, frame, numbers, render, sentences
from controlplane.console.frame import Place

LOOKED, GROUPS, ENTRIES = 80, 7, 7
FEED = ("state", "title", "started_at", "agent__slug")


@require_safe
@frame.page(at="overview")
def page(request: HttpRequest, place: Place) -> HttpResponse:
    """What a person sees is what they may see; a block they may not see is absent."""
    wanted, agents = numbers.asked_of(request), list(contracts.in_workspace(place.workspace.id))
    context: dict[str, Any] = {
        "attention": attention.listed(place, agents),
        "agents": len(agents),
        "as_table": asked.text(request, "as") == "table",
        "as_link": asked.address(request, **{"as": "" if asked.text(request, "as") == "table" else "table"}),
        "classes": numbers.words(),
        "here": asked.address(request),
    }
    context |= numbers.context(place, wanted, agents) | first_steps.context(request, place)
    if place.may("runs_view"):
        context["feed"] = _feed(place)
    if place.may("audit_view"):
        rows = log.entries(workspace=place.workspace.id).filter(sight.entries(place.principal, place.workspace.id))[:ENTRIES]
        context["entries"] = [(entry, sentences.of(entry)) for entry in rows]
    return render.page(request, "overview/page.html", context, fragment="body" if request.headers.get("HX-Target") == "overview" else "")


def _feed(place: Place) -> list[dict[str, Any]]:
    """The newest runs; what the same agent did with the same outcome in a row is one line."""
    newest = list(runs.visible(by=place.principal, workspace=place.workspace.id).only(*FEED)[:LOOKED])
    groups = [(slug, state, list(rows)) for (slug, state), rows in itertools.groupby(newest, key=lambda run: (run.agent.slug, run.state))]
    return [
        {
            "run": rows[0],
            "agent": slug,
            "state": state,
            "number": len(rows),
            "more": f"runs?state={state}&agent={slug}&since={rows[-1].started_at:%Y-%m-%dT%H:%M}" if len(rows) > 1 else "",
        }
        for slug, state, rows in groups[:GROUPS]
    ]
