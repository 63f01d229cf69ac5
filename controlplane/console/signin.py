"""Coming in: the first page and the demo's one-time links. Passwords and sessions are allauth's."""

from django.conf import settings
from django.contrib.auth import login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.views.decorators.http import require_http_methods, require_safe

from agents import identity, organisations, seats
from audit import log, outcomes, tenancy
from controlplane.console import cast

LANDING = {"approver": "approvals", "finance": "budgets", "auditor": "audit", "security": "permissions", "builder": "runs"}


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Where a person lands: their role's page in their first workspace; sign-in for everybody else."""
    if not request.user.is_authenticated or request.user.pk is None:
        return redirect(settings.LOGIN_URL)
    places = seats.places(request.user.pk)
    if not places:
        return render(request, "console/nowhere.html", status=403)
    first = places[0]
    return redirect(f"/{first.organisation}/{first.workspace}/{LANDING.get(first.role, 'overview')}")


@require_safe
def again(request: HttpRequest) -> HttpResponse:
    """Confirm that it is still you: by your password, or whoever has none by signing in anew. Then back to where you were."""
    target = request.GET.get("next", "")
    target = target if url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}) else "/"
    if not request.user.is_authenticated:
        return redirect(f"{reverse('account_login')}?{urlencode({'next': target})}")
    if request.user.has_usable_password():
        return redirect(f"{reverse('account_reauthenticate')}?{urlencode({'next': target})}")
    return render(request, "console/again.html", {"target": target, "role": cast.role_of(request)})


@require_http_methods(["GET", "POST"])
def start(request: HttpRequest, code: str) -> HttpResponse:
    """A demo's one-time link. Opening it changes nothing; the button on it signs in, once."""
    if not settings.DEMO:
        raise Http404
    try:
        if request.method == "GET":
            return render(request, "console/start.html", {"code": code, "name": identity.peek_link(code)})
        principal = identity.use_link(code)
    except outcomes.Refused as refused:
        return render(request, "console/start.html", {"refused": refused.as_dict()}, status=410)
    login(request, organisations.account(principal), backend="django.contrib.auth.backends.ModelBackend")
    with tenancy.within(principal.organisation):
        log.append("session.signed_in", by=principal, detail={"how": "demo link"})
    return redirect("home")
