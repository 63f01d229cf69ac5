"""Where the demo may exist: on this machine only, and only where somebody asked for it."""

import ipaddress
from urllib.parse import urlsplit

from django.conf import settings


class NotHere(RuntimeError):
    """The demo refuses to run in this installation; the message says why."""


def check() -> str:
    """The address of the demo's own systems. Raises NotHere where nobody asked for one, or others could reach it."""
    if not settings.DEMO:
        raise NotHere("The demo runs only where REMIT_DEMO=1 is set: `make run` sets it.")
    host = urlsplit(settings.PUBLIC_URL).hostname or ""
    if not _is_loopback(host):
        raise NotHere(f"The demo hands out tokens of invented people, so it runs on this machine only, and {host or 'no host'} is not it.")
    if not settings.DEMO_DATABASE_URL:
        raise NotHere("The demo's own systems need a database: set DEMO_DATABASE_URL.")
    return str(settings.DEMO_DATABASE_URL)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
