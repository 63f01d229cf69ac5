"""Asking a connector what it offers. What it answers is recorded as drafts; a person classifies them before any agent may use one."""

from agents import drafts, organisations, tools
from agents.models import Connector, ToolVersion
from agents.organisations import Principal
from audit import tenancy
from controlplane import connectors, effects

_DESCRIBED = ("id", "kind", "slug", "url", "headers", "timeout_ms", "allow_private", "document")


def discover(*, by: Principal, connector: Connector) -> list[ToolVersion]:
    """The newest version of every tool that the connector offers now; new and changed ones are drafts.

    Raises Forbidden before anything is sent, DiscoveryFailed, or SchemaRejected for an offer that cannot be taken.
    """
    with tenancy.within(by.organisation):
        organisations.require(by, "tools_manage", connector.workspace_id)
    sealed = bytes(connector.sealed_secrets).hex() if connector.sealed_secrets is not None else None
    described = {name: getattr(connector, name) for name in _DESCRIBED}
    found = connectors.discover(effects.upstream_of(by.organisation, {**described, "sealed": sealed}, {}))
    drafts.record(by=by, connector=connector, offers=found)
    with tenancy.within(by.organisation):
        offered = {offer.name for offer in found}
        newest = tools.all_versions(connector.workspace_id)
        return [row for row in newest if row.tool.connector_id == connector.id and row.operation in offered]
