"""The stop switches. While one is on, nothing under it is admitted and nothing that waits is sent: the gate reads them itself."""

import datetime
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from django.db import IntegrityError, connection, transaction
from django.db.models import Q, QuerySet

from agents import organisations
from agents.models import Agent, Call, Connector, Key, Member, Organisation, Run, Stop, Tool, Work, Workspace
from agents.organisations import Principal
from audit import ids, log, outcomes, tenancy
from audit.moments import Moment

PERMISSION = {Stop.Scope.RUN: "runs_stop"}  # every other scope: agents_stop
LONGEST = datetime.timedelta(days=90)  # until which an end may be set; a stop without one lasts until a person releases it


class _Target(NamedTuple):
    """What a scope is a switch of. `workspace` and `shown` are lookups; by `handle` a person may name one instead of giving its id."""

    model: Any
    workspace: str
    shown: str
    handle: str = ""


_TARGETS = {
    Stop.Scope.ORGANISATION: _Target(Organisation, "", "name"),
    Stop.Scope.WORKSPACE: _Target(Workspace, "id", "name", "slug"),
    Stop.Scope.AGENT: _Target(Agent, "workspace_id", "slug", "slug"),
    Stop.Scope.TOOL: _Target(Tool, "workspace_id", "name", "name"),
    Stop.Scope.CONNECTOR: _Target(Connector, "workspace_id", "slug", "slug"),
    Stop.Scope.KEY: _Target(Key, "agent__workspace_id", "label"),
    Stop.Scope.RUN: _Target(Run, "workspace_id", "agent__slug"),
}


def locate(scope: str, target: str, *, by: Principal) -> tuple[str, str]:
    """(id, workspace) of what a switch is for, by id or by the name it is known under. Raises NotFound. Call inside `tenancy.within`.

    A key of a person and the organisation itself are in no workspace.
    """
    if scope == Stop.Scope.ORGANISATION and target in ("", by.organisation):
        return by.organisation, ""
    found: list[tuple[str, str]] = []
    kind = _TARGETS.get(Stop.Scope(scope)) if scope in Stop.Scope.values else None
    if kind and kind.workspace:
        named = Q(id=target) | (Q(**{kind.handle: target}) if kind.handle else Q())
        found = list(kind.model.objects.filter(named).values_list("id", kind.workspace)[:2])
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


def engage(*, by: Principal, scope: str, target: str, reason: str, workspace: str = "", ends_at: datetime.datetime | None = None) -> Stop:
    """Engage a switch on a target by id or name. After this returns no call under it begins to have an effect (I-30).

    With an end it releases itself then. Raises NotFound, Forbidden, or Conflict when it is on already.
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
        _check_end(ends_at)
        target, located = locate(scope, target, by=by)
        _authorise(by, scope, located)
        held = runs_under(scope, target).count()
        workspace = located or workspace
        with connection.cursor() as cursor:  # waits for every call that is being admitted right now; see gate_admit
            cursor.execute("select pg_advisory_xact_lock(hashtextextended('stop:' || %s, 0))", [by.organisation])
        try:
            with transaction.atomic():
                stop = Stop.objects.create(id=ids.new("STP"), scope=scope, target=target, reason=reason, engaged_by=by.id, ends_at=ends_at)
        except IntegrityError as error:
            raise organisations.Conflict(
                f"The {scope} {target} is stopped already.", rule="stop", current=target, next_step="Nothing to do."
            ) from error
        if ends_at is not None:
            Work.objects.create(id=ids.new("WRK"), kind=Work.Kind.UNSTOP, subject=stop.id, due_at=ends_at)
        detail = {"scope": scope, "target": target, "reason": reason, "runs": held, "ends_at": ends_at.isoformat() if ends_at else ""}
        log.append("stop.engaged", by=by, subject=stop.id, workspace=workspace, detail=detail)
    return stop


def _check_end(ends_at: datetime.datetime | None) -> None:
    if ends_at is None:
        return
    with connection.cursor() as cursor:
        cursor.execute("select clock_timestamp()")
        now = cursor.fetchone()[0]
    if not now < ends_at <= now + LONGEST:
        raise organisations.Conflict(
            "A stop ends in the future, or when a person releases it.",
            rule="stop end",
            current=ends_at.isoformat(),
            limit=f"after now, within {LONGEST.days} days",
            next_step="Choose a later time, or none.",
        )


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
        if not Stop.objects.filter(id=stop.id, released_at=None).update(released_at=Moment(), released_by=by.id):
            raise organisations.Conflict("This stop is released already.", rule="stop", current=stop.id, next_step="Nothing to do.")
        Work.objects.filter(kind=Work.Kind.UNSTOP, subject=stop.id).delete()
        _go_on(stop)
        log.append("stop.released", by=by, subject=stop.id, workspace=workspace, detail={"scope": stop.scope, "target": stop.target})


def end(*, by: Principal, identifier: str) -> bool:
    """Release a switch whose end has come. False when a person was quicker, or it has not come yet."""
    with tenancy.within(by.organisation):
        stop = Stop.objects.filter(id=identifier).first()
        due = Stop.objects.filter(id=identifier, released_at=None, ends_at__lte=Moment())
        if stop is None or not due.update(released_at=Moment(), released_by=by.id):
            return False
        workspace = locate(stop.scope, stop.target, by=by)[1]
        _go_on(stop)
        log.append("stop.ended", by=by, subject=stop.id, workspace=workspace, detail={"scope": stop.scope, "target": stop.target})
    return True


def _go_on(stop: Stop) -> None:
    """The runs under it that Remit hosts waited: they ask again."""
    hosted = list(runs_under(stop.scope, stop.target).filter(is_hosted=True).order_by("id").values_list("id", flat=True))
    with connection.cursor() as cursor:
        cursor.execute("select work_ring(%s, 'run.advance', run) from unnest(%s::text[]) run", [stop.organisation_id, hosted])


def get(identifier: str) -> Stop:
    """A switch by id. Raises NotFound. Call inside `tenancy.within`."""
    stop = Stop.objects.filter(id=identifier).first()
    if stop is None:
        raise organisations.NotFound("There is no such stop.", rule="stop", current=identifier[:40], next_step="List the stops.")
    return stop


def engaged() -> QuerySet[Stop]:
    """The switches that are on, newest first. Call inside `tenancy.within`."""
    return Stop.objects.filter(released_at=None).order_by("-engaged_at", "id")


def on() -> Sequence[Stop]:
    """The same, asked once by a page. Call inside `tenancy.within`."""
    return tenancy.once(("stops",), lambda: list(engaged()))


class Stopped(outcomes.Refused):
    code = "stopped"


def check(stops: Sequence[Mapping[str, Any]], scopes: Sequence[Sequence[str]]) -> None:
    """Raises Stopped when one of the switches that are on covers one of the scopes. The gate's SQL asks again under a lock."""
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
    found = Q(scope=Stop.Scope.ORGANISATION, target=organisation)
    for scope, kind in _TARGETS.items():
        if kind.workspace:
            found |= Q(scope=scope, target__in=kind.model.objects.filter(**{kind.workspace: workspace}).values("id"))
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


def engaged_over(workspace: str, *, organisation: str) -> QuerySet[Stop]:
    """The switches that are on over this workspace or something in it: what its pages warn of. Call inside `tenancy.within`."""
    return of_workspace(workspace, organisation=organisation).filter(released_at=None)


def labels(found: Collection[Stop]) -> dict[str, str]:
    """What each switch is for as people call it, by its id: "agent support-refunds". One query a scope. Call inside `tenancy.within`."""
    said = {}
    for scope in {stop.scope for stop in found}:
        kind = _TARGETS[Stop.Scope(scope)]
        under = [stop for stop in found if stop.scope == scope]
        known = dict(kind.model.objects.filter(id__in=[stop.target for stop in under]).values_list("id", kind.shown))
        for stop in under:
            called = known.get(stop.target) or stop.target
            said[stop.id] = f"run {stop.target} of {called}" if scope == Stop.Scope.RUN else f"{scope} {called}"
    return said


def calls_on_their_way(scope: str, target: str) -> QuerySet[Call]:
    """The calls under a target (an id) that were sent before a switch could hold them, and are not over. Call inside `tenancy.within`."""
    awaited = Work.objects.filter(kind=Work.Kind.RECONCILE).values("subject")  # each has one: a small table against a large one
    found = Call.objects.filter(id__in=awaited, state__in=[Call.State.SENDING, Call.State.IN_DOUBT])
    through = {Stop.Scope.TOOL: "tool_version__tool_id", Stop.Scope.CONNECTOR: "tool_version__tool__connector_id"}.get(Stop.Scope(scope))
    return found.filter(**{through: target}) if through else found.filter(run_id__in=runs_under(scope, target).values("id"))
