"""Sending what the gate let through, by connector class (reliability 6.3). Nothing in here decides; nothing else in Remit sends."""

import datetime
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents import runs, tools
from agents.models import Call
from approvals import plans
from audit import canonical, log, outcomes, vault
from controlplane import connectors
from controlplane.connectors import interface

logger = logging.getLogger(__name__)
_FIELD = re.compile(r"\{([a-z_.]+)\}")
ASKABLE = frozenset({"E1", "E3"})  # an intent of these can be settled with the upstream; E2 and E4 are for people
GRACE_S = 5.0  # added to a connector's timeout before an unanswered intent is looked at by somebody else


class UpstreamFailed(outcomes.Refused):
    """Nothing reached the upstream."""

    code = "upstream_failed"


class InDoubt(outcomes.Refused):
    """It may have happened. The money stays held until somebody knows."""

    code = "in_doubt"


@dataclass(frozen=True, slots=True)
class Sending:
    """A call on its way to a connector."""

    organisation: str
    run: str
    call: str
    actor: log.Actor
    tool: tools.Facts
    connector: Mapping[str, Any]
    variables: Mapping[str, str]

    @property
    def key(self) -> str:
        """The idempotency key the connector sees: one per call, whoever sends it and however often."""
        return f"remit-{self.organisation[4:]}-{self.call[2:]}".lower()

    @property
    def lease_s(self) -> float:
        return float(self.connector["timeout_ms"]) / 1000 + GRACE_S


def outbound(sending: Sending, arguments: Mapping[str, Any]) -> interface.Outbound:
    """Exactly what will be sent: headers rendered, key set."""
    tool = sending.tool
    return interface.Outbound(
        upstream=upstream_of(sending.organisation, sending.connector, {**sending.variables, "call.id": sending.call}),
        operation=tool.operation,
        arguments=dict(arguments),
        idempotency_key=sending.key,
        call_id=sending.call,
        detail=tool.detail,
        connector_class=tool.connector_class,
    )


def upstream_of(organisation: str, connector: Mapping[str, Any], variables: Mapping[str, str]) -> interface.Upstream:
    """Where a connector leads, its headers rendered with the variables and its own secrets."""
    known = {**variables, **_secrets(organisation, connector)}
    headers = {name: _FIELD.sub(lambda field: known.get(field[1], ""), template) for name, template in connector["headers"].items()}
    return interface.Upstream(
        kind=connector["kind"],
        slug=connector["slug"],
        url=connector["url"],
        headers=headers,
        timeout_s=connector["timeout_ms"] / 1000,
        allow_private=connector["allow_private"],
        identity=f"{organisation}/{connector['id']}",
        document=connector["document"],
    )


def _secrets(organisation: str, connector: Mapping[str, Any]) -> dict[str, str]:
    sealed = connector.get("sealed")
    if not sealed:
        return {}
    kept = json.loads(vault.open_sealed(bytes.fromhex(sealed), aad=f"{organisation}/{connector['id']}"))
    return {f"secret.{name}": value for name, value in kept.items()}


def outbound_digest(sent: interface.Outbound) -> str:
    """Of everything that leaves: where to, which operation, the arguments, the headers and the key."""
    up = sent.upstream
    body = {
        "kind": up.kind,
        "url": up.url,
        "headers": dict(up.headers),
        "operation": sent.operation,
        "arguments": sent.arguments,
        "key": sent.idempotency_key,
        "detail": dict(sent.detail),
    }
    return canonical.digest(body, domain="remit outbound v1")


def dry_run(sent: interface.Outbound, tool: tools.Facts) -> plans.Target:
    """The target's state now and after, read from the system itself. Raises interface.PreviewFailed when it cannot be read."""
    found = connectors.preview(sent, tool.preview)
    if found is None:
        return plans.Target()
    return plans.Target(entity=found.entity, before=found.before, after=found.after, kind=found.kind, facts=found.facts)


def read(sending: Sending, arguments: Mapping[str, Any]) -> runs.Outcome:
    """Send a read and say what came of it. A read that went wrong has changed nothing, so it simply failed."""
    try:
        answer = connectors.send(outbound(sending, arguments))
    except (interface.NotSent, interface.Unknown) as error:
        return _failed(sending, str(error), event="call.failed", wake=False)
    except Exception as error:
        logger.exception("a connector failed", extra={"call": sending.call})
        return _failed(sending, type(error).__name__, event="call.failed", wake=False)
    return _told(sending, answer, well="call.answered", badly="call.failed", wake=False)


def apply(sending: Sending, sent: interface.Outbound) -> runs.Outcome:
    """Send an intended write once and say what came of it. The intent is committed before this is called."""
    try:
        answer = connectors.send(sent)
    except interface.NotSent as error:
        return _failed(sending, str(error), event="effect.failed", wake=True)
    except interface.Unknown as error:
        return in_doubt(str(error))
    except Exception as error:  # a fault of our own says nothing about what the upstream did
        logger.exception("a connector failed", extra={"call": sending.call})
        return in_doubt(type(error).__name__)
    return answered(sending, answer)


def answered(sending: Sending, answer: interface.Answer) -> runs.Outcome:
    """The outcome of a write that the upstream answered."""
    return _told(sending, answer, well="effect.applied", badly="effect.failed", wake=True)


def _told(sending: Sending, answer: interface.Answer, *, well: str, badly: str, wake: bool) -> runs.Outcome:
    """An answer as an outcome. What failed is not paid for."""
    return runs.Outcome(
        state=Call.State.FAILED if answer.is_error else Call.State.APPLIED,
        event=badly if answer.is_error else well,
        result=answer.result,
        is_error=answer.is_error,
        redact=sending.tool.redact,
        actual_micros=0 if answer.is_error else sending.tool.price_micros or 0,
        wake=wake,
    )


def in_doubt(why: str) -> runs.Outcome:
    """Nobody knows whether it happened; people will be asked, or the upstream when its class allows."""
    refusal = InDoubt(
        "It is not known whether this took effect.",
        rule="connector class",
        current=why[:200],
        limit="an answer",
        who="the workspace's operators",
        next_step="Wait; do not repeat it.",
    )
    return runs.Outcome(state=Call.State.IN_DOUBT, event="effect.in_doubt", refusal=refusal.as_dict(), note=why[:500])


def _failed(sending: Sending, why: str, *, event: str, wake: bool) -> runs.Outcome:
    refusal = UpstreamFailed(
        f"{sending.tool.name} could not be reached, and nothing was changed.",
        rule=f"connector {sending.connector['slug']}",
        current=why[:200],
        limit="reachable",
        who="whoever runs the upstream",
        next_step="Try again later, or choose another way.",
    )
    return runs.Outcome(state=Call.State.FAILED, event=event, refusal=refusal.as_dict(), is_error=True, note=why[:500], wake=wake)


def reconcile(sending: Sending, sent: interface.Outbound, *, intended_at: datetime.datetime, now: datetime.datetime) -> runs.Outcome:
    """What to do with an intent nobody reported on: E1 is sent again under its key for a day, E3 is looked up, E2 and E4 are for people."""
    kind = sending.tool.connector_class
    if kind == "E1" and now - intended_at < datetime.timedelta(hours=23):
        return apply(sending, sent)
    if kind == "E3":
        try:
            found = connectors.look_up(sent)
        except (interface.NotSent, interface.Unknown) as error:
            return in_doubt(str(error))
        if found is not None and not found.is_error:
            return answered(sending, found)
    return in_doubt("The process that sent it did not report back.")
