"""Runs and calls as they are kept: starting, finding, finishing, and the steps of hosted runs. What a call may do is the gate's matter."""

import datetime
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.db import connection
from django.db.models import Count, Q, QuerySet

from agents import organisations, sight, tools
from agents.models import Agent, Call, Capability, Effect, Run, Step
from agents.organisations import Principal
from audit import canonical, functions, ids, log, redaction, tenancy, vault


@dataclass(frozen=True, slots=True)
class Caps:
    """How far a run may go: a snapshot of its agent's limits when it started."""

    max_steps: int
    max_tool_calls: int
    max_tokens: int
    max_seconds: int
    max_retries: int
    max_micros: int
    max_step_micros: int
    repeats_flag: int
    repeats_stop: int


class NotPublished(organisations.Conflict):
    code = "not_published"


def start(  # noqa: PLR0913 - what a run is started with; `Caps` is the group that has a name
    *,
    by: Principal,
    agent: Agent,
    caps: Caps,
    capability: Capability | None = None,
    reference: str = "",
    title: str = "",
    is_hosted: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Run:
    """A new run of the agent's current version. Raises NotPublished when there is none."""
    if agent.version_id is None:
        raise NotPublished(
            f"{agent.slug} has no published version.",
            rule="agent version",
            current="none",
            limit="1",
            who="whoever manages agents",
            next_step="Publish a version first.",
        )
    with tenancy.within(by.organisation):
        run = Run.objects.create(
            id=ids.new("R"),
            workspace_id=agent.workspace_id,
            agent=agent,
            agent_version_id=agent.version_id,
            capability=capability,
            is_hosted=is_hosted,
            options=dict(options or {}),
            state=Run.State.QUEUED if is_hosted else Run.State.RUNNING,
            reference=reference[:200],
            title=title[:200],
            started_by_kind=by.kind,
            started_by=by.id,
            starter_person=by.person,
            **asdict(caps),
        )
        log.append(
            "run.started",
            by=by,
            subject=run.id,
            workspace=run.workspace_id,
            run=run.id,
            detail={"agent": agent.id, "version": agent.version_id, "reference": reference[:200], "hosted": is_hosted},
        )
    return run


def end(*, by: Principal, run: Run, state: str, summary: str, event: str = "run.finished", handed_to: str = "") -> bool:
    """End a run in a terminal state; what it had waiting is withdrawn and its money returned. False when it was over already."""
    detail = log.detail_text({"state": state, "summary": summary[:500], "handed_to": handed_to})
    with tenancy.within(by.organisation), connection.cursor() as cursor:
        cursor.execute(
            "select gate_end_run(%s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb)",
            [by.organisation, run.id, state, redaction.redact_text(summary)[:4000], handed_to, log.known(event), by.kind, by.id, detail],
        )
        return bool(cursor.fetchone()[0])


def get(identifier: str, *, by: Principal, permission: str = "runs_view") -> Run:
    """A run the principal may see: an agent its own, a person by permission, as far as they read runs. Absent and forbidden look the same.

    Call inside `tenancy.within`.
    """
    run = Run.objects.select_related("agent", "agent_version", "capability").filter(id=identifier).first()
    if run is None or not _visible(run, by, permission):
        raise organisations.NotFound("There is no such run.", rule="run", current=identifier[:40], next_step="List the runs you may see.")
    return run if sight.reads(by, run.workspace_id) else sight.of_costs(run)


def lock(run: str) -> Run:
    """Take the run's row. It comes before its calls, their requests and the work for it in the lock order. Call inside `tenancy.within`."""
    return Run.objects.select_for_update().only("id", "state").get(id=run)


def _visible(run: Run, by: Principal, permission: str) -> bool:
    if by.kind == "agent":
        return run.agent_id == by.id and by.run in ("", run.id)
    return organisations.may(by, permission, run.workspace_id)


def visible(*, by: Principal, workspace: str, state: str = "", agent: str = "") -> QuerySet[Run]:
    """Runs of a workspace, newest first, as far as the principal reads runs. Call inside `tenancy.within`."""
    found = Run.objects.filter(workspace_id=workspace).select_related("agent")
    found = found if sight.reads(by, workspace) else sight.costs_only(found)
    if by.kind == "agent":
        found = found.filter(agent_id=by.id)
    if by.run:
        found = found.filter(id=by.run)
    found = found.filter(state=state) if state else found
    return (found.filter(agent__slug=agent) if agent else found).order_by("-started_at", "-id")


def get_call(identifier: str, *, by: Principal) -> Call:
    """A call of a run the principal may see. Call inside `tenancy.within`."""
    call = Call.objects.select_related("run__agent", "tool_version").filter(id=identifier).first()
    if call is None or not _visible(call.run, by, "runs_view"):
        raise organisations.NotFound("There is no such call.", rule="call", current=identifier[:40], next_step="List the run's calls.")
    return call if sight.reads(by, call.run.workspace_id) else sight.of_costs(call)


def tools_of(by: Principal) -> list[tools.Facts]:
    """The tools that an agent's key may name: of its run, or of the agent's current version. Call inside `tenancy.within`."""
    if by.run:
        run = get(by.run, by=by)
        return tools.usable(run.agent_version_id, {"tools": run.capability.tools} if run.capability else None)
    version = Agent.objects.values_list("version_id", flat=True).get(id=by.id)
    return tools.pinned(version) if version else []


def calls(run: Run) -> QuerySet[Call]:
    """The run's calls in order, withheld like the run. Call inside `tenancy.within`."""
    found = Call.objects.filter(run=run).select_related("tool_version").order_by("number", "created_at", "id")
    return sight.costs_only(found) if run.is_withheld else found


def effects(run: Run) -> QuerySet[Effect]:
    """The run's effects in order; of a withheld run none. Call inside `tenancy.within`."""
    return (
        Effect.objects.none()
        if run.is_withheld
        else Effect.objects.filter(call__run=run).select_related("call").order_by("intended_at", "id")
    )


def steps(run: Run) -> QuerySet[Step]:
    """A hosted run's record in order; of a withheld run nothing. Call inside `tenancy.within`."""
    return Step.objects.none() if run.is_withheld else Step.objects.filter(run_id=run.id).order_by("number")


def add_step(*, run: Run, kind: str, content: Mapping[str, Any], call: str = "", usage: tuple[int, int] = (0, 0)) -> None:
    """Write down one step, redacted. Call inside the transaction that holds the run's lease."""
    number = Step.objects.filter(run_id=run.id).count()
    Step.objects.create(
        id=ids.new("ST"),
        run_id=run.id,
        number=number,
        kind=kind,
        call_id=call,
        content=canonical.text(redaction.redact(dict(content))),
        input_tokens=usage[0],
        output_tokens=usage[1],
    )


def narrowed(found: QuerySet[Run], *, text: str = "", over_since: datetime.datetime | None = None) -> QuerySet[Run]:
    """Only runs whose id begins with the text, or whose reference or title holds it; that ended since then."""
    if text:
        found = found.filter(Q(id__startswith=text.upper()) | Q(reference__icontains=text) | Q(title__icontains=text))
    return found if over_since is None else found.filter(finished_at__gte=over_since)


def tally(workspace: str, *, since: datetime.datetime) -> dict[str, dict[str, int]]:
    """The runs that a workspace's agents started since then, in numbers by agent. Call inside `tenancy.within`."""
    numbers = {
        "runs": Count("id"),
        "succeeded": Count("id", filter=Q(state=Run.State.SUCCEEDED)),
        "handed_off": Count("id", filter=Q(state=Run.State.HANDED_OFF)),
    }
    found = Run.objects.filter(workspace_id=workspace, started_at__gte=since).values("agent_id").annotate(**numbers).order_by()
    return {agent: dict(zip(numbers, told, strict=True)) for agent, *told in found.values_list("agent_id", *numbers)}


def in_doubt(workspace: str) -> QuerySet[Effect]:
    """Effects of which nobody knows whether they took place, oldest first. Call inside `tenancy.within`."""
    found = Effect.objects.filter(state=Effect.State.IN_DOUBT, call__run__workspace_id=workspace)
    return found.select_related("call__run__agent").order_by("intended_at", "id")


def fingerprint(name: str, arguments: Any) -> str:
    """The identity of a call: its tool and canonical arguments. Key order and 1 against 1.0 make no difference."""
    return canonical.digest({"arguments": arguments, "tool": name}, domain="remit call v1")


def exact_result(call: Call) -> Any:
    """The result exactly as it was given, for a repeat of the call; None when there is none."""
    if call.sealed_result is None:
        return None
    return json.loads(vault.open_sealed(bytes(call.sealed_result), aad=f"{call.organisation_id}/{call.id}/result"))


def exact_arguments(call: Call) -> dict[str, Any]:
    """The arguments exactly as they will be sent. Raises vault.VaultError when they were erased or altered."""
    if call.sealed_arguments is None:
        raise vault.VaultError("The arguments are no longer kept.")
    parsed: dict[str, Any] = json.loads(vault.open_sealed(bytes(call.sealed_arguments), aad=f"{call.organisation_id}/{call.id}/arguments"))
    return parsed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call came to. `result` is the exact answer; it is stored redacted, and sealed for repeats."""

    state: str
    event: str
    result: Any = None
    is_error: bool = False
    refusal: Mapping[str, Any] | None = None
    actual_micros: int = 0
    is_estimated: bool = False
    tokens: int = 0
    redact: frozenset[str] = frozenset()
    note: str = ""
    wake: bool = False


def settle(*, by: log.Actor, run: str, call: str, outcome: Outcome, detail: Mapping[str, Any] | None = None) -> bool:
    """Record a call's outcome once: call, effect, request, loop guard, money and entry together. False when it was settled before."""
    digest = (
        canonical.digest(outcome.result, domain="remit result v1")
        if outcome.result is not None
        else f"{outcome.state.lower()}:{(outcome.refusal or {}).get('code', '')}"
    )
    sealed = vault.seal(canonical.encode(outcome.result), aad=f"{by.organisation}/{call}/result") if outcome.result is not None else None
    asked = {
        "organisation": by.organisation,
        "run": run,
        "call": call,
        "state": outcome.state,
        "is_error": outcome.is_error,
        "result_digest": digest,
        "result": canonical.text(redaction.redact(outcome.result, fields=outcome.redact))[:STORED] if outcome.result is not None else "",
        "refusal": canonical.text(redaction.redact(dict(outcome.refusal))) if outcome.refusal else None,
        "actual": outcome.actual_micros,
        "is_estimated": outcome.is_estimated,
        "tokens": outcome.tokens,
        "note": outcome.note,
        "wake": outcome.wake,
        "event": log.known(outcome.event),
        "actor_kind": by.kind,
        "actor_id": by.id,
        "audit_text": log.detail_text(
            {
                "result": digest,
                "is_error": outcome.is_error,
                "micros": outcome.actual_micros,
                "tokens": outcome.tokens,
                "note": outcome.note[:500],
                **(detail or {}),
            }
        ),
    }
    answer = functions.ask("select gate_settle(%s::jsonb, %s)", functions.parameters(asked), sealed)
    return bool(answer["settled"])


STORED = 512 * 1024  # characters of redacted arguments or a redacted result that are kept


def kept(text: str) -> Any:
    """Stored canonical JSON as a value; as text where only its beginning was kept; None where nothing was."""
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def open_of(agent: str) -> Run | None:
    """The newest run that an agent started by its own key and that is not over. Call inside `tenancy.within`."""
    found = Run.objects.filter(agent_id=agent, started_by=agent, is_hosted=False).exclude(state__in=Run.OVER)
    return found.order_by("-started_at", "-id").first()
