"""Seats: who has which role in which workspace, and the object permissions that follow from it."""

from collections.abc import Collection
from dataclasses import dataclass

from django.contrib.auth.models import Permission
from django.db.models import Exists, OuterRef, QuerySet

from agents import organisations
from agents.models import Member, Organisation, Seat, Workspace, WorkspacePermission
from agents.organisations import Principal
from agents.roles import ROLES, giving
from audit import ids, log, tenancy


def grant(*, by: Principal, member: Member, workspace: Workspace, role: str) -> Seat:
    """Give a member a role in a workspace, and so its permissions. Raises Conflict for an unknown role; nobody raises their own."""
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
        held, _ = Seat.objects.get_or_create(member=member, workspace=workspace, role=role, defaults={"id": ids.new("SEA")})
        _follow(member, workspace)
        log.append("seat.granted", by=by, subject=member.id, workspace=workspace.id, detail={"role": role})
    return held


def remove(*, by: Principal, member: Member, workspace: Workspace, role: str) -> None:
    """Take a role away; what no other role of theirs gives goes with it. Raises Conflict for a workspace's last owner or last approver."""
    with tenancy.within(by.organisation):
        _keep(member, workspace, {role})
        Seat.objects.filter(member=member, workspace=workspace, role=role).delete()
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
            _keep(member, workspace, given_up)
        organisations.deactivate(by=by, member=member)


def require_over(by: Principal, member: Member) -> None:
    """Raises Forbidden unless they manage members in each workspace where this one has a role. Call inside `tenancy.within`."""
    organisations.where(by, "members_manage")
    for held in Seat.objects.filter(member=member).values_list("workspace_id", flat=True).distinct():
        organisations.require(by, "members_manage", held)


# Without an owner nobody can give a role; without an approver every request is denied.
_KEPT = {"last owner": frozenset({"owner"}), "last approver": frozenset(giving("approvals_decide"))}


def _keep(member: Member, workspace: Workspace, given_up: Collection[str]) -> None:
    """Somebody active keeps each of these when the member gives up some roles. Raises Conflict."""
    Workspace.objects.select_for_update(no_key=True).get(id=workspace.id)  # one at a time: two who leave at once would each see the other
    for rule, roles in _KEPT.items():
        held = Seat.objects.filter(workspace=workspace, role__in=roles, member__is_active=True)
        if not roles.isdisjoint(given_up) and not held.exclude(member=member, role__in=given_up).exists():
            raise organisations.Conflict(
                f"This is the {rule} of the workspace.",
                rule=rule,
                current=member.name,
                limit="1 or more",
                next_step="Give the role to somebody else first.",
            )


def _follow(member: Member, workspace: Workspace) -> None:
    """Make guardian's rows say exactly what the seats say."""
    held = {
        codename
        for role in Seat.objects.filter(member=member, workspace=workspace).values_list("role", flat=True)
        for codename in ROLES[role]
    }
    rows = WorkspacePermission.objects.filter(user_id=member.user_id, content_object=workspace)
    rows.exclude(permission__codename__in=held).delete()
    missing = held - set(rows.values_list("permission__codename", flat=True))
    permissions = Permission.objects.filter(content_type__app_label="agents", codename__in=missing)
    WorkspacePermission.objects.bulk_create(
        WorkspacePermission(
            organisation_id=workspace.organisation_id, user_id=member.user_id, permission=permission, content_object=workspace
        )
        for permission in permissions
    )


@dataclass(frozen=True, slots=True)
class Seating:
    """One workspace that a user may enter, by slugs and by the names people know, and their role there."""

    organisation: str
    organisation_name: str
    workspace: str
    name: str
    role: str


def places(user: int) -> list[Seating]:
    """Every workspace a user has a role in, first membership first."""
    found = []
    for organisation, member in organisations.memberships(user):
        with tenancy.within(organisation, read_only=True):
            slug, called = Organisation.objects.values_list("slug", "name").get(id=organisation)
            for seat in Seat.objects.filter(member_id=member).select_related("workspace").order_by("created_at", "id"):
                found.append(
                    Seating(
                        organisation=slug, organisation_name=called, workspace=seat.workspace.slug, name=seat.workspace.name, role=seat.role
                    )
                )
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
