"""How many requests there are: open ones by agent, and what an agent's came to."""

import datetime
from collections.abc import Collection

from django.db.models import Count, Min

from approvals.models import Request


def open_by_agent(workspace: str) -> dict[str, int]:
    """agent -> how many of its requests are open. Call inside `tenancy.within`."""
    rows = Request.objects.filter(workspace_id=workspace, state=Request.State.OPEN).values("run__agent_id").annotate(requests=Count("id"))
    return {row["run__agent_id"]: row["requests"] for row in rows.order_by()}


def ends_of_agent(agent: str, *, since: datetime.datetime) -> dict[str, int]:
    """state -> how many of an agent's requests that were opened since then are in it. Call inside `tenancy.within`."""
    rows = Request.objects.filter(run__agent_id=agent, opened_at__gte=since).values("state").annotate(requests=Count("id"))
    return {row["state"]: row["requests"] for row in rows.order_by()}


def any_approved(workspace: str) -> bool:
    """Has anybody approved anything here? Call inside `tenancy.within`."""
    return Request.objects.filter(workspace_id=workspace, votes__verdict="APPROVE").exists()


def waiting_since(runs: Collection[str]) -> dict[str, datetime.datetime]:
    """run -> since when it has been waiting for people. Call inside `tenancy.within`."""
    rows = (
        Request.objects.filter(run_id__in=runs, state=Request.State.OPEN, is_draft=False).values("run_id").annotate(since=Min("opened_at"))
    )
    return {row["run_id"]: row["since"] for row in rows.order_by()} if runs else {}
