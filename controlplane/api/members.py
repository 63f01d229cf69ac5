"""People: members of the organisation, their roles in its workspaces, and the workspaces."""

from rest_framework import serializers

from agents import models, organisations, roles, seats
from audit import tenancy
from controlplane.api import inputs, pages
from controlplane.api.routing import Asked, Said, door

ROLES = list(roles.ROLES)


class Seat(serializers.Serializer[models.Seat]):
    workspace = serializers.CharField(source="workspace_id")
    role = serializers.CharField()


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

    def validate_username(self, username: str) -> str:
        if not all(character.isalnum() or character in "@.+-_" for character in username):
            raise serializers.ValidationError("letters, digits and @.+-_")
        return username


class Roles(inputs.InWorkspace):
    roles = serializers.ListField(child=inputs.Choice(choices=ROLES), max_length=20)


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
        seats.grant(by=by, member=member, workspace=workspace, role=given["role"])
        return organisations.member(member.id)


@door(Said(body=Roles, gives=Member))
def put_roles(asked: Asked, identifier: str) -> models.Member:
    """Say exactly which roles a member holds in a workspace. Nobody gives themselves one."""
    by = asked.by
    with tenancy.within(by.organisation):
        workspace = organisations.workspace_of(by, asked.body.get("workspace", ""))
        organisations.require(by, "members_manage", workspace.id)
        member = organisations.member(identifier)
        held, wanted = {seat.role for seat in member.seats.all() if seat.workspace_id == workspace.id}, set(asked.body["roles"])
        for role in sorted(wanted - held):
            seats.grant(by=by, member=member, workspace=workspace, role=role)
        for role in sorted(held - wanted):
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
