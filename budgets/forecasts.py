"""What a month will come to at the pace of its days, with a range, and when a cap is reached. Whole micro-units throughout, no floats.

The method, in the words of the page: the mean of the last complete days (at most 28, from the first day on which anything was spent),
times what is left of the month. The range holds four of five such months, if days keep varying as they did. Under four complete days
nothing is said.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt

from budgets import money, zones

HISTORY = 28
LEAST = 4
_DAY = 86_400
_SPREAD = 128  # hundredths of a standard deviation to either side: 80 % of a normal distribution


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a month comes to, between `low` and `high`, from the mean of `days` days."""

    micros: money.Micros
    low: money.Micros
    high: money.Micros
    per_day: money.Micros
    deviation: money.Micros
    days: int

    @property
    def margin(self) -> money.Micros:
        """How far the range reaches upwards."""
        return self.high - self.micros

    def reaches(self, cap: money.Micros, *, spent: money.Micros, now: datetime.datetime) -> datetime.datetime | None:
        """When spending gets to the cap at this pace; None when it never does."""
        if spent >= cap:
            return now
        if self.per_day <= 0:
            return None
        seconds = (cap - spent) * _DAY // self.per_day
        return now + datetime.timedelta(seconds=seconds) if seconds < 3_650 * _DAY else None


def month(days: Mapping[datetime.date, money.Micros], *, spent: money.Micros, of: zones.Month, now: datetime.datetime) -> Forecast | None:
    """The forecast of the month `of` from what was spent each day before today; None when that is too little to go by."""
    today = now.astimezone(of.zone).date()
    past = [today - datetime.timedelta(days=number) for number in range(HISTORY, 0, -1)]
    first = next((day for day in past if days.get(day)), None)
    known = [days.get(day, 0) for day in past if first is not None and day >= first]
    if len(known) < LEAST or now >= of.end:
        return None
    mean = sum(known) // len(known)
    variance = sum((amount - mean) ** 2 for amount in known) // (len(known) - 1)
    return _project(spent, mean, variance, len(known), int((of.end - now).total_seconds()))


def _project(spent: money.Micros, mean: money.Micros, variance: int, count: int, seconds: int) -> Forecast:
    # the days to come vary by themselves (variance * days) and so does the mean they are told from (variance * days^2 / count)
    ahead = spent + mean * seconds // _DAY
    uncertain = variance * seconds // _DAY + variance * seconds * seconds // (_DAY * _DAY * count)
    margin = _SPREAD * isqrt(uncertain) // 100
    return Forecast(ahead, max(ahead - margin, spent), ahead + margin, mean, isqrt(variance), count)


def band(
    forecast: Forecast, *, spent: money.Micros, now: datetime.datetime, until: datetime.datetime
) -> list[tuple[datetime.datetime, Forecast]]:
    """The forecast along the way, a point a day: what a chart draws. The last is the forecast itself."""
    points = []
    moment = now
    while moment < until:
        moment = min(moment + datetime.timedelta(days=1), until)
        seconds = int((moment - now).total_seconds())
        points.append((moment, _project(spent, forecast.per_day, forecast.deviation**2, forecast.days, seconds)))
    return points
