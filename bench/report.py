"""BENCHMARKS.md from the samples: medians with their spread, ratios taken round by round, the machine, and how to repeat it."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Samples = dict[str, list[float]]


@dataclass(slots=True)
class Taken:
    """Everything one bench run measured. `samples`: figure -> one value a round."""

    machine: Mapping[str, str]
    date: str
    rounds: int
    seconds: float
    samples: Samples = field(default_factory=dict)
    votes_ms: list[float] = field(default_factory=list)
    weights: list[tuple[str, float, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, value: float) -> None:
        self.samples.setdefault(name, []).append(value)


LABELS = {
    "direct p50": ("MCP read, straight to a bare upstream, one at a time", "ms, median"),
    "governed p50": ("that read through Remit, bare upstream", "ms, median"),
    "governed p99": ("that read through Remit, bare upstream", "ms, 99th percentile"),
    "sdk direct p50": ("MCP read, straight to an upstream on the official SDK", "ms, median"),
    "sdk governed p50": ("that read through Remit, official SDK upstream", "ms, median"),
    "rest per_s": ("governed reads over REST, 16 at once, 16 runs", "calls/s"),
    "rest p95": ("governed reads over REST, 16 at once, 16 runs", "ms, 95th percentile"),
    "rest one run per_s": ("governed reads over REST, 16 at once, one run", "calls/s"),
    "django per_s": ("minimal Django peer, 16 at once: one statement, no upstream, no gate", "calls/s"),
    "rest cpu": ("processor time of a governed read over REST: web process and PostgreSQL", "ms a call"),
    "django cpu": ("processor time of a call of the minimal Django peer: its process and PostgreSQL", "ms a call"),
    "pgbench per_s": ("that one statement by pgbench, 16 at once", "commits/s"),
}
RATIOS = [
    ("a governed read costs, against the direct call (bare upstream)", "governed p50", "direct p50"),
    ("a governed read costs, against the direct call (official SDK upstream)", "sdk governed p50", "sdk direct p50"),
    ("governed REST calls, against the minimal Django peer", "rest per_s", "django per_s"),
    ("processor time of a governed REST call, against the minimal Django peer's", "rest cpu", "django cpu"),
    ("governed REST calls, against bare governed transactions", "rest per_s", "pgbench per_s"),
]


def ratios(samples: Samples) -> list[tuple[str, float, float, float]]:
    """(sentence, median, least, most), each ratio taken inside one round: what slowed the machine slowed both sides."""
    found = []
    for sentence, above, below in RATIOS:
        pairs = list(zip(samples.get(above, []), samples.get(below, []), strict=False))
        values = [left / right for left, right in pairs if right]
        if values:
            found.append((sentence, statistics.median(values), min(values), max(values)))
    return found


def percentile(values: Sequence[float], share: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * share // 100)]


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def markdown(taken: Taken) -> str:
    lines = ["# Benchmarks", ""]
    lines += [
        "Written by `make bench`; every figure below comes from one run of it. Ratios are comparable between machines, figures are not.",
        "",
    ]
    lines += [f"- {name}: {value}" for name, value in {"date": taken.date, **taken.machine}.items()]
    lines += [
        f"- {taken.rounds} rounds of {taken.seconds:g} s a figure; in each round every target has a turn; the median round counts",
        "",
    ]
    lines += ["| what | unit | median | least | most |", "| --- | --- | ---: | ---: | ---: |"]
    for name, (what, unit) in LABELS.items():
        values = taken.samples.get(name)
        if values:
            lines.append(f"| {what} | {unit} | {number(statistics.median(values))} | {number(min(values))} | {number(max(values))} |")
    if taken.votes_ms:
        p50, p95, most = (
            number(value) for value in (statistics.median(taken.votes_ms), percentile(taken.votes_ms, 95), max(taken.votes_ms))
        )
        lines.append(
            f"| vote to applied effect, idle worker, {len(taken.votes_ms)} votes: median, 95th, longest | ms | {p50} | {p95} | {most} |"
        )
    lines += ["", "| ratio | median | least | most |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {what} | {number(mid)} | {number(least)} | {number(most)} |" for what, mid, least, most in ratios(taken.samples)]
    lines += ["", "| process | resident (shared pages included) before, MiB | after, MiB |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {before:.0f} | {after:.0f} |" for name, before, after in taken.weights]
    lines += [
        "",
        "A governed read is: key, schema, stops, scope, policy, limits, budget, audit entry, the call upstream, its recorded result.",
        "",
    ]
    lines += [f"- {note}" for note in taken.notes]
    lines += ["", "To repeat: `make bench` on a quiet machine (`wrk` is used when it is installed, else a slower client of our own).", ""]
    return "\n".join(lines)
