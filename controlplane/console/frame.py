"""What every page stands in: who looks, at which workspace, what they may open, and what concerns them all.

GETs run in a read-only transaction.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.cache import cache_control

from agents import organisations, stops
from agents.models import Organisation, Workspace
from agents.organisations import Principal
from approvals import requests
from audit import tenancy

View = Callable[..., HttpResponseBase]


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the main navigation."""

    slug: str
    label: str
    icon: str
    permission: str
    group: str = ""
    on_phone: bool = False


NAVIGATION: Sequence[Item] = (
    Item("overview", "Overview", "home", "", on_phone=True),
    Item("approvals", "Approvals", "inbox", "approvals_view", on_phone=True),
    Item("runs", "Runs", "runs", "runs_view", on_phone=True),
    Item("agents", "Agents", "agent", "agents_view", "Build"),
    Item("tools", "Tools", "tool", "tools_view", "Build"),
    Item("permissions", "Permissions", "grid", "policies_view", "Control"),
    Item("policies", "Policies", "policy", "policies_view", "Control"),
    Item("budgets", "Budgets", "money", "budgets_view", "Control", on_phone=True),
    Item("audit", "Audit log", "receipt", "audit_view", "Prove", on_phone=True),
    Item("members", "Members", "person", "members_manage", "Prove"),
    Item("health", "System health", "pulse", "audit_view", "Prove"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a person stands: their organisation and workspace, and what they may do there."""

    principal: Principal
    organisation: Organisation
    workspace: Workspace
    held: frozenset[str]

    @property
    def root(self) -> str:
        """The address of the workspace, without a slash at its end."""
        return f"/{self.organisation.slug}/{self.workspace.slug}"

    def may(self, permission: str) -> bool:
        return not permission or permission in self.held


def page(permission: str = "", *, at: str = "") -> Callable[[View], View]:
    """A view of one workspace: `view(request, place, ...)`.

    Signed out leads to sign-in; another organisation, or no permission, looks like nothing there.

    `at` marks the entry of the navigation that the page belongs to.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        @cache_control(private=True, no_store=True)
        def served(request: HttpRequest, tenant: str, workspace: str, **given: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            place = find(request, tenant, workspace)
            if not place.may(permission):
                raise Http404
            request.place, request.at = place, at  # type: ignore[attr-defined]
            if request.method not in {"GET", "HEAD"}:
                return view(request, place, **given)
            with tenancy.within(place.organisation.id, read_only=True):
                return view(request, place, **given)

        return served

    return decorate


def find(request: HttpRequest, tenant: str, workspace: str) -> Place:
    """The place of the signed-in person under these slugs. Raises Http404."""
    assert request.user.pk is not None  # asked only of people who signed in
    found = organisations.stand(request.user.pk, tenant, workspace)
    if found is None:
        raise Http404
    return Place(*found)


def frame(request: HttpRequest) -> dict[str, Any]:
    """Context processor: the frame of a page, when the view is one of a workspace. Runs inside the view's transaction or opens its own."""
    place: Place | None = getattr(request, "place", None)
    theme = request.COOKIES.get("theme", "")
    base = {"theme": theme if theme in {"light", "dark"} else "", "demo": settings.DEMO, "version": settings.VERSION}
    if place is None:
        return base
    with tenancy.within(place.organisation.id):
        waiting = _waiting(place)
        engaged = list(stops.engaged()[:3])
    at = getattr(request, "at", "")
    items = [(item, item.slug == at, waiting if item.slug == "approvals" else 0) for item in NAVIGATION if place.may(item.permission)]
    return base | {"place": place, "root": place.root, "navigation": items, "engaged": engaged, "waiting": waiting, "may": place.held}


def _waiting(place: Place) -> int:
    if not place.may("approvals_decide"):
        return 0
    return requests.decidable(by=place.principal, workspace=place.workspace.id).count()
