"""The stop that is on over a request. What waits under one keeps waiting: nobody approves it until a person lets it go on."""

import operator
from collections.abc import Collection, Iterable

from django.db.models import Q

from agents import organisations, seats, stops
from agents.models import Stop
from approvals.models import Request

# What a switch is of, as a lookup from a request.
LOOKUPS = {
    Stop.Scope.ORGANISATION: "organisation_id",
    Stop.Scope.WORKSPACE: "workspace_id",
    Stop.Scope.AGENT: "run__agent_id",
    Stop.Scope.RUN: "run_id",
    Stop.Scope.TOOL: "tool_version__tool_id",
    Stop.Scope.CONNECTOR: "tool_version__tool__connector_id",
    Stop.Scope.KEY: "call__by_key",
}


def stopped() -> Q:
    """Which requests have a switch over them, as a condition of a query; an empty one while nothing is stopped.

    Call inside `tenancy.within`.
    """
    found = Q()
    for stop in stops.on():
        found |= Q(**{LOOKUPS[Stop.Scope(stop.scope)]: stop.target})
    return found


def over(requests: Iterable[Request]) -> dict[str, Stop]:
    """The newest switch over each of these requests that has one, by the request's id. Call inside `tenancy.within`."""
    on, found = stops.on(), {}
    looked = {stop.scope for stop in on}
    for request in requests if on else ():
        covered = _scopes(request, looked)
        stop = next((each for each in on if (each.scope, each.target) in covered), None)
        if stop is not None:
            found[request.id] = stop
    return found


def _scopes(request: Request, looked: Collection[str]) -> set[tuple[str, str]]:
    return {(str(scope), operator.attrgetter(lookup.replace("__", "."))(request)) for scope, lookup in LOOKUPS.items() if scope in looked}


def releasers(stop: Stop, workspace: str) -> list[str]:
    """The names of the people who may let it go on: never whoever stopped it. Call inside `tenancy.within`."""
    by = organisations.members().filter(id=stop.engaged_by).values("person")
    holding = seats.holding(stops.PERMISSION.get(Stop.Scope(stop.scope), "agents_stop"), workspace)
    return [member.name for member in holding.exclude(person__in=by)]


def check(request: Request) -> None:
    """Raises Stopped while a switch is on over the request: an approval would send nothing. Call inside `tenancy.within`."""
    stop = over([request]).get(request.id)
    if stop is None:
        return
    by = organisations.names([stop.engaged_by]).get(stop.engaged_by, stop.engaged_by)
    who = releasers(stop, request.workspace_id)
    raise stops.Stopped(
        f"{by} stopped the {stops.labels([stop])[stop.id]}: {stop.reason}",
        rule=f"stop {stop.id}",
        current=f"{stop.scope} {stop.target}",
        limit="no approvals while the stop is on",
        who=", ".join(who[:8]) or "another person who may stop agents",
        next_step="Nothing was decided. Approve it when a person has let it go on; denying it is possible now.",
        scope=stop.scope,
    )
