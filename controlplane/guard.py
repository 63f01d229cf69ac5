"""Who is knocking: a bearer token or a signed-in session becomes a Principal, and nothing else does."""

import time

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from django.contrib.auth.middleware import get_user
from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import BaseAuthentication, CSRFCheck
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from agents import identity, organisations
from agents.models import Member
from agents.organisations import Principal
from audit import outcomes, tenancy

FRESH_S = 300  # how long a sign-in is good enough to be one of two humans


class FreshSignIn(outcomes.Refused):
    """One of two humans shows that it is still they who sit there."""

    code = "fresh_sign_in"


class ClosedSignup(DefaultAccountAdapter):  # type: ignore[misc]
    """Nobody signs themselves up: members are added by somebody who manages them."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False


def person(request: HttpRequest) -> Principal | None:
    """The person behind a session: their membership of the organisation that the session chose, or their only one."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    chosen = request.session.get("organisation", "")
    for organisation, member in organisations.memberships(user.pk):
        if chosen in ("", organisation):
            with tenancy.within(organisation, read_only=True):
                row = Member.objects.get(id=member)
            return Principal(kind="person", id=row.id, organisation=organisation, person=row.person, user=user.pk, name=row.name)
    return None


def is_fresh(request: HttpRequest) -> bool:
    """Whether this session's person gave their password within five minutes; whoever has none (single sign-on, a link) signed in since."""
    user = get_user(request)  # the session's own: behind the REST doors `request.user` is the Principal
    if not user.is_authenticated:
        return False
    if not user.has_usable_password():
        return user.last_login is not None and time.time() - user.last_login.timestamp() < FRESH_S
    return any(time.time() - record["at"] < FRESH_S for record in get_authentication_records(request, user))


def require_fresh(request: HttpRequest, *, required: int) -> None:
    """Raises FreshSignIn when a decision that takes two humans comes from a session that was signed in to long ago."""
    if required >= 2 and not is_fresh(request):
        raise FreshSignIn(
            "Two humans decide this, and your sign-in is older than 5 minutes.",
            rule="fresh sign-in",
            current="older",
            limit=f"{FRESH_S} s",
            who="you",
            next_step="Confirm your password, then decide.",
        )


class TokenOrSession(BaseAuthentication):
    """For the REST doors: `Authorization: Bearer`, else the session with its CSRF token. `request.user` is the Principal."""

    def authenticate(self, request: Request) -> tuple[Principal, str] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return identity.authenticate(token.strip()), "token"
        principal = person(request._request)
        if principal is None:
            return None
        reason = _csrf(request)
        if reason:
            raise PermissionDenied(f"CSRF: {reason}")
        return principal, "session"

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _csrf(request: Request) -> object:
    """Why the request may be forged, or nothing."""
    check = CSRFCheck(_next)
    check.process_request(request._request)
    return check.process_view(request._request, _next, (), {})


def _next(*_: object) -> HttpResponse:
    """What Django's middleware would go on to. Here only its verdict is wanted."""
    return HttpResponse()


def require(request: Request) -> Principal:
    """The principal of a REST request. Raises Unauthenticated."""
    principal: object = request.user  # the stubs know only Django's users; here it is what TokenOrSession answered
    if not isinstance(principal, Principal):
        raise identity.Unauthenticated(
            "Sign in, or send a bearer token.",
            rule="authentication",
            current="none",
            limit="a person or an agent",
            next_step="Send `Authorization: Bearer remit_...`.",
        )
    return principal
