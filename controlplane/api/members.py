"""People: members of the organisation, their roles in its workspaces, and the workspaces."""

from typing import Any

from rest_framework import serializers

from agents import models, organisations, roles, seats
from audit import moments, tenancy
from controlplane.api import inputs, pages
from controlplane.api.routing import Asked, Said, door

ROLES = list(roles.ROLES)


class Seat(serializers.Serializer[models.Seat]):
    workspace = serializers.CharField(source="workspace_id")
    role = serializers.CharField()
    until = serializers.DateTimeField(allow_null=True, help_text="from then on it counts for nothing; null has no end")


class Member(serializers.Serializer[models.Member]):
    id = serializers.CharField()
    name = serializers.CharField()
    is_active = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    seats = Seat(many=True, source="seats.all")


class Workspace(serializers.Serializer[models.Workspace]):
    id = serializers.CharField()
    slug = serializers.CharField()
    name = serializers.CharField()
    environment = serializers.CharField()


class NewMember(inputs.InWorkspace):
    """A new account without a password: its holder sets one through the reset mail."""

    username = inputs.Text(max_length=150)
    name = inputs.Text(max_length=150)
    email = serializers.EmailField(required=False, default="")
    role = inputs.Choice(choices=ROLES)
    until = serializers.DateTimeField(required=False, allow_null=True, default=None, help_text="an auditor must have one")

    def validate_username(self, username: str) -> str:
        if not all(character.isalnum() or character in "@.+-_" for character in username):
            raise serializers.ValidationError("letters, digits and @.+-_")
        return username


class Roles(inputs.InWorkspace):
    """`until` says the ends of these roles, null for none. A role that is held already keeps its end where nothing is said."""

    roles = serializers.ListField(child=inputs.Choice(choices=ROLES), max_length=20)
    until = serializers.DictField(child=serializers.DateTimeField(allow_null=True), required=False, default=dict)

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        if unknown := sorted(set(given["until"]) - set(given["roles"])):
            raise serializers.ValidationError({"until": {unknown[0]: "one of the roles that are given"}})
        return given


@door(Said(query=pages.InWorkspace, gives=Member))
def listed(asked: Asked) -> pages.Page:
    """The members, or those with a role in a workspace."""
    organisations.where(asked.by, "agents_view")
    workspace = organisations.workspace_of(asked.by, asked.query["workspace"]) if asked.query.get("workspace") else None
    return pages.cut(organisations.members(workspace), asked.query, order=("name", "id"))


@door(Said(gives=Workspace, many=True))
def workspaces(asked: Asked) -> pages.Page:
    """The workspaces that you may look into."""
    return pages.Page(items=organisations.where(asked.by, "runs_view"), next="")


@door(Said(body=NewMember, gives=Member, status=201))
def add(asked: Asked) -> models.Member:
    """Add a person with a role."""
    by, given = asked.by, asked.body
    with tenancy.within(by.organisation):
        workspace = organisations.workspace_of(by, given.get("workspace", ""))
        organisations.require(by, "members_manage", workspace.id)
        user = organisations.new_user(username=given["username"], email=given["email"])
        member = organisations.add_member(by=by, user=user, name=given["name"])
        seats.grant(by=by, member=member, workspace=workspace, role=given["role"], until=given["until"])
        return organisations.member(member.id)


@door(Said(body=Roles, gives=Member))
def put_roles(asked: Asked, identifier: str) -> models.Member:
    """Say exactly which roles a member holds in a workspace, and until when. Nobody gives themselves one, or extends their own."""
    by, ends = asked.by, asked.body["until"]
    with tenancy.within(by.organisation):
        workspace = organisations.workspace_of(by, asked.body.get("workspace", ""))
        organisations.require(by, "members_manage", workspace.id)
        member = organisations.member(identifier)
        now, wanted = moments.now(), set(asked.body["roles"])
        held = {seat.role: seat for seat in member.seats.all() if seat.workspace_id == workspace.id}
        kept = {role: seat.until for role, seat in held.items() if not seat.is_over(now)}
        for role in sorted(wanted):
            until = ends.get(role, kept.get(role))
            if role not in kept or until != kept[role]:
                seats.grant(by=by, member=member, workspace=workspace, role=role, until=until)
        for role in sorted(held.keys() - wanted):
            seats.remove(by=by, member=member, workspace=workspace, role=role)
        return organisations.member(member.id)


@door(Said(body=inputs.Empty, gives=Member))
def deactivate(asked: Asked, identifier: str) -> models.Member:
    """End a membership. Keys and roles of this person count no more. A workspace keeps its last owner and its last approver."""
    by = asked.by
    with tenancy.within(by.organisation):
        member = organisations.member(identifier)
        seats.leave(by=by, member=member)
        return organisations.member(member.id)
