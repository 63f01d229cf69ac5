"""Spending against a cap as a drawing: plain numbers for a template's SVG, and the same as a figure for the script that redraws it.

The server draws, so it prints and works without a script. Colours are names of tokens (`--c1`); the script looks them up.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from budgets import forecasts, money, zones

WIDTH, HEIGHT = 720, 180
_PARTS = 4  # grid lines above the lowest
Point = tuple[int, int]  # seconds since the month began, micro-units


@dataclass(frozen=True, slots=True)
class Spend:
    """Spending that adds up over a month, where it leads, and the cap it is held against."""

    month: zones.Month
    now: datetime.datetime
    days: Mapping[datetime.date, money.Micros]
    cap: money.Micros | None
    forecast: forecasts.Forecast | None

    @property
    def total(self) -> money.Micros:
        return sum(self.days.values())

    @property
    def length(self) -> int:
        return int((self.month.end - self.month.start).total_seconds())

    @property
    def passed(self) -> int:
        return min(int((self.now - self.month.start).total_seconds()), self.length)

    def so_far(self) -> list[Point]:
        """From nothing, a point at the end of each day, the last one now. What was booked after the month's end stands at its end."""
        points, used = [(0, 0)], 0
        for day in self.month.days:
            end = int((zones.midnight(day + datetime.timedelta(days=1), self.month.zone) - self.month.start).total_seconds())
            used += self.days.get(day, 0)
            points.append((min(end, self.passed), used))
            if end >= self.passed:
                break
        return [*points[:-1], (points[-1][0], self.total)]

    def ahead(self) -> list[tuple[int, forecasts.Forecast]]:
        """The forecast along the way, beginning now."""
        if self.forecast is None:
            return []
        spent = self.total
        points = forecasts.band(self.forecast, spent=spent, now=self.now, until=self.month.end)
        return [(int((moment - self.month.start).total_seconds()), each) for moment, each in points]

    @property
    def top(self) -> money.Micros:
        """Where the scale ends: above everything drawn. A cap far above all of it is said, not drawn."""
        highest = max(self.total, self.forecast.high if self.forecast else 0, 1)
        return _round(max(highest, self.cap if self.cap is not None and self.cap <= highest * 20 else 0))

    @property
    def apart(self) -> int:
        """By how much the forecast's label goes up and the cap's down, where both lines end at nearly the same height."""
        if self.forecast is None or self.cap is None or abs(self.cap - self.forecast.micros) * 8 > self.top:
            return 0
        return 8 if self.forecast.micros >= self.cap else -8

    @property
    def summary(self) -> str:
        """The drawing in one sentence."""
        said = f"{money.dollars(self.total)} spent by {self.now.astimezone(self.month.zone):%-d %B}"
        if self.forecast is not None:
            said += f"; at this pace about {money.dollars_round(self.forecast.micros)} by the end of the month"
        if self.cap is None:
            return f"{said}; there is no monthly cap."
        return f"{said}; the cap is {money.dollars(self.cap)}."


def curve(spend: Spend) -> dict[str, Any]:
    """The SVG's numbers, in the coordinates of a WIDTH by HEIGHT drawing."""
    top, points, ahead = spend.top, spend.so_far(), spend.ahead()

    def at(seconds: int, micros: int) -> Point:
        return WIDTH * seconds // spend.length, HEIGHT - HEIGHT * micros // top

    start = at(*points[-1])
    upper = [at(seconds, each.high) for seconds, each in ahead]
    lower = [at(seconds, each.low) for seconds, each in ahead]
    line = [at(seconds, each.micros) for seconds, each in ahead]
    days = len(spend.month.days)
    return {
        "spent": _joined([at(*point) for point in points]),
        "last": start,
        "ahead": _joined([start, *line]) if line else "",
        "band": _joined([start, *upper, *reversed(lower)]) if line else "",
        "end": line[-1] if line else None,
        "end_dy": 4 - 2 * spend.apart,  # in units of the drawing, of which a phone shows half as many pixels
        "cap_dy": 4 + 2 * spend.apart,
        "cap_y": at(0, spend.cap)[1] if spend.cap is not None and spend.cap <= top else None,
        "lines": [(HEIGHT - HEIGHT * part // _PARTS, money.dollars(top * part // _PARTS)) for part in range(_PARTS + 1)],
        "ticks": [(WIDTH * day // days, day) for day in range(5, days + 1, 5)],
    }


def figure(spend: Spend, *, rows: str) -> dict[str, Any]:
    """The same for plotly, in whole micro-units. `rows` is the address of the movements behind a day: a click on a point opens them."""
    top, points, ahead = spend.top, spend.so_far(), spend.ahead()
    days, now = spend.month.days, points[-1]
    spent = _trace("Spent", points, "--c1", dash="solid", spend=spend)
    spent["customdata"] = [f"{rows}&day={days[min(seconds * len(days) // spend.length, len(days) - 1)]}" for seconds, _ in _middles(points)]
    traces = [spent]
    labels = [_label(now, "Spent", anchor="right" if now[0] * 8 > spend.length else "left", lift=14, spend=spend)]
    if ahead:
        upper, lower = ([now] + [(s, f.high) for s, f in ahead], [now] + [(s, f.low) for s, f in ahead])
        quiet = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
        traces += [
            quiet | {"x": _days(lower, spend), "y": [y for _, y in lower], "name": "low"},
            quiet | {"x": _days(upper, spend), "y": [y for _, y in upper], "name": "high", "fill": "tonexty", "fillcolor": "--c1/0.16"},
            _trace("Forecast", [now] + [(s, f.micros) for s, f in ahead], "--c1", dash="dot", spend=spend),
        ]
        labels.append(_label((spend.length, ahead[-1][1].micros), "Forecast", anchor="left", lift=spend.apart, spend=spend))
    if spend.cap is not None and spend.cap <= top:
        traces.append(_trace("Cap", [(0, spend.cap), (spend.length, spend.cap)], "--c4", dash="dash", spend=spend))
        labels.append(_label((spend.length, spend.cap), "Cap", anchor="left", lift=-spend.apart, spend=spend))
    return {"data": traces, "layout": _layout(spend, labels)}


def _trace(name: str, points: list[Point], colour: str, *, dash: str, spend: Spend) -> dict[str, Any]:
    return {
        "name": name,
        "mode": "lines",
        "x": _days(points, spend),
        "y": [micros for _, micros in points],
        "text": [f"{name} {money.dollars(micros)}" for _, micros in points],
        "hoverinfo": "text",
        "line": {"color": colour, "width": 2.5 if dash == "solid" else 2, "dash": dash},
        "showlegend": False,
    }


def _layout(spend: Spend, labels: list[dict[str, Any]]) -> dict[str, Any]:
    top, days = spend.top, len(spend.month.days)
    ticks = [top * part // _PARTS for part in range(_PARTS + 1)]
    grid = {"gridcolor": "--line", "zeroline": False, "fixedrange": True, "tickfont": {"color": "--muted", "size": 12}}
    now = spend.passed * days / spend.length
    return {
        "paper_bgcolor": "--surface",
        "plot_bgcolor": "--surface",
        "margin": {"l": 72, "r": 76, "t": 16, "b": 44},
        "hovermode": "x",
        "hoverlabel": {"bgcolor": "--raised", "bordercolor": "--line2", "font": {"color": "--text", "size": 12}},
        "xaxis": grid
        | {
            "range": [0, days],
            "tickvals": list(range(5, days + 1, 5)),
            "title": {"text": "Day of the month", "font": {"color": "--muted", "size": 12}},
        },
        "yaxis": grid | {"range": [0, top], "tickvals": ticks, "ticktext": [money.dollars(tick).removesuffix(".00") for tick in ticks]},
        "shapes": [
            {
                "type": "line",
                "x0": now,
                "x1": now,
                "y0": 0,
                "y1": 1,
                "yref": "paper",
                "line": {"color": "--line2", "width": 1, "dash": "dot"},
            }
        ],
        "annotations": labels,
        "font": {"family": "InterVar, sans-serif"},
    }


def _label(point: Point, text: str, *, anchor: str, lift: int, spend: Spend) -> dict[str, Any]:
    return {
        "x": point[0] * len(spend.month.days) / spend.length,
        "y": point[1],
        "text": text,
        "showarrow": False,
        "xanchor": anchor,
        "xshift": 6 if anchor == "left" else -4,
        "yshift": lift,
        "font": {"color": "--text", "size": 12},
    }


def _days(points: list[Point], spend: Spend) -> list[float]:
    return [round(seconds * len(spend.month.days) / spend.length, 3) for seconds, _ in points]


def _middles(points: list[Point]) -> list[Point]:
    """Each point moved into the day that it closes."""
    return [points[0], *((seconds - 1, micros) for seconds, micros in points[1:])]


def _joined(points: list[Point]) -> str:
    return " ".join(f"{left},{down}" for left, down in points)


def _round(micros: money.Micros) -> money.Micros:
    """The next 1, 2, 4, 6 or 8 times a power of ten: its quarters stay short to write."""
    power = 10
    while power * 8 < micros:
        power *= 10
    return next(power * lead for lead in (1, 2, 4, 6, 8) if power * lead >= micros)
