"""Policies: versions of a workspace's rules in Cedar, and which one is in force."""

from rest_framework import serializers

from agents import models, organisations, policies
from agents.organisations import Principal
from audit import tenancy
from controlplane.api import inputs, pages
from controlplane.api.routing import Asked, Said, door


class NewPolicy(inputs.InWorkspace):
    cedar = inputs.Text(max_length=256 * 1024)


class Policy(serializers.Serializer[models.PolicySet]):
    id = serializers.CharField()
    number = serializers.IntegerField()
    state = serializers.CharField()
    workspace = serializers.CharField(source="workspace_id")
    digest = serializers.CharField()
    proposed_by = serializers.CharField()
    activated_by = serializers.CharField()
    activated_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class PolicyDetail(Policy):
    cedar = serializers.CharField()


@door(Said(query=pages.InWorkspace, gives=Policy))
def listed(asked: Asked) -> pages.Page:
    """The versions of a workspace's rules, newest first."""
    workspace = organisations.workspace_of(asked.by, asked.query.get("workspace", ""))
    organisations.require(asked.by, "policies_view", workspace.id)
    return pages.cut(policies.listed(workspace.id), asked.query, order=("-number", "id"))


@door(Said(gives=PolicyDetail))
def show(asked: Asked, identifier: str) -> models.PolicySet:
    """One version with its text."""
    return _seen(asked.by, identifier)


@door(Said(body=NewPolicy, gives=PolicyDetail, status=201))
def propose(asked: Asked) -> models.PolicySet:
    """A new draft, checked against the registered tools; every problem is named."""
    with tenancy.within(asked.by.organisation):
        workspace = organisations.workspace_of(asked.by, asked.body.get("workspace", ""))
    row = policies.propose(by=asked.by, workspace=workspace, text=asked.body["cedar"])
    with tenancy.within(asked.by.organisation):
        return policies.get(row.id)


@door(Said(body=inputs.Empty, gives=PolicyDetail))
def activate(asked: Asked, identifier: str) -> models.PolicySet:
    """Put a version in force. What waits for people under the one before it becomes void."""
    with tenancy.within(asked.by.organisation):
        row = _seen(asked.by, identifier)
    policies.activate(by=asked.by, policy_set=row)
    with tenancy.within(asked.by.organisation):
        return policies.get(identifier)


def _seen(by: Principal, identifier: str) -> models.PolicySet:
    row = policies.get(identifier)
    if not organisations.may(by, "policies_view", row.workspace_id):
        raise policies.no_such(identifier)
    return row
