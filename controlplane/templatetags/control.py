"""What only the control and proof pages say: movements of money, rounded forecasts, kinds of actors. Values in, text out."""

from django import template
from django.utils.safestring import SafeString

from budgets import money, purses
from controlplane.templatetags import ui

register = template.Library()

MOVEMENTS = {"hold": "Held for a call", "settle": "Spent", "return": "Given back", "overrun": "Spent beyond what was held"}


@register.filter
def movement(kind: str) -> str:
    """One kind of ledger entry in words."""
    return MOVEMENTS.get(kind, kind)


@register.simple_tag
def cap_state(purse: purses.Purse) -> SafeString:
    """Where a cap stands; when it will be reached, the day."""
    if purse.state == "OVER_SOON" and purse.reached_at is not None and purse.ends_at is not None:
        day = min(purse.reached_at, purse.ends_at).astimezone(purse.ends_at.tzinfo)
        return ui.badge(purse.state, f"Over soon, {day:%-d %b}")
    return ui.badge(purse.state)


@register.filter
def dollars_round(micros: int) -> str:
    """A forecast: more than two decimals would be a lie."""
    return money.dollars_round(micros)


@register.filter
def at(names: dict[str, str], identifier: str) -> str:
    """The name of a person by id, or of anything by its key; the key itself where there is no name."""
    return names.get(identifier, identifier)
