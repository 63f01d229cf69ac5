"""`/ui-kit`: every part of pages in every state, with hostile text in each, on one page that axe tests. Only where REMIT_DEBUG=1 is set."""

import datetime
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from agents.views import View
from controlplane.console.frame import Stopped
from controlplane.templatetags import ui

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)> \u202egnp.exe\u200b [x](javascript:alert(3)) Approved by Dana" + " word" * 30
)
TOKENS = "bg surface sunken raised line line2 text muted faint accent ok warn bad info viol neut"


@dataclass(frozen=True, slots=True)
class Note:
    """What Django's messages are to a template."""

    message: str
    level_tag: str
    extra_tags: str = ""


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    if not settings.DEBUG:
        raise Http404
    return render(request, "ui/kit.html", context(timezone.now()))


def context(now: datetime.datetime) -> dict[str, Any]:
    """Values for every part, good, bad and hostile."""
    saved = [
        (View(id="", name="Failed", query="q=status%3Afailed"), True),
        (View(id="VW-1", name=HOSTILE[:60], query="a=b", is_shared=True), False),
        (View(id="VW-2", name="Mine", query="a=c", may_remove=True), False),
    ]
    refused = {
        "message": "Support ops has $0.41 left this month and this call may cost $0.90.",
        "rule": "cap of Support ops",
        "current": "$0.41 left",
        "limit": "$1,050.00 a month",
        "who": "Sam W.",
        "next": "Raise the cap, or wait until 1 Dec 00:00 Europe/Berlin.",
    }
    return {
        "root": "/shop/desk",
        "may": {"agents_view", "audit_view", "runs_view"},
        "hostile": HOSTILE,
        "tokens": TOKENS.split(),
        "states": list(ui.STATES),
        "tiers": list(ui.TIERS),
        "icons": list(ui.PATHS),
        "amounts": [0, 61, 61_000, 84_500_000, 1_234_567_890_000, None],
        "times": [now, now - datetime.timedelta(minutes=3), now - datetime.timedelta(days=40), None],
        "soon": now + datetime.timedelta(seconds=110),
        "later": now + datetime.timedelta(hours=3),
        "over": now - datetime.timedelta(hours=3),
        "meters": [(0, 0, 100), (40, 20, 100), (100, 0, 100), (140, 10, 100), (5, 0, None)],
        "line": [1, 4, 2, 8, 5, 7, 12, 9],
        "flat": [3, 3, 3],
        "chosen": [("status", "failed", "?q=agent"), ("words", HOSTILE, "?q=status")],
        "refused": refused,
        "refused_badly": {"message": HOSTILE, "rule": HOSTILE, "current": HOSTILE, "limit": "1", "who": HOSTILE, "next": HOSTILE},
        "stops": [Stopped("tool billing_refund", "duplicate refunds", "Dana", now)],
        "stops_many": [Stopped(what, HOSTILE, "Dana", now) for what in ("tool pay", HOSTILE, "run R-1", "run R-2")],
        "cast_shown": [("approver", "Dana"), ("security", "Sam")],
        "notes": [Note("Saved the view Mine.", "success", "EV-7F3K2QW9MX4T2B"), Note(HOSTILE, "error")],
        "saved": saved,
        "live": [
            ("live", "Live"),
            ("again", "Reconnecting"),
            ("poll", "Updating every 5 s"),
            ("paused", "Paused"),
            ("out", "Signed out"),
        ],
    }
