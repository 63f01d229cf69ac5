"""Budgets: what each level may spend, did spend and holds; a cap is set after a look at what it would have stopped."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from agents import contracts, organisations
from audit import outcomes, tenancy
from budgets import money, prices, purses, reservations
from budgets.models import Cap
from controlplane.console import charts, frame, lists, render
from controlplane.console.frame import Place

PERIODS = {"month": "a calendar month", "day": "a day", "total": "for good, without end"}


@require_GET
@frame.page("budgets_view", at="budgets")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    """The tree, the month's curve and the price list."""
    found = _tree(place)
    own = found[1]
    start = timezone.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    days = purses.by_day("workspace", place.workspace.id, since=start)
    context = {
        "purses": found,
        "own": own,
        "now": timezone.now(),
        "curve": charts.curve(days, start=start, now=timezone.now(), cap=own.balance.cap if own.balance.period == "month" else None),
        "days": days,
        "prices": list(prices.listed()),
        "over": [purse for purse in found if purse.state == "REACHED"],
    }
    return render.page(request, "budgets/list.html", context, fragment="purses" if request.headers.get("HX-Target") == "purses" else "")


@require_GET
@frame.page("budgets_view", at="budgets")
def level(request: HttpRequest, place: Place, level: str, target: str) -> HttpResponse:
    """One purse and the movements that its numbers are the sum of."""
    purse = _find(_tree(place), level, target)
    if purse is None:
        raise Http404
    rows = list(purses.movements(level, target, before=lists.below(request.GET.get("below", "")))[: lists.SHOWN + 1])
    shown, further = lists.cut(rows, {})
    calls = purses.calls_of(shown)
    context = {
        "purse": purse,
        "rows": [(row, calls.get(row.call_id)) for row in shown],
        "further": further,
        "below": request.GET.get("below", ""),
        "may_set": _may_set(place, level),
    }
    return render.page(request, "budgets/level.html", context)


@require_http_methods(["GET", "POST"])
@frame.page("budgets_set", at="budgets")
def cap(request: HttpRequest, place: Place) -> HttpResponse:
    """The form; with an amount in the address, what that cap would have stopped; posted, the cap. Nothing typed is lost on a refusal."""
    if request.method == "GET":
        return _form(request, place, request.GET.dict())
    typed = {name: request.POST.get(name, "") for name in ("scope", "amount", "period")}
    named, _, target = typed["scope"].partition("/")
    try:
        with tenancy.within(place.organisation.id):
            if _find(_tree(place), named, target) is None:
                raise organisations.Conflict("There is no such budget here.", rule="budget", next_step="Choose one of the list.")
            if named == "organisation":
                organisations.require_everywhere(place.principal, "budgets_set")
            amount = money.parse(typed["amount"])
            reservations.put_cap(
                by=place.principal, workspace=place.workspace.id, level=named, target=target, period=typed["period"], cap_micros=amount
            )
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id, read_only=True):
            return _form(request, place, typed, refused=refused)
    return redirect(f"{place.root}/budgets/{named}/{target}")


@require_http_methods(["GET", "POST"])
@frame.page("budgets_set", at="budgets")
def price(request: HttpRequest, place: Place) -> HttpResponse:
    """A new version of a model's price. Amounts are dollars for a million tokens."""
    typed = {name: request.POST.get(name, "") for name in ("item", "input", "output", "source")} or {}
    refused = None
    if request.method == "GET":
        return _price_form(request, place, typed | {"item": request.GET.get("item", "")}, None)
    try:
        item = _model(typed["item"].strip())
        into, out = money.parse(typed["input"]), money.parse(typed["output"])
        prices.put(
            by=place.principal, workspace=place.workspace.id, item=item, input_micros=into, output_micros=out, source=typed["source"][:300]
        )
        return redirect(f"{place.root}/budgets#prices")
    except outcomes.Refused as found:
        refused = found
    with tenancy.within(place.organisation.id, read_only=True):
        return _price_form(request, place, typed, refused)


def _model(item: str) -> str:
    provider, _, name = item.partition(":")
    if not provider or not name or not item.isprintable() or " " in item or len(item) > 200:
        raise organisations.Conflict(
            "A model is named provider:model.",
            rule="price table",
            current=item[:40],
            limit="openai:gpt-5-mini, for one",
            next_step="Type both parts.",
        )
    return item


def _price_form(request: HttpRequest, place: Place, typed: dict[str, str], refused: outcomes.Refused | None) -> HttpResponse:
    context = {"typed": typed, "prices": list(prices.listed()), "refused": refused.as_dict() if refused else None}
    return render.page(request, "budgets/price.html", context, status=render.status_of(refused) if refused else 200)


def _form(request: HttpRequest, place: Place, typed: dict[str, str], *, refused: outcomes.Refused | None = None) -> HttpResponse:
    found = _tree(place)
    named, _, target = typed.get("scope", "").partition("/")
    chosen = _find(found, named, target)
    context: dict[str, Any] = {
        "typed": typed,
        "purses": [purse for purse in found if _may_set(place, purse.balance.level)],
        "chosen": chosen,
        "periods": PERIODS,
    }
    if refused is None and "amount" in typed:
        try:
            amount = money.parse(typed["amount"])
            period = typed.get("period", "")
            if chosen is None or period not in Cap.Period.values:
                raise organisations.Conflict(
                    "Choose what the cap is for, and its period.", rule="budget", next_step="Both are in the form."
                )
            context |= {"amount": amount, "period": period, "preview": purses.would_refuse(named, target, period=period, cap_micros=amount)}
        except outcomes.Refused as found_out:
            refused = found_out
    context["refused"] = refused.as_dict() if refused else None
    return render.page(request, "budgets/cap.html", context, status=render.status_of(refused) if refused else 200)


def _tree(place: Place) -> list[purses.Purse]:
    return purses.tree(place.organisation, place.workspace, list(contracts.in_workspace(place.workspace.id)))


def _find(found: list[purses.Purse], level: str, target: str) -> purses.Purse | None:
    return next((purse for purse in found if (purse.balance.level, purse.balance.target) == (level, target)), None)


def _may_set(place: Place, level: str) -> bool:
    """The organisation's cap takes the permission in every workspace."""
    if level != "organisation" or not place.may("budgets_set"):
        return place.may("budgets_set")
    return all(organisations.may(place.principal, "budgets_set", one.id) for one in organisations.workspaces())
