"""Credentials end here: keys and the capabilities of runs."""

from rest_framework import serializers

from agents import identity, models
from audit import tenancy
from controlplane.api import agents as agent_doors
from controlplane.api import inputs
from controlplane.api.routing import Asked, Said, door


class Capability(serializers.Serializer[models.Capability]):
    id = serializers.CharField()
    agent = serializers.CharField(source="agent.slug")
    subject = serializers.ListField(child=serializers.CharField())
    tools = serializers.ListField(child=serializers.CharField(), allow_null=True)
    expires_at = serializers.DateTimeField()
    revoked_at = serializers.DateTimeField(allow_null=True)


@door(Said(body=inputs.Empty, gives=agent_doors.Key))
def revoke(asked: Asked, identifier: str) -> models.Key:
    """End a key: your own, or an agent's. Every request that starts after the answer is refused."""
    with tenancy.within(asked.by.organisation):
        identity.revoke(by=asked.by, key=identity.get_key(identifier, by=asked.by))
        return identity.get_key(identifier, by=asked.by)


@door(Said(body=inputs.Empty, gives=Capability))
def revoke_capability(asked: Asked, identifier: str) -> models.Capability:
    """End a capability; the run that carries it can call nothing more."""
    with tenancy.within(asked.by.organisation):
        identity.revoke_capability(by=asked.by, capability=identity.get_capability(identifier, by=asked.by))
        return identity.get_capability(identifier, by=asked.by)
