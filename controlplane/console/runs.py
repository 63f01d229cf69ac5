"""Runs: the list, and one run with everything it did, what was decided about each call and why. People may stop it here."""

from collections.abc import Sequence
from typing import Any

from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agents import organisations, runs
from agents.models import Call, Run
from approvals import requests, sight
from audit import log, outcomes, tenancy
from budgets import reservations
from controlplane.console import (
    asked,
    frame,
    inspector,
    lists,
    pinned,
    render,
    run_export,
    run_list,
    run_query,
    run_record,
    telling,
    waterfall,
)
from controlplane.console.frame import Place

MOST_CALLS = MOST_STEPS = 200


class ReasonNeeded(outcomes.Refused):
    code = "reason_needed"


class OverAlready(outcomes.Refused):
    code = "already_decided"


@require_safe
@frame.page("runs_view", at="runs")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    """Runs, newest first or sorted. Every filter is in the address."""
    context = run_list.context(request, place)
    fragment = "rows" if request.headers.get("HX-Target") == "rows" else ""
    return render.page(request, "runs/list.html", context, fragment=fragment)


@require_POST
@frame.page("runs_view", at="runs")
def export(request: HttpRequest, place: Place) -> HttpResponseBase:
    """The filtered runs as CSV; the filter is in the address. That they were taken away is entered first."""
    may_read = place.may("runs_read")
    with tenancy.within(place.organisation.id):
        query = run_query.read(request, may_read=may_read)
        if query.problems:
            raise Http404
        log.append("runs.exported", by=place.principal, workspace=place.workspace.id, detail={"filter": query.text, "words": may_read})
    now = timezone.now()
    facts = {"zone": "UTC", "exported": now.isoformat(), "workspace": place.workspace.slug, "filter": query.text, "order": "newest first"}
    return StreamingHttpResponse(
        run_export.pieces(place, query, may_read=may_read, facts=facts),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="runs-{now:%Y%m%dT%H%M%SZ}.csv"', "Cache-Control": "no-store"},
    )


@require_safe
@frame.page("runs_view", at="runs")
def detail(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """One run."""
    return _show(request, place, _get(place, identifier))


@require_safe
@frame.page("runs_view", at="runs")
def report(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """The run on paper: what it was, what it changed outside, and each call with what was decided about it."""
    run = _get(place, identifier)
    calls, changed, record = _record(place, run)
    people = organisations.names([run.agent.owner_id, run.handed_to, run.started_by])
    context = {
        "run": run,
        "record": record,
        "sees_requests": sight.of_run(run, by=place.principal),
        "sentence": telling.sentence(calls[: run_record.MOST_CALLS]),
        "ending": telling.ending(run),
        **_outside(changed),
        "owner": people.get(run.agent.owner_id, run.agent.owner_id),
        "made": timezone.now(),
    }
    return render.page(request, "runs/report.html", context)


@require_safe
@frame.page("runs_view", at="runs")
def download(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """The redacted record of the run as JSON."""
    run = _get(place, identifier)
    return JsonResponse(
        _record(place, run)[-1],
        json_dumps_params={"ensure_ascii": False, "indent": 2},
        headers={"Content-Disposition": f'attachment; filename="run-{run.id}.json"', "Cache-Control": "no-store"},
    )


def _record(place: Place, run: Run) -> tuple[list[Call], list[run_record.Outside], dict[str, Any]]:
    """(its calls and what it changed outside, one more of each than is shown, and the record made of them)."""
    calls, changed = list(runs.calls(run)[: run_record.MOST_CALLS + 1]), run_record.outside(place, run)
    waits = list(requests.of_run(run.id).prefetch_related("votes__member"))
    return calls, changed, run_record.of_run(place, run, calls, waits, changed)


def _outside(changed: Sequence[run_record.Outside]) -> dict[str, Any]:
    most = run_record.MOST_EFFECTS
    return {"outside": changed[:most], "most_effects": most, "more_effects": len(changed) > most}


@require_POST
@frame.page("runs_stop", at="runs")
def stop(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """End the run. What it had waiting is withdrawn, and the agent is told that a person stopped it."""
    reason = request.POST.get("reason", "").strip()[:500]
    try:
        _stop(place, identifier, reason)
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id):
            return _show(request, place, _get(place, identifier), refused=refused, reason=reason)
    return redirect(f"{place.root}/runs/{identifier}")


def _stop(place: Place, identifier: str, reason: str) -> None:
    """Raises ReasonNeeded, or OverAlready when somebody or something ended it before."""
    with tenancy.within(place.organisation.id):
        run = _get(place, identifier)
        organisations.require(place.principal, "runs_stop", run.workspace_id)
        if not reason:
            raise ReasonNeeded("Stopping a run needs a reason: it is kept with the run.", rule="reason", next_step="Say why in a sentence.")
        if not runs.end(by=place.principal, run=run, state=Run.State.STOPPED, summary=reason, event="run.stopped"):
            raise OverAlready("This run was over already.", rule="run state", current=run.state, next_step="Nothing was changed.")


def _get(place: Place, identifier: str) -> Run:
    return frame.found(place, lambda id: runs.get(id, by=place.principal), identifier)


def _show(request: HttpRequest, place: Place, run: Run, *, refused: outcomes.Refused | None = None, reason: str = "") -> HttpResponse:
    calls, further = _calls(request, run)
    waits = list(requests.of_run(run.id))
    now = timezone.now()
    view = _view(request, run)
    chosen = _chosen(run, calls, asked.text(request, "call"))
    ending = telling.ending(run)
    said, said_further = _said(request, run, ending.source if ending else "") if view == "said" else ([], "")
    picture = waterfall.draw(run, calls, waits, now=now)
    people = organisations.names([run.agent.owner_id, run.handed_to, run.started_by])
    context: dict[str, Any] = {
        "run": run,
        "sees_requests": sight.of_run(run, by=place.principal),
        "picture": picture,
        "next": further if view == "calls" else said_further,
        "first": asked.address(request, at="", call="") if request.GET.get("at") else "",
        "view": view,
        "sentence": telling.sentence(calls),
        "ending": ending,
        "kept_tab": asked.text(request, "tab"),
        "owner": people.get(run.agent.owner_id, run.agent.owner_id),
        "handed_to": people.get(run.handed_to, run.handed_to),
        "started_by": people.get(run.started_by, "the agent itself" if run.started_by_kind == "agent" else run.started_by),
        "pinned": pinned.of(run, calls),
        "meters": _meters(run, waterfall.lasted(run, now), waterfall.waited(run, waits, now)),
        "is_over": run.state in Run.OVER,
        "open": next((each for each in waits if each.state == "OPEN"), None),
        "refused": refused.as_dict() if refused else None,
        "reason": reason,
        "chosen": chosen,
        "said": said,
        **_outside(run_record.outside(place, run) if view == "effects" else []),
        "here": asked.address(request),
    }
    if chosen is not None and view == "calls":
        context |= inspector.opened(request, place, run, chosen, waits)
    fragment = "body" if request.headers.get("HX-Target") == "run" else ""
    return render.page(request, "runs/detail.html", context, fragment=fragment, status=render.status_of(refused) if refused else 200)


def _view(request: HttpRequest, run: Run) -> str:
    wanted = asked.text(request, "view")
    if run.is_withheld:
        return "calls"
    return wanted if wanted == "effects" or (wanted == "said" and run.is_hosted) else "calls"


def _calls(request: HttpRequest, run: Run) -> tuple[list[Call], str]:
    """(one page of the run's calls in the order of time, the address of the next)."""
    found = runs.calls(run).order_by("created_at", "id")
    after = lists.below(asked.text(request, "at"))
    if after:
        found = found.filter(Q(created_at__gt=after[0]) | Q(created_at=after[0], id__gt=after[1]))
    rows = list(found[: MOST_CALLS + 1])
    last = rows[MOST_CALLS - 1] if len(rows) > MOST_CALLS else None
    return rows[:MOST_CALLS], asked.address(request, at=lists.packed(last.created_at.isoformat(), last.id), call="") if last else ""


def _said(request: HttpRequest, run: Run, ended: str) -> tuple[list[dict[str, Any]], str]:
    """(one page of what was said, the address of the next)."""
    after = lists.unpacked(asked.text(request, "at"), int)
    rows = list(runs.steps(run).filter(number__gt=after[0] if after and 0 <= after[0] < 2**31 else -1)[: MOST_STEPS + 1])
    last = rows[MOST_STEPS - 1] if len(rows) > MOST_STEPS else None
    said = inspector.conversation(rows[:MOST_STEPS], full=asked.text(request, "full"), ended=ended)
    return said, asked.address(request, at=lists.packed(last.number), full="") if last else ""


def _chosen(run: Run, calls: list[Call], identifier: str) -> Call | None:
    """The call that was asked for, or the one that a reader most likely came for: what waits, what was refused, what was changed."""
    named = next((call for call in calls if call.id == identifier), None)
    if named is None and identifier:
        named = runs.calls(run).filter(id=identifier).first()
    if named or not calls:
        return named
    wanted = (Call.State.HELD, Call.State.IN_DOUBT, Call.State.REFUSED, Call.State.DENIED)
    for state in wanted:
        found = [call for call in calls if call.state == state]
        if found:
            return found[-1]
    return next((call for call in reversed(calls) if call.is_write), calls[-1])


def _meters(run: Run, lasted: float, waited: float) -> list[dict[str, Any]]:
    """What the run used of each of its caps."""
    purse = reservations.balance("run", run.id)
    return [
        {"word": "Steps", "part": run.steps, "whole": run.max_steps},
        {"word": "Tool calls", "part": run.tool_calls, "whole": run.max_tool_calls},
        {"word": "Tokens", "part": run.tokens, "whole": run.max_tokens},
        {"word": "Cost", "part": purse.spent, "whole": run.max_micros, "held": purse.reserved, "unit": "money"},
        {"word": "Working time", "part": max(lasted - waited, 0.0), "whole": run.max_seconds, "unit": "time", "waited": waited},
    ]
