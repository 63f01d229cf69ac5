"""The stop switches. While one is on, nothing under it is admitted and nothing that waits is sent: the gate reads them in its own transactions."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from agents import organisations
from agents.models import Stop
from agents.organisations import Principal
from audit import ids, log, outcomes, tenancy


def engage(*, by: Principal, scope: str, target: str, reason: str, workspace: str = "") -> Stop:
    """Engage a switch. After this returns no call under it begins to have an effect (I-30). Raises Conflict when it is on already."""
    if scope not in Stop.Scope.values:
        raise organisations.Conflict(
            f"There is no scope {scope}.",
            rule="stop scope",
            current=scope,
            limit=", ".join(Stop.Scope.values),
            next_step="Choose one of them.",
        )
    with tenancy.within(by.organisation):
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
    if by.kind == "person" and by.id == stop.engaged_by:
        raise organisations.Forbidden(
            "Whoever engaged a stop does not release it.",
            rule="two people",
            current=by.id,
            who="another person who may stop agents",
            next_step="Ask somebody else to release it.",
        )
    with tenancy.within(by.organisation):
        if not Stop.objects.filter(id=stop.id, released_at=None).update(released_at=Now(), released_by=by.id):
            raise organisations.Conflict("This stop is released already.", rule="stop", current=stop.id, next_step="Nothing to do.")
        log.append("stop.released", by=by, subject=stop.id, workspace=workspace, detail={"scope": stop.scope, "target": stop.target})


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
