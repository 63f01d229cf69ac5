"""Which requests a person sees (ui.md 3.3): every one of a workspace, or their own."""

from django.db.models import Q

from agents import organisations, sight
from agents.models import Run
from agents.organisations import Principal
from approvals.models import Request

LOOKED = 5_000  # requests of a workspace among which a list finds one's own


def requests(by: Principal, workspace: str) -> Q:
    """Every one with approvals_all; else, among the newest, those of agents they own and of runs that they started. Raises Forbidden.

    Call inside `tenancy.within`.
    """
    organisations.require(by, "approvals_view", workspace)
    if organisations.may(by, "approvals_all", workspace):
        return Q(workspace_id=workspace)
    own = sight.own_runs(by, "run__")
    newest = Request.objects.filter(workspace_id=workspace).order_by("-opened_at", "-id")
    floor = newest.values_list("opened_at", flat=True)[LOOKED : LOOKED + 1].first()
    return Q(workspace_id=workspace, opened_at__gt=floor) & own if floor else Q(workspace_id=workspace) & own


def of_run(run: Run, *, by: Principal) -> bool:
    """Whether they see the requests of this run, which carries its agent. Call inside `tenancy.within`."""
    if organisations.may(by, "approvals_all", run.workspace_id):
        return True
    return sight.is_own(run, by=by) and organisations.may(by, "approvals_view", run.workspace_id)
