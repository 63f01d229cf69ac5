"""Denials that answer for later calls: not this call in this run, not this kind for an hour. The gate looks here before it asks people."""

import datetime
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet

from agents import organisations, runs
from agents.models import Call
from agents.organisations import Principal
from approvals import tiers
from approvals.models import Request, StandingDenial
from audit import ids, log, outcomes, tenancy
from audit.moments import Moment

CALL, RUN, KIND = "CALL", "RUN", "KIND"
SCOPES = {CALL: "This call", RUN: "The same call in this run", KIND: "The same kind for 1 hour"}
KIND_LASTS = datetime.timedelta(hours=1)
NEXT = {
    CALL: "Do not repeat it; choose another way or hand over.",
    RUN: "The same call is refused for the rest of this run without asking again; choose another way or hand over.",
    KIND: "Calls of this tool that would need people are refused for 1 hour without asking again; choose another way or hand over.",
}


class DeniedBefore(outcomes.Refused):
    code = "denied_before"


@dataclass(frozen=True, slots=True)
class Scope:
    """How far a denial reaches, and whether the run ends with it."""

    scope: str = CALL
    ends_run: bool = False


THIS_CALL = Scope()


def scope_of(name: str, *, ends_run: bool = False) -> Scope:
    """A scope by its name. Raises Conflict."""
    if name not in SCOPES:
        raise organisations.Conflict(
            f"There is no scope {name[:40]}.",
            rule="denial scope",
            current=name[:40],
            limit=", ".join(SCOPES),
            next_step="Choose one of them.",
        )
    return Scope(name, ends_run)


def remember(request: Request, *, by: Principal, scope: str, reason: str) -> StandingDenial | None:
    """Keep a denial for the calls that come after. Call inside the transaction that denies; the entry is the denial's own."""
    if scope == CALL:
        return None
    in_run = {"run_id": request.run_id, "fingerprint": request.call.fingerprint}
    for_a_while = {"until": Moment() + KIND_LASTS}
    return StandingDenial.objects.create(
        id=ids.new("DNY"),
        request=request,
        workspace_id=request.workspace_id,
        agent_id=request.run.agent_id,
        tool=request.call.name,
        reason=reason,
        member_id=by.id,
        **(in_run if scope == RUN else for_a_while),
    )


def standing(*, workspace: str = "", agent: str = "", tool: str = "") -> QuerySet[StandingDenial]:
    """The denials that answer for calls now. Call inside `tenancy.within`."""
    found = StandingDenial.objects.filter(Q(until__isnull=True) | Q(until__gt=Moment()), lifted_at__isnull=True)
    named = {"workspace_id": workspace, "agent_id": agent, "tool": tool}
    return found.filter(**{name: value for name, value in named.items() if value}).select_related("member", "request").order_by("-at", "id")


def answer(call: Call) -> runs.Outcome | None:
    """What people have decided about calls like this one, or None when nobody has. Call inside the transaction that would ask them."""
    found = standing(agent=call.run.agent_id, tool=call.name)
    found = found.filter(Q(run_id="", fingerprint="") | Q(run_id=call.run_id, fingerprint=call.fingerprint))
    denial = found.first()
    if denial is None:
        return None
    refusal = refused(denial)
    return runs.Outcome(state=Call.State.DENIED, event="call.denied", refusal=refusal.as_dict(), note=refusal.message[:500], wake=True)


def refused(denial: StandingDenial) -> DeniedBefore:
    """The refusal that a standing denial amounts to."""
    until = f"{denial.until:%Y-%m-%d %H:%M} UTC" if denial.until else "the end of this run"
    return DeniedBefore(
        f"A person denied this kind of call before, until {until}: {denial.reason}",
        rule=f"denial {denial.id} of request {denial.request_id}",
        current=denial.tool,
        limit=f"until {until}",
        who=f"{denial.member.name}, or anybody else who may decide on it",
        next_step="Do not propose it again before then; choose another way, or ask a person to lift the denial.",
        reason=denial.reason,
        denial=denial.id,
    )


def lift(*, by: Principal, denial_id: str) -> StandingDenial:
    """People are asked again from now on. For whoever may decide such calls. Raises NotFound or Forbidden."""
    with tenancy.within(by.organisation):
        denial = StandingDenial.objects.select_related("request", "member").filter(id=denial_id).first()
        if denial is None or not organisations.may(by, "approvals_all", denial.workspace_id):
            raise organisations.NotFound("There is no such denial.", rule="denial", current=denial_id[:40], next_step="List the denials.")
        organisations.require(by, tiers.PERMISSION[denial.request.required], denial.workspace_id)
        if StandingDenial.objects.filter(id=denial_id, lifted_at__isnull=True).update(lifted_at=Moment(), lifted_by=by.id):
            detail: dict[str, Any] = {"denial": denial.id, "tool": denial.tool, "agent": denial.agent_id}
            log.append(
                "request.denial_lifted",
                by=by,
                subject=denial.request_id,
                workspace=denial.workspace_id,
                run=denial.request.run_id,
                detail=detail,
            )
            denial.refresh_from_db()
    return denial
