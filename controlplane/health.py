"""What machines ask a web process: whether it lives, whether it can serve, and how it has been. No answer says anything of a tenant."""

import hmac
import ipaddress
import logging
from collections.abc import Iterable

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from controlplane import metering, outbox, probes

logger = logging.getLogger(__name__)
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_FORWARDED")


@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """This process takes requests. Asks nobody else: restarting it would not mend a database."""
    return _answer({"status": "alive"})


@require_safe
def readyz(_request: HttpRequest) -> HttpResponse:
    """It can serve: 200 when it can, if need be without Redis ("degraded"), 503 and why when it cannot."""
    asked = {"database role": probes.role, "migrations": probes.migrations, "work": probes.backlog}
    found = [probes.asked(name, probe) for name, probe in asked.items()] + [probes.broker()]
    failing = [one for one in found if not one.is_ok]
    status = "unready" if any(one.is_fatal for one in failing) else "degraded" if failing else "ready"
    for one in failing:
        logger.warning("not as it should be", extra={"probe": one.name, "found": one.says})
    body: dict[str, object] = {"status": status, "checks": {one.name: "ok" if one.is_ok else _aloud(one) for one in found}}
    return _answer(body | _oldest(), status=503 if status == "unready" else 200)


def _aloud(finding: probes.Finding) -> str:
    """Anyone may ask, so an address or a user name that PostgreSQL mentions stays in the log."""
    return "the database could not be asked" if finding.says.startswith("the database could not be asked") else finding.says


def _oldest() -> dict[str, object]:
    try:
        waiting = outbox.waiting()
    except DatabaseError:
        return {}
    return {"work": {"due": int(waiting["due"]), "leased": int(waiting["leased"]), "oldest_s": round(waiting["oldest_s"], 1)}}


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus text of this process and of the installation, for this machine or REMIT_METRICS_TOKEN; to others it does not exist."""
    if not _may_measure(request):
        return HttpResponse(status=404)
    return HttpResponse(generate_latest(metering.REGISTRY), content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


def _may_measure(request: HttpRequest) -> bool:
    token = str(getattr(settings, "METRICS_TOKEN", ""))
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if token and scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode()):
        return True
    # Behind a proxy on this machine everybody comes from loopback; what was forwarded did not begin here.
    if any(name in request.META for name in FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def _answer(body: dict[str, object], *, status: int = 200) -> HttpResponse:
    return JsonResponse(body, status=status, headers={"Cache-Control": "no-store"})


class Installation(Collector):
    """What stands in the database, counted when somebody asks. Only what is unfinished: that grows when something is wrong."""

    def collect(self) -> Iterable[Metric]:
        try:
            yield from _counts()
        except DatabaseError:
            logger.warning("the database could not be counted")

    def describe(self) -> Iterable[Metric]:
        return []  # nothing is asked of the database when this module is imported


def _counts() -> Iterable[Metric]:
    waiting = outbox.waiting()
    for name, what in (
        ("due", "Work that is due and that nobody does"),
        ("leased", "Work under way"),
        ("oldest_s", "Age of the oldest work that is due, seconds"),
    ):
        yield GaugeMetricFamily(f"remit_work_{name.replace('oldest_s', 'oldest_seconds')}", what, value=waiting[name])
    families = {
        "call": GaugeMetricFamily("remit_calls_unfinished", "Calls that are not over, by state", labels=["state", "kind"]),
        "run": GaugeMetricFamily("remit_runs_unfinished", "Runs that are not over, by state", labels=["state", "kind"]),
        "request": GaugeMetricFamily("remit_requests_open", "Requests that wait for people", labels=["state", "kind"]),
        "effect": GaugeMetricFamily("remit_effects_unsettled", "Effects whose outcome is not known", labels=["state", "kind"]),
    }
    with connection.cursor() as cursor:
        cursor.execute("select to_regprocedure('installation_counts()') is not null")
        if cursor.fetchone()[0]:
            cursor.execute("select what, state, kind, number from installation_counts()")
            for what, state, kind, number in cursor.fetchall():
                families[what].add_metric([state, kind], number)
    yield from families.values()


metering.REGISTRY.register(Installation())
