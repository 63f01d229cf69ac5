"""Seats: who has which role in which workspace, until when, and the object permissions that follow from it.

An end needs no worker: every reader leaves out what is over (`Seats.in_force`, `WorkspacePermission.objects`). The worker only tidies up.
"""

import datetime
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from django.contrib.auth.models import Permission
from django.db.models import Exists, OuterRef, QuerySet

from agents import organisations
from agents.models import Member, Organisation, Seat, Work, Workspace, WorkspacePermission
from agents.organisations import Principal
from agents.roles import FOR_A_TIME, ROLES, giving
from audit import ids, log, moments, tenancy
from audit.moments import Moment

LONGEST = datetime.timedelta(days=366)  # so far ahead an end may lie
USUAL = datetime.timedelta(days=90)  # what forms offer for a role that must have one


def grant(*, by: Principal, member: Member, workspace: Workspace, role: str, until: datetime.datetime | None = None) -> Seat:
    """Give a member a role in a workspace, and so its permissions, without an end or until a time. Once more, and its end is the new one.

    Raises Conflict for an unknown role; for an auditor's without an end; for an end that is not within LONGEST; for one that would leave
    no owner or no approver without one. Nobody raises or extends their own.
    """
    if role not in ROLES:
        raise organisations.Conflict(
            f"There is no role {role}.", rule="roles", current=role, limit=", ".join(ROLES), next_step="Choose one of them."
        )
    with tenancy.within(by.organisation):
        if by.person and by.person == member.person:  # whichever of their accounts
            raise organisations.Forbidden(
                "Nobody gives themselves a role.",
                rule="separation of duties",
                current=by.id,
                who="another member manager",
                next_step="Ask another person who manages members.",
            )
        _check_end(role, until)
        _one_at_a_time(workspace)
        if until is not None:
            _keep(member, workspace, {role}, f"With an end to this role the workspace would be left without its last {role} who has none.")
        for over in Seat.objects.filter(member=member, workspace=workspace, role=role, until__lte=Moment()):
            end(by=organisations.system(by.organisation, PART), identifier=over.id)
        held, is_new = Seat.objects.get_or_create(
            member=member, workspace=workspace, role=role, defaults={"id": ids.new("SEA"), "until": until}
        )
        before, held.until = held.until, until
        Seat.objects.filter(id=held.id).update(until=until)
        _time(held)
        _follow(member, workspace)
        event, detail = "seat.granted", {"role": role, "until": _said(until)}
        if not is_new and before != until:
            event, detail = "seat.end_set", detail | {"before": _said(before)}
        log.append(event, by=by, subject=member.id, workspace=workspace.id, detail=detail)
    return held


def _check_end(role: str, until: datetime.datetime | None) -> None:
    limit, who = f"an end after now, within {LONGEST.days} days", "whoever manages members"
    if until is None and role in FOR_A_TIME:
        raise organisations.Conflict(
            f"The role {role} is given until a time.",
            rule="role end",
            current="no end",
            limit=limit,
            who=who,
            next_step=f"Say until when; {USUAL.days} days are usual.",
        )
    if until is not None and not (now := moments.now()) < until <= now + LONGEST:
        raise organisations.Conflict(
            "A role ends in the future, and not too far ahead.",
            rule="role end",
            current=_said(until),
            limit=limit,
            who=who,
            next_step="Choose another end." if role in FOR_A_TIME else "Choose another end, or none.",
        )


def _said(until: datetime.datetime | None) -> str:
    return until.astimezone(datetime.UTC).isoformat() if until else ""


def _time(held: Seat) -> None:
    """The timer that takes it away: one that was set before goes, also when a worker has it in hand."""
    Work.objects.filter(kind=Work.Kind.UNSEAT, subject=held.id).delete()
    if held.until is not None:
        Work.objects.create(id=ids.new("WRK"), kind=Work.Kind.UNSEAT, subject=held.id, due_at=held.until)


def _drop(given_up: Iterable[Seat]) -> None:
    """With their timers."""
    gone = [each.id for each in given_up]
    Seat.objects.filter(id__in=gone).delete()
    Work.objects.filter(kind=Work.Kind.UNSEAT, subject__in=gone).delete()


PART = "seats"  # who takes a seat away at its end


def end(*, by: Principal, identifier: str) -> bool:
    """Take away a seat whose end has come. False when somebody was quicker; when the end was moved meanwhile, its timer is set for that."""
    with tenancy.within(by.organisation):
        seat = Seat.objects.select_related("workspace", "member").filter(id=identifier)
        if (found := seat.first()) is None:
            return False
        _one_at_a_time(found.workspace)
        if (found := seat.first()) is None:  # taken by hand while this waited
            return False
        if found.until is None or found.until > moments.now():
            _time(found)
            return False
        _drop([found])
        _follow(found.member, found.workspace)
        detail = {"role": found.role, "until": _said(found.until)}
        log.append("seat.ended", by=by, subject=found.member_id, workspace=found.workspace_id, detail=detail)
    return True


def remove(*, by: Principal, member: Member, workspace: Workspace, role: str) -> None:
    """Take a role away; what no other role of theirs gives goes with it. Raises Conflict for a workspace's last owner or last approver."""
    with tenancy.within(by.organisation):
        _one_at_a_time(workspace)
        _keep(member, workspace, {role})
        _drop(Seat.objects.filter(member=member, workspace=workspace, role=role))
        _follow(member, workspace)
        log.append("seat.removed", by=by, subject=member.id, workspace=workspace.id, detail={"role": role})


def leave(*, by: Principal, member: Member) -> None:
    """End a membership, by whoever manages members in each workspace where this one has a role.

    Raises Forbidden; Conflict for the last owner or the last approver of a workspace.
    """
    with tenancy.within(by.organisation):
        require_over(by, member)
        seats: dict[Workspace, set[str]] = {}
        for seat in Seat.objects.filter(member=member, member__is_active=True).select_related("workspace"):
            seats.setdefault(seat.workspace, set()).add(seat.role)
        for workspace, given_up in sorted(seats.items(), key=lambda each: each[0].id):
            _one_at_a_time(workspace)
            _keep(member, workspace, given_up)
        organisations.deactivate(by=by, member=member)


def require_over(by: Principal, member: Member) -> None:
    """Raises Forbidden unless they manage members in each workspace where this one has a role. Call inside `tenancy.within`."""
    organisations.where(by, "members_manage")
    for held in Seat.objects.filter(member=member).values_list("workspace_id", flat=True).distinct():
        organisations.require(by, "members_manage", held)


def _one_at_a_time(workspace: Workspace) -> None:
    """Of two who leave at once each would see the other, and of two changes each would write the permissions of its own."""
    Workspace.objects.select_for_update(no_key=True).get(id=workspace.id)


# Without an owner nobody can give a role; without an approver every request is denied.
_KEPT = {"last owner": frozenset({"owner"}), "last approver": frozenset(giving("approvals_decide"))}


def _keep(member: Member, workspace: Workspace, given_up: Collection[str], why: str = "") -> None:
    """Somebody active keeps each of these when the member gives up some roles; whoever has it for a time does not. Raises Conflict."""
    for rule, roles in _KEPT.items():
        held = Seat.objects.filter(workspace=workspace, role__in=roles, until=None, member__is_active=True)
        if not roles.isdisjoint(given_up) and not held.exclude(member=member, role__in=given_up).exists():
            raise organisations.Conflict(
                why or f"This is the {rule} of the workspace.",
                rule=rule,
                current=member.name,
                limit="1 or more without an end",
                who="whoever manages members",
                next_step="Give the role to somebody else first, without an end.",
            )


def _follow(member: Member, workspace: Workspace) -> None:
    """Make guardian's rows say exactly what the seats say: each until the latest end among those that give it."""
    held: dict[str, datetime.datetime | None] = {}
    for role, until in Seat.objects.in_force().filter(member=member, workspace=workspace).values_list("role", "until"):
        for codename in ROLES[role]:
            other = held.get(codename, until)
            held[codename] = max(until, other) if until and other else None
    rows = WorkspacePermission.every.filter(user_id=member.user_id, content_object=workspace)
    rows.exclude(permission__codename__in=held).delete()
    before = dict(rows.values_list("permission__codename", "until"))
    for until in {held[codename] for codename in before if held[codename] != before[codename]}:
        rows.filter(permission__codename__in=[codename for codename in before if held[codename] == until]).update(until=until)
    permissions = Permission.objects.filter(content_type__app_label="agents", codename__in=held.keys() - before.keys())
    WorkspacePermission.every.bulk_create(
        WorkspacePermission(
            organisation_id=workspace.organisation_id,
            user_id=member.user_id,
            permission=permission,
            content_object=workspace,
            until=held[permission.codename],
        )
        for permission in permissions
    )


@dataclass(frozen=True, slots=True)
class Seating:
    """One workspace that a user may enter, by slugs and by the names people know, and their role there, until when it has an end."""

    organisation: str
    organisation_name: str
    workspace: str
    name: str
    role: str
    until: datetime.datetime | None


def places(user: int) -> list[Seating]:
    """Every workspace a user has a role in, first membership first."""
    found = []
    for organisation, member in organisations.memberships(user):
        with tenancy.within(organisation, read_only=True):
            slug, called = Organisation.objects.values_list("slug", "name").get(id=organisation)
            held = Seat.objects.in_force().filter(member_id=member).select_related("workspace").order_by("created_at", "id")
            found += [Seating(slug, called, seat.workspace.slug, seat.workspace.name, seat.role, seat.until) for seat in held]
    return found


def holding(permission: str, workspace: str) -> QuerySet[Member]:
    """The active members who hold a permission in a workspace and can sign in, by name. Call inside `tenancy.within`."""
    users = WorkspacePermission.objects.filter(content_object_id=workspace, permission__codename=permission).values("user_id")
    return Member.objects.filter(user_id__in=users, is_active=True, user__is_active=True).order_by("name", "id")


def holding_everywhere(permission: str) -> QuerySet[Member]:
    """The active members who hold a permission in each workspace, by name, in one question. Call inside `tenancy.within`."""
    given = WorkspacePermission.objects.filter(
        user_id=OuterRef(OuterRef("user_id")), content_object_id=OuterRef("id"), permission__codename=permission
    )
    lacking = Workspace.objects.filter(~Exists(given))
    return Member.objects.filter(~Exists(lacking), is_active=True, user__is_active=True).order_by("name", "id")
