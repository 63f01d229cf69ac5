"""Requests to people: what would change, who may decide, and their votes."""

from typing import Any

from rest_framework import serializers

from agents import organisations, runs
from approvals import batches, deadlines, denials, ends, models, remarks, requests, stances
from audit import tenancy
from controlplane import deciding, guard
from controlplane.api import errors, inputs, pages
from controlplane.api.routing import Asked, Problem, Said, door

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
    checked_at = serializers.DateTimeField(allow_null=True)
    note = serializers.CharField()
    votes = serializers.SerializerMethodField()

    def get_tier(self, request: models.Request) -> str:
        return TIERS[request.required]

    def get_votes(self, request: models.Request) -> list[dict[str, Any]]:
        return [dict(Vote(vote).data) for vote in sorted(request.votes.all(), key=lambda vote: (vote.at, vote.id))]


class Claim(serializers.Serializer[models.Stance]):
    """`handed_by` is who gave it to them; null when they took it themselves."""

    member = serializers.CharField(source="member.name")
    handed_by = serializers.CharField(source="handed_by.name", allow_null=True)
    at = serializers.DateTimeField()
    until = serializers.DateTimeField()


class ApprovalDetail(Approval):
    """`claim` says who has it in hand, which bars nobody else from deciding."""

    claim = serializers.SerializerMethodField()
    tool = serializers.CharField(source="call.name")
    entity = serializers.CharField(source="plan.entity")
    viewer = serializers.CharField(source="plan.viewer")
    changes = serializers.SerializerMethodField()
    facts = serializers.SerializerMethodField()
    arguments = serializers.SerializerMethodField()
    requesters = serializers.ListField(child=serializers.CharField())

    def get_claim(self, request: models.Request) -> dict[str, Any] | None:
        found = stances.claims([request]).get(request.id)
        return dict(Claim(found).data) if found else None

    def get_changes(self, request: models.Request) -> Any:
        return runs.kept(request.plan.changes)

    def get_facts(self, request: models.Request) -> Any:
        return runs.kept(request.plan.facts)

    def get_arguments(self, request: models.Request) -> Any:
        return runs.kept(request.call.arguments)


class NewVote(inputs.Body):
    """`scope` says how far a denial reaches: this call, the same call in this run, or the agent's calls of this tool for an hour."""

    verdict = inputs.Choice(choices=["approve", "deny"])
    plan = inputs.Text(max_length=128)
    reason = inputs.Text(required=False, default="", allow_blank=True, max_length=2000)
    scope = inputs.Choice(required=False, default="call", choices=[name.lower() for name in denials.SCOPES])
    ends_run = serializers.BooleanField(required=False, default=False)


class Ballot(inputs.Body):
    """One of several requests, and the digest of the plan that was read."""

    id = inputs.Text(max_length=80)
    plan = inputs.Text(max_length=128)


class NewVotes(inputs.Body):
    """One verdict on several requests. What takes two humans is decided by itself."""

    items = serializers.ListField(child=Ballot(), min_length=1, max_length=batches.MOST)
    verdict = inputs.Choice(choices=["approve", "deny"])
    reason = inputs.Text(required=False, default="", allow_blank=True, max_length=2000)


class Decided(serializers.Serializer[Any]):
    """What became of one of them: its state now, or the problem for which nothing was decided."""

    id = serializers.CharField()
    state = serializers.CharField(required=False)
    problem = Problem(required=False)


class AllDecided(serializers.Serializer[Any]):
    items = Decided(many=True)


class NewHandOver(inputs.Body):
    """`to` is the id or the name of a member who may decide it."""

    to = inputs.Text(max_length=200)


class NewHint(inputs.Body):
    """What the agent should change before it proposes again. Counts as no decision."""

    plan = inputs.Text(max_length=128)
    field = inputs.Text(required=False, default="", allow_blank=True, max_length=500)
    expected = inputs.Text(max_length=500)
    note = inputs.Text(required=False, default="", allow_blank=True, max_length=500)


class NewComment(inputs.Body):
    text = inputs.Text(max_length=remarks.LONGEST)


class Remark(serializers.Serializer[models.Remark]):
    id = serializers.CharField()
    member = serializers.CharField(source="member.name")
    kind = serializers.CharField()
    text = serializers.CharField()
    at = serializers.DateTimeField()


class Withdrawal(inputs.Body):
    reason = inputs.Text(max_length=2000)


class Terms(inputs.Body):
    """Seconds that one extension adds, seconds that all of them may add, and how often a run's calls of one tool may be sent back."""

    extend_s = serializers.IntegerField(min_value=0)
    extend_most_s = serializers.IntegerField(min_value=0)
    rounds = serializers.IntegerField(min_value=0)


class TermsOf(inputs.OfWorkspace):
    """Whose terms."""


class Denial(serializers.Serializer[models.StandingDenial]):
    """A denial that answers for later calls. Whoever may decide on such calls lifts it."""

    id = serializers.CharField()
    request = serializers.CharField(source="request_id")
    agent = serializers.CharField(source="agent_id")
    tool = serializers.CharField()
    run = serializers.CharField(source="run_id")
    reason = serializers.CharField()
    member = serializers.CharField(source="member.name")
    at = serializers.DateTimeField()
    until = serializers.DateTimeField(allow_null=True)
    lifted_at = serializers.DateTimeField(allow_null=True)


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
    """Approve or deny the plan with that digest. A denial needs a reason, which the agent receives. Before an approval the target is read
    again: if it moved, nothing is decided and the answer names the new plan. Who approves in a session as one of two humans gave their
    password within five minutes."""
    given = asked.body
    if given["verdict"] == "approve" and asked.request.auth == "session":
        guard.require_fresh(asked.request._request, required=_now(asked, identifier).required)
    deciding.vote(
        by=asked.by,
        request_id=identifier,
        verdict=given["verdict"].upper(),
        plan_digest=given["plan"],
        reason=given["reason"],
        denial=denials.scope_of(given["scope"].upper(), ends_run=given["ends_run"]),
    )
    return _now(asked, identifier)


@door(Said(body=NewVotes, gives=AllDecided))
def decide(asked: Asked) -> dict[str, Any]:
    """Approve or deny up to 25 requests, each for the plan with its digest. Each is a vote of its own, as if it came alone: one that is
    refused says why and keeps none of the others. Requests that take two humans are refused here. A denial needs a reason."""
    given = asked.body
    ballots = [deciding.Ballot(item["id"], item["plan"]) for item in given["items"]]
    done = deciding.each(by=asked.by, ballots=ballots, verdict=given["verdict"].upper(), reason=given["reason"])
    return {"items": [_decided(outcome) for outcome in done]}


def _decided(outcome: deciding.Outcome) -> dict[str, Any]:
    if outcome.refused is not None:
        return {"id": outcome.request_id, "problem": errors.problem(outcome.refused.as_dict())}
    assert outcome.request is not None
    return {"id": outcome.request_id, "state": outcome.request.state}


@door(Said(body=NewHint, gives=ApprovalDetail))
def send_back(asked: Asked, identifier: str) -> models.Request:
    """Send the plan back to its agent with a hint; it may propose again."""
    given = asked.body
    hint = ends.Hint(given["field"], given["expected"], given["note"])
    ends.send_back(by=asked.by, request_id=identifier, plan_digest=given["plan"], hint=hint)
    return _now(asked, identifier)


@door(Said(gives=ApprovalDetail))
def claim(asked: Asked, identifier: str) -> models.Request:
    """Say that you are on it, for half an hour; somebody else may take it over, and decide it all the same."""
    stances.claim(by=asked.by, request_id=identifier)
    return _now(asked, identifier)


@door(Said(gives=ApprovalDetail))
def unclaim(asked: Asked, identifier: str) -> models.Request:
    """Leave it to the others again."""
    stances.unclaim(by=asked.by, request_id=identifier)
    return _now(asked, identifier)


@door(Said(body=NewHandOver, gives=ApprovalDetail))
def hand_over(asked: Asked, identifier: str) -> models.Request:
    """Hand it to another person who may decide it: they are on it for half an hour, and the others may decide it all the same."""
    stances.hand_over(by=asked.by, request_id=identifier, to=asked.body["to"])
    return _now(asked, identifier)


@door(Said(gives=ApprovalDetail))
def extend(asked: Asked, identifier: str) -> models.Request:
    """More time to decide, as far as the workspace allows."""
    deadlines.extend(by=asked.by, request_id=identifier)
    return _now(asked, identifier)


@door(Said(gives=ApprovalDetail))
def check(asked: Asked, identifier: str) -> models.Request:
    """Read the target again now."""
    deciding.check(by=asked.by, request_id=identifier)
    return _now(asked, identifier)


@door(Said(body=Withdrawal, gives=ApprovalDetail))
def withdraw(asked: Asked, identifier: str) -> models.Request:
    """The agent's owner, or whoever started the run, takes the question back."""
    ends.withdraw(by=asked.by, request_id=identifier, reason=asked.body["reason"])
    return _now(asked, identifier)


@door(Said(body=NewComment, gives=Remark, status=201))
def comment(asked: Asked, identifier: str) -> models.Remark:
    """Say something about a request."""
    made = remarks.comment(by=asked.by, request_id=identifier, text=asked.body["text"])
    with tenancy.within(asked.by.organisation):
        return remarks.of(made.request).get(id=made.id)


@door(Said(query=TermsOf, body=Terms, gives=Terms))
def terms(asked: Asked) -> Any:
    """Set how far this workspace's decisions may be put off or sent back."""
    with tenancy.within(asked.by.organisation):
        workspace = organisations.workspace_of(asked.by, asked.query.get("workspace", "")).id
    return deadlines.set_terms(by=asked.by, workspace=workspace, **asked.body)


@door(Said(query=pages.InWorkspace, gives=Denial))
def standing(asked: Asked) -> pages.Page:
    """The denials that answer for later calls, the newest first."""
    workspace = organisations.workspace_of(asked.by, asked.query.get("workspace", ""))
    organisations.require(asked.by, "approvals_all", workspace.id)
    return pages.cut(denials.standing(workspace=workspace.id), asked.query, order=("-at", "-id"))


@door(Said(gives=Denial))
def lift(asked: Asked, identifier: str) -> models.StandingDenial:
    """Have people asked again."""
    return denials.lift(by=asked.by, denial_id=identifier)


def _now(asked: Asked, identifier: str) -> models.Request:
    with tenancy.within(asked.by.organisation):
        return requests.get(identifier, by=asked.by)
