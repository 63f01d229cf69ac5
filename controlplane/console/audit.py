"""The audit log: found by filters in the address, one entry with its exact bytes, taken away as a file. Looking changes nothing here."""

import datetime
import hashlib
import json
from urllib.parse import urlencode

from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from agents import contracts, organisations
from audit import events, exports, log, models, tenancy
from controlplane.console import frame, lists, render
from controlplane.console.frame import Place

FILTERS = ("event", "actor", "subject", "run", "since", "until")
MEDIA = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
# Where a subject can be looked at, by the prefix of its id.
PAGES = {"R": "runs", "APR": "approvals", "STP": "stops", "POL": "policies", "AG": "agents"}


@require_GET
@frame.page("audit_view", at="audit")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    """One page of the log, newest first."""
    asked, problems = _asked(request.GET.dict())
    rows = _entries(place, asked)
    before = lists.below(request.GET.get("below", ""))
    if before:
        rows = rows.filter(Q(at__lt=before[0]) | Q(at=before[0], id__lt=before[1]))
    shown, further = lists.cut(list(rows[: lists.SHOWN + 1]), asked)
    everywhere = _everywhere(place, "audit_view")
    names = _names(place)
    context = {
        "rows": [(entry, events.CATALOGUE.get(entry.event, ""), names.get(entry.actor_id, "")) for entry in shown],
        "asked": asked,
        "chips": _chips(asked),
        "further": further,
        "below": request.GET.get("below", ""),
        "events": _grouped(),
        "problems": problems,
        "everywhere": everywhere,
        "first": not shown and not asked,
        "media": MEDIA,
    }
    return render.page(request, "audit/list.html", context, status=422 if problems else 200)


@require_GET
@frame.page("audit_view", at="audit")
def entry(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """One entry: what happened in words, the body, its exact bytes and the leaf that vouches for them."""
    found = log.get(identifier)
    if found is None or (found.workspace_id != place.workspace.id and (found.workspace_id or not _everywhere(place, "audit_view"))):
        raise Http404
    leaf = bytes(found.leaf)
    context = {
        "entry": found,
        "sentence": events.CATALOGUE.get(found.event, ""),
        "actor": _names(place).get(found.actor_id, ""),
        "body": json.loads(found.body),
        "leaf": leaf.hex(),
        "is_whole": hashlib.sha256(b"\0" + found.body.encode()).digest() == leaf,
        "page": PAGES.get(found.subject.partition("-")[0], ""),
        "bytes": len(found.body.encode()),
    }
    return render.page(request, "audit/entry.html", context)


@require_POST
@frame.page("audit_export", at="audit")
def export(request: HttpRequest, place: Place) -> HttpResponseBase:
    """Exactly the filtered entries as a file, streamed. That it was taken away is entered first, and is not in it."""
    asked, problems = _asked(request.POST.dict())
    kind = request.POST.get("format", "")
    if kind not in MEDIA or problems:
        raise Http404
    until = timezone.now()
    with tenancy.within(place.organisation.id):
        rows = _entries(place, asked, permission="audit_export").filter(at__lt=until)
        log.append("audit.exported", by=place.principal, workspace=place.workspace.id, detail={**asked, "format": kind})
    return StreamingHttpResponse(
        exports.pieces(place.organisation.id, rows, kind=kind),
        content_type=MEDIA[kind],
        headers={"Content-Disposition": f'attachment; filename="audit-{until:%Y%m%dT%H%M%SZ}.{kind}"', "Cache-Control": "no-store"},
    )


def _asked(given: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """(the filters that say something, what is wrong with them)."""
    asked = {name: given[name].strip()[:200] for name in FILTERS if given.get(name, "").strip()}
    wrong = [
        f"“{asked[name]}” is no time; write 2026-11-21 or 2026-11-21T14:30, in UTC."
        for name in ("since", "until")
        if name in asked and lists.moment(asked[name]) is None
    ]
    wrong += ["A filter holds a character that no entry can hold." for name in asked if "\0" in asked[name]][:1]
    return asked, wrong


def _entries(place: Place, asked: dict[str, str], *, permission: str = "audit_view") -> QuerySet[models.Entry]:
    """The entries of this workspace that the filters leave; with the permission in every workspace, those of none, too."""
    if any("\0" in text for text in asked.values()):
        return log.entries().none()
    times: dict[str, datetime.datetime | None] = {name: lists.moment(asked.get(name, "")) for name in ("since", "until")}
    actor = asked.get("actor", "")
    by_name = {name: identifier for identifier, name in _names(place).items()}
    rows = log.entries(
        event=asked.get("event", ""),
        subject=asked.get("subject", ""),
        run=asked.get("run", ""),
        actor=by_name.get(actor, actor),
        since=times["since"],
        until=times["until"],
    )
    return rows.filter(workspace_id__in=[place.workspace.id, *([""] if _everywhere(place, permission) else [])])


def _everywhere(place: Place, permission: str) -> bool:
    return all(organisations.may(place.principal, permission, one.id) for one in organisations.workspaces())


def _names(place: Place) -> dict[str, str]:
    """Whom this page can name: the people, and the workspace's agents."""
    agents = {agent.id: agent.slug for agent in contracts.in_workspace(place.workspace.id)}
    return agents | {member.id: member.name for member in organisations.members()}


def _grouped() -> list[tuple[str, list[str]]]:
    """The catalogue by what its events are about."""
    groups: dict[str, list[str]] = {}
    for name in events.CATALOGUE:
        groups.setdefault(name.partition(".")[0], []).append(name)
    return sorted(groups.items())


def _chips(asked: dict[str, str]) -> list[tuple[str, str, str]]:
    """(filter, value, the query string without it)."""
    return [(name, value, urlencode({other: text for other, text in asked.items() if other != name})) for name, value in asked.items()]
