"""The policy decision point: which version of a workspace's rules is in force, and what it says about a call."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Max, QuerySet

from agents import cedar, organisations, seats, tools, vocabulary
from agents.models import AgentVersion, Member, PolicySet, Workspace
from agents.organisations import Principal
from audit import ids, log, outcomes, tenancy
from audit.moments import Moment


class PolicyDenied(outcomes.Refused):
    code = "policy_denied"


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rules said, and which version of them. `policies` are the ids that determined it."""

    allowed: bool
    tier: str
    policies: tuple[str, ...]
    reasons: tuple[str, ...]
    errors: tuple[str, ...]
    policy_set: str
    digest: str
    is_paced: bool = True  # by rules that look at what the run did so far, so the next call's may be another

    @property
    def required(self) -> int:
        """How many humans must agree."""
        return {"AUTO": 0, "ONE": 1, "TWO": 2}.get(self.tier, 99)


def propose(*, by: Principal, workspace: Workspace, text: str) -> PolicySet:
    """A new draft version of the workspace's rules, validated against its tools. Raises cedar.PolicyRejected with every problem."""
    with tenancy.within(by.organisation):
        organisations.require(by, "policies_propose", workspace.id)
        registry = Workspace.objects.values_list("registry", flat=True).get(id=workspace.id)
        words = words_of(by.organisation, workspace.id, registry)
        compiled = cedar.compile(text, words)
        number = (PolicySet.objects.filter(workspace=workspace).aggregate(n=Max("number"))["n"] or 0) + 1
        row = PolicySet.objects.create(
            id=ids.new("POL"),
            workspace=workspace,
            number=number,
            cedar=text,
            vocabulary=words.digest,
            digest=compiled.digest,
            proposed_by=by.id,
        )
        log.append(
            "policy.proposed",
            by=by,
            subject=row.id,
            workspace=workspace.id,
            detail={"number": number, "digest": row.digest, "policies": sorted(compiled.policies)},
        )
    return row


def activate(*, by: Principal, policy_set: PolicySet) -> None:
    """Put a version in force: the one before is retired, and what waits under it becomes void. Raises Conflict if it no longer fits."""
    with tenancy.within(by.organisation):
        organisations.require(by, "policies_activate", policy_set.workspace_id)
        registry = Workspace.objects.select_for_update().values_list("registry", flat=True).get(id=policy_set.workspace_id)
        cedar.compile(policy_set.cedar, words_of(by.organisation, policy_set.workspace_id, registry))
        PolicySet.objects.filter(workspace_id=policy_set.workspace_id, state=PolicySet.State.ACTIVE).update(state=PolicySet.State.RETIRED)
        if (
            not PolicySet.objects.filter(id=policy_set.id)
            .exclude(state=PolicySet.State.ACTIVE)
            .update(state=PolicySet.State.ACTIVE, activated_by=by.id, activated_at=Moment())
        ):
            raise organisations.Conflict(
                "There is no such policy set.", rule="policy set", current=policy_set.id, next_step="Propose it first."
            )
        log.append(
            "policy.activated",
            by=by,
            subject=policy_set.id,
            workspace=policy_set.workspace_id,
            detail={"number": policy_set.number, "digest": policy_set.digest, "proposed_by": policy_set.proposed_by},
        )


def get(identifier: str) -> PolicySet:
    """A policy set by id. Raises NotFound. Call inside `tenancy.within`."""
    row = PolicySet.objects.filter(id=identifier).first()
    if row is None:
        raise no_such(identifier)
    return row


def no_such(identifier: str) -> organisations.NotFound:
    """Absent and forbidden look the same."""
    return organisations.NotFound("There is no such policy set.", rule="policy set", current=identifier, next_step="List the policy sets.")


def in_force_before(workspace: str) -> PolicySet | None:
    """The version that was in force until the one that is now. Call inside `tenancy.within`."""
    retired = PolicySet.objects.filter(workspace_id=workspace, state=PolicySet.State.RETIRED, activated_at__isnull=False)
    return retired.order_by("-activated_at", "-id").first()


def listed(workspace: str) -> QuerySet[PolicySet]:
    """The versions of a workspace's rules, newest first. Call inside `tenancy.within`."""
    return PolicySet.objects.filter(workspace_id=workspace).order_by("-number")


@functools.lru_cache(maxsize=512)
def words_of(organisation: str, workspace: str, registry: int) -> vocabulary.Vocabulary:
    """The vocabulary of a workspace at one state of its registry."""
    with tenancy.within(organisation):
        known = [
            vocabulary.ToolFacts(
                name=row.tool.name,
                is_write=row.is_write,
                risk=row.risk,
                reversible=row.is_reversible,
                data_domain=row.data_domain,
                connector=row.tool.connector.slug,
                connector_class=row.connector_class,
                input_schema=tools.schema(row.input_schema),
            )
            for row in tools.active(workspace)
        ]
        names = {
            name
            for group in AgentVersion.objects.filter(agent__workspace_id=workspace).values_list("model_names", flat=True)
            for name in group
        }
    return vocabulary.Vocabulary(
        known, [vocabulary.ModelFacts(name=name.partition(":")[2], provider=name.partition(":")[0]) for name in sorted(names)]
    )


@functools.lru_cache(maxsize=256)
def _text(organisation: str, identifier: str) -> str:
    with tenancy.within(organisation):
        return PolicySet.objects.values_list("cedar", flat=True).get(id=identifier)


@functools.lru_cache(maxsize=256)
def _compiled(organisation: str, workspace: str, identifier: str, registry: int) -> cedar.Compiled | cedar.PolicyRejected:
    try:
        return cedar.compile(_text(organisation, identifier), words_of(organisation, workspace, registry))
    except cedar.PolicyRejected as rejected:
        return rejected


def registry_of(workspace: str) -> int:
    """The state of a workspace's registry: compiled rules are kept by it. Call inside `tenancy.within`."""
    return int(Workspace.objects.values_list("registry", flat=True).get(id=workspace))


def in_force(organisation: str, workspace: str) -> tuple[PolicySet | None, cedar.Compiled | cedar.PolicyRejected | None]:
    """The active version of a workspace's rules, and the compiled rules that decide. Call inside `tenancy.within`."""
    active = tenancy.once(("rules", workspace), PolicySet.objects.filter(workspace_id=workspace, state=PolicySet.State.ACTIVE).first)
    if active is None:
        return None, None
    return active, _compiled(organisation, workspace, active.id, registry_of(workspace))


def decide(
    *,
    organisation: str,
    workspace: str,
    policy: dict[str, Any] | None,
    registry: int,
    request: vocabulary.Request,
    approvals: int | None = None,
) -> Decision:
    """What the rules in force say about a request: the lowest tier that allows it, or with `approvals` given, whether that many suffice.

    No rules, rules that no longer fit the registered tools, an error while deciding: all mean no.
    """
    if policy is None:
        return Decision(
            allowed=False,
            tier="REFUSED",
            policies=(),
            reasons=("No policy set is active in this workspace.",),
            errors=(),
            policy_set="",
            digest="",
        )
    compiled = _compiled(organisation, workspace, policy["id"], registry)
    if isinstance(compiled, cedar.PolicyRejected):
        reason = "The active policy set no longer fits the registered tools; a person must propose it anew."
        return Decision(
            allowed=False,
            tier="REFUSED",
            policies=(),
            reasons=(reason,),
            errors=(compiled.message,),
            policy_set=policy["id"],
            digest=policy["digest"],
        )
    said = compiled.decide(request) if approvals is None else compiled.decide_with(request, approvals=approvals)
    return Decision(
        allowed=said.allowed,
        tier=said.tier,
        policies=said.policies,
        reasons=said.reasons,
        errors=said.errors,
        policy_set=policy["id"],
        digest=compiled.digest,
        is_paced=compiled.is_paced(request.action),
    )


def denied(decision: Decision, *, tool: str) -> PolicyDenied:
    """The refusal that a decision amounts to."""
    return PolicyDenied(
        f"The policy does not allow {tool}: " + " ".join(decision.reasons or ("no rule permits it.",)),
        rule=", ".join(decision.policies) or "default deny",
        current="refused",
        limit=f"policy set {decision.policy_set}",
        who="whoever holds policies_activate",
        next_step="Do something else, or ask a person to change the policy.",
        policies=list(decision.policies),
    )


def as_record(decision: Decision, request: vocabulary.Request) -> dict[str, Any]:
    """The full decision input and answer, for back-tests and replay. The arguments are kept beside it, redacted."""
    agent = request.agent
    asked = {
        "agent": {
            "slug": agent.slug, "category": agent.category, "stage": agent.stage, "workspace": agent.workspace, "owner": agent.owner,
        },
        "action": request.action, "model": request.model, "arguments": "kept with the call", "subject": sorted(request.subject),
        "owners": sorted(request.owners), "unknown_objects": request.unknown_objects, "calls": request.calls, "writes": request.writes,
        "hour": request.hour, "weekday": request.weekday, "day": request.day, "stage": request.stage,
    }  # fmt: skip
    said = {
        "allowed": decision.allowed, "tier": decision.tier, "policies": list(decision.policies), "reasons": list(decision.reasons),
        "errors": list(decision.errors), "policy_set": decision.policy_set, "digest": decision.digest,
    }  # fmt: skip
    return {"request": asked, "decision": said}


def asked(record: str, arguments: Mapping[str, Any]) -> vocabulary.Request | None:
    """What the rules were asked about a call, from what `as_record` kept; None when nothing was."""
    kept = json.loads(record).get("request") if record else None
    if not isinstance(kept, dict) or not isinstance(kept.get("agent"), dict):
        return None
    return vocabulary.Request(
        agent=vocabulary.AgentFacts(**{name: str(kept["agent"].get(name, "")) for name in vocabulary.AgentFacts.__slots__}),
        action=str(kept.get("action", "")),
        arguments=arguments,
        subject=frozenset(kept.get("subject", ())),
        owners=frozenset(kept.get("owners", ())),
        unknown_objects=bool(kept.get("unknown_objects")),
        calls=int(kept.get("calls", 0)),
        writes=int(kept.get("writes", 0)),
        hour=int(kept.get("hour", 0)),
        weekday=int(kept.get("weekday", 1)),
        day=int(kept.get("day", vocabulary.NEVER)),
        stage=str(kept.get("stage", "")),
    )


def read(organisation: str, row: PolicySet) -> cedar.Compiled | cedar.PolicyRejected:
    """Any version, compiled against the tools registered now; or why it does not fit them. Call inside `tenancy.within`."""
    return _compiled(organisation, row.workspace_id, row.id, registry_of(row.workspace_id))


def why_not_activate(by: Principal, row: PolicySet) -> str:
    """Why this person should leave it to another, or nothing: rules take two people where there are two. Call inside `tenancy.within`."""
    proposer = Member.objects.filter(id=row.proposed_by).values_list("person", flat=True).first()
    if proposer is None or proposer != by.person:
        return ""
    others = [member.name for member in seats.holding("policies_activate", row.workspace_id) if member.person != by.person]
    return f"You proposed it; another person activates it: {', '.join(others[:5])}." if others else ""
