"""Who else has a request before them: on its page, on its row, and by itself for a page that is open. Advice, and no part of the record."""

from collections.abc import Iterable

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from approvals import inbox
from approvals.models import Request
from audit import ids
from controlplane import presence
from controlplane.console import frame, render
from controlplane.console.frame import Place

MOST = 100


def mark(place: Place, rows: Iterable[Request]) -> None:
    """Each open one with the names of the others who look at it. The rows are some that this person sees. Call inside `tenancy.within`."""
    still = [row for row in rows if row.state == Request.State.OPEN]
    here = presence.at(place.organisation.id, {row.id for row in still})
    names = presence.named(here, by=place.principal, workspace=place.workspace.id)
    for row in still:
        row.onlookers = names.get(row.id, ())  # type: ignore[attr-defined]


@require_safe
@frame.page("approvals_view", at="approvals")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    """Who else looks at which of the requests that a page shows. What is not theirs to see looks like what nobody looks at."""
    asked = {identifier for identifier in request.GET.getlist("id")[:MOST] if ids.prefix_of(identifier) == "APR"}
    here = presence.at(place.organisation.id, asked)
    seen = inbox.open_among(here, by=place.principal, workspace=place.workspace.id) if here else []
    names = presence.named({each: here[each] for each in seen}, by=place.principal, workspace=place.workspace.id)
    return render.page(request, "approvals/onlookers.html", {"found": names})
