"""System health: what readyz and doctor ask, in words, with the command that helps; the work that waits; how this process answers."""

from collections.abc import Callable
from typing import TypeVar

from django.conf import settings
from django.db import DatabaseError, transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from controlplane import outbox, probes, vitals
from controlplane.console import frame, render
from controlplane.console.frame import Place

Found = TypeVar("Found")
# What each probe is about, for people who did not build the product. `web` is left out: this page was served.
ABOUT = {
    "database role": "Row-level security binds the application",
    "migrations": "The tables fit this version",
    "isolation": "No organisation can see another's rows",
    "partitions": "Next month's tables are ready",
    "clock": "This machine and the database agree on the time",
    "work": "Workers do what is due",
    "workers": "Somebody listens for work",
    "sweep": "Periodic work has a leader",
    "redis": "Pages hear of changes at once",
    "static files": "Styles and scripts are there",
    "disk": "There is room for files",
}
# What a failing probe means for people, said plainly.
MEANS = {
    "database role": "Isolation is not guaranteed: stop the web processes until it is mended.",
    "migrations": "Some pages and calls may fail until the tables are brought up to date.",
    "isolation": "An organisation might see another's rows: stop the web processes until it is mended.",
    "partitions": "Entries are kept, but slower to find.",
    "clock": "Leases, expiries and day ends may come early or late.",
    "work": "Approved calls wait before they are sent; nothing is lost.",
    "workers": "Approved calls and hosted runs wait until a worker starts; governed reads go on.",
    "sweep": "Open pages are not told of changes; they ask by themselves every 5 s.",
    "redis": "Pages are not told of changes at once and work waits up to a second; calls go on.",
    "static files": "Pages may look plain.",
    "disk": "Files and logs may not be written soon.",
}
KINDS = {
    "run.advance": "Hosted runs to advance",
    "call.resume": "Decided calls to send",
    "call.recover": "Calls left behind",
    "effect.reconcile": "Effects to settle",
    "request.expire": "Requests that will expire",
    "request.wake": "Snoozed requests that will come back",
    "stop.end": "Stops that will end",
    "seat.end": "Roles that will end",
    "sums.make": "Sums of spending to be made anew",
}


@require_safe
@frame.page("audit_all", at="health")
def show(request: HttpRequest, place: Place) -> HttpResponse:
    """Every probe, asked while the page is made."""
    found = [_asked(name) for name in probes.OF_THE_DATABASE]
    base = _or_none(vitals.database)
    found.append(_workers(base))
    found += [_told(probes.OF_THE_REST[name]()) for name in ("redis", "static files", "disk")]
    failing = [one for one in found if not one.is_ok]
    state = "DOWN" if any(one.is_fatal for one in failing) else "DEGRADED" if failing else "WELL"
    context = {
        "rows": [(ABOUT.get(one.name, one.name), one) for one in found],
        "failing": [(one, MEANS.get(one.name, "")) for one in failing],
        "state": state,
        "work": _or_none(outbox.waiting),
        "base": base,
        "queues": [(KINDS.get(queue.kind, queue.kind), queue) for queue in _or_none(lambda: vitals.queues(place.organisation.id)) or []],
        "doors": vitals.doors(),
        "sockets": vitals.sockets(),
        "enough": vitals.ENOUGH,
        "up_s": timezone.now().timestamp() - vitals.BEGAN,
        "now": timezone.now(),
        "release": settings.VERSION,
        "demo_mode": settings.DEMO,
    }
    return render.page(request, "health/show.html", context, fragment="health" if request.headers.get("HX-Target") == "health" else "")


def _workers(base: vitals.Database | None) -> probes.Finding:
    fix = "celery -A controlplane.celery worker --pool threads; and read its log"
    if base is None:
        return probes.ill("workers", "the database could not be asked", fix, is_fatal=False)
    if base.workers == 0:
        return probes.ill("workers", "no worker listens for work", fix, is_fatal=False)
    return probes.well("workers", f"{base.workers} worker process{'es' if base.workers > 1 else ''} listening")


def _or_none(ask: Callable[[], Found]) -> Found | None:
    """In a savepoint: a question that fails must not take the page's transaction with it."""
    try:
        with transaction.atomic():
            return ask()
    except DatabaseError:
        return None


def _asked(name: str) -> probes.Finding:
    found = _or_none(lambda: _told(probes.OF_THE_DATABASE[name]()))
    return found or probes.ill(name, "the database could not be asked", "check DATABASE_URL, and that PostgreSQL runs; then: make migrate")


def _told(finding: probes.Finding) -> probes.Finding:
    """Whoever reads this page is a member, not always who runs the machine: paths stay out of it."""
    if finding.name in {"static files", "disk"} and finding.is_ok:
        return probes.well(finding.name, finding.says.split(" at /")[0].split(" in /")[0])
    return finding
