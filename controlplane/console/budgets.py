"""Budgets: what each level may spend, did spend and holds, where that leads, and the movements behind every number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agents import contracts, organisations, sight, trends
from agents.models import Call, Run
from audit import outcomes, tenancy
from budgets import caps, limits, prices, purses, spending, sums, zones
from budgets.models import Cap, Raise
from controlplane.console import asked, charts, frame, lists, render
from controlplane.console.frame import Place

FILTERS = ("show", "window", "month", "day", "name", "agent", "outcome", "run")
THRESHOLD = "the amount up to which one person raises caps"
CHIPS = {"show": "movements", "name": "for", "window": "period"}
OUTCOMES = dict(Run.State.choices)
PARTS = {"agent": "Agent", str(Call.Kind.MODEL): "Model", str(Call.Kind.TOOL): "Tool", "outcome": "Outcome of the run"}


@require_safe
@frame.page("budgets_view", at="budgets")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    """The month's numbers, its curve, the tree, and what money went on."""
    return show(request, place)


def show(request: HttpRequest, place: Place, *, refused: outcomes.Refused | None = None) -> HttpResponse:
    """The page, with why a raise was not decided when it was not. Call inside `tenancy.within`."""
    found = tree(place)
    own, month = found[1], zones.month(zones.of_organisation())
    context: dict[str, Any] = {
        "purses": found,
        "own": own,
        "month": month,
        "now": timezone.now(),
        "over": [purse for purse in found if purse.state == "REACHED"],
        "raises": waiting(place, _names(found) | {(Raise.Level.THRESHOLD, place.organisation.id): THRESHOLD}),
        "threshold": caps.threshold(),
        "refused": refused.as_dict() if refused else None,
    }
    fragment = request.headers.get("HX-Target", "")
    if fragment == "purses":
        return render.page(request, "budgets/list.html", context, fragment=fragment)
    context |= _numbers(place, own, month)
    if fragment == "tiles":
        return render.page(request, "budgets/list.html", context, fragment=fragment)
    status = render.status_of(refused) if refused else 200
    return render.page(request, "budgets/list.html", context | _where(place, own, month, request), status=status)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A raise as this reader stands to it, with what people call its level."""

    asked: caps.Standing
    name: str


def waiting(place: Place, names: Mapping[tuple[str, str], str]) -> list[Waiting]:
    """What waits for a second person among these, (level, target) -> what people call it."""
    rows = [row for row in caps.waiting([place.workspace.id]) if (row.level, row.target) in names]
    return [Waiting(asked, names[(asked.row.level, asked.row.target)]) for asked in caps.standing(rows, by=place.principal)]


def _names(found: Sequence[purses.Purse]) -> dict[tuple[str, str], str]:
    return {(purse.balance.level, purse.balance.target): purse.name for purse in found}


def _numbers(place: Place, own: purses.Purse, month: zones.Month) -> dict[str, Any]:
    """The tiles: each is the sum of the rows that its link opens."""
    total = sum(sums.by_day(place.workspace.id, month).values())
    (ran,) = trends.over(place.workspace.id, since=month.start, until=timezone.now(), parts=1)
    succeeded = ran.states.get(Run.State.SUCCEEDED, 0)
    stopped, number = spending.stopped_by_a_cap(place.workspace.id, month)
    return {
        "total": total,
        "succeeded": succeeded,
        "per_success": total // succeeded if succeeded else None,
        "all_runs": ran.runs,
        "stopped": [(one, _cap_named(place, one.rule)) for one in stopped],
        "stopped_runs": number,
        "reads_entries": sight.reads_money(place.principal, place.workspace.id),
    }


def _cap_named(place: Place, rule: str) -> str:
    """`cap agent AG-...` as people call it."""
    level = rule.removeprefix("cap ").partition(" ")[0]
    names = {"workspace": f"of workspace {place.workspace.name}", "organisation": f"of {place.organisation.name}", "agent": "of its agent"}
    return names.get(level, "of one run" if level == "run" else "of one call")


def _where(place: Place, own: purses.Purse, month: zones.Month, request: HttpRequest) -> dict[str, Any]:
    """The curve and the parts of what was spent."""
    rows = f"{place.root}/budgets/workspace/{place.workspace.id}?{urlencode({'month': month.slug, 'show': 'spent'})}"
    days = sums.by_day(place.workspace.id, month)
    monthly = own.balance.cap if own.balance.period == Cap.Period.MONTH else None
    spend = charts.Spend(month=month, now=timezone.now(), days=days, cap=monthly, forecast=own.forecast)
    by = request.GET.get("by", "")
    by = by if by in PARTS else "agent"
    return {
        "spend": spend,
        "curve": charts.curve(spend) if days else None,
        "figure": charts.figure(spend, rows=rows) if days else None,
        "as_table": request.GET.get("view") == "table",
        "days": sorted(days.items(), reverse=True),
        "rows": rows,
        "parts": PARTS,
        "by": by,
        "lines": sums.parts(place.workspace.id, month, by=by),
        "dearest": sums.dearest(place.workspace.id, month),
        "prices": list(prices.listed()),
    }


@require_safe
@frame.page("budgets_view", at="budgets")
def level(request: HttpRequest, place: Place, level: str, target: str) -> HttpResponse:
    """One purse and the movements that its numbers are the sum of, narrowed as the address says."""
    purse = find(tree(place), level, target)
    if purse is None:
        raise Http404
    narrow = _narrow(request.GET.dict())
    context: dict[str, Any] = {"purse": purse, "may_set": may_set(place, level), "is_closed": not _may_read(place, level), "narrow": narrow}
    context |= {"raises": waiting(place, _names([purse])), "threshold": caps.threshold()}
    if not context["is_closed"]:
        query = _query(level, target, narrow)
        rows = list(spending.below(query.rows(), lists.below(request.GET.get("below", "")))[: lists.SHOWN + 1])
        shown, further = lists.cut(rows, narrow)
        calls = spending.calls_of(shown)
        context |= {
            "rows": [(row, calls.get(row.call_id)) for row in shown],
            "further": further,
            "below": request.GET.get("below", ""),
            "summed": query.total() if narrow.get("show") else None,
            "chips": [
                (CHIPS.get(name, name), _said(name, value), asked.address(request, **{name: "", "below": ""}))
                for name, value in narrow.items()
            ],
            "shows": spending.KINDS,
        }
    if level == "agent":
        context["run_limits"] = limits.of(contracts.find(target))
    return render.page(request, "budgets/level.html", context)


@require_POST
@frame.page("budgets_view", at="budgets")
def export(request: HttpRequest, place: Place, level: str, target: str) -> HttpResponseBase:
    """Exactly the narrowed movements as CSV. That they were taken away is entered first."""
    narrow = _narrow(request.POST.dict())
    with tenancy.within(place.organisation.id):
        if find(tree(place), level, target) is None or not _may_read(place, level):
            raise Http404
        said = {"level": level, **{CHIPS.get(name, name): _said(name, value) for name, value in narrow.items()}}
        zone = zones.of_organisation()
        pieces = spending.export(
            by=place.principal, workspace=place.workspace.id, query=_query(level, target, narrow), said=said, zone=zone
        )
    name = f"spending-{level}-{timezone.now():%Y%m%dT%H%M%SZ}.csv"
    return StreamingHttpResponse(
        pieces,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def _narrow(given: dict[str, str]) -> dict[str, str]:
    """The filters of an address that say something."""
    clean = {name: given.get(name, "").replace("\0", "").strip()[:200] for name in FILTERS}
    if clean["show"] not in spending.KINDS:
        clean["show"] = ""
    if asked.a_day(clean["day"]) is None:
        clean["day"] = ""
    return {name: value for name, value in clean.items() if value}


def _query(level: str, target: str, narrow: dict[str, str]) -> spending.Query:
    zone = zones.of_organisation()
    day = asked.a_day(narrow.get("day", ""))
    month = zones.month(zone, narrow.get("month", "") or (f"{day:%Y-%m}" if day else "")) if "month" in narrow or day else None
    plain = {name: narrow[name] for name in ("show", "window", "name", "agent", "outcome", "run") if name in narrow}
    return spending.Query(level, target, month=month, day=day, **plain)


def _said(name: str, value: str) -> str:
    if name == "show":
        return spending.KINDS[value].lower()
    return "the one under way" if name == "window" else OUTCOMES.get(value, value) if name == "outcome" else value


def tree(place: Place) -> list[purses.Purse]:
    """The purses of this place: the organisation's, the workspace's, its agents'."""
    return purses.tree(place.organisation, place.workspace, list(contracts.in_workspace(place.workspace.id)))


def find(found: list[purses.Purse], level: str, target: str) -> purses.Purse | None:
    return next((purse for purse in found if (purse.balance.level, purse.balance.target) == (level, target)), None)


def may_set(place: Place, level: str) -> bool:
    """The organisation's cap takes the permission in every workspace."""
    return place.may("budgets_set") and (level != "organisation" or organisations.may_everywhere(place.principal, "budgets_set"))


def _may_read(place: Place, level: str) -> bool:
    """The organisation's movements are those of every workspace."""
    return level != "organisation" or organisations.may_everywhere(place.principal, "budgets_view")
