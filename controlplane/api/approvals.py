"""Requests to people: what would change, who may decide, and their votes."""

from typing import Any

from rest_framework import serializers

from agents import organisations
from approvals import models, requests
from audit import tenancy
from controlplane.api import inputs, pages
from controlplane.api import runs as run_doors
from controlplane.api.routing import Asked, Said, door

TIERS = {1: "ONE", 2: "TWO"}


class ApprovalFilter(pages.InWorkspace):
    state = inputs.Choice(required=False, choices=models.Request.State.values, default=models.Request.State.OPEN)


class Vote(serializers.Serializer[models.Vote]):
    id = serializers.CharField()
    member = serializers.CharField(source="member.name")
    verdict = serializers.CharField()
    reason = serializers.CharField()
    at = serializers.DateTimeField()


class Approval(serializers.Serializer[models.Request]):
    """A question to people about one plan. A vote names the plan's digest: whoever saw another plan has not decided this one."""

    id = serializers.CharField()
    state = serializers.CharField()
    title = serializers.CharField()
    tier = serializers.SerializerMethodField()
    required = serializers.IntegerField()  # type: ignore[assignment]
    draft = serializers.BooleanField(source="is_draft")
    run = serializers.CharField(source="run_id")
    call = serializers.CharField(source="call_id")
    agent = serializers.CharField(source="run.agent.slug")
    workspace = serializers.CharField(source="workspace_id")
    plan = serializers.CharField(source="plan.digest")
    policies = serializers.ListField(child=serializers.CharField())
    reasons = serializers.ListField(child=serializers.CharField())
    opened_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(allow_null=True)
    note = serializers.CharField()
    votes = serializers.SerializerMethodField()

    def get_tier(self, request: models.Request) -> str:
        return TIERS[request.required]

    def get_votes(self, request: models.Request) -> list[dict[str, Any]]:
        return [dict(Vote(vote).data) for vote in sorted(request.votes.all(), key=lambda vote: (vote.at, vote.id))]


class ApprovalDetail(Approval):
    tool = serializers.CharField(source="call.name")
    entity = serializers.CharField(source="plan.entity")
    viewer = serializers.CharField(source="plan.viewer")
    changes = serializers.SerializerMethodField()
    facts = serializers.SerializerMethodField()
    arguments = serializers.SerializerMethodField()
    requesters = serializers.ListField(child=serializers.CharField())

    def get_changes(self, request: models.Request) -> Any:
        return run_doors.kept(request.plan.changes)

    def get_facts(self, request: models.Request) -> Any:
        return run_doors.kept(request.plan.facts)

    def get_arguments(self, request: models.Request) -> Any:
        return run_doors.kept(request.call.arguments)


class NewVote(inputs.Body):
    verdict = inputs.Choice(choices=["approve", "deny"])
    plan = inputs.Text(max_length=128)
    reason = inputs.Text(required=False, default="", allow_blank=True, max_length=2000)


@door(Said(query=ApprovalFilter, gives=Approval))
def listed(asked: Asked) -> pages.Page:
    """Requests in a state, oldest first."""
    workspace = organisations.workspace_of(asked.by, asked.query.get("workspace", ""))
    rows = requests.waiting_for(by=asked.by, workspace=workspace.id, state=asked.query["state"])
    return pages.cut(rows, asked.query, order=("opened_at", "id"))


@door(Said(gives=ApprovalDetail))
def show(asked: Asked, identifier: str) -> models.Request:
    """One request with its plan: every change, the rules that asked, and the votes."""
    return requests.get(identifier, by=asked.by)


@door(Said(body=NewVote, gives=ApprovalDetail))
def vote(asked: Asked, identifier: str) -> models.Request:
    """Approve or deny the plan with that digest. A denial needs a reason, which the agent receives."""
    given = asked.body
    requests.vote(by=asked.by, request_id=identifier, verdict=given["verdict"].upper(), plan_digest=given["plan"], reason=given["reason"])
    with tenancy.within(asked.by.organisation):
        return requests.get(identifier, by=asked.by)
