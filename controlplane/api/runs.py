"""Runs: start one for somebody, look at it, its calls and its steps, finish it."""

import datetime
from typing import Any

from django.conf import settings
from rest_framework import serializers

from agents import models, organisations, runs
from agents.organisations import Principal
from audit import tenancy
from budgets import reservations
from controlplane import runner
from controlplane.api import inputs, pages
from controlplane.api.routing import Asked, Said, door

LONGEST_S = 30 * 24 * 3600
LIMITS = ("steps", "tool_calls", "tokens", "seconds", "retries", "micros", "step_micros")


class NewRun(inputs.InWorkspace):
    """Who is to work, and for whom. An agent's own key starts its own runs and can only narrow them."""

    agent = inputs.Text(required=False, max_length=63)
    reference = inputs.Text(required=False, default="", allow_blank=True, max_length=200)
    title = inputs.Text(required=False, default="", allow_blank=True, max_length=200)
    subject = serializers.ListField(child=inputs.Text(max_length=200), required=False, allow_null=True, max_length=1000)
    tools = serializers.ListField(child=inputs.Text(max_length=64), required=False, allow_null=True, max_length=1000)
    bindings = serializers.DictField(
        child=serializers.ListField(child=serializers.JSONField(), max_length=1000), required=False, allow_null=True
    )
    expires_in_s = inputs.Whole(required=False, default=3600, min_value=1, max_value=LONGEST_S)
    hosted = inputs.Flag(required=False, default=False)
    prompt = inputs.Text(required=False, default="", allow_blank=True, max_length=200_000)
    options = serializers.DictField(required=False, allow_null=True)


class StartedRun(serializers.Serializer[runner.Started]):
    """`token` acts for this run and nothing else. It is shown once; hosted runs have none."""

    id = serializers.CharField(source="run.id")
    token = serializers.CharField()
    state = serializers.CharField(source="run.state")
    agent = serializers.CharField(source="run.agent.slug")
    workspace = serializers.CharField(source="run.workspace_id")
    reference = serializers.CharField(source="run.reference")
    hosted = serializers.BooleanField(source="run.is_hosted")
    url = serializers.SerializerMethodField()

    def get_url(self, started: runner.Started) -> str:
        run = started.run
        return f"{settings.PUBLIC_URL}{organisations.address(run.organisation_id, run.workspace_id)}/runs/{run.id}"


class RunFilter(pages.InWorkspace):
    state = inputs.Choice(required=False, choices=models.Run.State.values)
    agent = inputs.Text(required=False, max_length=63)


class Run(serializers.Serializer[models.Run]):
    id = serializers.CharField()
    state = serializers.CharField()
    agent = serializers.CharField(source="agent.slug")
    workspace = serializers.CharField(source="workspace_id")
    reference = serializers.CharField()
    title = serializers.CharField()
    hosted = serializers.BooleanField(source="is_hosted")
    started_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    summary = serializers.CharField()
    handed_to = serializers.CharField()
    steps = serializers.IntegerField()
    tool_calls = serializers.IntegerField()
    writes = serializers.IntegerField()
    tokens = serializers.IntegerField()
    retries = serializers.IntegerField()
    loop_flagged = serializers.SerializerMethodField()

    def get_loop_flagged(self, run: models.Run) -> bool:
        return run.loop_flagged_at is not None


class RunDetail(Run):
    version = serializers.CharField(source="agent_version_id")
    limits = serializers.SerializerMethodField()
    spent_micros = serializers.SerializerMethodField()
    reserved_micros = serializers.SerializerMethodField()
    capability = serializers.SerializerMethodField()

    def get_limits(self, run: models.Run) -> dict[str, int]:
        return {name: int(getattr(run, f"max_{name}")) for name in LIMITS}

    def get_spent_micros(self, run: models.Run) -> int:
        return reservations.balance("run", run.id).spent

    def get_reserved_micros(self, run: models.Run) -> int:
        return reservations.balance("run", run.id).reserved

    def get_capability(self, run: models.Run) -> dict[str, Any] | None:
        held = run.capability
        if held is None:
            return None
        over = None if held.revoked_at is None else held.revoked_at.isoformat()
        return {
            "id": held.id,
            "subject": held.subject,
            "tools": held.tools,
            "bindings": held.bindings,
            "expires_at": held.expires_at.isoformat(),
            "revoked_at": over,
        }


class RunCall(serializers.Serializer[models.Call]):
    """A call as the record keeps it: arguments and result without their secrets."""

    call = serializers.CharField(source="id")
    number = serializers.IntegerField()
    kind = serializers.CharField()
    tool = serializers.CharField(source="name")
    version = serializers.CharField(source="tool_version_id", allow_null=True)
    is_write = serializers.BooleanField()
    state = serializers.CharField()
    tier = serializers.CharField()
    fingerprint = serializers.CharField()
    arguments = serializers.SerializerMethodField()
    result = serializers.SerializerMethodField()
    refusal = serializers.SerializerMethodField()
    reserved_micros = serializers.IntegerField()
    settled_micros = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)

    def get_arguments(self, call: models.Call) -> Any:
        return runs.kept(call.arguments)

    def get_result(self, call: models.Call) -> Any:
        return runs.kept(call.result)

    def get_refusal(self, call: models.Call) -> Any:
        return runs.kept(call.refusal)


class Step(serializers.Serializer[models.Step]):
    id = serializers.CharField()
    number = serializers.IntegerField()
    kind = serializers.CharField()
    at = serializers.DateTimeField()
    call = serializers.CharField(source="call_id")
    content = serializers.SerializerMethodField()
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()

    def get_content(self, step: models.Step) -> Any:
        return runs.kept(step.content)


class Finish(inputs.Body):
    """How it ended. People stop a run; an agent says what it did, or hands the rest to its owner."""

    summary = inputs.Text(required=False, default="", allow_blank=True)
    outcome = inputs.Choice(required=False, default="succeeded", choices=["succeeded", "failed", "handed_off"])


@door(Said(body=NewRun, gives=StartedRun, status=201))
def start(asked: Asked) -> runner.Started:
    """Start a run of an agent and receive the token that acts for it."""
    given = asked.body
    if asked.by.kind != "agent" and not given.get("agent"):
        raise inputs.invalid("/agent", "the agent's slug")
    with tenancy.within(asked.by.organisation):
        workspace = organisations.workspace_of(asked.by, given.get("workspace", ""))
    order = runner.Order(
        agent=given.get("agent", ""),
        reference=given["reference"],
        title=given["title"],
        subject=given.get("subject") or (),
        tools=given.get("tools"),
        bindings=given.get("bindings"),
        expires_in=datetime.timedelta(seconds=given["expires_in_s"]),
        hosted=given["hosted"],
        prompt=given["prompt"],
        options=given.get("options"),
    )
    return runner.start(by=asked.by, workspace=workspace, order=order)


@door(Said(query=RunFilter, gives=Run))
def listed(asked: Asked) -> pages.Page:
    """Runs, newest first. An agent sees its own."""
    workspace = organisations.workspace_of(asked.by, asked.query.get("workspace", ""))
    if asked.by.kind != "agent":
        organisations.require(asked.by, "runs_view", workspace.id)
    rows = runs.visible(by=asked.by, workspace=workspace.id, state=asked.query.get("state", ""), agent=asked.query.get("agent", ""))
    return pages.cut(rows, asked.query, order=("-started_at", "-id"))


@door(Said(gives=RunDetail))
def show(asked: Asked, identifier: str) -> models.Run:
    """One run with its limits and what it used of them."""
    return runs.get(identifier, by=asked.by)


@door(Said(query=pages.Paged, gives=RunCall))
def calls(asked: Asked, identifier: str) -> pages.Page:
    """The calls of a run in order, with what was decided about each."""
    return pages.cut(runs.calls(runs.get(identifier, by=asked.by)), asked.query, order=("number", "created_at", "id"))


@door(Said(query=pages.Paged, gives=Step))
def steps(asked: Asked, identifier: str) -> pages.Page:
    """The record of a hosted run: prompts, answers, results."""
    return pages.cut(runs.steps(runs.get(identifier, by=asked.by)), asked.query, order=("number",))


@door(Said(body=Finish, gives=RunDetail))
def finish(asked: Asked, identifier: str) -> models.Run:
    """End a run; what it had waiting is withdrawn. Repeating it changes nothing."""
    by: Principal = asked.by
    with tenancy.within(by.organisation):
        run = runs.get(identifier, by=by)
        if by.kind == "agent":
            state, event = {
                "succeeded": (models.Run.State.SUCCEEDED, "run.finished"),
                "failed": (models.Run.State.FAILED, "run.failed"),
                "handed_off": (models.Run.State.HANDED_OFF, "run.handed_off"),
            }[asked.body["outcome"]]
        else:
            organisations.require(by, "runs_stop", run.workspace_id)
            state, event = models.Run.State.STOPPED, "run.stopped"
        handed = run.agent.owner_id if event == "run.handed_off" else ""
        runs.end(by=by, run=run, state=state, summary=asked.body["summary"], event=event, handed_to=handed)
        return runs.get(identifier, by=by)
