"""Setting what may be spent: a cap after a look at what it would have stopped, the price of a model, the zone in which days end."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from agents import contracts, organisations
from audit import outcomes, tenancy
from budgets import caps, money, previews, prices, purses, zones
from budgets.models import Cap, Raise
from controlplane.console import budgets, frame, render
from controlplane.console.frame import Place

PERIODS = {"month": "a calendar month", "day": "a day", "total": "for good, without end"}
AT_CAP = {
    "refuse": "Refuse the call and hand the run to its owner",
    "draft": "Keep writes as proposals that a person may apply; refuse the rest",
}
FIELDS = ("scope", "amount", "period", "at_cap", "seen")


@require_http_methods(["GET", "POST"])
@frame.page("budgets_set", at="budgets")
def cap(request: HttpRequest, place: Place) -> HttpResponse:
    """The form; with an amount in the address, what that cap would have stopped; posted, the cap. Nothing typed is lost on a refusal."""
    if request.method == "GET":
        return _form(request, place, request.GET.dict())
    typed = {name: request.POST.get(name, "") for name in FIELDS}
    named, _, target = typed["scope"].partition("/")
    try:
        with tenancy.within(place.organisation.id):
            if budgets.find(budgets.tree(place), named, target) is None:
                raise organisations.Conflict("There is no such budget here.", rule="budget", next_step="Choose one of the list.")
            if named == "organisation":
                organisations.require_everywhere(place.principal, "budgets_set")
            amount = money.parse(typed["amount"])
            caps.put(
                by=place.principal,
                workspace=place.workspace.id,
                level=named,
                target=target,
                period=typed["period"],
                cap_micros=amount,
                seen=typed["seen"],
            )
            _at_cap(place, named, target, typed["at_cap"])
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id, read_only=True):
            return _form(request, place, typed, refused=refused)
    return redirect(f"{place.root}/budgets/{named}/{target}")


def _at_cap(place: Place, level: str, target: str, choice: str) -> None:
    """What an agent does at its cap is the agent's draft mode: another function, another permission, its own entry."""
    if level != "agent" or choice not in AT_CAP:
        return
    agent = contracts.find(target)
    if agent.draft_only != (choice == "draft"):
        contracts.change(by=place.principal, agent=agent, changes={"draft_only": choice == "draft"})


@require_http_methods(["GET", "POST"])
@frame.page("budgets_set", at="budgets")
def price(request: HttpRequest, place: Place) -> HttpResponse:
    """A new version of a model's price, beside those before it. Amounts are dollars for a million tokens."""
    if request.method == "GET":
        return _price_form(request, place, {"item": request.GET.get("item", "").replace("\0", "")[:200]}, None)
    typed = {name: request.POST.get(name, "") for name in ("item", "input", "output", "source")}
    try:
        item = _model(typed["item"].strip())
        into, out = money.parse(typed["input"]), money.parse(typed["output"])
        prices.put(
            by=place.principal, workspace=place.workspace.id, item=item, input_micros=into, output_micros=out, source=typed["source"][:300]
        )
        return redirect(f"{place.root}/budgets#prices")
    except outcomes.Refused as refused:
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
    item = typed.get("item", "")
    context = {
        "typed": typed,
        "prices": list(prices.listed()),
        "versions": list(prices.versions(item)) if item else [],
        "refused": refused.as_dict() if refused else None,
    }
    return render.page(request, "budgets/price.html", context, status=render.status_of(refused) if refused else 200)


@require_http_methods(["GET", "POST"])
@frame.page("budgets_set", at="budgets")
def zone(request: HttpRequest, place: Place) -> HttpResponse:
    """The zone in which days and months of money end, for the whole organisation."""
    refused = None
    if request.method == "POST":
        try:
            zones.put(by=place.principal, name=request.POST.get("zone", ""))
            return redirect(f"{place.root}/budgets")
        except outcomes.Refused as found:
            refused = found
    with tenancy.within(place.organisation.id, read_only=True):
        current = str(zones.of_organisation())
        context = {
            "zones": zones.known(),
            "current": current,
            "chosen": request.POST.get("zone", current),
            "may_change": budgets.may_set(place, "organisation"),
            "now": timezone.now(),
            "refused": refused.as_dict() if refused else None,
        }
        return render.page(request, "budgets/zone.html", context, status=render.status_of(refused) if refused else 200)


@require_http_methods(["GET", "POST"])
@frame.page("budgets_set", at="budgets")
def threshold(request: HttpRequest, place: Place) -> HttpResponse:
    """Up to where one person raises a cap, for the whole organisation."""
    refused, typed = None, request.POST.get("amount", "")
    if request.method == "POST":
        try:
            caps.put_threshold(by=place.principal, workspace=place.workspace.id, micros=money.parse(typed))
            return redirect(f"{place.root}/budgets")
        except outcomes.Refused as found:
            refused = found
    with tenancy.within(place.organisation.id, read_only=True):
        now = caps.threshold()
        context = {
            "current": now,
            "typed": typed or money.dollars(now).lstrip("$"),
            "may_change": budgets.may_set(place, "organisation"),
            "partners": caps.partners(place.principal, place.workspace.id, Raise.Level.THRESHOLD),
            "refused": refused.as_dict() if refused else None,
        }
        return render.page(request, "budgets/threshold.html", context, status=render.status_of(refused) if refused else 200)


@require_POST
@frame.page("budgets_set", at="budgets")
def decide(request: HttpRequest, place: Place, identifier: str, verb: str) -> HttpResponse:
    """Be the second person of a raise, or leave the cap as it is."""
    if verb not in {"agree", "decline"}:
        raise Http404
    try:
        if verb == "agree":
            caps.agree(by=place.principal, identifier=identifier)
        else:
            caps.decline(by=place.principal, identifier=identifier, reason=request.POST.get("reason", ""))
    except organisations.NotFound as absent:
        raise Http404 from absent
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id, read_only=True):
            return budgets.show(request, place, refused=refused)
    return redirect(f"{place.root}/budgets")


def _form(request: HttpRequest, place: Place, typed: dict[str, str], *, refused: outcomes.Refused | None = None) -> HttpResponse:
    found = budgets.tree(place)
    named, _, target = typed.get("scope", "").partition("/")
    chosen = budgets.find(found, named, target)
    context: dict[str, Any] = {
        "typed": typed,
        "purses": [purse for purse in found if budgets.may_set(place, purse.balance.level)],
        "chosen": chosen,
        "periods": PERIODS,
        "at_cap": AT_CAP,
        "agent": contracts.find(target) if chosen and named == "agent" else None,
        "seen": caps.version(chosen.cap) if chosen else "",
    }
    if typed.get("amount") and (refused is None or refused.code == caps.CapChanged.code):
        try:
            if chosen is None or typed.get("period") not in Cap.Period.values:
                raise organisations.Conflict(
                    "Choose what the cap is for, and its period.", rule="budget", next_step="Both are in the form."
                )
            context |= _preview(place, chosen, typed)
        except outcomes.Refused as found_out:
            refused = refused or found_out
    elif "amount" in typed and refused is None:
        refused = _amount_of(typed["amount"])
    context["refused"] = refused.as_dict() if refused else None
    return render.page(request, "budgets/cap.html", context, status=render.status_of(refused) if refused else 200)


def _amount_of(text: str) -> outcomes.Refused | None:
    try:
        money.parse(text)
    except outcomes.Refused as refused:
        return refused
    return None


def _preview(place: Place, chosen: purses.Purse, typed: dict[str, str]) -> dict[str, Any]:
    amount, period = money.parse(typed["amount"]), typed["period"]
    named, _, target = typed["scope"].partition("/")
    needs = caps.takes_two(chosen.cap, period=period, cap_micros=amount)
    return {
        "partners": caps.partners(place.principal, place.workspace.id, named) if needs else [],
        "is_alone": needs,
        "threshold": caps.threshold(),
        "amount": amount,
        "period": period,
        "preview": previews.would_refuse(named, target, period=period, cap_micros=amount),
    }
