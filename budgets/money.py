"""Integer micro-units (one millionth of the unit of account), and the only place where they are written for people."""

import re

from audit import outcomes

Micros = int
UNIT = 1_000_000
LARGEST = 2**62


def dollars(micros: Micros) -> str:
    """$0.061 or $1,050.00: at least two decimals, no more than needed."""
    sign = "-" if micros < 0 else ""
    whole, rest = divmod(abs(micros), UNIT)
    decimals = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}${whole:,}.{decimals}"


_EACH = {"day": " a day", "month": " a month", "total": " in all"}


def in_period(micros: Micros, period: str) -> str:
    """What may be spent in a period: $40.00 a day, $1,000.00 in all. Of an unknown one the amount alone."""
    return dollars(micros) + _EACH.get(period, "")


def dollars_round(micros: Micros) -> str:
    """A forecast: more digits than it can know would be a lie. Whole dollars above a hundred, cents below, exact below one cent."""
    step = UNIT if abs(micros) >= 100 * UNIT else UNIT // 100 if abs(micros) >= UNIT // 100 else 1
    text = dollars((micros + step // 2) // step * step)
    return text.removesuffix(".00") if step == UNIT else text


def per_million(tokens: int, rate: Micros) -> Micros:
    """What tokens cost at a rate per million, rounded up: a fraction of a micro-unit is never given away."""
    return -(-tokens * rate // 1_000_000)


class NotMoney(outcomes.Refused):
    """What was typed is not an exact amount of dollars."""

    code = "not_money"


_TYPED = re.compile(r"\$?\s*((?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,13}))(?:\.([0-9]{1,6}))?")


def parse(text: str) -> Micros:
    """Dollars as typed ($1,050.00 or 0.061), exactly. Raises NotMoney; never rounds."""
    found = _TYPED.fullmatch(text.strip())
    if found is None or (amount := int(found[1].replace(",", "")) * UNIT + int((found[2] or "0").ljust(6, "0"))) > LARGEST:
        raise NotMoney(
            "This is not an amount of dollars.",
            rule="money",
            current=text[:40],
            limit="like 1,050.00 or 0.061, at most six decimals, not negative",
            next_step="Type it with a point before the decimals.",
        )
    return amount
