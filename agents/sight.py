"""Which entries of the log a person reads (ui.md 3.3): every one of a workspace, or their own."""

from django.db.models import Q

from agents import organisations
from agents.models import Agent, Run
from agents.organisations import Principal
from audit import events
from audit.models import Entry

LOOKED, RUNS = 10_000, 500  # entries among which a list finds what is about one's agents; runs of these, and as many that one started


def entries(by: Principal, workspace: str) -> Q:
    """The entries of a workspace that this person may read. Call inside `tenancy.within`.

    With audit_all every one; those of no workspace, too, for whoever has it in all of them. Otherwise what they did themselves; for
    whoever sets caps also what is about money; for whoever manages agents also, among the newest entries, what is about their agents, the
    runs of these and those that they started. An index answers each part.
    """
    if organisations.may(by, "audit_all", workspace):
        everywhere = organisations.may_everywhere(by, "audit_all")
        return Q(workspace_id=workspace) | Q(workspace_id="") if everywhere else Q(workspace_id=workspace)
    if not organisations.may(by, "audit_view", workspace):
        return Q(pk__in=[])
    own = _own(by, workspace)
    if organisations.may(by, "agents_manage", workspace):
        agents = _agents(by, workspace)
        runs = Run.objects.order_by("-started_at").values_list("id", flat=True)
        theirs = Q(subject__in=agents) | Q(run_id__in=[*runs.filter(agent_id__in=agents)[:RUNS], *runs.filter(**_started(by))[:RUNS]])
        floor = Entry.objects.filter(workspace_id=workspace).order_by("-at").values_list("at", flat=True)[LOOKED : LOOKED + 1].first()
        own |= Q(at__gt=floor) & theirs if floor else theirs
    return Q(workspace_id__in=[workspace, ""]) & own


def may_read(by: Principal, workspace: str, entry: Entry) -> bool:
    """Whether this person may read this entry in this workspace, however old its run. Call inside `tenancy.within`."""
    if Entry.objects.filter(entries(by, workspace), id=entry.id).exists():
        return True
    if entry.workspace_id != workspace or not entry.run_id or not organisations.may(by, "agents_manage", workspace):
        return False
    return organisations.may(by, "audit_view", workspace) and Run.objects.filter(own_runs(by), id=entry.run_id).exists()


def own_runs(by: Principal, at: str = "") -> Q:
    """The runs of agents they own and those that they started; `at` is where a query has its run, as "run__"."""
    return Q(**{f"{at}agent__owner_id": by.id}) | Q(**{f"{at}{name}": value for name, value in _started(by).items()})


def is_own(run: Run, *, by: Principal) -> bool:
    """The same of one run, which carries its agent."""
    return run.agent.owner_id == by.id or (run.started_by_kind, run.started_by) == (by.kind, by.id)


def _own(by: Principal, workspace: str) -> Q:
    own = Q(actor_kind=by.kind, actor_id=by.id)
    return own | Q(event__in=events.MONEY) if organisations.may(by, "budgets_set", workspace) else own


def _agents(by: Principal, workspace: str) -> list[str]:
    return list(Agent.objects.filter(workspace_id=workspace, owner_id=by.id).values_list("id", flat=True))


def _started(by: Principal) -> dict[str, str]:
    return {"started_by_kind": by.kind, "started_by": by.id}
