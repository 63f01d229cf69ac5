"""Stop switches: what is stopped now, stop something, let it go on."""

from rest_framework import serializers

from agents import models, organisations, stops
from audit import tenancy
from controlplane.api import inputs, pages
from controlplane.api.routing import Asked, Said, door


class NewStop(inputs.Body):
    """`target` is an id, or the slug or name of an agent, tool, connector or workspace."""

    scope = inputs.Choice(choices=models.Stop.Scope.values)
    target = inputs.Text(required=False, default="", allow_blank=True, max_length=80)
    reason = inputs.Text(max_length=500)
    ends_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


class Stop(serializers.Serializer[models.Stop]):
    id = serializers.CharField()
    scope = serializers.CharField()
    target = serializers.CharField()
    reason = serializers.CharField()
    engaged_by = serializers.CharField()
    engaged_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField(allow_null=True)
    released_by = serializers.CharField()
    released_at = serializers.DateTimeField(allow_null=True)


@door(Said(query=pages.Paged, gives=Stop))
def listed(asked: Asked) -> pages.Page:
    """The switches that are on, newest first."""
    organisations.where(asked.by, "agents_view")
    return pages.cut(stops.engaged(), asked.query, order=("-engaged_at", "id"))


@door(Said(body=NewStop, gives=Stop, status=201))
def engage(asked: Asked) -> models.Stop:
    """Stop an agent, a tool, a connector, a key, a run, a workspace or the whole organisation. Once answered, nothing under it begins."""
    given = asked.body
    stop = stops.engage(by=asked.by, scope=given["scope"], target=given["target"], reason=given["reason"], ends_at=given["ends_at"])
    with tenancy.within(asked.by.organisation):
        return stops.get(stop.id)


@door(Said(body=inputs.Empty, gives=Stop))
def release(asked: Asked, identifier: str) -> models.Stop:
    """Let it go on. It takes another person than the one who stopped it."""
    with tenancy.within(asked.by.organisation):
        organisations.where(asked.by, "agents_view")
        stop = stops.get(identifier)
    stops.release(by=asked.by, stop=stop)
    with tenancy.within(asked.by.organisation):
        return stops.get(identifier)
