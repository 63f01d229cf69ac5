"""Saved views: a name for a filtered list, one's own or shared with the workspace. The ready-made ones are here, too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from agents import organisations
from agents.models import SavedView, Workspace
from agents.organisations import Principal
from audit import ids, log, tenancy

# Lists that have views, and what one needs to see the list.
PERMISSION: Mapping[str, str] = {"runs": "runs_view", "approvals": "approvals_view", "audit": "audit_view"}
READY: Mapping[str, Sequence[tuple[str, str]]] = {
    "runs": (
        ("Waiting for people", "q=status:waiting"),
        ("Handed over", "q=status:handed_off"),
        ("Failed", "q=status:failed"),
        ("With a refusal", "q=has:refused"),
    ),
    "audit": (
        ("Refused calls", "event=call.refused"),
        ("Stops", "event=stop.*"),
        ("Rules", "event=policy.*"),
        ("Sign-ins", "event=session.*"),
    ),
}
MOST, LONGEST_NAME, LONGEST_QUERY = 40, 60, 1000
# Where in the list one stands, and what is open beside it, is no part of what it shows.
NOT_KEPT = {"below", "after", "page", "cursor", "at", "keep", "on", "seen", "view", "unchanged"}


@dataclass(frozen=True, slots=True)
class View:
    """One chip: what it is called, and what it asks the list for."""

    id: str
    name: str
    query: str
    is_shared: bool = False
    may_remove: bool = False


def listed(*, by: Principal, workspace: Workspace, page: str) -> list[View]:
    """The ready-made views of a list, then those shared in the workspace, then one's own. Call inside `tenancy.within`."""
    rows = _visible(by, workspace, page).order_by("name", "id")
    manages = organisations.may(by, "members_manage", workspace.id)
    ready = [View(id="", name=name, query=plain(query)) for name, query in READY.get(page, ())]
    saved = [
        View(
            id=row.id,
            name=row.name,
            query=row.query,
            is_shared=row.member_id is None,
            may_remove=by.id in {row.member_id, row.saved_by} or manages,
        )
        for row in rows
    ]
    return ready + sorted(saved, key=lambda view: not view.is_shared)


def save(*, by: Principal, workspace: Workspace, page: str, name: str, query: str, is_shared: bool = False) -> tuple[SavedView, str]:
    """Keep what a list shows under a name: (the view, the id of its audit entry). Raises Forbidden, or Conflict for a taken name."""
    name, query = " ".join(name.replace("\0", "").split())[:LONGEST_NAME], plain(query)
    with tenancy.within(by.organisation):
        organisations.require(by, PERMISSION.get(page, "no such list"), workspace.id)
        _check(name, query, by=by, workspace=workspace, page=page)
        try:
            with transaction.atomic():
                view = SavedView.objects.create(
                    id=ids.new("VW"),
                    workspace=workspace,
                    member_id=None if is_shared else by.id,
                    page=page,
                    name=name,
                    query=query,
                    saved_by=by.id,
                )
        except IntegrityError as error:
            raise organisations.Conflict(
                f"There is a view called {name} already.",
                rule="view name",
                current=name,
                next_step="Choose another name, or remove that one.",
            ) from error
        detail = {"name": name, "page": page, "query": query, "shared": is_shared}
        return view, log.append("view.saved", by=by, subject=view.id, workspace=workspace.id, detail=detail)


def remove(*, by: Principal, workspace: Workspace, identifier: str) -> tuple[str, str]:
    """Forget a view: one's own, one that one shared, or any shared one for whoever manages members. (page, id of the audit entry).

    Raises NotFound.
    """
    with tenancy.within(by.organisation):
        row = SavedView.objects.select_for_update().filter(id=identifier, workspace=workspace).first()
        is_own = row is not None and by.id in {row.member_id, row.saved_by}
        shared_and_manages = row is not None and row.member_id is None and organisations.may(by, "members_manage", workspace.id)
        if row is None or not (is_own or shared_and_manages):
            raise organisations.NotFound("There is no such view of yours.", rule="saved view", next_step="Reload the list.")
        detail = {"name": row.name, "page": row.page, "query": row.query, "shared": row.member_id is None}
        entry = log.append("view.removed", by=by, subject=row.id, workspace=workspace.id, detail=detail)
        row.delete()
        return row.page, entry


def plain(query: str) -> str:
    """A query string as it is kept: what it filters by, in one order, so that equal filters are equal texts."""
    pairs = [(name, value) for name, value in parse_qsl(query.replace("\0", "")) if name not in NOT_KEPT]
    return urlencode(sorted(pairs))


def _visible(by: Principal, workspace: Workspace, page: str) -> QuerySet[SavedView]:
    """Those shared in the workspace, and one's own."""
    return SavedView.objects.filter(workspace=workspace, page=page).filter(Q(member=None) | Q(member_id=by.id))


def _check(name: str, query: str, *, by: Principal, workspace: Workspace, page: str) -> None:
    held = _visible(by, workspace, page).count()
    faults = (
        (not name, "A view needs a name.", "Type one."),
        (not query, "Nothing is filtered, so there is nothing to save.", "Filter the list first."),
        (len(query) > LONGEST_QUERY, "This filter is too long to keep.", "Use fewer filters."),
        (held >= MOST, f"This list has {MOST} views already.", "Remove one first."),
    )
    for is_wrong, message, next_step in faults:
        if is_wrong:
            raise organisations.Conflict(message, rule="saved view", next_step=next_step)
