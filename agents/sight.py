"""What a person reads (ui.md 3.3): of the log every entry or their own, of runs all they said and did or only what they cost."""

import json
from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from django.db.models import Q, QuerySet
from django.db.models.query import ModelIterable

from agents import organisations
from agents.models import Agent, Call, Run
from agents.organisations import Principal
from audit import events
from audit.models import Entry

Row = TypeVar("Row", Run, Call)
LOOKED, RUNS = 10_000, 500  # entries among which a list finds what is about one's agents; runs of these, and as many that one started


def entries(by: Principal, workspace: str) -> Q:
    """The entries of a workspace that this person may read. Call inside `tenancy.within`."""
    return entries_of(by, [workspace])


def entries_of(by: Principal, workspaces: Collection[str]) -> Q:
    """The entries of these workspaces that this person may read. Call inside `tenancy.within`.

    With audit_all every one; those of no workspace, too, for whoever has it in all of them. Otherwise what they did themselves; for
    whoever sets caps also what is about money; for whoever manages agents also, among the newest entries, what is about their agents, the
    runs of these and those that they started. An index answers each part.
    """
    whole = [each for each in workspaces if organisations.may(by, "audit_all", each)]
    found = Q(workspace_id__in=whole)
    if whole and organisations.may_everywhere(by, "audit_all"):
        found |= Q(workspace_id="")
    for each in workspaces:
        if each not in whole and organisations.may(by, "audit_view", each):
            found |= _own_of(by, each)
    return found


def _own_of(by: Principal, workspace: str) -> Q:
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
    manages = organisations.may(by, "agents_manage", workspace) and organisations.may(by, "audit_view", workspace)
    if entry.workspace_id != workspace or not manages:
        return False
    return entry.subject in _agents(by, workspace) or (bool(entry.run_id) and Run.objects.filter(own_runs(by), id=entry.run_id).exists())


def own_runs(by: Principal, at: str = "") -> Q:
    """The runs of agents they own and those that they started; `at` is where a query has its run, as "run__"."""
    return Q(**{f"{at}agent__owner_id": by.id}) | Q(**{f"{at}{name}": value for name, value in _started(by).items()})


def is_own(run: Run, *, by: Principal) -> bool:
    """The same of one run, which carries its agent."""
    return run.agent.owner_id == by.id or (run.started_by_kind, run.started_by) == (by.kind, by.id)


def reads(by: Principal, workspace: str) -> bool:
    """Whether they read what runs were given, said and did. An agent reads its own, and sees no others. Call inside `tenancy.within`."""
    return by.kind == "agent" or organisations.may(by, "runs_read", workspace)


class _Costs(ModelIterable):  # type: ignore[type-arg]  # Django gives it no parameters at run time
    """Rows without the words in them."""

    def __iter__(self) -> Iterator[Any]:
        return map(of_costs, super().__iter__())


def costs_only(found: QuerySet[Row]) -> QuerySet[Row]:
    """The same runs or calls, each as whoever only sees what they cost sees it."""
    found = found.all()
    found._iterable_class = _Costs  # as `values()` does it
    return found


def of_costs(row: Row) -> Row:
    """A run or a call without what it was given, said and did: its name, times, state, numbers and money stay. It is not to be saved."""
    if isinstance(row, Run):
        row.is_withheld = True
        row.title = row.reference = row.summary = ""
        row.options, row.capability = {}, None
    elif isinstance(row, Call):
        row.arguments = row.refusal = row.key = ""
        row.decision, row.result = "{}", _usage(row)
        row.sealed_arguments = row.sealed_result = None
    return row


def _usage(call: Call) -> str:
    """Of a model's answer the tokens that were paid for."""
    if call.kind != Call.Kind.MODEL:
        return ""
    try:
        return json.dumps({"usage": json.loads(call.result)["usage"]})
    except (ValueError, KeyError, TypeError):
        return ""


def reads_money(by: Principal, workspace: str) -> bool:
    """Whether they read the entries about money, whoever made them. Call inside `tenancy.within`."""
    if organisations.may(by, "audit_all", workspace):
        return True
    return organisations.may(by, "audit_view", workspace) and organisations.may(by, "budgets_set", workspace)


def _own(by: Principal, workspace: str) -> Q:
    own = Q(actor_kind=by.kind, actor_id=by.id)
    if not reads_money(by, workspace):
        return own
    # The gate tells a cap and no words; whoever else hands a run over leaves what was said in it.
    return own | Q(event__in=events.MONEY) | Q(event=events.HANDED_OFF, actor_kind="system")


def _agents(by: Principal, workspace: str) -> list[str]:
    return list(Agent.objects.filter(workspace_id=workspace, owner_id=by.id).values_list("id", flat=True))


def _started(by: Principal) -> dict[str, str]:
    return {"started_by_kind": by.kind, "started_by": by.id}
