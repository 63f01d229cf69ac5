"""Saving the list one looks at under a name, and forgetting it again. What the names are, and whose, is `agents.views`."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from agents import views
from audit import outcomes
from controlplane.console import frame
from controlplane.console.frame import Place


@require_POST
@frame.page()
def save(request: HttpRequest, place: Place) -> HttpResponse:
    """Back to the list, with what was saved or why it was not."""
    page, query = request.POST.get("page", ""), request.POST.get("query", "")
    name, is_shared = request.POST.get("name", ""), request.POST.get("shared") == "on"
    if not place.may(views.PERMISSION.get(page, "no such list")):
        raise Http404
    try:
        view, entry = views.save(by=place.principal, workspace=place.workspace, page=page, name=name, query=query, is_shared=is_shared)
    except outcomes.Refused as refused:
        messages.error(request, f"{refused.message} {refused.next_step}")
        return redirect(f"{place.root}/{page}?{views.plain(query)}")
    messages.success(request, f"Saved the view {view.name}{' for everybody here' if is_shared else ''}.", extra_tags=entry)
    return redirect(f"{place.root}/{page}?{view.query}")


@require_POST
@frame.page()
def remove(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """Back to the whole list. A view that is not one's own looks like none."""
    try:
        page, entry = views.remove(by=place.principal, workspace=place.workspace, identifier=identifier)
    except outcomes.Refused as refused:
        raise Http404 from refused
    messages.success(request, "The view was removed. What it showed is still there.", extra_tags=entry)
    return redirect(f"{place.root}/{page}")
