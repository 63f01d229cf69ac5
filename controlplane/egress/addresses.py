"""Which URLs and which addresses a request may name. Knows no socket: it reads the text and judges what a resolver found."""

import functools
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from controlplane.egress import failures

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(one) for one in text.split())


_PRIVATE = _networks("127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 ::1/128 fc00::/7")
# Nobody's tool server, whatever `allow_private` says: link-local and the addresses where clouds hand out credentials.
_METADATA = _networks("169.254.0.0/16 fe80::/10 168.63.129.16/32 100.100.100.200/32 fd00:ec2::/32 fd20:ce::/32")
_UNICAST6 = ipaddress.IPv6Network("2000::/3")  # mapped, compatible, NAT64 and site-local addresses all lie outside
# Inside what ipaddress calls global (3.11.7 and younger disagree), yet leading to an embedded IPv4 address, a relay, or nowhere.
_DETOURS = _networks("192.0.0.0/24 192.88.99.0/24 2001::/23 2002::/16 2001:db8::/32 3fff::/20")


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and (address.scope_id or address not in _UNICAST6):
        return False
    return address.is_global and not address.is_multicast and not _within(address, _DETOURS) and not _within(address, _METADATA)


def is_private(address: Address) -> bool:
    """Loopback or a private network: what `allow_private` opens."""
    return _within(address, _PRIVATE) and not _within(address, _METADATA) and not getattr(address, "scope_id", None)


@dataclass(frozen=True, slots=True)
class Target:
    scheme: str
    host: str  # without brackets
    port: int
    path: str
    authority: str  # the Host header


_URL = re.compile(r"https?://[!-~]+", re.ASCII | re.IGNORECASE)
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)*", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


@functools.lru_cache(maxsize=1024)
def target(url: str) -> Target:
    """Only one reading of a URL is accepted, so that no other parser can read another host into it."""
    if not _URL.fullmatch(url) or "\\" in url or "#" in url:
        raise failures.Blocked("Only plain http and https URLs are used: printable ASCII, no fragment, no backslash.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise failures.Blocked("The URL's host or port cannot be read.") from None
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    spelled = f"[{host}]" if ":" in host else host
    # What was read, written again, must be what was given: this refuses users, passwords, empty ports and anything around a bracket.
    if parts.netloc.lower() != (spelled if port is None else f"{spelled}:{port}"):
        raise failures.Blocked("The URL's host or port is not in its usual form.")
    if literal(host) is None and (not _NAME.fullmatch(host) or _NUMBER.fullmatch(host.rpartition(".")[2])):
        raise failures.Blocked("The URL's host is neither a DNS name nor an IP address in its usual form.")
    if port is None:
        port = 443 if scheme == "https" else 80
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(scheme, host, port, path, parts.netloc.lower())


def literal(host: str) -> Address | None:
    """The address that a host spells out, or None for a name. Octal, hexadecimal and shortened forms are neither."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
