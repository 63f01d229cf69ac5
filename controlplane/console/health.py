"""System health: what readyz and doctor ask, in words, with the command that helps; the work that waits; the version."""

from django.conf import settings
from django.db import DatabaseError, transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from controlplane import outbox, probes
from controlplane.console import frame, render
from controlplane.console.frame import Place

# What each probe is about, for people who did not build the product. `web` is left out: this page was served.
ABOUT = {
    "database role": "Row-level security binds the application",
    "migrations": "The tables fit this version",
    "isolation": "No organisation can see another's rows",
    "partitions": "Next month's tables are ready",
    "clock": "This machine and the database agree on the time",
    "work": "Workers do what is due",
    "sweep": "Periodic work has a leader",
    "redis": "Pages hear of changes at once",
    "static files": "Styles and scripts are there",
    "disk": "There is room for files",
}


@require_GET
@frame.page("audit_view", at="health")
def show(request: HttpRequest, place: Place) -> HttpResponse:
    """Every probe, asked while the page is made."""
    found = [_asked(name) for name in probes.OF_THE_DATABASE]
    found += [_told(probes.OF_THE_REST[name]()) for name in ("redis", "static files", "disk")]
    try:
        with transaction.atomic():
            work = outbox.waiting()
    except DatabaseError:
        work = None
    failing = [one for one in found if not one.is_ok]
    state = "DOWN" if any(one.is_fatal for one in failing) else "DEGRADED" if failing else "WELL"
    context = {
        "rows": [(ABOUT.get(one.name, one.name), one) for one in found],
        "failing": failing,
        "state": state,
        "work": work,
        "now": timezone.now(),
        "release": settings.VERSION,
        "demo_mode": settings.DEMO,
    }
    return render.page(request, "health/show.html", context, fragment="health" if request.headers.get("HX-Target") == "health" else "")


def _asked(name: str) -> probes.Finding:
    """In a savepoint: a probe that fails must not take the page's transaction with it."""
    try:
        with transaction.atomic():
            return _told(probes.OF_THE_DATABASE[name]())
    except DatabaseError:
        return probes.ill(name, "the database could not be asked", "check DATABASE_URL, and that PostgreSQL runs; then: make migrate")


def _told(finding: probes.Finding) -> probes.Finding:
    """Whoever reads this page is a member, not always who runs the machine: paths stay out of it."""
    if finding.name in {"static files", "disk"} and finding.is_ok:
        return probes.well(finding.name, finding.says.split(" at /")[0].split(" in /")[0])
    return finding
