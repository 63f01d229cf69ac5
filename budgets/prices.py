"""What model calls cost: a versioned table. A model without a price is refused, not guessed (I-06)."""

from dataclasses import dataclass

from django.db.models import Max, QuerySet

from agents import organisations
from agents.organisations import Principal
from audit import ids, log, outcomes, tenancy
from budgets import money
from budgets.models import Price


class Unpriced(outcomes.Refused):
    code = "unpriced"


@dataclass(frozen=True, slots=True)
class Quote:
    """The worst case of one call, and the version of the price it was computed from."""

    amount: money.Micros
    price_version: int


def put(*, by: Principal, workspace: str, item: str, input_micros: money.Micros, output_micros: money.Micros, source: str = "") -> Price:
    """A new version of an item's price, in micro-units per million tokens. Old calls keep the version they were reserved at."""
    with tenancy.within(by.organisation):
        organisations.require(by, "budgets_set", workspace)
        version = (Price.objects.filter(item=item).aggregate(n=Max("version"))["n"] or 0) + 1
        price = Price.objects.create(
            id=ids.new("PRI"), item=item, version=version, input_micros=input_micros, output_micros=output_micros, source=source
        )
        log.append(
            "price.set",
            by=by,
            subject=item,
            detail={"version": version, "input_micros": input_micros, "output_micros": output_micros, "source": source},
        )
    return price


def current(item: str) -> Price:
    """The newest price. Raises Unpriced. Call inside `tenancy.within`."""
    price = Price.objects.filter(item=item).order_by("-version").first()
    if price is None:
        raise Unpriced(
            f"{item} has no price.",
            rule="price table",
            current="unpriced",
            limit="a price",
            who="whoever holds budgets_set",
            next_step="Use a priced model, or have its price set.",
        )
    return price


def worst_case(item: str, *, input_tokens: int, max_output_tokens: int) -> Quote:
    """The most a model call may cost. Raises Unpriced. Call inside `tenancy.within`."""
    price = current(item)
    amount = money.per_million(input_tokens, price.input_micros) + money.per_million(max_output_tokens, price.output_micros)
    return Quote(amount=amount, price_version=price.version)


def cost(item: str, *, version: int, input_tokens: int, output_tokens: int) -> money.Micros:
    """What a call did cost, at the version it was reserved at. Call inside `tenancy.within`."""
    price = Price.objects.get(item=item, version=version)
    return money.per_million(input_tokens, price.input_micros) + money.per_million(output_tokens, price.output_micros)


def versions(item: str) -> QuerySet[Price]:
    """Every price that an item ever had, newest first. Call inside `tenancy.within`."""
    return Price.objects.filter(item=item).order_by("-version")


def listed() -> QuerySet[Price]:
    """The newest price of every item. Call inside `tenancy.within`."""
    return Price.objects.order_by("item", "-version").distinct("item")
