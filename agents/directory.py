"""Whose object is it: what the systems of record say about which customer an object belongs to. Ownership rules ask here."""

from collections.abc import Mapping

from agents import organisations
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
