"""The way to tools: one connector per kind of upstream, chosen by `upstream.kind`. The words they share are in `interface`."""

from collections.abc import Mapping
from typing import Any

from agents.offers import Offer
from controlplane.connectors import interface

# Before the connectors, which may name them through this package.
Upstream = interface.Upstream
Outbound = interface.Outbound
Answer = interface.Answer
Preview = interface.Preview
NotSent = interface.NotSent
Unknown = interface.Unknown
DiscoveryFailed = interface.DiscoveryFailed
PreviewFailed = interface.PreviewFailed

from controlplane.connectors import builtin, http, mcp  # noqa: E402

KINDS: dict[str, interface.Connector] = {"mcp": mcp, "http": http, "builtin": builtin}


def _connector(upstream: interface.Upstream) -> interface.Connector:
    try:
        return KINDS[upstream.kind]
    except KeyError:
        raise NotSent(f"There is no connector of the kind {upstream.kind!r}.") from None


def send(outbound: interface.Outbound) -> interface.Answer:
    """One attempt at the call. Raises NotSent when it surely did not reach the upstream, Unknown when it may have happened."""
    return _connector(outbound.upstream).send(outbound)


def discover(upstream: interface.Upstream) -> list[Offer]:
    """The tools an upstream offers. Raises DiscoveryFailed, or NotSent for a kind nobody knows."""
    return _connector(upstream).discover(upstream)


def preview(outbound: interface.Outbound, spec: Mapping[str, Any] | None) -> interface.Preview | None:
    """What the call would change, or None without a spec. Raises PreviewFailed."""
    return _connector(outbound.upstream).preview(outbound, spec)


def look_up(outbound: interface.Outbound) -> interface.Answer | None:
    """An answer only when the upstream shows that the call in doubt happened; None decides nothing. Raises NotSent or Unknown."""
    return _connector(outbound.upstream).look_up(outbound)
