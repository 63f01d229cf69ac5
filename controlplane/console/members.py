"""Members: who is here, which roles they hold in this workspace and what those allow; give and take a role, sign out, remove, add."""

from collections.abc import Callable, Collection
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agents import contracts, organisations, roles, seats, sessions, tools
from agents.models import Member, Workspace
from audit import outcomes, tenancy
from controlplane.console import agent_tabs, asked, cells, coverage, deciders, ends, frame, lists, render
from controlplane.console.frame import Place

ABILITIES = dict(Workspace._meta.permissions)


@require_safe
@frame.page("members_manage", at="members")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    """Everybody of the organisation, those of this workspace first."""
    return _show(request, place)


@require_safe
@frame.page("members_manage", at="members")
def person(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """What one person can do here: their permissions in words, what they may approve, the agents they own."""
    return _person(request, place, _get(identifier))


@require_http_methods(["GET", "HEAD", "POST"])
@frame.page("members_manage", at="members")
def role(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """Give a role, until a day or without an end, or take it: looking shows what the person could do then and could not before, and until
    when; the button does it.

    Nobody gives themselves one, and the last owner of a workspace stays its owner.
    """
    if request.method != "POST":
        return _change(request, place, _get(identifier), request.GET)
    name, act, until = request.POST.get("role", ""), request.POST.get("act", ""), None
    try:
        with tenancy.within(place.organisation.id):
            organisations.require(place.principal, "members_manage", place.workspace.id)
            member = _get(identifier)
            if act == "grant":
                until = ends.typed(request.POST.get("until", ""), place)
                seats.grant(by=place.principal, member=member, workspace=place.workspace, role=name, until=until)
            elif act == "take" and name in _roles(member, place):
                seats.remove(by=place.principal, member=member, workspace=place.workspace, role=name)
            else:
                raise organisations.Conflict(
                    "There is no such role to take.", rule="roles", current=name[:40], next_step="Look at the list again."
                )
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id, read_only=True):
            return _change(request, place, _get(identifier), request.POST, refused=refused)
    told = f"{member.name} {'is' if act == 'grant' else 'is no longer'} {name} in {place.workspace.name}"
    messages.success(request, f"{told} until {ends.day(until, place)}." if until else f"{told}.")
    return redirect(f"{place.root}/members#{identifier}")


@require_POST
@frame.page("members_manage", at="members")
def sign_out(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """End this person's sessions, on whatever machine."""
    return _done_to(request, place, identifier, _sign_out)


@require_POST
@frame.page("members_manage", at="members")
def remove(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """End a membership, and the sessions with it. The last owner and the last approver of a workspace stay."""
    return _done_to(request, place, identifier, _remove)


def _done_to(request: HttpRequest, place: Place, identifier: str, act: Callable[[Place, Member], str]) -> HttpResponse:
    """What was done to a person is said on their page, and so is why it was not."""
    try:
        with tenancy.within(place.organisation.id):
            member = _get(identifier)
            told = act(place, member)
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id, read_only=True):
            return _person(request, place, _get(identifier), refused=refused)
    messages.success(request, told)
    return redirect(f"{place.root}/members/{member.id}")


def _sign_out(place: Place, member: Member) -> str:
    ended = sessions.end(by=place.principal, member=member, workspace=place.workspace.id)
    return f"{member.name} is signed out: {ended} session{'s' if ended != 1 else ''} ended."


def _remove(place: Place, member: Member) -> str:
    seats.leave(by=place.principal, member=member)
    sessions.end(by=place.principal, member=member, workspace=place.workspace.id)
    return f"{member.name} is no longer a member."


@require_POST
@frame.page("members_manage", at="members")
def add(request: HttpRequest, place: Place) -> HttpResponse:
    """A new account with a role. Its holder sets a password through the reset mail."""
    typed = {name: request.POST.get(name, "").strip() for name in ("username", "name", "email", "role", "until")}
    try:
        _check(typed)
        with tenancy.within(place.organisation.id):
            organisations.require(place.principal, "members_manage", place.workspace.id)
            user = organisations.new_user(username=typed["username"], email=typed["email"])
            member = organisations.add_member(by=place.principal, user=user, name=typed["name"])
            until = ends.typed(typed["until"], place)
            seats.grant(by=place.principal, member=member, workspace=place.workspace, role=typed["role"], until=until)
    except outcomes.Refused as refused:
        typed["until"] = typed["until"] or ends.usual(typed["role"], place, timezone.now())
        with tenancy.within(place.organisation.id, read_only=True):
            return _show(request, place, refused=refused, typed=typed)
    return redirect(f"{place.root}/members#{member.id}")


def _get(identifier: str) -> Member:
    """Call inside `tenancy.within`. Raises Http404."""
    try:
        return organisations.member(asked.identifier(identifier))
    except organisations.NotFound as absent:
        raise Http404 from absent


def _person(request: HttpRequest, place: Place, member: Member, *, refused: outcomes.Refused | None = None) -> HttpResponse:
    agents = list(contracts.in_use(place.workspace.id))
    columns = tools.facts_of_active(place.organisation.id, place.workspace.id)
    table = deciders.table(place, cells.field(place, agents, columns))
    allowed = organisations.held(organisations.acting(member), place.workspace) if member.is_active else frozenset()
    context: dict[str, Any] = {
        "member": member,
        "is_me": member.person == place.principal.person,
        "held": ends.held(member, place, timezone.now()),
        "abilities": [(name, words, name in allowed) for name, words in ABILITIES.items()],
        "line": next((line for line in table.lines if line.member.id == member.id), None),
        "decided": table.tools,
        "owns": [agent for agent in agents if agent.owner.person == member.person],
        "seen": organisations.account(organisations.acting(member)).last_login,
        "sessions": sessions.live([member.user_id]).get(member.user_id, 0),
        "entries": agent_tabs.told(place, member.id),
        "refused": refused.as_dict() if refused else None,
    }
    return render.page(request, "members/person.html", context, status=render.status_of(refused) if refused else 200)


def _change(
    request: HttpRequest, place: Place, member: Member, said: QueryDict, *, refused: outcomes.Refused | None = None
) -> HttpResponse:
    """What a person could do after a change of roles, and could not before, until when, and the other way round."""
    now, name, act = timezone.now(), said.get("role", ""), said.get("act", "")
    held = ends.held(member, place, now)
    counts = ends.in_force(held)
    typed = said.get("until", ends.field(counts.get(name), place)) or ends.usual(name, place, now)
    try:
        until = ends.typed(typed, place)
    except outcomes.Refused as unreadable:
        until, typed, refused = None, "", refused or unreadable
    moved = name not in counts or ends.field(counts[name], place) != typed
    would = {"grant": {*counts, name}, "take": {*counts} - {name}}.get(act) if name in roles.ROLES else None
    before, after = roles.permissions(counts), roles.permissions(counts if would is None else would)
    context: dict[str, Any] = {
        "member": member,
        "held": held,
        "free": [each for each in reversed(roles.ROLES) if each not in counts],
        "role": name,
        "act": act,
        "is_change": would is not None and (moved if act == "grant" else name in {one.role for one in held}),
        "is_held": name in counts,
        "was": counts.get(name),
        "until": until,
        "last_day": ends.day(until, place),
        "typed": typed,
        "gained": _words(after - before),
        "lost": _words(before - after),
        "refused": refused.as_dict() if refused else None,
    }
    return render.page(request, "members/role.html", context, status=render.status_of(refused) if refused else 200)


def _words(permissions: Collection[str]) -> list[str]:
    """What permissions let a person do, in words."""
    return [words for name, words in ABILITIES.items() if name in permissions]


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
    last, now = organisations.last_seen(), timezone.now()
    everybody = sorted(organisations.members(), key=lambda each: _standing(each, place))
    after = lists.unpacked(request.GET.get("after", "") if request.method == "GET" else "", int, str, str)
    found = [each for each in everybody if after is None or _standing(each, place) > tuple(after)]
    live = sessions.live([member.user_id for member in found[: lists.SHOWN]])
    for member in found[: lists.SHOWN]:
        held = ends.held(member, place, now)
        counts = ends.in_force(held)
        abilities = _words(roles.permissions(counts))
        is_me = member.person == place.principal.person
        seen = last.get(member.user_id)
        free = [name for name in reversed(roles.ROLES) if name not in counts]
        rows.append((member, held, free, abilities, is_me, seen, live.get(member.user_id, 0)))
    further = lists.packed(*_standing(found[lists.SHOWN - 1], place)) if len(found) > lists.SHOWN else ""
    context: dict[str, Any] = {
        "rows": rows,
        "everybody": len(everybody),
        "next": asked.address(request, after=further) if further else "",
        "first": asked.address(request, after="") if after else "",
        "roles": [(name, _words(allowed)) for name, allowed in roles.ROLES.items()],
        "coverage": coverage.check(place),
        "refused": refused.as_dict() if refused else None,
        "typed": typed or {},
    }
    return render.page(request, "members/list.html", context, status=render.status_of(refused) if refused else 200)
