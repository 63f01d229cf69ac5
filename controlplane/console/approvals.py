"""Approvals: the inbox, one request, and everything that a person may answer. Every act is a form; a refusal is said on the page."""

import datetime
from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agents import contracts, tools
from approvals import deadlines, denials, ends, inbox, remarks, requests, rules, stances
from approvals.models import Request
from audit import outcomes, tenancy
from controlplane import deciding, guard
from controlplane.console import asked, case, first_steps, frame, lists, onlookers, render
from controlplane.console.frame import Place
from controlplane.templatetags import approvals as filters
from controlplane.templatetags import ui

SHOWN, MOST_KEPT = 30, 60
TIERS = {name: ui.tier_word(name) for name in ("ONE", "TWO")}
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
    reason = ": ".join(part for part in (given.get("chip", ""), given.get("reason", "").strip()) if part)
    scope = denials.scope_of(given.get("scope", denials.CALL), ends_run=given.get("then") == "end")
    reason = given.get("comment", "") if verdict == "APPROVE" else reason
    by, digest = place.principal, given.get("plan", "")
    return deciding.vote(by=by, request_id=opened.id, verdict=verdict, plan_digest=digest, reason=reason, denial=scope)


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
    kept = {name: str(request.GET[name]) for name in (*_FILTERS, "tab", "on") if request.GET.get(name)}
    if verb in {"vote", "send-back", "snooze"} and kept.get("on") == "next":
        with tenancy.within(place.organisation.id, read_only=True):
            following = _following(request, place, identifier)
        identifier, kept = (following.id, {**kept, "done": identifier}) if following else (identifier, kept)
    return f"{place.root}/approvals/{identifier}" + (f"?{urlencode(kept)}" if kept else "")


def _following(request: HttpRequest, place: Place, identifier: str) -> Request | None:
    """The most urgent request that needs this person, other than this one."""
    found = _narrow(request).of(inbox.tab("mine", by=place.principal, workspace=place.workspace.id))
    return inbox.by_urgency(found, requests.database_now()).exclude(id=identifier).first()


_FILTERS = ("agent", "tool", "tier", "q")


def _narrow(request: HttpRequest) -> inbox.Narrow:
    found = {name: asked.text(request, name) for name in _FILTERS}
    return inbox.Narrow(found["agent"], found["tool"], found["tier"] if found["tier"] in TIERS else "", found["q"])


def _get(place: Place, identifier: str) -> Request:
    return frame.found(place, lambda id: requests.get(id, by=place.principal), identifier)


def _show(
    request: HttpRequest, place: Place, opened: Request | None, *, refused: outcomes.Refused | None = None, verb: str = ""
) -> HttpResponse:
    target = request.headers.get("HX-Target", "") if request.headers.get("HX-Request") == "true" else ""
    context: dict[str, Any] = {
        "has_detail": opened is not None,
        "refused": refused.as_dict() if refused else None,
        "verb": verb,
        "given": request.POST,
        "after": "next" if request.GET.get("on") == "next" else "",
    }
    status = render.status_of(refused) if refused else 200
    if target != "detail":
        context |= _list(request, place)
    if opened is None and target == "" and context["tab"] == "mine" and context["rows"]:
        opened = requests.get(context["rows"][0].id, by=place.principal)
    if opened is not None and target != "list":
        seen = request.POST.get("plan", "")[:128] if refused else asked.text(request, "seen", longest=128)
        context |= case.facts(place, opened, view=asked.text(request, "view"), seen=seen, fresh=guard.is_fresh(request))
        query = {name: request.GET.get(name, "") for name in (*_FILTERS, "tab", "on", "view") if request.GET.get(name)}
        context |= {
            "query": urlencode(query),
            "view_query": urlencode({name: value for name, value in query.items() if name != "view"}),
            "tries": first_steps.tries(request, place),
            "unfolded": request.GET.get("unchanged") == "1",
            "next_one": _following(request, place, opened.id) if opened.state != Request.State.OPEN else None,
        }
    onlookers.mark(place, [*context.get("rows", ()), *([opened] if opened else ())])
    context["opened_id"] = opened.id if opened else asked.text(request, "at")
    return render.page(request, "approvals/inbox.html", context, fragment=target if target in {"list", "detail"} else "", status=status)


# The list -----------------------------------------------------------------------------------------------------------------


def _list(request: HttpRequest, place: Place) -> dict[str, Any]:
    tab = asked.text(request, "tab") or ("mine" if place.may("approvals_decide") else "all")
    tab = tab if tab in {*inbox.TABS, "snoozed"} else "all"
    narrow, by, workspace = _narrow(request), place.principal, place.workspace.id
    every = inbox.tab(tab, by=by, workspace=workspace)
    found, column, since = _ordered(request, narrow.of(every), tab)
    rows = list(found[: SHOWN + 1])
    more, rows = len(rows) > SHOWN, rows[:SHOWN]
    following = asked.address(request, below=_cursor(rows[-1], column, since), at=None, keep=None) if more else ""
    shown = _with_held(place, _with_kept(request, place, rows))
    chosen = {name: value for name, value in zip(_FILTERS, (narrow.agent, narrow.tool, narrow.tier, narrow.text), strict=True) if value}
    said = {**chosen, "tab": tab, **({"on": "next"} if request.GET.get("on") == "next" else {})}
    below = asked.text(request, "below")
    return {
        "tabs": inbox.TABS,
        "tab": tab,
        "rows": shown,
        "counts": inbox.counts(by=by, workspace=workspace),
        "keep": "".join(f"&keep={row.id}" for row in rows) if tab in {"mine", "waiting"} else "",
        "next_page": following,
        "is_first": not below,
        "first_page": asked.address(request, below=None, keep=None),
        "chips": [(name, value, asked.address(request, **{name: None, "below": None, "keep": None})) for name, value in chosen.items()],
        "chosen": chosen,
        "unfiltered": inbox.counted(tab, by=by, workspace=workspace) if chosen and not rows else 0,
        "agents": list(contracts.slugs(workspace).values()),
        "tools": list(tools.names(workspace, writes=True).values()),
        "tiers": TIERS,
        "health": inbox.health(by=by, workspace=workspace),
        "by_rule": inbox.by_rule(by=by, workspace=workspace) if request.GET.get("rules") == "1" else None,
        "with_rules": asked.address(request, rules="1", keep=None),
        "deciders": [] if place.may("approvals_decide") else [member.name for member in inbox.deciders(workspace)[:8]],
        "last": inbox.last_decision(by=by, workspace=workspace) if not rows else None,
        "stay": asked.address(request, on=None if request.GET.get("on") == "next" else "next", keep=None),
        "list_query": urlencode(said),
        "refresh": urlencode({**said, "below": below} if below else said),
    }


def _ordered(request: HttpRequest, found: Any, tab: str) -> tuple[Any, str, datetime.datetime]:
    """The rows in their order, below the row that the reader has seen last."""
    since, urgency, identifier = _below(asked.text(request, "below"))
    column = "urgency" if tab in {"mine", "waiting", "snoozed"} else "decided_at" if tab == "decided" else "opened_at"
    since = since or requests.database_now()
    found = inbox.by_urgency(found, since) if column == "urgency" else inbox.by_time(found, column)
    if identifier:
        found = inbox.beyond(found, column, urgency if column == "urgency" else since, identifier)
    return found, column, since


def _below(text: str) -> tuple[datetime.datetime | None, int, str]:
    """The moment the reader began to page (or of the row), its urgency and its id; a stranger's text is no row."""
    parts = lists.unpacked(text, str, int, str)
    at = lists.time_of(parts[0]) if parts else None
    return (at, parts[1], parts[2]) if parts and at else (None, 0, "")


def _cursor(row: Any, column: str, since: datetime.datetime) -> str:
    at = since if column == "urgency" else getattr(row, column) or since
    return lists.packed(at.isoformat(), row.urgency if column == "urgency" else 0, row.id)


def _with_held(place: Place, rows: list[Request]) -> list[Request]:
    """Each with the stop that is on over it, and who has it in hand."""
    held, claims = case.held(rows, place), stances.claims(rows)
    for row in rows:
        row.claim = claims.get(row.id)  # type: ignore[attr-defined]
        row.held = held.get(row.id)  # type: ignore[attr-defined]
    return rows


def _with_kept(request: HttpRequest, place: Place, rows: list[Request]) -> list[Request]:
    """Rows that left the list while it was looked at stay where they were, greyed, until the reader moves on (R7)."""
    before = [
        identifier
        for identifier in request.GET.getlist("keep")[:MOST_KEPT]
        if identifier.isascii() and identifier.isprintable() and len(identifier) < 40
    ]
    gone = [identifier for identifier in before if identifier not in {row.id for row in rows}]
    if not gone:
        return rows
    left = inbox.kept(gone, by=place.principal, workspace=place.workspace.id)
    for place_, identifier in enumerate(before):
        if identifier in left and left[identifier].state != Request.State.OPEN:
            row = left[identifier]
            row.left_as = filters.decider(row) or row.get_state_display().lower()  # type: ignore[attr-defined]
            rows.insert(min(place_, len(rows)), row)
    return rows
