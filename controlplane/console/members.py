"""Members: who is here, which roles they hold in this workspace and what those allow; give and take a role, add a person."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from agents import contracts, organisations, roles, seats, tools
from agents.models import Member, Workspace
from audit import outcomes, tenancy
from controlplane.console import agent_tabs, asked, cells, coverage, deciders, frame, lists, render
from controlplane.console.frame import Place


@require_safe
@frame.page("members_manage", at="members")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    """Everybody of the organisation, those of this workspace first."""
    return _show(request, place)


@require_safe
@frame.page("members_manage", at="members")
def person(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """What one person can do here: their permissions in words, what they may approve, the agents they own."""
    try:
        member = organisations.member(asked.identifier(identifier))
    except organisations.NotFound as absent:
        raise Http404 from absent
    agents = list(contracts.in_use(place.workspace.id))
    columns = tools.facts_of_active(place.organisation.id, place.workspace.id)
    table = deciders.table(place, cells.field(place, agents, columns))
    held = organisations.held(organisations.acting(member), place.workspace) if member.is_active else frozenset()
    context: dict[str, Any] = {
        "member": member,
        "roles": _roles(member, place),
        "abilities": [(name, words, name in held) for name, words in Workspace._meta.permissions],
        "line": next((line for line in table.lines if line.member.id == member.id), None),
        "decided": table.tools,
        "owns": [agent for agent in agents if agent.owner.person == member.person],
        "seen": organisations.account(organisations.acting(member)).last_login,
        "entries": agent_tabs.told(place, member.id),
    }
    return render.page(request, "members/person.html", context)


@require_POST
@frame.page("members_manage", at="members")
def role(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """Give a role, or take it. Nobody gives themselves one, and the last owner of a workspace stays its owner."""
    name, act = request.POST.get("role", ""), request.POST.get("act", "")
    try:
        with tenancy.within(place.organisation.id):
            organisations.require(place.principal, "members_manage", place.workspace.id)
            member = organisations.member(identifier)
            if act == "grant":
                seats.grant(by=place.principal, member=member, workspace=place.workspace, role=name)
            elif act == "take" and name in _roles(member, place):
                seats.remove(by=place.principal, member=member, workspace=place.workspace, role=name)
            else:
                raise organisations.Conflict(
                    "There is no such role to take.", rule="roles", current=name[:40], next_step="Look at the list again."
                )
    except organisations.NotFound as absent:
        raise Http404 from absent
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id, read_only=True):
            return _show(request, place, refused=refused)
    return redirect(f"{place.root}/members#{identifier}")


@require_POST
@frame.page("members_manage", at="members")
def add(request: HttpRequest, place: Place) -> HttpResponse:
    """A new account with a role. Its holder sets a password through the reset mail."""
    typed = {name: request.POST.get(name, "").strip() for name in ("username", "name", "email", "role")}
    try:
        _check(typed)
        with tenancy.within(place.organisation.id):
            organisations.require(place.principal, "members_manage", place.workspace.id)
            user = organisations.new_user(username=typed["username"], email=typed["email"])
            member = organisations.add_member(by=place.principal, user=user, name=typed["name"])
            seats.grant(by=place.principal, member=member, workspace=place.workspace, role=typed["role"])
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id, read_only=True):
            return _show(request, place, refused=refused, typed=typed)
    return redirect(f"{place.root}/members#{member.id}")


def _check(typed: dict[str, str]) -> None:
    plain = all(letter.isalnum() or letter in "@.+-_" for letter in typed["username"]) and 0 < len(typed["username"]) <= 150
    named = typed["name"].isprintable() and 0 < len(typed["name"]) <= 150
    try:
        validate_email(typed["email"])
        mailed = True
    except ValidationError:
        mailed = False
    for name, holds, limit in (
        ("username", plain, "letters, digits and @.+-_"),
        ("name", named, "1 to 150 visible characters"),
        ("email", mailed, "an address like ann@example.com"),
    ):
        if not holds:
            raise organisations.Conflict(
                f"The {name} cannot be used.", rule="members", current=typed[name][:80], limit=limit, next_step="Correct it."
            )


def _roles(member: Member, place: Place) -> list[str]:
    return sorted(seat.role for seat in member.seats.all() if seat.workspace_id == place.workspace.id)


def _standing(member: Member, place: Place) -> tuple[int, str, str]:
    """The order of the list: who has a role here first, then by name."""
    return (0 if _roles(member, place) else 1), member.name, member.id


def _show(
    request: HttpRequest, place: Place, *, refused: outcomes.Refused | None = None, typed: dict[str, str] | None = None
) -> HttpResponse:
    rows = []
    last = organisations.last_seen()
    everybody = sorted(organisations.members(), key=lambda each: _standing(each, place))
    after = lists.unpacked(request.GET.get("after", "") if request.method == "GET" else "", int, str, str)
    found = [each for each in everybody if after is None or _standing(each, place) > tuple(after)]
    for member in found[: lists.SHOWN]:
        held = _roles(member, place)
        abilities = sorted({permission for role in held for permission in roles.ROLES[role]})
        is_me = member.person == place.principal.person
        seen = last.get(member.user_id)
        rows.append((member, held, [name for name in reversed(roles.ROLES) if name not in held], abilities, is_me, seen))
    further = lists.packed(*_standing(found[lists.SHOWN - 1], place)) if len(found) > lists.SHOWN else ""
    context: dict[str, Any] = {
        "rows": rows,
        "everybody": len(everybody),
        "next": asked.address(request, after=further) if further else "",
        "first": asked.address(request, after="") if after else "",
        "roles": [(name, sorted(allowed)) for name, allowed in roles.ROLES.items()],
        "coverage": coverage.check(place),
        "refused": refused.as_dict() if refused else None,
        "typed": typed or {},
    }
    return render.page(request, "members/list.html", context, status=render.status_of(refused) if refused else 200)
