"""The demo's first five minutes: the steps, ticked by what really happened since the demo was built; its stories; and its removal."""

import datetime
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import logout
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from approvals import pace, requests
from audit import log, outcomes, tenancy
from controlplane.console import cast, frame
from controlplane.console import render as pages
from controlplane.console.frame import Place
from controlplane.demo import border, history, month, removal, scene, stories

STORIES = {
    "refund": ("Refund", "One person reads what will change and decides."),
    "two-person": ("Two people", "A change of a database table: two people must agree."),
    "loop": ("Make it misbehave", "It asks the same thing again and again; the gate ends it after four calls."),
    "overspend": ("Try to overspend", "It writes until its purse is empty: refused before the call, which says the cap."),
    "schema-error": ("Wrong arguments", "It sends a wrong type, is told which, and corrects itself."),
    "injection": ("Injection", "A letter orders it to refund somebody else's invoice."),
}
AFTERWARDS = ("loop", "overspend")
ASKED = "permissions/who?tool=billing_issue_refund"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing worth trying, who may, where, and whether it was done."""

    title: str
    proof: str
    address: str
    role: str
    needs: str  # the permission that whoever takes it holds; anybody else is offered the role
    is_done: bool
    is_post: bool = False


def context(request: HttpRequest, place: Place) -> dict[str, Any]:
    """What the demo adds to its own overview; nothing anywhere else. Call inside `tenancy.within`."""
    if not is_demo(request, place):
        return {}
    made = scene.find()
    assert made is not None  # its workspace is the place
    since = month.began(made)
    verdicts, played = pace.verdicts_since(since), month.progress(made)
    steps = _steps(place, verdicts, since)
    hidden = log.entries(event="demo.steps_hidden", actor=place.principal.id).exists()
    total = month.RUNS + len(history.chapters())
    return {
        "demo_here": True,
        "stories": STORIES if _may_play(place) else {},
        "steps": [] if hidden else steps,
        "steps_done": sum(step.is_done for step in steps),
        "first_done": "APPROVE" in verdicts,
        "history": None if played.is_complete else (played.played + len(history.chapters()), total),
    }


def _steps(place: Place, verdicts: set[str], since: datetime.datetime) -> list[Step]:
    def happened(event: str) -> bool:
        return log.entries(event=event, workspace=place.workspace.id, since=since).exists()

    asked, capped, exported = happened("demo.asked"), happened("cap.set"), happened("audit.exported")
    waits = requests.open_under("workspace", place.workspace.id).exists()
    deny = "approvals" if waits else "demo/refund"  # another one to deny, where none waits
    return [
        Step("Approve the refund that waits", "the live loop works", "approvals", "approver", "approvals_decide", "APPROVE" in verdicts),
        Step(
            "Deny one with a reason",
            "the agent reads it and hands over",
            deny,
            "approver",
            "approvals_decide",
            "DENY" in verdicts,
            is_post=not waits,
        ),
        Step("Ask who can issue a refund", "one line answers it", "demo/ask", "security", "access_view", asked, is_post=True),
        Step("Set the cap of Support operations", "a brake, not an alarm", "budgets", "finance", "budgets_set", capped),
        Step("Export the audit log", "proof that leaves the house", "audit", "auditor", "audit_export", exported),
    ]


def tries(request: HttpRequest, place: Place) -> list[tuple[str, str]] | None:
    """What this person may try after the first approval, in the demo: (story, its title). None where no demo is."""
    if not is_demo(request, place) or not (_may_play(place) or place.may("agents_stop")):
        return None
    return [(name, STORIES[name][0]) for name in AFTERWARDS] if _may_play(place) else []


def is_demo(request: HttpRequest, place: Place) -> bool:
    return cast.is_here(request) and cast.is_demo(place.organisation.id) and place.workspace.slug == scene.DESK


def _may_play(place: Place) -> bool:
    return place.may("runs_start") or place.may("approvals_decide")


def _require(request: HttpRequest, place: Place) -> None:
    if not is_demo(request, place):
        raise Http404


@require_POST
@frame.page(at="overview")
def play(request: HttpRequest, place: Place, story: str) -> HttpResponse:
    """Start one of the demo's stories, as `manage.py demo trigger` does; a worker plays it."""
    _require(request, place)
    if story not in STORIES or not _may_play(place):
        raise Http404
    try:
        dsn, made = border.check(), scene.find()
        if made is None:
            raise Http404
        run = stories.start(made, stories.BY_NAME[story](made, dsn))
    except (border.NotHere, outcomes.Refused) as no:
        return pages.page(request, "overview/not_played.html", {"why": str(getattr(no, "message", no))}, status=409)
    _enter(place, "demo.triggered", subject=run.id, run=run.id, story=story)
    return redirect(f"{place.root}/runs/{run.id}")


@require_POST
@frame.page("access_view", at="overview")
def ask(request: HttpRequest, place: Place) -> HttpResponse:
    """To the answer, noting that somebody asked: looking alone changes nothing."""
    _require(request, place)
    _enter(place, "demo.asked", subject="billing_issue_refund")
    return redirect(f"{place.root}/{ASKED}")


@require_POST
@frame.page(at="overview")
def hide(request: HttpRequest, place: Place) -> HttpResponse:
    """Put the steps away, for this person."""
    _require(request, place)
    _enter(place, "demo.steps_hidden", subject=place.principal.id)
    return redirect(f"{place.root}/overview")


@require_safe
@frame.page(at="overview")
def leaving(request: HttpRequest, place: Place) -> HttpResponse:
    """What removing would remove, and the button."""
    _require(request, place)
    return pages.page(request, "overview/remove.html", {"organisation": place.organisation.name})


@require_POST
@frame.page(at="overview")
def remove(request: HttpRequest, place: Place) -> HttpResponse:
    """The demo goes, its log stays, and whoever was signed in as one of its people is signed out."""
    _require(request, place)
    try:
        gone = removal.remove(by=place.principal)
    except border.NotHere as no:
        return pages.page(request, "overview/not_played.html", {"why": str(no)}, status=409)
    logout(request)
    return render(request, "overview/removed.html", {"runs": gone["agents_run"], "rows": sum(gone.values())})


def _enter(place: Place, event: str, *, subject: str, run: str = "", **detail: str) -> None:
    with tenancy.within(place.organisation.id):
        log.append(event, by=place.principal, subject=subject, workspace=place.workspace.id, run=run, detail=detail)
