"""What a browser remembers of its reader, in cookies, so that the first paint is right: the theme, and whether single letters are keys."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

KEPT_S = 365 * 86400
ALLOWED = {"theme": {"light", "dark"}, "keys": {"off"}}  # anything else is the default


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Light, dark, or as the system says."""
    return _keep(request, "theme")


@require_POST
def keys(request: HttpRequest) -> HttpResponse:
    """Single-letter keys on or off (WCAG 2.1.4)."""
    return _keep(request, "keys")


def _keep(request: HttpRequest, name: str) -> HttpResponse:
    """Keep the choice and go back to the page it was made on."""
    back = request.META.get("HTTP_REFERER", "/")
    safe = url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}, require_https=request.is_secure())
    response = HttpResponseRedirect(back if safe else "/")
    chosen = request.POST.get(name, "")
    response.set_cookie(
        name, chosen if chosen in ALLOWED[name] else "", max_age=KEPT_S, samesite="Lax", secure=request.is_secure(), httponly=True
    )
    return response
