"""Integer micro-units (one millionth of the unit of account), and the only place where they are written for people."""

Micros = int
UNIT = 1_000_000
LARGEST = 2**62


def dollars(micros: Micros) -> str:
    """$0.061 or $1,050.00: at least two decimals, no more than needed."""
    sign = "-" if micros < 0 else ""
    whole, rest = divmod(abs(micros), UNIT)
    decimals = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}${whole:,}.{decimals}"


def per_million(tokens: int, rate: Micros) -> Micros:
    """What tokens cost at a rate per million, rounded up: a fraction of a micro-unit is never given away."""
    return -(-tokens * rate // 1_000_000)
