"""The audit log: read it, look one entry up, take it away as a file. Reading it is entered in it."""

import datetime
import json
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponseBase, StreamingHttpResponse
from rest_framework import serializers

from agents import organisations, sight
from audit import events, exports, ids, log, models
from controlplane.api import inputs, pages
from controlplane.api.routing import Asked, Said, door

_MEDIA = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
_FILTERS = ("event", "subject", "run", "actor")


class EntryFilter(inputs.OfWorkspace):
    """`event` may end in `.*`."""

    event = inputs.Text(required=False, max_length=80)
    subject = inputs.Text(required=False, max_length=200)
    run = inputs.Text(required=False, max_length=40)
    actor = inputs.Text(required=False, max_length=40)
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)


class EntryPage(EntryFilter, pages.Paged):
    pass


class Export(EntryFilter):
    format = inputs.Choice(required=False, choices=list(_MEDIA), default="jsonl")


class Entry(serializers.Serializer[models.Entry]):
    """`body` is what `leaf`, its SHA-256 as a Merkle leaf, vouches for."""

    id = serializers.CharField()
    at = serializers.DateTimeField()
    event = serializers.CharField()
    sentence = serializers.SerializerMethodField()
    actor_kind = serializers.CharField()
    actor = serializers.CharField(source="actor_id")
    subject = serializers.CharField()
    workspace = serializers.CharField(source="workspace_id")
    run = serializers.CharField(source="run_id")
    body = serializers.SerializerMethodField()
    leaf = serializers.SerializerMethodField()

    def get_sentence(self, entry: models.Entry) -> str:
        return events.CATALOGUE.get(entry.event, "")

    def get_body(self, entry: models.Entry) -> Any:
        return json.loads(entry.body)

    def get_leaf(self, entry: models.Entry) -> str:
        return bytes(entry.leaf).hex()


class EntryDetail(Entry):
    """`canonical` holds the exact bytes, as text."""

    canonical = serializers.CharField(source="body")


@door(Said(query=EntryPage, gives=Entry))
def listed(asked: Asked) -> pages.Page:
    """Entries, newest first."""
    page = pages.cut(_found(asked, "audit_view"), asked.query, order=("-at", "-id"))
    log.append("audit.read", by=asked.by, workspace=asked.by.workspace, detail={**_filters(asked), "entries": len(page.items)})
    return page


@door(Said(gives=EntryDetail))
def show(asked: Asked, identifier: str) -> models.Entry:
    """One entry with its exact bytes."""
    entry = log.get(identifier) if ids.prefix_of(identifier) == "EV" else None
    seen = [each.id for each in organisations.where(asked.by, "audit_view")]
    if entry is not None and entry.workspace_id:
        seen = [entry.workspace_id] if entry.workspace_id in seen else []
    if entry is None or not any(sight.may_read(asked.by, each, entry) for each in seen):
        raise organisations.NotFound("There is no such entry.", rule="entry", next_step="List the entries.")
    log.append("audit.read", by=asked.by, subject=entry.id, workspace=entry.workspace_id, detail={"entries": 1})
    return entry


@door(Said(query=Export, media_types=("application/x-ndjson", "text/csv")))
def export(asked: Asked) -> HttpResponseBase:
    """The log as a file, streamed: `jsonl` with the exact bytes of every entry a line, or `csv` for spreadsheets."""
    kind = asked.query["format"]
    asked.query.setdefault("until", datetime.datetime.now(datetime.UTC))  # what is appended from now on, this reading itself, is not in it
    rows = _found(asked, "audit_export")
    log.append("audit.exported", by=asked.by, workspace=asked.by.workspace, detail={**_filters(asked), "format": kind})
    name = f"audit-{asked.query['until']:%Y%m%dT%H%M%SZ}.{kind}"
    return StreamingHttpResponse(
        exports.pieces(asked.by.organisation, rows, kind=kind),
        content_type=_MEDIA[kind],
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def _found(asked: Asked, permission: str) -> QuerySet[models.Entry]:
    """The entries that the principal may see of the workspaces in which they hold the permission."""
    query = asked.query
    workspace = organisations.workspace_of(asked.by, query["workspace"]).id if query.get("workspace") else ""
    if workspace:
        organisations.require(asked.by, permission, workspace)
    rows = log.entries(**{name: query[name] for name in (*_FILTERS, "since", "until") if name in query}, workspace=workspace)
    seen = [workspace] if workspace else [one.id for one in organisations.where(asked.by, permission)]
    return rows.filter(sight.entries_of(asked.by, seen))


def _filters(asked: Asked) -> dict[str, Any]:
    return {name: str(asked.query[name]) for name in (*_FILTERS, "workspace", "since", "until") if name in asked.query}
