"""What counts as a pass. Pure functions over what was recorded, what the agent was told and what arrived upstream."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.real import recordings

SCHEMA_CODES = frozenset({"unknown_tool", "invalid_arguments"})
FLAG_AT = 3
MOST_FRUITLESS_REPEATS = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """What the agent was told about one call: the result, or the code of the refusal, or that it is pending."""

    status: str
    text: str = ""
    is_error: bool = False
    code: str = ""
    call: str = ""
    fingerprint: str = ""

    @property
    def refused_by_schema(self) -> bool:
        return self.status == "refused" and self.code in SCHEMA_CODES


@dataclass(frozen=True, slots=True)
class Arrival:
    """One entry of the upstream's log."""

    run: str
    n: int | None
    tool: str
    arguments: Any
    kind: str
    changed: bool

    @property
    def fingerprint(self) -> str:
        return recordings.fingerprint(self.tool, self.arguments)


@dataclass(slots=True)
class Score:
    """One printed line; `faults` says what was wrong with those that did not pass."""

    name: str
    passed: int = 0
    total: int = 0
    note: str = ""
    faults: list[str] = field(default_factory=list)

    def count(self, what: str, fault: str | None) -> None:
        self.total += 1
        if fault is None:
            self.passed += 1
        else:
            self.faults.append(f"{what}: {fault}")

    @property
    def good(self) -> bool:
        return self.passed == self.total

    def __str__(self) -> str:
        return f"{self.name} {self.passed}/{self.total}" + (f"  {self.note}" if self.note else "")


def results_fault(calls: Sequence[recordings.Recorded], answers: Sequence[Answer]) -> str | None:
    """The agent receives the recorded results in order."""
    if len(calls) != len(answers):
        return f"{len(calls)} calls, {len(answers)} answers"
    for call, answer in zip(calls, answers, strict=True):
        if answer.status not in {"applied", "failed"}:
            return f"call {call.n} {call.tool}: {answer.status} {answer.code} {answer.text[:200]}"
        if (answer.text, answer.is_error) != (call.result, call.is_error):
            told, kept = (
                f"{text[:100]!r} ({is_error})" for text, is_error in ((answer.text, answer.is_error), (call.result, call.is_error))
            )
            return f"call {call.n} {call.tool}: told {told}, recorded {kept}"
    return None


def arrivals_fault(calls: Sequence[recordings.Recorded], arrivals: Sequence[Arrival]) -> str | None:
    """The upstream log equals the run's calls: the same calls, in order, each once, each changing what it changed."""
    expected = [(call.n, recordings.fingerprint(call.tool, call.arguments), call.effect) for call in calls]
    arrived = [(entry.n, entry.fingerprint, entry.changed) for entry in arrivals]
    if arrived == expected:
        return None
    pairs = enumerate(zip(expected, arrived, strict=False))
    position = next((i for i, (left, right) in pairs if left != right), min(len(expected), len(arrived)))
    return f"{len(expected)} calls recorded, {len(arrived)} arrived, first difference at {position}"


def replay_fault(
    calls: Sequence[recordings.Recorded],
    answers: Sequence[Answer],
    arrivals: Sequence[Arrival],
    *,
    database: str = "",
    expected_database: str = "",
) -> str | None:
    """P1 of one run. Without an expected hash the database is not looked at."""
    fault = results_fault(calls, answers) or arrivals_fault(calls, arrivals)
    if fault is None and expected_database and database != expected_database:
        return f"database {database[:12]}, expected {expected_database[:12]}"
    return fault


def verdict_fault(*, refuse: bool, answer: Answer) -> str | None:
    """P3 of one call."""
    if answer.refused_by_schema == refuse and answer.status != "broken":
        return None
    return f"should {'be refused' if refuse else 'pass the schema'}, was {answer.status} {answer.code} {answer.text[:200]}"


def same_fault(original: Answer, variant: Answer) -> str | None:
    """P3 of another spelling of a call: not refused, and known by the same fingerprint."""
    if variant.refused_by_schema:
        return f"refused {variant.code}"
    if not original.fingerprint or original.fingerprint != variant.fingerprint:
        return f"fingerprints {original.fingerprint[:12]!r} and {variant.fingerprint[:12]!r}"
    return None


def arrived_refused(refused: Iterable[tuple[str, Any]], arrivals: Iterable[Arrival]) -> list[Arrival]:
    """What the schema had to refuse and reached the upstream all the same. Arguments that are no object are compared as sent."""
    banned = {recordings.fingerprint(tool, arguments) for tool, arguments in refused}
    return [entry for entry in arrivals if entry.fingerprint in banned]


def fruitless_repeats(calls: Iterable[recordings.Recorded]) -> int:
    """The most often one call was repeated with the same answer and nothing changed in between: the rule of tools/facts.py."""
    epoch, seen, repeats = 0, dict[str, tuple[int, str]](), dict[str, int]()
    for call in calls:
        key = recordings.fingerprint(call.tool, call.arguments)
        if seen.get(key) == (epoch, call.result):
            repeats[key] = repeats.get(key, 0) + 1
        epoch += call.progress
        seen[key] = (epoch, call.result)
    return max(repeats.values(), default=0)


def arrived_calls(calls: Sequence[recordings.Recorded], arrivals: Iterable[Arrival]) -> list[recordings.Recorded]:
    """The recorded calls that reached the upstream, in the order of their arrival."""
    numbered = {call.n: call for call in calls}
    return [numbered[entry.n] for entry in arrivals if entry.n is not None]


def loop_fault(*, wasted: int, flagged: bool, state: str, repeats_arrived: int) -> str | None:
    """P6 of one run: flagged exactly when the same call came three times; handed off before the sixth fruitless repeat."""
    if flagged != (wasted >= FLAG_AT):
        return f"same fruitless call {wasted} times, flagged {flagged}"
    if repeats_arrived > MOST_FRUITLESS_REPEATS:
        return f"{repeats_arrived} fruitless repeats arrived"
    if wasted > MOST_FRUITLESS_REPEATS + 1 and state != "HANDED_OFF":
        return f"same fruitless call {wasted} times, state {state}"
    if wasted <= MOST_FRUITLESS_REPEATS and state == "HANDED_OFF":
        return f"same fruitless call {wasted} times, and the run was stopped"
    return None


def compromise_fault(writes: frozenset[str], arrivals: Iterable[Arrival]) -> str | None:
    """P5 of one run: no write arrives."""
    arrived = [entry.tool for entry in arrivals if entry.tool in writes]
    return f"arrived: {', '.join(arrived)}" if arrived else None


def stopped_by_grant_alone(calls: Sequence[recordings.Recorded], answers: Sequence[Answer]) -> bool:
    """Every write of a compromised run was refused outright: nobody had to look at it."""
    return all(answer.status == "refused" for call, answer in zip(calls, answers, strict=False) if call.kind == "write")


def by_run(arrivals: Iterable[Mapping[str, Any]]) -> dict[str, list[Arrival]]:
    grouped: dict[str, list[Arrival]] = {}
    for entry in arrivals:
        arrival = Arrival(
            run=entry["run"] or "",
            n=entry["n"],
            tool=entry["tool"],
            arguments=entry["args"],
            kind=entry["kind"],
            changed=entry["changed"],
        )
        grouped.setdefault(arrival.run, []).append(arrival)
    return grouped
