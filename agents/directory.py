"""Whose object is it: what the systems of record say about which customer an object belongs to. Ownership rules ask here."""

import json
from collections.abc import Mapping
from typing import Any

from django.db import connection

from agents import organisations, tools
from agents.models import Owned, Workspace
from agents.organisations import Principal
from audit import log, tenancy


def load(*, by: Principal, workspace: Workspace, kind: str, owners: Mapping[str, str]) -> int:
    """Say which customer each object of a kind belongs to, as the system of record has it. Returns how many there are."""
    with tenancy.within(by.organisation):
        organisations.require(by, "tools_manage", workspace.id)
        rows = [Owned(organisation_id=by.organisation, id=f"{kind}/{key}", kind=kind, owner=owner) for key, owner in owners.items()]
        Owned.objects.bulk_create(
            rows, batch_size=1000, update_conflicts=True, unique_fields=["organisation_id", "id"], update_fields=["kind", "owner"]
        )
        log.append("directory.loaded", by=by, workspace=workspace.id, detail={"kind": kind, "objects": len(rows)})
    return len(rows)


def owners(organisation: str, tool: tools.Facts, arguments: Mapping[str, Any]) -> tuple[frozenset[str], bool]:
    """(the customers that the objects named by these arguments belong to, whether some object is unknown to the directory)."""
    named = {f"{kind}/{value}" for argument, kind in tool.subjects.items() for value in _each(arguments.get(argument))}
    if not named:
        return frozenset(), False
    with connection.cursor() as cursor:
        cursor.execute("select owned_by(%s, %s)", [organisation, sorted(named)])
        raw = cursor.fetchone()[0]
    found = json.loads(raw) if isinstance(raw, str) else raw
    return frozenset(found["owners"]), found["known"] < len(named)


def _each(value: Any) -> list[str]:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return [str(value)]
    return [str(item) for item in value if isinstance(item, str | int)] if isinstance(value, list) else []
