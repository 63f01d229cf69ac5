"""Small drawings as plain numbers for a template's SVG: the server draws, nothing is fetched and nothing is styled inline."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from budgets import money

WIDTH, HEIGHT = 720, 180


@dataclass(frozen=True, slots=True)
class Curve:
    """Spending that adds up over a month, in the coordinates of a WIDTH by HEIGHT drawing."""

    points: str
    last: tuple[int, int]
    cap_y: int | None
    lines: tuple[tuple[int, str], ...]
    ticks: tuple[tuple[int, int], ...]
    total: money.Micros


def curve(
    days: Sequence[tuple[datetime.date, money.Micros]], *, start: datetime.datetime, now: datetime.datetime, cap: money.Micros | None
) -> Curve | None:
    """The month so far; nothing when nothing was spent."""
    if not days:
        return None
    length = ((start + datetime.timedelta(days=32)).replace(day=1) - start).days
    spent = dict(days)
    total = sum(spent.values())
    top = _round(max(total, cap if cap is not None and cap <= total * 20 else 0))
    x = [WIDTH * day // length for day in range(length + 1)]
    points, used = [(0, HEIGHT)], 0
    for day in range((now - start).days + 1):
        used += spent.get((start + datetime.timedelta(days=day)).date(), 0)
        points.append((x[day + 1], HEIGHT - HEIGHT * used // top))
    return Curve(
        points=" ".join(f"{left},{down}" for left, down in points),
        last=points[-1],
        cap_y=HEIGHT - HEIGHT * cap // top if cap is not None and cap <= top else None,
        lines=tuple((HEIGHT - HEIGHT * part // 4, money.dollars(top * part // 4)) for part in range(5)),
        ticks=tuple((x[day], day) for day in range(5, length + 1, 5)),
        total=total,
    )


def _round(micros: money.Micros) -> money.Micros:
    """The next 1, 2, 4 or 8 times a power of ten: its quarters stay short to write."""
    power = 10
    while power * 8 < micros:
        power *= 10
    return next(power * lead for lead in (1, 2, 4, 8) if power * lead >= micros)
