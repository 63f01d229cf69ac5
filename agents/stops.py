"""The stop switches. While one is on, nothing under it is admitted and nothing that waits is sent: the gate reads them itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from agents import organisations
from agents.models import Agent, Connector, Key, Member, Run, Stop, Tool, Workspace
from agents.organisations import Principal
from audit import ids, log, outcomes, tenancy

PERMISSION = {Stop.Scope.RUN: "runs_stop"}  # every other scope: agents_stop
_NAMES = {Stop.Scope.WORKSPACE: "slug", Stop.Scope.AGENT: "slug", Stop.Scope.TOOL: "name", Stop.Scope.CONNECTOR: "slug"}


def locate(scope: str, target: str, *, by: Principal) -> tuple[str, str]:
    """(id, workspace) of what a switch is for, by id or by the name it is known under. Raises NotFound. Call inside `tenancy.within`.

    A key of a person and the organisation itself are in no workspace.
    """
    if scope == Stop.Scope.ORGANISATION and target in ("", by.organisation):
        return by.organisation, ""
    nouns: dict[str, tuple[Any, str]] = {
        Stop.Scope.WORKSPACE: (Workspace, "id"),
        Stop.Scope.AGENT: (Agent, "workspace_id"),
        Stop.Scope.TOOL: (Tool, "workspace_id"),
        Stop.Scope.CONNECTOR: (Connector, "workspace_id"),
        Stop.Scope.KEY: (Key, "agent__workspace_id"),
        Stop.Scope.RUN: (Run, "workspace_id"),
    }
    found: list[tuple[str, str]] = []
    if scope in nouns:
        model, workspace = nouns[Stop.Scope(scope)]
        named = Q(id=target) | (Q(**{_NAMES[Stop.Scope(scope)]: target}) if Stop.Scope(scope) in _NAMES else Q())
        found = list(model.objects.filter(named).values_list("id", workspace)[:2])
    if len(found) != 1:
        raise organisations.NotFound(
            f"There is no such {scope}, or more than one.", rule="stop target", current=target[:80], next_step="Give its id."
        )
    return found[0][0], found[0][1] or ""


def _authorise(by: Principal, scope: str, workspace: str) -> None:
    """Whoever may stop agents somewhere may pull the brake for everybody: it errs on the side of stopping."""
    permission = PERMISSION.get(Stop.Scope(scope), "agents_stop")
    if workspace:
        organisations.require(by, permission, workspace)
    elif by.kind != "system":
        organisations.where(by, permission)


def engage(*, by: Principal, scope: str, target: str, reason: str, workspace: str = "") -> Stop:
    """Engage a switch on a target by id or name. After this returns no call under it begins to have an effect (I-30).

    Raises NotFound, Forbidden, or Conflict when it is on already.
    """
    if scope not in Stop.Scope.values:
        raise organisations.Conflict(
            f"There is no scope {scope}.",
            rule="stop scope",
            current=scope,
            limit=", ".join(Stop.Scope.values),
            next_step="Choose one of them.",
        )
    with tenancy.within(by.organisation):
        target, located = locate(scope, target, by=by)
        _authorise(by, scope, located)
        workspace = located or workspace
        with connection.cursor() as cursor:  # waits for every call that is being admitted right now; see gate_admit
            cursor.execute("select pg_advisory_xact_lock(hashtextextended('stop:' || %s, 0))", [by.organisation])
        try:
            with transaction.atomic():
                stop = Stop.objects.create(id=ids.new("STP"), scope=scope, target=target, reason=reason, engaged_by=by.id)
        except IntegrityError as error:
            raise organisations.Conflict(
                f"The {scope} {target} is stopped already.", rule="stop", current=target, next_step="Nothing to do."
            ) from error
        log.append("stop.engaged", by=by, subject=stop.id, workspace=workspace, detail={"scope": scope, "target": target, "reason": reason})
    return stop


def release(*, by: Principal, stop: Stop, workspace: str = "") -> None:
    """Release a switch. It takes another person than the one who engaged it."""
    with tenancy.within(by.organisation):
        if by.person and Member.objects.filter(id=stop.engaged_by, person=by.person).exists():  # a human may have two accounts
            raise organisations.Forbidden(
                "Whoever engaged a stop does not release it.",
                rule="two people",
                current=by.id,
                who="another person who may stop agents",
                next_step="Ask somebody else to release it.",
            )
        located = locate(stop.scope, stop.target, by=by)[1]
        _authorise(by, stop.scope, located)
        workspace = located or workspace
        if not Stop.objects.filter(id=stop.id, released_at=None).update(released_at=Now(), released_by=by.id):
            raise organisations.Conflict("This stop is released already.", rule="stop", current=stop.id, next_step="Nothing to do.")
        log.append("stop.released", by=by, subject=stop.id, workspace=workspace, detail={"scope": stop.scope, "target": stop.target})


def get(identifier: str) -> Stop:
    """A switch by id. Raises NotFound. Call inside `tenancy.within`."""
    stop = Stop.objects.filter(id=identifier).first()
    if stop is None:
        raise organisations.NotFound("There is no such stop.", rule="stop", current=identifier[:40], next_step="List the stops.")
    return stop


def engaged() -> QuerySet[Stop]:
    """The switches that are on, newest first. Call inside `tenancy.within`."""
    return Stop.objects.filter(released_at=None).order_by("-engaged_at", "id")


class Stopped(outcomes.Refused):
    code = "stopped"


def check(stops: Sequence[Mapping[str, Any]], scopes: Sequence[Sequence[str]]) -> None:
    """Raises Stopped when one of the switches that are on covers one of the scopes. The gate's SQL asks the same again, under a lock."""
    covered = {tuple(scope) for scope in scopes}
    for stop in stops:
        if (stop["scope"], stop["target"]) in covered:
            raise Stopped(
                f"Stopped by a person: {stop['reason']}",
                rule=f"stop {stop['id']}",
                current=f"{stop['scope']} {stop['target']}",
                limit="no calls while the stop is on",
                who=stop["by"],
                next_step=f"Wait until a person releases {stop['id']}.",
                scope=stop["scope"],
            )


def of_workspace(workspace: str, *, organisation: str) -> QuerySet[Stop]:
    """Every switch that was ever on over this workspace or something in it, newest first. Call inside `tenancy.within`."""
    agents = Agent.objects.filter(workspace_id=workspace)
    inside = {
        Stop.Scope.AGENT: agents.values("id"),
        Stop.Scope.TOOL: Tool.objects.filter(workspace_id=workspace).values("id"),
        Stop.Scope.CONNECTOR: Connector.objects.filter(workspace_id=workspace).values("id"),
        Stop.Scope.RUN: Run.objects.filter(workspace_id=workspace).values("id"),
        Stop.Scope.KEY: Key.objects.filter(agent__in=agents.values("id")).values("id"),
    }
    found = Q(scope=Stop.Scope.ORGANISATION, target=organisation) | Q(scope=Stop.Scope.WORKSPACE, target=workspace)
    for scope, targets in inside.items():
        found |= Q(scope=scope, target__in=targets)
    return Stop.objects.filter(found).order_by("-engaged_at", "id")


def runs_under(scope: str, target: str) -> QuerySet[Run]:
    """The unfinished runs that a switch on this target (an id) would hold. Call inside `tenancy.within`."""
    found = Run.objects.exclude(state__in=Run.OVER)
    covered = {
        Stop.Scope.ORGANISATION: Q(),
        Stop.Scope.WORKSPACE: Q(workspace_id=target),
        Stop.Scope.AGENT: Q(agent_id=target),
        Stop.Scope.RUN: Q(id=target),
        Stop.Scope.KEY: Q(agent__in=Key.objects.filter(id=target, run_id="").values("agent_id"))
        | Q(id__in=Key.objects.filter(id=target).exclude(run_id="").values("run_id")),
        Stop.Scope.TOOL: Q(agent_version__pins__tool_version__tool_id=target),
        Stop.Scope.CONNECTOR: Q(agent_version__pins__tool_version__tool__connector_id=target),
    }
    return found.filter(covered[Stop.Scope(scope)]).distinct()
