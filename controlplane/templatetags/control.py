"""What only the control and proof pages say: movements of money, rounded forecasts, kinds of actors. Values in, text out."""

from django import template

from budgets import money

register = template.Library()

MOVEMENTS = {"hold": "Held for a call", "settle": "Spent", "return": "Given back", "overrun": "Spent beyond what was held"}


@register.filter
def movement(kind: str) -> str:
    """One kind of ledger entry in words."""
    return MOVEMENTS.get(kind, kind)


@register.filter
def dollars_round(micros: int) -> str:
    """A forecast: more than two decimals would be a lie."""
    return "about " + money.dollars(-(-micros // 10_000) * 10_000)
