"""Django system checks: `manage.py check` refuses what is never right, `manage.py check --deploy` what is not right for customers."""

import ipaddress
import os
import urllib.parse
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from controlplane import probes

LEAST_KEY, LEAST_VARIETY = 50, 10


def is_local(host: str) -> bool:
    """Whether only this machine can mean it."""
    name = host.strip("[]").partition("%")[0]
    if name in {"localhost", "testserver"} or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _hosts() -> list[str]:
    """Everywhere this installation says it can be reached."""
    return [*settings.ALLOWED_HOSTS, urllib.parse.urlsplit(settings.PUBLIC_URL).hostname or ""]


@register()
def demo_stays_at_home(app_configs: Any, **_kwargs: Any) -> list[CheckMessage]:
    """The demo signs in whoever holds a link."""
    away = [host for host in _hosts() if not is_local(host)]
    if settings.DEMO and away:
        return [
            Error(
                f"REMIT_DEMO is on and this installation can be reached as {away[0]}.",
                hint="Unset REMIT_DEMO, or serve 127.0.0.1 only.",
                id="remit.E001",
            )
        ]
    if settings.DEBUG and away:
        return [
            Error(
                f"REMIT_DEBUG is on and this installation can be reached as {away[0]}.",
                hint="Unset REMIT_DEBUG: its error pages show settings.",
                id="remit.E002",
            )
        ]
    return []


@register()
def lease_outlives_a_heartbeat(app_configs: Any, **_kwargs: Any) -> list[CheckMessage]:
    """A lease is extended four times in its life, and a second is what a busy machine may be late."""
    if settings.LEASE_SECONDS < 2:
        return [
            Error(
                f"REMIT_LEASE_SECONDS is {settings.LEASE_SECONDS}: a slow heartbeat would lose work under way.",
                hint="Use 4, or at least 2.",
                id="remit.E003",
            )
        ]
    return []


@register(deploy=True)
def secrets_are_secret(app_configs: Any, **_kwargs: Any) -> list[CheckMessage]:
    """The key signs sessions, peppers API keys and seals payloads; a guess at it opens everything."""
    return [*_about_the_key(), *_about_the_environment(), *_about_redis()]


def _about_the_key() -> Iterator[CheckMessage]:
    key = str(settings.SECRET_KEY)
    if len(key) < LEAST_KEY or len(set(key)) < LEAST_VARIETY:
        hint = "python -c 'import secrets; print(secrets.token_urlsafe(64))' > secret_key, and REMIT_SECRET_KEY_FILE=secret_key"
        yield Error(
            f"REMIT_SECRET_KEY has {len(key)} characters, {len(set(key))} different ones; {LEAST_KEY} and {LEAST_VARIETY} are the least.",
            hint=hint,
            id="remit.E004",
        )


def _about_the_environment() -> Iterator[CheckMessage]:
    if settings.DATABASE_OWNER_URL and os.environ.get("REMIT_ROLE") != "owner":
        yield Warning(
            "DATABASE_OWNER_URL is set here. Whoever takes over this process could change tables and switch row-level security off.",
            hint="Give it to the migration job only.",
            id="remit.W005",
        )
    if settings.DEMO_DATABASE_URL and not settings.DEMO:
        yield Warning("DEMO_DATABASE_URL is set and the demo is off.", hint="Unset it.", id="remit.W006")


def _about_redis() -> Iterator[CheckMessage]:
    parts = urllib.parse.urlsplit(settings.REDIS_URL)
    if parts.scheme in {"redis", "rediss"} and not parts.password and not is_local(parts.hostname or "localhost"):
        yield Warning(
            f"Redis at {parts.hostname} is used without a password.",
            hint="It carries hints only, but let nobody else ring: requirepass, or an ACL user.",
            id="remit.W007",
        )


@register(deploy=True)
def reached_by_https(app_configs: Any, **_kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not settings.SECURE:
        found.append(
            Error(
                f"REMIT_PUBLIC_URL is {settings.PUBLIC_URL}: sessions and keys would travel in the clear.",
                hint="Serve https and name it in REMIT_PUBLIC_URL.",
                id="remit.E008",
            )
        )
    elif settings.SECURE_PROXY_SSL_HEADER is None:
        hint = "REMIT_BEHIND_PROXY=1, and let the proxy set X-Forwarded-Proto itself; see deploy/nginx.conf."
        found.append(
            Error(
                "REMIT_PUBLIC_URL is https, and REMIT_BEHIND_PROXY is not set: every request would be redirected to itself.",
                hint=hint,
                id="remit.E009",
            )
        )
    if "*" in settings.ALLOWED_HOSTS:
        found.append(Error("REMIT_HOSTS allows any host.", hint="Name the hosts.", id="remit.E010"))
    if (urllib.parse.urlsplit(settings.PUBLIC_URL).hostname or "") not in settings.ALLOWED_HOSTS:
        found.append(Error(f"REMIT_HOSTS does not contain the host of {settings.PUBLIC_URL}.", hint="Add it.", id="remit.E011"))
    return found


@register(deploy=True)
def database_holds_the_boundary(app_configs: Any, **_kwargs: Any) -> list[CheckMessage]:
    """The role must not be able to step round row-level security, and every tenant table must be under it."""
    if os.environ.get("REMIT_ROLE") == "owner":
        return []  # this is the migration job
    found = [
        probes.asked(name, probe)
        for name, probe in (("database role", probes.role), ("migrations", probes.migrations), ("isolation", probes.isolation))
    ]
    return [Error(f"{one.name}: {one.says}", hint=one.fix, id="remit.E012") for one in found if not one.is_ok]
