"""The list of requests beside the one that is read: its tab, what it is narrowed to, its page, and what of it is folded."""

import datetime
from typing import Any

from django.http import HttpRequest
from django.utils.http import urlencode

from agents import contracts, tools
from approvals import batches, inbox, requests, stances
from approvals.models import Request
from controlplane.console import asked, case, lists
from controlplane.console.frame import Place
from controlplane.templatetags import approvals as filters
from controlplane.templatetags import ui

SHOWN, MOST_KEPT = 30, 60
TIERS = {name: ui.tier_word(name) for name in ("ONE", "TWO")}
_FILTERS = ("agent", "tool", "tier", "q")
_SAID = {"on": "next", "fold": "0"}  # how a list is walked: the next request opens after a decision, identical ones stand one by one


def narrow(request: HttpRequest) -> inbox.Narrow:
    """What the address narrows the list to."""
    found = {name: asked.text(request, name) for name in _FILTERS}
    return inbox.Narrow(found["agent"], found["tool"], found["tier"] if found["tier"] in TIERS else "", found["q"])


def kept(request: HttpRequest) -> dict[str, str]:
    """What the address says about the list: it goes along wherever a reader goes from there."""
    return {name: request.GET[name] for name in (*_FILTERS, "tab", *_SAID) if request.GET.get(name)}


def of(request: HttpRequest, place: Place) -> dict[str, Any]:
    """Everything the list says. Call inside `tenancy.within`."""
    tab = asked.text(request, "tab") or ("mine" if place.may("approvals_decide") else "all")
    tab = tab if tab in {*inbox.TABS, "snoozed"} else "all"
    narrowed, by, workspace = narrow(request), place.principal, place.workspace.id
    rows, following = _page(request, place, tab, narrowed)
    shown = _with_held(place, _with_kept(request, place, rows))
    chosen = {
        name: value for name, value in zip(_FILTERS, (narrowed.agent, narrowed.tool, narrowed.tier, narrowed.text), strict=True) if value
    }
    said = {**chosen, "tab": tab, **{name: value for name, value in _SAID.items() if request.GET.get(name) == value}}
    below = asked.text(request, "below")
    return {
        "tabs": inbox.TABS,
        "tab": tab,
        "rows": shown,
        "most": batches.MOST,
        "counts": inbox.counts(by=by, workspace=workspace),
        "keep": "".join(f"&keep={row.id}" for row in rows) if tab in {"mine", "waiting"} else "",
        "next_page": asked.address(request, below=following, at=None, keep=None) if following else "",
        "is_first": not below,
        "first_page": asked.address(request, below=None, keep=None),
        "is_flat": "fold" in said,
        "other_fold": _other_fold(request, rows) if tab == "mine" else "",
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


def _page(request: HttpRequest, place: Place, tab: str, narrowed: inbox.Narrow) -> tuple[list[Request], str]:
    """(the rows of a page, the place of the next one or nothing). What needs the reader is folded, unless they want it one by one."""
    if tab == "mine" and request.GET.get("fold") != _SAID["fold"]:
        return _folded(request, place, narrowed)
    every = inbox.tab(tab, by=place.principal, workspace=place.workspace.id)
    found, column, since = _ordered(request, narrowed.of(every), tab)
    rows = list(found[: SHOWN + 1])
    return rows[:SHOWN], _cursor(rows[SHOWN - 1], column, since) if len(rows) > SHOWN else ""


def _folded(request: HttpRequest, place: Place, narrowed: inbox.Narrow) -> tuple[list[Request], str]:
    """The same with identical requests in one row, which bears its `line`: that of the most urgent of them."""
    since, urgency, identifier = _below(asked.text(request, "below"))
    since, by, workspace = since or requests.database_now(), place.principal, place.workspace.id
    found, beyond = narrowed.of(inbox.needing(by=by, workspace=workspace)), (urgency, identifier) if identifier else None
    lines = batches.lines(found, since=since, beyond=beyond, most=SHOWN + 1)
    read = inbox.rows([line.first for line in lines[:SHOWN]])
    rows = []
    for line in lines[:SHOWN]:
        if line.first in read:
            row = read[line.first]
            row.urgency, row.line = line.urgency, line if line.number > 1 else None  # type: ignore[attr-defined]
            rows.append(row)
    return rows, _cursor(rows[-1], "urgency", since) if len(lines) > SHOWN and rows else ""


def _other_fold(request: HttpRequest, rows: list[Request]) -> str:
    """Where identical requests stand one by one, or where they are folded again; nothing where none are folded."""
    if request.GET.get("fold") == _SAID["fold"]:
        return asked.address(request, fold=None, below=None, keep=None)
    folds = any(getattr(row, "line", None) for row in rows)
    return asked.address(request, fold=_SAID["fold"], below=None, keep=None) if folds else ""


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
