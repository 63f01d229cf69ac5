"""The demo's roles: look at the same company as its approvers, its security, its finance, its auditor, its builder, its owner.

It exists where REMIT_DEMO=1 is set, the demo is built and the browser is on this machine; nowhere else, in the frame or at sign-in.
"""

import ipaddress

from django.conf import settings
from django.contrib.auth import login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from agents import organisations
from audit import log, tenancy
from controlplane.demo import scene

# Whatever takes two people can be tried: two approvers, and an owner beside finance.
ROLES = {
    "approver": "Dana",
    "second approver": "Priya",
    "security": "Sam",
    "finance": "Fiona",
    "auditor": "Ada",
    "builder": "Ben",
    "owner": "Olga",
}


def roles(request: HttpRequest) -> list[tuple[str, str]]:
    """(role, name of who has it); nothing anywhere but in the demo on this machine."""
    return list(ROLES.items()) if is_here(request) else []


def is_here(request: HttpRequest) -> bool:
    """Whether this installation is a demo and the request came from this machine, without a proxy between."""
    if not settings.DEMO or any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP")):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def is_demo(organisation: str) -> bool:
    return organisation == organisations.id_of(scene.SLUG)


def role_of(request: HttpRequest) -> str:
    """The demo role that this session's person plays here, or nothing."""
    made = scene.find() if is_here(request) else None
    users = {member.user_id: name for name, member in made.members.items()} if made else {}
    return next((role for role, name in roles(request) if name == users.get(request.user.pk or 0)), "")


@require_POST
def take(request: HttpRequest) -> HttpResponse:
    """Go on as somebody else of the demo. Entered in the log like any sign-in."""
    made = scene.find() if is_here(request) else None
    member = made.members.get(ROLES.get(request.POST.get("role", ""), "")) if made else None
    if made is None or member is None:
        raise Http404
    principal = organisations.acting(member)
    login(request, organisations.account(principal), backend="django.contrib.auth.backends.ModelBackend")
    with tenancy.within(made.organisation):
        log.append("session.signed_in", by=principal, detail={"how": "demo role"})
    target = request.POST.get("next", "")
    return redirect(target if url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}) else "home")
