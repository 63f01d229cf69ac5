"""The addresses below /docs. Nobody signs in for them: they say nothing of anybody."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from controlplane.docs import finding, shelf


@require_safe
def contents(request: HttpRequest) -> HttpResponse:
    """What there is to read."""
    return render(request, "docs/contents.html", {"sections": shelf.sections()})


@require_safe
def page(request: HttpRequest, section: str, name: str) -> HttpResponse:
    """One page of the handbook."""
    found = shelf.pages().get(f"{section}/{name}")
    if found is None:
        raise Http404
    before, after = shelf.neighbours(found)
    context = {"sections": shelf.sections(), "page": found, "text": shelf.read(found.slug), "before": before, "after": after}
    return render(request, "docs/page.html", context)


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """Pages by words of their headings."""
    asked = request.GET.get("q", "").strip()
    return render(request, "docs/search.html", {"sections": shelf.sections(), "asked": asked, "found": finding.find(asked)})
