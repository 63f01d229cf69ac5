"""Plans: exactly what will be sent, what it will change, and one digest over both. What people approve is this digest and nothing else."""

import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet

from agents import tools
from approvals.diffs import arguments as argument_diff
from approvals.diffs import fields, hidden, json_patch, sql
from approvals.models import Plan
from audit import canonical, ids, redaction

DOMAIN = "remit plan v1"
MOST_UNCHANGED = 300  # fields that stay as they are and can be unfolded; nobody reads more


@dataclass(frozen=True, slots=True)
class Target:
    """The state of what a write will change, now and after, as read from the system itself. None of it where the tool has no preview."""

    entity: str = ""
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    kind: str = "arguments"
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of the state before: if it differs when the plan is about to be applied, the plan is stale."""
        return canonical.digest(self.before, domain="remit target v1") if self.before is not None else ""


@dataclass(frozen=True, slots=True)
class Terms:
    """Everything else the digest binds (reliability 7.1)."""

    organisation: str
    run: str
    call: str
    connector: Mapping[str, Any]
    outbound_digest: str
    policy_set: str
    policy_digest: str
    tier: str
    amount_micros: int


def build(*, tool: tools.Facts, arguments: Mapping[str, Any], target: Target, terms: Terms) -> Plan:
    """The stored plan. Call inside the transaction that holds the call. The changes are redacted; the digest covers their clear form."""
    named = {key: terms.connector[key] for key in ("id", "kind", "url", "headers")}
    connector = canonical.digest(named, domain="remit connector v1")
    return _stored(tool=tool, arguments=arguments, target=target, terms=terms, connector=connector)


def _stored(*, tool: tools.Facts, arguments: Mapping[str, Any], target: Target, terms: Terms, connector: str) -> Plan:
    changed = changes(tool=tool, arguments=arguments, target=target)
    body = {
        "organisation": terms.organisation,
        "run": terms.run,
        "call": terms.call,
        "tool": {"name": tool.name, "version": tool.version, "digest": tool.digest, "schema": tool.schema_digest},
        "connector": connector,
        "arguments": canonical.digest(arguments, domain="remit arguments v1"),
        "outbound": terms.outbound_digest,
        "target": target.digest,
        "changes": canonical.digest(changed, domain="remit changes v1"),
        "policy": {"id": terms.policy_set, "digest": terms.policy_digest},
        "tier": terms.tier,
        "amount_micros": terms.amount_micros,
        "nonce": secrets.token_hex(16),
    }
    return Plan.objects.create(
        id=ids.new("PLN"),
        call_id=terms.call,
        digest=canonical.digest(body, domain=DOMAIN),
        body=canonical.text(body),
        entity=target.entity,
        viewer=target.kind,
        changes=canonical.text(hidden.changes(changed, tool.redact)),
        unchanged=canonical.text(hidden.changes(_unchanged(target), tool.redact)),
        facts=canonical.text(redaction.redact(dict(target.facts), fields=tool.redact)),
        before_digest=target.digest,
    )


def holds(plan: Plan, *, outbound_digest: str, policy_set: str, tool_version: str) -> str:
    """Why the plan no longer describes what would be sent, or nothing. The digest is computed again from the stored body."""
    body = json.loads(plan.body)
    if canonical.digest(body, domain=DOMAIN) != plan.digest:
        return "The stored plan does not match its digest."
    if body["outbound"] != outbound_digest:
        return "What would be sent is not what was planned."
    if body["policy"]["id"] != policy_set:
        return "The policy changed since the plan was made."
    if body["tool"]["version"] != tool_version:
        return "The tool changed since the plan was made."
    return ""


def changes(*, tool: tools.Facts, arguments: Mapping[str, Any], target: Target) -> list[dict[str, Any]]:
    """What the approver reads: the target's fields before and after, a JSON patch, or, without a preview, every argument explained."""
    schema = tools.schema(tool.input_schema)
    if target.before is None or target.after is None:
        return argument_diff.changes(schema, dict(arguments))
    if target.kind == "json_patch":
        return json_patch.changes(target.entity, dict(target.before), dict(target.after))
    return fields.changes(target.entity, dict(target.before), dict(target.after))


def _unchanged(target: Target) -> list[dict[str, Any]]:
    if target.before is None or target.after is None:
        return []
    return fields.unchanged(target.entity, dict(target.before), dict(target.after))[:MOST_UNCHANGED]


def sentence(*, tool: tools.Facts, arguments: Mapping[str, Any], target: Target) -> str:
    """One plain line for a list: the target's own headline, or the tool's title and what it is about. Never the agent's own words."""
    if target.facts.get("title"):
        return redaction.redact_text(str(target.facts["title"]))[:200]
    title = tool.title or tool.name.replace("_", " ").capitalize()
    about = target.entity or ", ".join(f"{name} {value}" for name, value in list(arguments.items())[:2] if isinstance(value, str | int))
    return redaction.redact_text(f"{title}: {about}" if about else title)[:200]


def again(plan: Plan, *, tool: tools.Facts, arguments: Mapping[str, Any], target: Target, call: str) -> Plan:
    """The same act on a target that changed since: a new plan under the terms of the old one. Call inside the call's transaction."""
    body = json.loads(plan.body)
    terms = Terms(
        organisation=body["organisation"],
        run=body["run"],
        call=call,
        connector={},
        outbound_digest=body["outbound"],
        policy_set=body["policy"]["id"],
        policy_digest=body["policy"]["digest"],
        tier=body["tier"],
        amount_micros=body["amount_micros"],
    )
    return _stored(tool=tool, arguments=arguments, target=target, terms=terms, connector=body["connector"])


def of_calls(calls: Collection[str]) -> QuerySet[Plan]:
    """Every plan that was made for these calls, oldest first. Call inside `tenancy.within`."""
    return Plan.objects.filter(call_id__in=calls).order_by("created_at", "id")


def statement_facts(statement: str) -> dict[str, Any]:
    """What a SQL statement would touch, for tools whose target is a database."""
    return dict(sql.facts(statement))
