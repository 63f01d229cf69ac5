"""What was decided about the like of a request before, and whether this one is unusual among them."""

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from django.db.models import Window
from django.db.models.functions import RowNumber

from agents import runs, tools
from agents.models import ToolVersion
from agents.organisations import Principal
from approvals import requests, sight
from approvals.models import Plan, Request
from audit import tenancy

SHOWN, MEASURED, LOOKED = 5, 50, 250
FEWEST = 3  # with fewer amounts there is no usual one
UNUSUAL = 2.0
SINCE, EARLIER = datetime.timedelta(days=90), datetime.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Amount:
    """How much a plan moves, as its tool's preview declares it. `minor` units of `currency`; no currency: a plain number."""

    minor: int
    currency: str = ""
    per_unit: int = 1

    def __str__(self) -> str:
        sign = {"USD": "$", "EUR": "€", "GBP": "£"}.get(self.currency, f"{self.currency} " if self.currency else "")
        if self.per_unit == 1:
            return f"{sign}{self.minor:,}"
        return f"{sign}{self.minor // self.per_unit:,}.{self.minor % self.per_unit:02d}"


@dataclass(frozen=True, slots=True)
class Likeness:
    """`similar` are the newest decisions; `usual` is the median amount of up to fifty, `times` how far this one is from it."""

    similar: Sequence[tuple[Request, Amount | None]]
    amount: Amount | None
    usual: Amount | None
    times: float | None

    @property
    def is_unusual(self) -> bool:
        return self.times is not None and self.times >= UNUSUAL

    @property
    def factor(self) -> str:
        return f"{self.times:.1f}" if self.times is not None else ""


def amount(facts: str, tool: tools.Facts, arguments: Any) -> Amount | None:
    """The amount among a plan's facts, or the argument that the tool's preview names as its amount; None when nobody declared one."""
    reach = json.loads(facts).get("reach") if facts else None
    reach = reach if isinstance(reach, dict) else {}
    cents = _number(reach.get("money_cents"))
    if cents is not None:
        return Amount(cents, str(reach.get("currency", ""))[:3], 100)
    named = (tool.preview or {}).get("amount")
    if not isinstance(named, dict) or not isinstance(arguments, dict):
        return None
    found = _number(arguments.get(str(named.get("argument", ""))))
    return None if found is None else Amount(found, str(named.get("currency", ""))[:3], 100 if named.get("minor_units") == 2 else 1)


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def of(request: Request, tool: tools.Facts, *, by: Principal) -> Likeness:
    """The request among its like that this person sees: the same tool and agent, the newest first. Call inside `tenancy.within`."""
    decided = _decided([request], tool, by=by)
    newest = Request.objects.prefetch_related("votes__member").in_bulk(list(decided)[:SHOWN])
    similar = [(newest[identifier], its) for identifier, its in list(decided.items())[:SHOWN]]
    return _among(request, tool, list(decided.values()), similar)


def of_batch(found: Sequence[Request], tool: tools.Facts, *, by: Principal) -> dict[str, Likeness]:
    """The same of requests of one agent and tool, by their ids, with one reading of what was decided. Call inside `tenancy.within`."""
    amounts = list(_decided(found, tool, by=by).values())
    return {request.id: _among(request, tool, amounts, []) for request in found}


def _decided(found: Sequence[Request], tool: tools.Facts, *, by: Principal) -> dict[str, Amount | None]:
    """What people decided about the like of these, up to fifty among the tool's newest, the newest first: ids and amounts."""
    newest = max(found, key=lambda request: request.opened_at)
    of_tool = Request.objects.filter(
        opened_at__gt=newest.opened_at - SINCE,
        opened_at__lt=newest.opened_at,
        tool_version_id__in=_versions(tool),
        state__in=Request.BY_PEOPLE,
    ).order_by("-opened_at", "-id")
    seen = Request.objects.filter(sight.requests(by, newest.workspace_id), run__agent_id=newest.run.agent_id)
    rows = seen.filter(id__in=of_tool.values("id")[:LOOKED]).order_by("-opened_at", "-id")
    read = rows.values_list("id", "plan__facts", "call__arguments")[:MEASURED]
    return {identifier: amount(facts, tool, runs.kept(arguments)) for identifier, facts, arguments in read}


def _among(
    request: Request, tool: tools.Facts, amounts: Sequence[Amount | None], similar: Sequence[tuple[Request, Amount | None]]
) -> Likeness:
    own = amount(request.plan.facts, tool, runs.kept(request.call.arguments))
    alike = [one for one in amounts if one is not None and own is not None and one.currency == own.currency]
    usual = Amount(int(median(one.minor for one in alike)), alike[0].currency, alike[0].per_unit) if len(alike) >= FEWEST else None
    times = own.minor / usual.minor if own is not None and usual is not None and usual.minor else None
    return Likeness(similar, own, usual, times)


def earlier(found: Sequence[Request]) -> dict[str, list[Request]]:
    """For each of these requests about one tool: its writes that took effect on the same target within 30 days, the newest few.

    Whoever sees them. One statement for any number. Call inside `tenancy.within`.
    """
    targets = {request.plan.entity for request in found} - {""}
    rows = Request.objects.filter(
        workspace_id=found[0].workspace_id,
        opened_at__gt=min(request.opened_at for request in found) - EARLIER,
        call_id__in=Plan.objects.filter(entity__in=targets).values("call"),  # by the index of calls, which a plan has none of
        plan__entity__in=targets,
        call__name=found[0].call.name,
        state=Request.State.APPLIED,
    ).exclude(id__in=[request.id for request in found])
    nth = Window(RowNumber(), partition_by="plan__entity", order_by=["-opened_at", "-id"])
    rows = rows.annotate(nth=nth).filter(nth__lte=SHOWN).select_related("plan").only("opened_at", "run_id", "plan__entity")
    rows = rows.prefetch_related("run__agent").order_by("-opened_at", "-id")
    done = list(rows) if targets else []
    return {
        request.id: [row for row in done if row.plan.entity == request.plan.entity and row.opened_at > request.opened_at - EARLIER]
        for request in found
    }


def newest_end(request: Request, tool: tools.Facts) -> Request | None:
    """The last time that this tool took effect, or failed to, for anybody here, among the newest asked. Call inside `tenancy.within`."""
    ended = Request.objects.filter(
        tool_version_id__in=_versions(tool),
        state__in=(Request.State.APPLIED, Request.State.FAILED),
        opened_at__gt=requests.database_now() - SINCE,
    ).exclude(id=request.id)
    newest = list(ended.select_related("run__agent").order_by("-opened_at", "-id")[:SHOWN])
    return max(newest, key=lambda each: each.decided_at or each.opened_at, default=None)


def _versions(tool: tools.Facts) -> list[str]:
    versions = ToolVersion.objects.filter(tool_id=tool.tool).values_list("id", flat=True)
    return tenancy.once(("versions", tool.tool), lambda: list(versions))


def successor(request: Request) -> Request | None:
    """The request that the agent opened for the same tool in the same run after this one ended. Call inside `tenancy.within`."""
    found = Request.objects.filter(run_id=request.run_id, call__name=request.call.name, opened_at__gt=request.opened_at)
    return found.order_by("opened_at", "id").first()
