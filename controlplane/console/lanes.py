"""The time axis of a waterfall: where a moment lies between 0 and 100. Long stretches in which nothing but waiting happens are folded."""

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Of all the time that something happened, the most that one stretch takes up in which nothing did, or in which people were waited for.
IDLE, WAIT = 0.25, 0.9
NARROWEST = 0.6  # per cent; a shorter bar could not be seen


@dataclass(frozen=True, slots=True)
class Axis:
    """Moments (seconds since the beginning) and their places."""

    moments: tuple[float, ...]
    places: tuple[float, ...]
    is_folded: bool

    def place(self, moment: float) -> float:
        """Where a moment lies, in per cent."""
        at = min(max(bisect.bisect_right(self.moments, moment), 1), len(self.moments) - 1)
        before, after = self.moments[at - 1], self.moments[at]
        part = min(max((moment - before) / (after - before), 0.0), 1.0) if after > before else 0.0
        return self.places[at - 1] + part * (self.places[at] - self.places[at - 1])

    def bar(self, start: float, end: float) -> tuple[str, str]:
        """A bar's x and width as SVG takes them. It never leaves its lane."""
        left = min(self.place(start), 100 - NARROWEST)
        width = min(max(self.place(end) - left, NARROWEST), 100 - left)
        return f"{left:.2f}%", f"{width:.2f}%"


def axis(busy: Iterable[tuple[float, float]], waits: Sequence[tuple[float, float]], end: float) -> Axis:
    """An axis from 0 to `end` on which `busy` are the stretches when something happened, and `waits` those when people were asked."""
    merged = _merged(busy)
    worked = max(sum(b - a for a, b in merged), 0.004)
    moments, places, is_folded, now = [0.0], [0.0], False, 0.0
    for start, stop in [*merged, (end, end)]:
        for until, is_idle in ((start, True), (stop, False)):
            if until <= now:
                continue
            length = until - now
            most = worked * (WAIT if any(a < until and b > now for a, b in waits) else IDLE)
            if is_idle and merged and length > most:
                length, is_folded = most, True
            moments.append(until)
            places.append(places[-1] + length)
            now = until
    if len(moments) == 1:
        return Axis((0.0, 1.0), (0.0, 100.0), is_folded=False)
    return Axis(tuple(moments), tuple(place * 100 / places[-1] for place in places), is_folded)


def _merged(busy: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for start, stop in sorted((max(a, 0.0), max(b, a, 0.0)) for a, b in busy):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((start, stop))
    return found
