"""Agents and what they are for: the goal contract, and versions that pin prompt, tools, policies and models together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError
from django.db.models import F, Max, QuerySet

from agents import organisations, tools
from agents.models import Agent, AgentVersion, Call, Member, Pin, PolicySet, Workspace
from agents.organisations import Principal
from audit import canonical, ids, log, tenancy

UNSAID = "Being connected: say here what it is for."  # the purpose of an agent that was just connected


@dataclass(frozen=True, slots=True)
class Goal:
    """What an agent is for, what it must never do, and what it hands over at the end."""

    purpose: str
    never: Sequence[str]
    output: str = ""


@dataclass(frozen=True, slots=True)
class Pinning:
    """What a version fixes. `tools` are names; each is pinned to its version that is active now."""

    prompt: str
    tools: Sequence[str]
    models: Sequence[str] = field(default_factory=tuple)


def register(  # noqa: PLR0913 - the doors name every one of them
    *,
    by: Principal,
    workspace: Workspace,
    slug: str,
    name: str,
    owner: Member,
    category: str = Agent.Category.BOUNDED,
    stage: str = Agent.Stage.READ_ONLY,
) -> Agent:
    """A new agent. It can do nothing until a version is published, and only read until its stage is raised."""
    with tenancy.within(by.organisation):
        organisations.require(by, "agents_manage", workspace.id)
        _one_of("category", category, Agent.Category.values)
        _one_of("stage", stage, Agent.Stage.values)
        name = organisations.named(name)
        try:
            agent = Agent.objects.create(
                id=ids.new("AG"), workspace=workspace, slug=slug, name=name, owner=owner, category=category, stage=stage
            )
        except IntegrityError as error:
            raise organisations.Conflict(
                f"There is an agent {slug} already.", rule="agent_slug", current=slug, next_step="Choose another slug."
            ) from error
        log.append(
            "agent.registered",
            by=by,
            subject=agent.id,
            workspace=workspace.id,
            detail={"slug": slug, "owner": owner.id, "category": category, "stage": stage},
        )
    return agent


def change(*, by: Principal, agent: Agent, changes: Mapping[str, Any]) -> None:
    """Change an agent's stage, state or draft mode. What waits is checked against the new ones before it is sent."""
    allowed: dict[str, Sequence[Any]] = {"stage": Agent.Stage.values, "state": Agent.State.values, "draft_only": [True, False]}
    with tenancy.within(by.organisation):
        organisations.require(by, "agents_manage", agent.workspace_id)
        for name, value in changes.items():
            _one_of(name, value, allowed.get(name, []))
        Agent.objects.filter(id=agent.id).update(**changes)
        log.append("agent.changed", by=by, subject=agent.id, workspace=agent.workspace_id, detail=dict(changes))


def change_owner(*, by: Principal, agent: Agent, owner: Member) -> None:
    """Give an agent to somebody else: its hand-offs are theirs, and they decide about none of its calls from here on.

    Raises Conflict for whoever is no member with a role here, and for whoever could decide about what waits already.
    Raises Forbidden for an owner who could then decide themselves, and for whoever would so come to see what is not theirs to see.
    """
    with tenancy.within(by.organisation):
        organisations.require(by, "agents_manage", agent.workspace_id)
        before = Member.objects.get(id=agent.owner_id)
        if not owner.is_active or not owner.seats.in_force().filter(workspace_id=agent.workspace_id).exists():
            raise organisations.Conflict(
                "An agent is owned by a member with a role in its workspace.",
                rule="agent owner",
                current=owner.name,
                limit="an active member with a role here",
                next_step="Choose another person, or give them a role first.",
            )
        if by.person != before.person and not organisations.may(by, "approvals_all", agent.workspace_id):
            raise organisations.Forbidden(
                "An agent is given away by its owner, or by whoever sees every request.",
                rule="agent owner",
                current=before.name,
                limit="its owner, or the permission approvals_all",
                who=f"{before.name}, or an owner or admin of the workspace",
                next_step="Ask them to give it away.",
            )
        if by.person == before.person and by.person != owner.person and organisations.may(by, "approvals_decide", agent.workspace_id):
            raise organisations.Forbidden(
                "Whoever may approve does not give their own agent away: they could then decide about its calls.",
                rule="separation of duties",
                current=before.name,
                limit="another person who manages agents",
                who="another person who manages agents",
                next_step="Ask one of them to change the owner.",
            )
        waits = Call.objects.filter(run__agent=agent, state__in=[Call.State.HELD, Call.State.DRAFTED]).count()
        if waits and organisations.may(organisations.acting(owner), "approvals_decide", agent.workspace_id):
            raise organisations.Conflict(
                f"{owner.name} could decide about {waits} of its calls that wait already.",
                rule="separation of duties",
                current=f"{waits} waiting",
                limit="none that wait",
                next_step="Let them be decided or withdraw them first, or choose somebody who does not approve.",
            )
        Agent.objects.filter(id=agent.id).update(owner=owner)
        agent.owner = owner
        detail = {"owner": owner.id, "name": owner.name, "before": before.name}
        log.append("agent.owner_changed", by=by, subject=agent.id, workspace=agent.workspace_id, detail=detail)


def publish(*, by: Principal, agent: Agent, goal: Goal, pinning: Pinning, seen: str | None = None) -> AgentVersion:
    """A new version of an agent, immutable. `seen` is the version it was written from, where that is known.

    Raises Conflict when the contract says nothing, or another version was published since; NotFound for a tool that is not active.
    """
    if not goal.purpose.strip() or not [line for line in goal.never if line.strip()]:
        raise organisations.Conflict(
            "A goal contract says what the agent is for and at least one thing it must never do.",
            rule="goal contract",
            current=f"{len(goal.never)} nevers",
            limit="1 or more",
            next_step="Give `purpose` and `never`.",
        )
    with tenancy.within(by.organisation):
        organisations.require(by, "agents_manage", agent.workspace_id)
        newest = lock(agent.id).version_id or ""
        if seen is not None and seen != newest:
            raise organisations.Conflict(
                "Somebody published another version since you began to write this one.",
                rule="agent version",
                current=newest,
                limit=seen or "none yet",
                next_step="What you typed is kept: compare it with the version that is there now, and publish again.",
            )
        rows = {row.tool.name: row for row in tools.active(agent.workspace_id)}
        missing = sorted(set(pinning.tools) - set(rows))
        if missing:
            raise organisations.NotFound(
                f"Not registered and confirmed: {', '.join(missing)}.",
                rule="pin",
                current=missing,
                limit=sorted(rows),
                next_step="Confirm these tools first.",
            )
        policy_set = PolicySet.objects.filter(workspace_id=agent.workspace_id, state=PolicySet.State.ACTIVE).first()
        number = (AgentVersion.objects.filter(agent=agent).aggregate(n=Max("number"))["n"] or 0) + 1
        fixed = {
            "purpose": goal.purpose,
            "never": list(goal.never),
            "output": goal.output,
            "prompt": pinning.prompt,
            "models": list(pinning.models),
            "tools": {name: rows[name].id for name in pinning.tools},
            "policy_set": policy_set.id if policy_set else "",
        }
        version = AgentVersion.objects.create(
            id=ids.new("AV"),
            agent=agent,
            number=number,
            purpose=goal.purpose,
            never=list(goal.never),
            output=goal.output,
            prompt=pinning.prompt,
            model_names=list(pinning.models),
            policy_set=policy_set,
            digest=canonical.digest(fixed, domain="remit agent version v1"),
        )
        Pin.objects.bulk_create(
            [
                Pin(organisation_id=by.organisation, id=ids.new("PIN"), agent_version=version, tool_version=rows[name], name=name)
                for name in dict.fromkeys(pinning.tools)
            ]
        )
        Agent.objects.filter(id=agent.id).update(version=version)
        agent.version = version
        Workspace.objects.filter(id=agent.workspace_id).update(registry=F("registry") + 1)  # its models are words of the policies
        log.append(
            "agent.version_published",
            by=by,
            subject=agent.id,
            workspace=agent.workspace_id,
            detail={"version": version.id, "number": number, "digest": version.digest, "tools": sorted(pinning.tools)},
        )
    return version


def _one_of(name: str, value: Any, allowed: Sequence[Any]) -> None:
    if value not in allowed:
        raise organisations.Conflict(
            f"{name} cannot be {value!r}.",
            rule=name,
            current=value,
            limit=", ".join(str(item) for item in allowed) or "not changeable",
            next_step="Choose one of the values listed.",
        )


def get(slug: str, *, workspace: Workspace) -> Agent:
    """An agent by slug or id. Raises NotFound. Call inside `tenancy.within`."""
    agent = (
        Agent.objects.filter(workspace=workspace)
        .filter(**({"id": slug} if slug.startswith("AG-") else {"slug": slug}))
        .select_related("version", "owner")
        .first()
    )
    if agent is None:
        raise organisations.NotFound(
            f"There is no agent {slug} in this workspace.", rule="agent", current=slug, next_step="List the agents."
        )
    return agent


def find(identifier: str) -> Agent:
    """An agent by id, or by slug where only one workspace has it. Raises NotFound. Call inside `tenancy.within`."""
    found = list(
        Agent.objects.filter(**({"id": identifier} if identifier.startswith("AG-") else {"slug": identifier})).select_related(
            "version", "owner"
        )[:2]
    )
    if len(found) != 1:
        raise organisations.NotFound(
            "There is no such agent, or more than one.", rule="agent", current=identifier[:80], next_step="Give its id."
        )
    return found[0]


def in_workspace(workspace: str) -> QuerySet[Agent]:
    """The agents of a workspace by name. Call inside `tenancy.within`."""
    return Agent.objects.filter(workspace_id=workspace).select_related("version", "owner").order_by("slug")


def slugs(workspace: str) -> dict[str, str]:
    """id -> slug of every agent of a workspace, by slug. Call inside `tenancy.within`."""
    return dict(Agent.objects.filter(workspace_id=workspace).order_by("slug").values_list("id", "slug"))


def owned(by: Principal) -> list[str]:
    """The ids of the agents that this person owns, asked once by a page. Call inside `tenancy.within`."""
    return tenancy.once(("owned", by.person), lambda: list(Agent.objects.filter(owner__person=by.person).values_list("id", flat=True)))


def in_use(workspace: str) -> QuerySet[Agent]:
    """Those of them that are not retired. Call inside `tenancy.within`."""
    return in_workspace(workspace).exclude(state=Agent.State.RETIRED)


def lock(identifier: str) -> Agent:
    """The agent's row, held until the end of the transaction. Call inside `tenancy.within`."""
    return Agent.objects.select_for_update().get(id=identifier)


def versions(agent: Agent) -> QuerySet[AgentVersion]:
    """The agent's versions, newest first. Call inside `tenancy.within`."""
    return AgentVersion.objects.filter(agent=agent).select_related("policy_set").order_by("-number")


def first_naming(agent: Agent, tool: str) -> AgentVersion | None:
    """The first version of an agent that named a tool. Call inside `tenancy.within`."""
    return AgentVersion.objects.filter(agent=agent, pins__name=tool).order_by("number").first()
