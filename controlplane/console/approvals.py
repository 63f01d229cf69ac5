"""Approvals: the inbox, one request, and everything that a person may answer. Every act is a form; a refusal is said on the page."""

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agents import tools
from approvals import batches, deadlines, denials, ends, inbox, remarks, requests, rules, stances
from approvals.models import Request
from audit import ids, outcomes, tenancy
from controlplane import deciding, guard
from controlplane.console import asked, case, first_steps, frame, onlookers, render, request_list, together
from controlplane.console.frame import Place

Act = Callable[[HttpRequest, Place, Request], object]


@require_safe
@frame.page("approvals_view", at="approvals")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    """The list, on wide screens with the first request that needs this person beside it."""
    return _show(request, place, None)


@require_safe
@frame.page("approvals_view", at="approvals")
def detail(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """One request."""
    return _show(request, place, _get(place, identifier))


def _vote(request: HttpRequest, place: Place, opened: Request) -> object:
    """Approve or deny the plan whose digest the page showed."""
    given = request.POST
    verdict = given.get("verdict", "")
    if verdict == "APPROVE":
        guard.require_fresh(request, required=opened.required)
    scope = denials.scope_of(given.get("scope", denials.CALL), ends_run=given.get("then") == "end")
    reason = given.get("comment", "") if verdict == "APPROVE" else _reason(given)
    by, digest = place.principal, given.get("plan", "")
    return deciding.vote(by=by, request_id=opened.id, verdict=verdict, plan_digest=digest, reason=reason, denial=scope)


def _reason(given: QueryDict) -> str:
    """Why, as the form of a denial says it: what was chosen, and what was typed."""
    return ": ".join(part for part in (given.get("chip", ""), given.get("reason", "").strip()) if part)


def _send_back(request: HttpRequest, place: Place, opened: Request) -> object:
    given = request.POST
    hint = ends.Hint(given.get("field", ""), given.get("expected", ""), given.get("note", ""))
    return ends.send_back(by=place.principal, request_id=opened.id, plan_digest=given.get("plan", ""), hint=hint)


def _extend(_request: HttpRequest, place: Place, opened: Request) -> object:
    return deadlines.extend(by=place.principal, request_id=opened.id)


def _claim(_request: HttpRequest, place: Place, opened: Request) -> object:
    return stances.claim(by=place.principal, request_id=opened.id)


def _unclaim(_request: HttpRequest, place: Place, opened: Request) -> object:
    return stances.unclaim(by=place.principal, request_id=opened.id)


def _hand_over(request: HttpRequest, place: Place, opened: Request) -> object:
    return stances.hand_over(by=place.principal, request_id=opened.id, to=request.POST.get("to", ""))


def _snooze(request: HttpRequest, place: Place, opened: Request) -> object:
    return stances.snooze(by=place.principal, request_id=opened.id, length=request.POST.get("length", ""))


def _wake(_request: HttpRequest, place: Place, opened: Request) -> object:
    return stances.wake(by=place.principal, request_id=opened.id)


def _check(_request: HttpRequest, place: Place, opened: Request) -> object:
    return deciding.check(by=place.principal, request_id=opened.id)


def _comment(request: HttpRequest, place: Place, opened: Request) -> object:
    return remarks.comment(by=place.principal, request_id=opened.id, text=request.POST.get("text", ""))


def _withdraw(request: HttpRequest, place: Place, opened: Request) -> object:
    return ends.withdraw(by=place.principal, request_id=opened.id, reason=request.POST.get("why", ""))


def _lift(request: HttpRequest, place: Place, _opened: Request) -> object:
    return denials.lift(by=place.principal, denial_id=request.POST.get("denial", "")[:80])


ACTS: dict[str, Act] = {
    "vote": _vote,
    "send-back": _send_back,
    "claim": _claim,
    "unclaim": _unclaim,
    "hand-over": _hand_over,
    "snooze": _snooze,
    "wake": _wake,
    "extend": _extend,
    "check": _check,
    "comment": _comment,
    "withdraw": _withdraw,
    "lift": _lift,
}


@require_POST
@frame.page("approvals_view", at="approvals")
def act(request: HttpRequest, place: Place, identifier: str, verb: str) -> HttpResponse:
    """One act on one request. What was typed is not lost when it is refused."""
    if verb not in ACTS:
        raise Http404
    with tenancy.within(place.organisation.id, read_only=True):
        opened = _get(place, identifier)
    try:
        ACTS[verb](request, place, opened)
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id, read_only=True):
            return _show(request, place, _get(place, identifier), refused=refused, verb=verb)
    return redirect(_next(request, place, identifier, verb))


@require_http_methods(["GET", "POST"])
@frame.page("policies_propose", at="approvals")
def rule(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """The narrowest rule that would have let this pass, what it would have done in 30 days, and the button that approves and proposes."""
    if request.method == "GET":
        return _rule(request, place, identifier)
    given, refused = request.POST, None
    try:
        with tenancy.within(place.organisation.id, read_only=True):
            guard.require_fresh(request, required=_get(place, identifier).required)
        limit, until = _limit(given.get("limit", "")), asked.a_day(given.get("until", ""))
        comment, digest = given.get("comment", "")[:500], given.get("plan", "")
        deciding.approve_and_propose(
            by=place.principal, request_id=identifier, plan_digest=digest, limit=limit, until=until, comment=comment
        )
    except outcomes.Refused as no:
        refused = no
    if refused is not None:
        with tenancy.within(place.organisation.id, read_only=True):
            return _rule(request, place, identifier, refused=refused)
    return redirect(f"{place.root}/approvals/{identifier}")


def _limit(text: str) -> int | None:
    """A whole number as typed; None for none, and -1, which no rule allows, for what is no number."""
    text = text.strip()
    if not text:
        return None
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else -1


def _rule(request: HttpRequest, place: Place, identifier: str, *, refused: outcomes.Refused | None = None) -> HttpResponse:
    opened = _get(place, identifier)
    tool = tools.version(opened.organisation_id, opened.tool_version_id)
    given = request.POST if request.method == "POST" else request.GET
    context: dict[str, Any] = {"opened": opened, "plan": opened.plan, "tool": tool, "refused": refused.as_dict() if refused else None}
    context |= {"why_not": rules.why_not(opened, tool), "number": rules.number(opened, tool), "given": given}
    try:
        found = rules.draft(opened, tool, limit=_limit(given.get("limit", "")), until=asked.a_day(given.get("until", "")))
        context |= {"draft": found, "test": rules.back_test(opened, found)}
    except outcomes.Refused as no:
        context["problem"] = no.as_dict()
    return render.page(request, "approvals/rule.html", context, status=render.status_of(refused) if refused else 200)


def _next(request: HttpRequest, place: Place, identifier: str, verb: str) -> str:
    """Where a person goes on: at the record, or at the next request that needs them when they asked for that."""
    kept = request_list.kept(request)
    if verb in {"vote", "send-back", "snooze"} and kept.get("on") == "next":
        with tenancy.within(place.organisation.id, read_only=True):
            following = _following(request, place, identifier)
        identifier, kept = (following.id, {**kept, "done": identifier}) if following else (identifier, kept)
    return f"{place.root}/approvals/{identifier}" + (f"?{urlencode(kept)}" if kept else "")


def _following(request: HttpRequest, place: Place, identifier: str) -> Request | None:
    """The most urgent request that needs this person, other than this one."""
    found = request_list.narrow(request).of(inbox.tab("mine", by=place.principal, workspace=place.workspace.id))
    return inbox.by_urgency(found, requests.database_now()).exclude(id=identifier).first()


def _get(place: Place, identifier: str) -> Request:
    return frame.found(place, lambda id: requests.get(id, by=place.principal), identifier)


def _show(
    request: HttpRequest, place: Place, opened: Request | None, *, refused: outcomes.Refused | None = None, verb: str = ""
) -> HttpResponse:
    target = _target(request)
    context: dict[str, Any] = {
        "has_detail": opened is not None,
        "refused": refused.as_dict() if refused else None,
        "verb": verb,
        "given": request.POST,
        "after": "next" if request.GET.get("on") == "next" else "",
    }
    status = render.status_of(refused) if refused else 200
    if target != "detail":
        context |= request_list.of(request, place)
    if opened is None and target == "" and context["tab"] == "mine" and context["rows"]:
        opened = requests.get(context["rows"][0].id, by=place.principal)
    if opened is not None and target != "list":
        seen = request.POST.get("plan", "")[:128] if refused else asked.text(request, "seen", longest=128)
        context |= case.facts(place, opened, view=asked.text(request, "view"), seen=seen, fresh=guard.is_fresh(request))
        kept, view = request_list.kept(request), request.GET.get("view")
        context |= {
            "query": urlencode({**kept, "view": view} if view else kept),
            "view_query": urlencode(kept),
            "tries": first_steps.tries(request, place),
            "unfolded": request.GET.get("unchanged") == "1",
            "next_one": _following(request, place, opened.id) if opened.state != Request.State.OPEN else None,
        }
    onlookers.mark(place, [*context.get("rows", ()), *([opened] if opened else ())])
    context["opened_id"] = opened.id if opened else asked.text(request, "at")
    return render.page(request, "approvals/inbox.html", context, fragment=target if target in {"list", "detail"} else "", status=status)


def _target(request: HttpRequest) -> str:
    """The part of the page that is asked for by itself, or nothing."""
    return request.headers.get("HX-Target", "") if request.headers.get("HX-Request") == "true" else ""


# Identical requests, decided together -------------------------------------------------------------------------------------


@require_safe
@frame.page("approvals_decide", at="approvals")
def batch(request: HttpRequest, place: Place, key: str) -> HttpResponse:
    """Identical requests beside each other, and what became of those that were decided."""
    return _show_batch(request, place, key)


@require_POST
@frame.page("approvals_decide", at="approvals")
def decide(request: HttpRequest, place: Place, key: str) -> HttpResponse:
    """One verdict on each that was chosen, for the plan that the page showed. One that cannot be decided loses none of the others."""
    given = request.POST
    read = dict(each.partition("~")[::2] for each in given.getlist("plan"))
    ballots = [deciding.Ballot(one[:80], read.get(one, "")[:128]) for one in dict.fromkeys(given.getlist("chosen"))]
    verdict, reason = given.get("verdict", ""), _reason(given)
    try:
        deciding.batch(by=place.principal, workspace=place.workspace.id, key=key, ballots=ballots, verdict=verdict, reason=reason)
    except outcomes.Refused as no:
        refused = no
    else:
        done = ".".join(together.mark(ballot.request_id, ballot.plan_digest) for ballot in ballots)
        return redirect(f"{place.root}/approvals/together/{key}?{urlencode({**request_list.kept(request), 'done': done})}")
    with tenancy.within(place.organisation.id, read_only=True):
        return _show_batch(request, place, key, refused=refused)


def _show_batch(request: HttpRequest, place: Place, key: str, *, refused: outcomes.Refused | None = None) -> HttpResponse:
    if ids.prefix_of(key) != "B":
        raise Http404
    target, kept = _target(request), request_list.kept(request)
    context: dict[str, Any] = {"has_detail": True, "key": key, "opened_id": key, "query": urlencode(kept), "given": request.POST}
    context |= {"refused": refused.as_dict() if refused else None, "after": kept.get("on", "")}
    if target != "detail":
        context |= request_list.of(request, place)
        onlookers.mark(place, context["rows"])
    if target != "list":
        done = asked.text(request, "done", longest=40 * batches.MOST)
        context |= together.facts(place, key, request_list.narrow(request), chosen=request.POST.getlist("chosen") if refused else None)
        context |= {"results": together.results(place, done), "done": done}
        context["next_one"] = None if context["members"] else _following(request, place, "")
    status = render.status_of(refused) if refused else 200
    return render.page(request, "approvals/inbox.html", context, fragment=target if target in {"list", "detail"} else "", status=status)
