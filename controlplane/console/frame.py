"""What every page stands in: who looks, at which workspace, what they may open, and what concerns them all.

GETs run in a read-only transaction.
"""

import datetime
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.cache import cache_control

from agents import organisations, stops
from agents.models import Organisation, Workspace
from agents.organisations import Principal
from approvals import inbox
from audit import ids, outcomes, tenancy
from controlplane.console import asked, cast, curl, render

View = Callable[..., HttpResponseBase]
MOST_STOPS = 4
THEMES = (("", "Auto"), ("light", "Light"), ("dark", "Dark"))


class _Located(Protocol):
    workspace_id: Any


Row = TypeVar("Row", bound=_Located)


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the main navigation."""

    slug: str
    label: str
    icon: str
    permission: str
    key: str
    group: str = ""
    on_phone: bool = False


NAVIGATION: Sequence[Item] = (
    Item("overview", "Overview", "home", "", "o", on_phone=True),
    Item("approvals", "Approvals", "inbox", "approvals_view", "a", on_phone=True),
    Item("runs", "Runs", "runs", "runs_view", "r", on_phone=True),
    Item("agents", "Agents", "agent", "agents_view", "g", "Build"),
    Item("tools", "Tools", "tool", "tools_view", "t", "Build"),
    Item("connect", "Connect", "plug", "agents_manage", "c", "Build"),
    Item("permissions", "Permissions", "grid", "access_view", "p", "Control"),
    Item("policies", "Policies", "policy", "policies_view", "y", "Control"),
    Item("budgets", "Budgets", "money", "budgets_view", "b", "Control", on_phone=True),
    Item("audit", "Audit log", "receipt", "audit_view", "u", "Prove", on_phone=True),
    Item("members", "Members", "person", "members_manage", "m", "Prove"),
    Item("health", "System health", "pulse", "audit_all", "h", "Prove"),
)


@dataclass(frozen=True, slots=True)
class Stopped:
    """A stop that is on, as the banner says it."""

    what: str
    why: str
    by: str
    at: datetime.datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Where a person stands: their organisation and workspace, and what they may do there."""

    principal: Principal
    organisation: Organisation
    workspace: Workspace
    held: frozenset[str]
    until: datetime.datetime | None = None  # when the first of it ends
    ends_whole: bool = False  # and all the rest with it

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
                if request.headers.get("HX-Request") == "true":
                    return HttpResponse(status=401)  # a form to sign in is no part of the page that asked
                return redirect_to_login(request.get_full_path())
            place = find(request, tenant, workspace)
            if not place.may(permission):
                raise Http404
            request.place, request.at = place, at  # type: ignore[attr-defined]
            if request.method not in {"GET", "HEAD"}:
                _refuse_nul(request, given)
                return view(request, place, **given)
            with tenancy.within(place.organisation.id, read_only=True):
                organisations.remember(place.principal, place.workspace.id, place.held)
                return view(request, place, **given)

        return served

    return decorate


def _refuse_nul(request: HttpRequest, given: dict[str, str]) -> None:
    """No browser sends it and PostgreSQL cannot hold it. Raises SuspiciousOperation, which is answered with 400."""
    said = (*given.values(), *(text for _, texts in request.POST.lists() for text in texts))
    if any("\0" in text for text in said):
        raise SuspiciousOperation("a NUL")


@page()
def fragment(request: HttpRequest, place: Place) -> HttpResponseBase:
    """The parts of the frame that change while a page is open: the navigation's counts, the banner."""
    part = request.headers.get("HX-Target", "")
    if part not in {"nav", "banner"}:
        raise Http404
    request.at = request.headers.get("HX-Current-URL", "").partition(place.root + "/")[2].partition("/")[0].partition("?")[0]  # type: ignore[attr-defined]
    return render.page(request, "frame.html", {}, fragment=part)


def found(place: Place, get: Callable[[str], Row], identifier: str) -> Row:
    """What `get` has under an id or a name out of an address, when it is of this workspace. Raises Http404 for all else."""
    try:
        row = get(asked.identifier(identifier))
    except outcomes.Refused as refused:
        raise Http404 from refused
    if row.workspace_id != place.workspace.id:
        raise Http404
    return row


def find(request: HttpRequest, tenant: str, workspace: str) -> Place:
    """The place of the signed-in person under these slugs. Raises Http404."""
    assert request.user.pk is not None  # asked only of people who signed in
    found = organisations.stand(request.user.pk, tenant, workspace)
    if found is None:
        raise Http404
    principal, organisation, row, held = found
    ends = {until for until in held.values() if until}
    return Place(principal, organisation, row, frozenset(held), min(ends, default=None), len(ends) == 1 and None not in held.values())


def frame(request: HttpRequest) -> dict[str, Any]:
    """Context processor: the frame of a page, when the view is one of a workspace. Runs inside the view's transaction or opens its own."""
    place: Place | None = getattr(request, "place", None)
    theme = request.COOKIES.get("theme", "")
    base = {
        "theme": theme if theme in {"light", "dark"} else "",
        "keys": "off" if request.COOKIES.get("keys") == "off" else "on",
        "themes": THEMES,
        "demo": settings.DEMO,
        "version": settings.VERSION,
        "cast": cast.roles(request),
    }
    if place is None:
        return base
    with tenancy.within(place.organisation.id):
        waiting = _waiting(place)
        stopped = _stopped(place)
    at = getattr(request, "at", "")
    items = [(item, item.slug == at, waiting if item.slug == "approvals" else 0) for item in NAVIGATION if place.may(item.permission)]
    return base | {
        "place": place,
        "root": place.root,
        "navigation": items,
        "stopped_here": stopped,
        "waiting": waiting,
        "may": place.held,
        "demo": settings.DEMO and cast.is_demo(place.organisation.id),
        "cast": base["cast"] if cast.is_demo(place.organisation.id) else [],
        "stop_what": _what(request, place),
        "curl": curl.behind(request, place.root, place.workspace.slug),
    }


def _what(request: HttpRequest, place: Place) -> str:
    """What the stop dialog offers first: the run that is looked at."""
    noun, _, identifier = request.path.removeprefix(f"{place.root}/").partition("/")
    return f"?what=run/{identifier}" if noun == "runs" and ids.prefix_of(identifier) == "R" else ""


def _waiting(place: Place) -> int:
    return inbox.decidable_count(by=place.principal, workspace=place.workspace.id) if place.may("approvals_decide") else 0


def _stopped(place: Place) -> list[Stopped]:
    """The stops that are on over this workspace or something in it, newest first: names, not ids."""
    if not stops.on():
        return []
    found = list(stops.engaged_over(place.workspace.id, organisation=place.organisation.id)[:MOST_STOPS])
    labels = stops.labels(found)
    people = dict(organisations.members().filter(id__in=[stop.engaged_by for stop in found]).values_list("id", "name"))
    return [Stopped(labels[stop.id], stop.reason, people.get(stop.engaged_by, stop.engaged_by), stop.engaged_at) for stop in found]
