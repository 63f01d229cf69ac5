"""Keys and capabilities: who is knocking, and what one run may touch. A credential says who somebody is; nothing in a body does."""

import datetime
import functools
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from agents import organisations
from agents.models import Agent, Capability, Key, Member
from agents.organisations import Principal
from audit import functions, ids, log, outcomes, tenancy

# remit_<organisation>_<key>_<secret>: the organisation is found without looking across tenants, the key without looking at secrets.
_TOKEN = re.compile(r"remit_([0-9A-Z]{10})_([0-9A-Z]{10})_([A-Za-z0-9_-]{43})")
_MISS = "0" * 64  # compared against when there is no key, so that a miss takes as long as a hit


class Unauthenticated(outcomes.Refused):
    code = "unauthenticated"


class OutOfScope(outcomes.Refused):
    code = "out_of_scope"


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key; `token` is its clear text and exists only here."""

    key: Key
    token: str


def knock(organisation: str, key: str) -> dict[str, Any] | None:
    """The row behind a key as it is now, if there is one."""
    row: dict[str, Any] | None = functions.ask_first("select identity_knock(%s, %s)", organisation, key)
    return row


def authenticate(token: str, *, read: Callable[[str, str], dict[str, Any] | None] = knock) -> Principal:
    """The principal behind a bearer token. Reads the key on every call: a revoked one is refused at once. Raises Unauthenticated.

    `read` is how, for a door that reads more in the same round trip. A row of an earlier call is good for what `gate_admit` checks.

    A known key that is refused leaves an entry; an unknown one has nobody to write it for.
    """
    parts = _TOKEN.fullmatch(token)
    organisation, key_id = (f"ORG-{parts[1]}", f"KEY-{parts[2]}") if parts else ("ORG-", "KEY-")
    row = (read if parts else knock)(organisation, key_id) or {}
    matches = hmac.compare_digest(str(row.get("digest", _MISS)), _digest(parts[3] if parts else ""))
    if not row or not matches:
        raise _unknown()
    _require_active(organisation, key_id, row)
    if row.get("quiet"):  # people want to know which keys are in use; once in some minutes is enough to say it
        with tenancy.within(organisation):
            Key.objects.filter(id=key_id).update(last_used_at=Now())
    return Principal(
        kind=_kind(row),
        id=_holder(row),
        organisation=organisation,
        key=key_id,
        run=row["run"] or "",
        workspace=row["workspace"] or "",
        person=row["person"] or "",
        user=row["user"] or 0,
    )


def check(principal: Principal) -> None:
    """Raises Unauthenticated when the key that a principal came with is over by now. Whoever came without one may go on."""
    row = knock(principal.organisation, principal.key) if principal.key else None
    if row:
        _require_active(principal.organisation, principal.key, row)


def _require_active(organisation: str, key: str, row: Mapping[str, Any]) -> None:
    problem = _problem(row)
    if not problem:
        return
    with tenancy.within(organisation):
        by = Principal(kind=_kind(row), id=_holder(row), organisation=organisation)
        log.append("key.refused", by=by, subject=key, detail={"why": problem})
    raise Unauthenticated(
        f"This key is {problem}.", rule="key", current=problem, limit="active", who="whoever issued it", next_step="Ask for a new key."
    )


def _problem(row: Mapping[str, Any]) -> str:
    if row["revoked"]:
        return "revoked"
    if row["expired"]:
        return "expired"
    if row["agent_state"] == Agent.State.RETIRED or not row["member_active"]:
        return "of somebody who is gone"
    return ""


def _kind(row: Mapping[str, Any]) -> str:
    return "person" if row["kind"] == Key.Kind.PERSON else "agent"


def _holder(row: Mapping[str, Any]) -> str:
    return str(row["member"] or row["agent"])


def _unknown() -> Unauthenticated:
    return Unauthenticated(
        "A valid bearer token is needed.",
        rule="authentication",
        current="none or unknown",
        limit="an active key",
        who="whoever manages agents",
        next_step="Send `Authorization: Bearer remit_...`.",
    )


def _digest(secret: str) -> str:
    return hmac.digest(_pepper(settings.SECRET_KEY), secret.encode(), "sha256").hex()


@functools.lru_cache(maxsize=2)
def _pepper(secret_key: str) -> bytes:
    return hashlib.sha256(b"remit keys\0" + secret_key.encode()).digest()


def issue(
    *,
    by: Principal,
    agent: Agent | None = None,
    member: Member | None = None,
    run: str = "",
    label: str = "",
    expires_in: datetime.timedelta | None = None,
) -> Issued:
    """A new key for an agent, for one run of it, or for a person. Only its digest is stored.

    A person may issue a token only to themselves; keys of agents need agents_manage (checked by the caller that holds the agent).
    """
    if member is not None and by.kind == "person" and by.id != member.id:
        raise organisations.Forbidden(
            "A personal token is issued by the person it is for.", rule="key", who=member.name, next_step="Sign in as that person."
        )
    with tenancy.within(by.organisation):
        secret = secrets.token_urlsafe(32)
        kind = Key.Kind.PERSON if member else Key.Kind.RUN if run else Key.Kind.AGENT
        key = Key.objects.create(
            id=ids.new("KEY"),
            kind=kind,
            digest=_digest(secret),
            agent=agent,
            member=member,
            run_id=run,
            label=label,
            expires_at=timezone.now() + expires_in if expires_in else None,
        )
        log.append(
            "key.issued",
            by=by,
            subject=key.id,
            run=run,
            detail={"kind": str(kind), "holder": agent.id if agent else member.id if member else "", "label": label},
        )
    return Issued(key=key, token=f"remit_{by.organisation[4:]}_{key.id[4:]}_{secret}")


def get_key(identifier: str, *, by: Principal) -> Key:
    """A key that the principal may revoke: their own, or an agent's with agents_manage. Raises NotFound. Call inside `tenancy.within`."""
    key = Key.objects.select_related("agent").filter(id=identifier).first()
    mine = key is not None and key.member_id is not None and key.member_id == by.id
    if key is None or not (mine or (key.agent is not None and organisations.may(by, "agents_manage", key.agent.workspace_id))):
        raise organisations.NotFound("There is no such key.", rule="key", current=identifier[:40], next_step="List the agent's keys.")
    return key


def keys(agent: Agent) -> QuerySet[Key]:
    """The agent's own keys, newest first; not those of its runs. Call inside `tenancy.within`."""
    return Key.objects.filter(agent=agent, kind=Key.Kind.AGENT).order_by("-created_at", "-id")


def get_capability(identifier: str, *, by: Principal, permission: str = "runs_stop") -> Capability:
    """A capability of an agent in a workspace where the principal holds the permission. Raises NotFound. Call inside `tenancy.within`."""
    capability = Capability.objects.select_related("agent").filter(id=identifier).first()
    if capability is None or not organisations.may(by, permission, capability.agent.workspace_id):
        raise organisations.NotFound(
            "There is no such capability.", rule="capability", current=identifier[:40], next_step="Look at the run that carries it."
        )
    return capability


def revoke(*, by: Principal, key: Key) -> None:
    """End a key. Every request that starts after this commit is refused."""
    with tenancy.within(by.organisation):
        Key.objects.filter(id=key.id, revoked_at=None).update(revoked_at=Now())
        log.append("key.revoked", by=by, subject=key.id, run=key.run_id, detail={"label": key.label})


OVERLAP = datetime.timedelta(hours=24)


def roll(*, by: Principal, key: Key) -> Issued:
    """A new key in the place of an agent's key, which goes on for a day. Raises Conflict when it is over, or of a run or a person."""
    with tenancy.within(by.organisation):
        now = timezone.now()
        held = Key.objects.select_related("agent").select_for_update(of=("self",)).get(id=key.id)
        if held.kind != Key.Kind.AGENT or held.agent is None:
            raise organisations.Conflict(
                "Only an agent's own key is rolled.", rule="key", current=held.kind, limit="agent", next_step="Issue a new key."
            )
        if held.revoked_at is not None or (held.expires_at is not None and held.expires_at <= now):
            raise organisations.Conflict(
                "This key is over already.", rule="key", current="revoked or expired", limit="active", next_step="Issue a new key."
            )
        life = held.expires_at - held.created_at if held.expires_at else None
        issued = issue(by=by, agent=held.agent, label=held.label, expires_in=life)
        ends = min(held.expires_at, now + OVERLAP) if held.expires_at else now + OVERLAP
        Key.objects.filter(id=held.id).update(expires_at=ends)
        log.append("key.rolled", by=by, subject=held.id, detail={"label": held.label, "by": issued.key.id, "ends": ends.isoformat()})
    return issued


def grant(
    *,
    by: Principal,
    agent: Agent,
    subject: Sequence[str] = (),
    tools: Sequence[str] | None = None,
    bindings: Mapping[str, Sequence[Any]] | None = None,
    expires_in: datetime.timedelta,
) -> Capability:
    """A capability for one run: it narrows what the agent may do to these customers, tools and argument values, for a time."""
    with tenancy.within(by.organisation):
        capability = Capability.objects.create(
            id=ids.new("CAP"),
            agent=agent,
            subject=list(subject),
            tools=list(tools) if tools is not None else None,
            bindings={k: list(v) for k, v in (bindings or {}).items()},
            expires_at=timezone.now() + expires_in,
            issued_by=by.id,
        )
        log.append(
            "capability.issued",
            by=by,
            subject=capability.id,
            workspace=agent.workspace_id,
            detail={
                "agent": agent.id,
                "subject": list(subject),
                "tools": list(tools) if tools is not None else "every pinned tool",
                "expires_at": capability.expires_at.isoformat(),
            },
        )
    return capability


def revoke_capability(*, by: Principal, capability: Capability) -> None:
    """End a capability; the runs that carry it may call nothing more."""
    with tenancy.within(by.organisation):
        Capability.objects.filter(id=capability.id, revoked_at=None).update(revoked_at=Now())
        log.append("capability.revoked", by=by, subject=capability.id)


def check_scope(
    *, agent: Mapping[str, Any], capability: Mapping[str, Any] | None, tool: str, is_write: bool, arguments: Mapping[str, Any]
) -> None:
    """grant ∩ capability ∩ stage. Raises OutOfScope. (The subject's ownership is a matter of policy, which sees the directory.)"""
    owner = str(agent["owner_name"])
    if agent["state"] != Agent.State.ACTIVE:
        raise OutOfScope(
            "This agent is paused or retired.",
            rule="agent state",
            current=agent["state"],
            limit="ACTIVE",
            who=owner,
            next_step="Ask its owner to resume it.",
        )
    if is_write and agent["stage"] == Agent.Stage.READ_ONLY:
        raise OutOfScope(
            f"This agent is read-only, and {tool} writes.",
            rule="stage",
            current="READ_ONLY",
            limit="DRAFT or further",
            who=owner,
            next_step="Use a tool that reads, or ask its owner to move the agent to a further stage.",
        )
    if capability is None:
        return
    if capability["over"]:
        raise OutOfScope(
            "The capability of this run has expired or was revoked.",
            rule=f"capability {capability['id']}",
            current="over",
            limit=capability["expires_at"],
            who="whoever started the run",
            next_step="Ask for a new run.",
        )
    if capability["tools"] is not None and tool not in capability["tools"]:
        raise OutOfScope(
            f"This run may not use {tool}.",
            rule=f"capability {capability['id']}",
            current=tool,
            limit=", ".join(capability["tools"]),
            who="whoever started the run",
            next_step="Use one of the tools it lists.",
        )
    for name, allowed in capability["bindings"].items():
        if name in arguments and arguments[name] not in allowed:
            raise OutOfScope(
                f"This run may not use that value of {name}.",
                rule=f"capability {capability['id']}",
                current=name,
                limit=f"{len(allowed)} allowed values",
                who="whoever started the run",
                next_step=f"Use a value of {name} that this run is about.",
            )


LINK_LIFE = datetime.timedelta(minutes=10)


def issue_link(*, by: Principal, member: Member) -> str:
    """A one-time sign-in code such as K7QM-2XPD, for the demo on a loopback address only. Valid for ten minutes."""
    code = f"{ids.new('X')[2:6]}-{ids.new('X')[2:6]}"
    organisation = by.organisation
    with tenancy.within(organisation):
        Key.objects.create(
            id=_link_id(code),
            kind=Key.Kind.PERSON,
            digest=_digest(code),
            member=member,
            label="one-time link",
            expires_at=timezone.now() + LINK_LIFE,
        )
        log.append("key.issued", by=by, subject=_link_id(code), detail={"kind": "link", "holder": member.id, "label": "one-time link"})
    return f"{organisation[4:]}-{code}"


def peek_link(code: str) -> str:
    """The name of the person a link would sign in. Changes nothing. Raises Unauthenticated."""
    organisation, short = _parts(code)
    with tenancy.within(organisation, read_only=True):
        return _link(short).member.name  # type: ignore[union-attr]  # a link has a member


def use_link(code: str) -> Principal:
    """Consume a link: the person it signs in. Raises Unauthenticated for a used, expired or unknown one."""
    organisation, short = _parts(code)
    with tenancy.within(organisation):
        key = _link(short)
        if not Key.objects.filter(id=key.id, revoked_at=None).update(revoked_at=Now()):
            raise _unknown()
        assert key.member is not None
        return organisations.acting(key.member)


def _parts(code: str) -> tuple[str, str]:
    organisation, _, short = code.partition("-")
    return f"ORG-{organisation}", short


def _link_id(code: str) -> str:
    return "KEY-" + hashlib.sha256(b"remit link\0" + code.encode()).hexdigest()[:10].upper()


def _link(code: str) -> Key:
    key = (
        Key.objects.select_related("member").filter(id=_link_id(code), label="one-time link", revoked_at=None, expires_at__gt=Now()).first()
    )
    if key is None or not hmac.compare_digest(key.digest, _digest(code)):
        raise Unauthenticated(
            "This link was used or has expired.",
            rule="one-time link",
            current="not valid",
            limit="ten minutes, once",
            who="whoever runs the demo",
            next_step="Run `make links` for new ones.",
        )  # fmt: skip
    return key
