"""Agents: register one with its goal contract, publish versions, issue keys, set limits, change its stage."""

import datetime
from typing import Any

from rest_framework import serializers

from agents import contracts, identity, organisations, tools
from agents.models import Agent as AgentRow
from agents.models import AgentVersion
from agents.models import Key as KeyRow
from audit import tenancy
from budgets import limits
from budgets.models import Limits as LimitsRow
from controlplane.api import inputs, pages
from controlplane.api.routing import Asked, Said, door

_SMALL, _LARGE = 2**31 - 1, 2**40
LONGEST_S = 366 * 24 * 3600


class Contract(inputs.Body):
    """What an agent is for, what it must never do, what it hands over."""

    purpose = inputs.Text(required=False)
    never = serializers.ListField(child=inputs.Text(max_length=500), required=False, max_length=50)
    output = inputs.Text(required=False, allow_blank=True)


class NewAgent(Contract, inputs.InWorkspace):
    """With a purpose, its goal contract is published at once as its first version, without tools."""

    slug = inputs.Slug()
    name = inputs.Text(max_length=200)
    category = inputs.Choice(required=False, choices=AgentRow.Category.values, default=AgentRow.Category.BOUNDED)
    stage = inputs.Choice(required=False, choices=AgentRow.Stage.values, default=AgentRow.Stage.READ_ONLY)
    owner = inputs.Text(required=False, max_length=200)


class NewVersion(Contract, inputs.InWorkspace):
    """What is left out of the contract is taken from the version before. `model` is put first among `models`."""

    prompt = inputs.Text(required=False, default="", allow_blank=True, max_length=200_000)
    tools = serializers.ListField(child=inputs.Text(max_length=64), max_length=500)
    models = serializers.ListField(child=inputs.Text(max_length=200), required=False, default=list, max_length=20)
    model = inputs.Text(required=False, max_length=200)


class Change(inputs.InWorkspace):
    stage = inputs.Choice(required=False, choices=AgentRow.Stage.values)
    state = inputs.Choice(required=False, choices=AgentRow.State.values)
    draft_only = inputs.Flag(required=False)


class NewKey(inputs.InWorkspace):
    label = inputs.Text(required=False, default="", allow_blank=True, max_length=80)  # type: ignore[assignment]
    expires_in_s = inputs.Whole(required=False, min_value=1, max_value=LONGEST_S)


class NewLimits(inputs.InWorkspace):
    """How far one run may go. What is left out stays as it is."""

    steps = inputs.Whole(required=False, max_value=_SMALL)
    tool_calls = inputs.Whole(required=False, max_value=_SMALL)
    tokens = inputs.Whole(required=False, max_value=_LARGE)
    seconds = inputs.Whole(required=False, max_value=_SMALL)
    retries = inputs.Whole(required=False, max_value=_SMALL)
    micros = inputs.Whole(required=False, max_value=_LARGE)
    step_micros = inputs.Whole(required=False, max_value=_LARGE)
    repeats_flag = inputs.Whole(required=False, min_value=2, max_value=_SMALL)
    repeats_stop = inputs.Whole(required=False, min_value=2, max_value=_SMALL)


class Limits(serializers.Serializer[LimitsRow]):
    steps = serializers.IntegerField()
    tool_calls = serializers.IntegerField()
    tokens = serializers.IntegerField()
    seconds = serializers.IntegerField()
    retries = serializers.IntegerField()
    micros = serializers.IntegerField()
    step_micros = serializers.IntegerField()
    repeats_flag = serializers.IntegerField()
    repeats_stop = serializers.IntegerField()


class Version(serializers.Serializer[AgentVersion]):
    id = serializers.CharField()
    number = serializers.IntegerField()
    digest = serializers.CharField()
    purpose = serializers.CharField()
    never = serializers.ListField(child=serializers.CharField())
    output = serializers.CharField()
    models = serializers.ListField(child=serializers.CharField(), source="model_names")
    tools = serializers.SerializerMethodField()

    def get_tools(self, version: AgentVersion) -> list[str]:
        return [facts.name for facts in tools.pinned(version.id)]


class Agent(serializers.Serializer[AgentRow]):
    id = serializers.CharField()
    slug = serializers.CharField()
    name = serializers.CharField()
    workspace = serializers.CharField(source="workspace_id")
    category = serializers.CharField()
    stage = serializers.CharField()
    state = serializers.CharField()
    draft_only = serializers.BooleanField()
    owner = serializers.CharField(source="owner.name")
    version = serializers.CharField(source="version_id", allow_null=True)
    created_at = serializers.DateTimeField()


class AgentDetail(Agent):
    contract = Version(source="version", allow_null=True)
    limits = serializers.SerializerMethodField()

    def get_limits(self, agent: AgentRow) -> dict[str, int]:
        return dict(Limits(limits.of(agent)).data)


class Key(serializers.Serializer[KeyRow]):
    id = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)


class IssuedKey(serializers.Serializer[identity.Issued]):
    """`key` is shown once."""

    id = serializers.CharField(source="key.id")
    key = serializers.CharField(source="token")


def _agent(asked: Asked, slug: str) -> AgentRow:
    """Call inside `tenancy.within`."""
    given = asked.body.get("workspace") or asked.query.get("workspace") or ""
    return contracts.get(slug, workspace=organisations.workspace_of(asked.by, given))


def _again(asked: Asked, agent: AgentRow) -> AgentRow:
    with tenancy.within(asked.by.organisation):
        return contracts.find(agent.id)


@door(Said(query=pages.InWorkspace, gives=Agent))
def listed(asked: Asked) -> pages.Page:
    """The agents of a workspace."""
    workspace = organisations.workspace_of(asked.by, asked.query.get("workspace", ""))
    organisations.require(asked.by, "agents_view", workspace.id)
    return pages.cut(contracts.in_workspace(workspace.id), asked.query, order=("slug", "id"))


@door(Said(query=inputs.OfWorkspace, gives=AgentDetail))
def show(asked: Asked, slug: str) -> AgentRow:
    """One agent with its contract and limits."""
    agent = _agent(asked, slug)
    if asked.by.id != agent.id:
        organisations.require(asked.by, "agents_view", agent.workspace_id)
    return agent


@door(Said(body=NewAgent, gives=AgentDetail, status=201))
def register(asked: Asked) -> AgentRow:
    """Register an agent. It can do nothing until a version pins its tools."""
    by, given = asked.by, asked.body
    with tenancy.within(by.organisation):
        workspace = organisations.workspace_of(by, given.get("workspace", ""))
        organisations.require(by, "agents_manage", workspace.id)
        owner = organisations.member(given.get("owner") or by.id)
        agent = contracts.register(
            by=by,
            workspace=workspace,
            slug=given["slug"],
            name=given["name"],
            owner=owner,
            category=given["category"],
            stage=given["stage"],
        )
        if given.get("purpose"):
            goal = contracts.Goal(purpose=given["purpose"], never=given.get("never", []), output=given.get("output", ""))
            contracts.publish(by=by, agent=agent, goal=goal, pinning=contracts.Pinning(prompt="", tools=[]))
    return _again(asked, agent)


@door(Said(body=NewVersion, gives=Version, status=201))
def publish(asked: Asked, slug: str) -> AgentVersion:
    """Publish a version: contract, prompt, models, and each tool at its version of now. New runs use it."""
    given = asked.body
    with tenancy.within(asked.by.organisation):
        agent = _agent(asked, slug)
        before: Any = agent.version or contracts.Goal(purpose="", never=[])
        goal = contracts.Goal(
            purpose=given.get("purpose", before.purpose), never=given.get("never", before.never), output=given.get("output", before.output)
        )
        first = [given["model"]] if given.get("model") else []
        pinning = contracts.Pinning(prompt=given["prompt"], tools=given["tools"], models=list(dict.fromkeys([*first, *given["models"]])))
        return contracts.publish(by=asked.by, agent=agent, goal=goal, pinning=pinning)


@door(Said(body=Change, gives=AgentDetail))
def change(asked: Asked, slug: str) -> AgentRow:
    """Change an agent's stage or state, or whether it goes on in draft mode at a cap."""
    changes = {name: value for name, value in asked.body.items() if name != "workspace"}
    with tenancy.within(asked.by.organisation):
        agent = _agent(asked, slug)
    if changes:
        contracts.change(by=asked.by, agent=agent, changes=changes)
    else:
        with tenancy.within(asked.by.organisation):
            organisations.require(asked.by, "agents_manage", agent.workspace_id)
    return _again(asked, agent)


@door(Said(query=pages.InWorkspace, gives=Key))
def keys(asked: Asked, slug: str) -> pages.Page:
    """The agent's own keys, without their secrets."""
    agent = _agent(asked, slug)
    organisations.require(asked.by, "agents_manage", agent.workspace_id)
    return pages.cut(identity.keys(agent), asked.query, order=("-created_at", "-id"))


@door(Said(body=NewKey, gives=IssuedKey, status=201))
def issue(asked: Asked, slug: str) -> identity.Issued:
    """Issue a key for the agent. Its clear text is shown once."""
    seconds = asked.body.get("expires_in_s")
    with tenancy.within(asked.by.organisation):
        agent = _agent(asked, slug)
        organisations.require(asked.by, "agents_manage", agent.workspace_id)
        return identity.issue(
            by=asked.by, agent=agent, label=asked.body["label"], expires_in=datetime.timedelta(seconds=seconds) if seconds else None
        )


@door(Said(body=NewLimits, gives=Limits))
def limit(asked: Asked, slug: str) -> LimitsRow:
    """Set how far a run of the agent may go, from the next run on."""
    with tenancy.within(asked.by.organisation):
        agent = _agent(asked, slug)
        limits.put(by=asked.by, agent=agent, values={name: value for name, value in asked.body.items() if name != "workspace"})
        return limits.of(agent)
