"""The checks of ../shared/inputs/SCORES.md that this harness makes: each drives its set of runs and yields the scores."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.real import doors, driver, recordings, scores

KEPT_DATABASES = 40  # runs between two resets of a tape that copies its database for each run that writes
VARIANTS_A_RUN = 40


@dataclass(slots=True)
class Course:
    """One domain with its driver: which scores are wanted, how many of each set, how many writes arrived."""

    domain: str
    drive: driver.Driver
    tools: Mapping[str, Mapping[str, Any]]
    limit: int | None = None
    shop: recordings.Shop | None = None
    writes_arrived: int = 0

    @property
    def writes(self) -> frozenset[str]:
        return frozenset(name for name, tool in self.tools.items() if tool["kind"] == "write")

    def cut(self, items: Sequence[Any]) -> Sequence[Any]:
        return items[: self.limit] if self.limit else items

    def count(self, driven: Iterable[driver.Driven]) -> Iterator[driver.Driven]:
        """Passes the driven runs on and counts the writes that arrived."""
        for one in driven:
            self.writes_arrived += sum(entry.tool in self.writes for entry in one.arrivals)
            yield one

    def named(self, calls: Iterable[tuple[str, Any]]) -> tuple[str, ...]:
        return tuple(self.shop.owners(calls)) if self.shop else ()


def recorded_runs(course: Course, runs: Sequence[Mapping[str, Any]], *, expected: Mapping[str, str]) -> Iterator[scores.Score]:
    """Every recorded run, everything approved: P1 where expected databases are given, P3 and P6."""
    jobs = [driver.expected_job(run, agent=course.domain, shop=course.shop) for run in course.cut(runs)]
    keeps = bool(expected)

    def finish(driven: driver.Driven) -> None:
        course.drive.look_up(driven)
        if keeps:
            course.drive.hash_database(driven)

    gate, wasted = recordings.Gate(course.tools), recordings.wasted(course.domain)
    replay, schema, loops = (scores.Score(f"{name} {course.domain}") for name in ("P1", "P3", "P6"))
    unsure: list[tuple[str, recordings.Recorded]] = []
    flagged = 0
    for driven in course.count(course.drive.drive(jobs, batch=KEPT_DATABASES if keeps else 400, finish=finish)):
        name = driven.job.reference
        if keeps:
            hashes = {"database": driven.database, "expected_database": expected[name]}
            replay.count(name, scores.replay_fault(driven.job.calls, driven.answers, driven.arrivals, **hashes))
        unsure += verdicts(schema, gate, driven)
        flagged += bool(driven.record["loop_flagged"])
        repeats = scores.fruitless_repeats(scores.arrived_calls(driven.job.calls, driven.arrivals))
        seen = {"flagged": driven.record["loop_flagged"], "state": driven.record["state"]}
        loops.count(name, scores.loop_fault(wasted=wasted[name], repeats_arrived=repeats, **seen))
    second_opinion(course, schema, gate, unsure)
    loops.note = f"{flagged} flagged"
    if keeps:
        yield replay
    yield schema
    yield loops


def verdicts(schema: scores.Score, gate: recordings.Gate, driven: driver.Driven) -> list[tuple[str, recordings.Recorded]]:
    """Counts the verdict on each call; returns those that were refused because the run was over, which says nothing of the schema."""
    unsure, refused = [], list[tuple[str, Any]]()
    for call, answer in zip(driven.job.calls, driven.answers, strict=True):
        what = f"{driven.job.reference} {call.n} {call.tool}"
        refuse = gate.refuses(call.tool, call.arguments)
        if refuse:
            refused.append((call.tool, call.arguments))
        if answer.code == "run_over":
            unsure.append((what, call))
        else:
            schema.count(what, scores.verdict_fault(refuse=refuse, answer=answer))
    arrived = scores.arrived_refused(refused, driven.arrivals)
    schema.faults += [f"{driven.job.reference}: a refused {entry.tool} arrived" for entry in arrived]
    return unsure


def second_opinion(course: Course, schema: scores.Score, gate: recordings.Gate, unsure: Sequence[tuple[str, recordings.Recorded]]) -> None:
    """Asks again, in a run of its own, what a run that was over could not tell."""
    jobs = [
        driver.Job(reference=f"verdict-{position}", agent=course.domain, calls=(call,), subject=course.named([(call.tool, call.arguments)]))
        for position, (_what, call) in enumerate(unsure)
    ]
    for (what, call), driven in zip(unsure, course.count(course.drive.drive(jobs)), strict=True):
        refuse = gate.refuses(call.tool, call.arguments)
        schema.count(f"{what} (asked again)", scores.verdict_fault(refuse=refuse, answer=driven.answers[0]))


def expected_calls(course: Course, name: str, runs: Sequence[Mapping[str, Any]]) -> Iterator[scores.Score]:
    """The expected calls of tasks as runs of their own, every held write approved: the recorded results come back, and only they arrive."""
    jobs = [driver.expected_job(run, agent=course.domain, shop=course.shop) for run in course.cut(runs)]
    score = scores.Score(f"P1 {name}")
    for driven in course.count(course.drive.drive(jobs)):
        score.count(driven.job.reference, scores.replay_fault(driven.job.calls, driven.answers, driven.arrivals))
    yield score


def variants(course: Course) -> Iterator[scores.Score]:
    """Each variant over MCP; arguments as text over REST too; other spellings beside the original, over REST, for the fingerprint."""
    rows: Sequence[recordings.Variant] = course.cut(recordings.variants(course.domain))
    chunks = [rows[start : start + VARIANTS_A_RUN] for start in range(0, len(rows), VARIANTS_A_RUN)]
    jobs = []
    for number, chunk in enumerate(chunks):
        subject = course.named([(row.tool, row.arguments) for row in chunk] + [(row.tool, row.original) for row in chunk])
        jobs.append(driver.Job(reference=f"variants-{course.domain}-{number}", agent=course.domain, calls=(), subject=subject))
    kept = dict(zip((job.reference for job in jobs), chunks, strict=True))
    faults: dict[str, list[str | None]] = {}

    def ask(driven: driver.Driven) -> None:
        faults[driven.job.reference] = [variant_fault(course.drive, driven, row) for row in kept[driven.job.reference]]

    score = scores.Score(f"P3 {course.domain}-variants")
    for driven in course.count(course.drive.drive(jobs, finish=ask)):
        chunk = kept[driven.job.reference]
        for row, fault in zip(chunk, faults[driven.job.reference], strict=True):
            score.count(f"{row.source} {row.kind} {row.tool!r}", fault)
        refused = [(row.tool, row.arguments) for row in chunk if row.must == "refuse"]
        score.faults += [f"a refused {entry.tool} arrived" for entry in scores.arrived_refused(refused, driven.arrivals)]
    yield score


def variant_fault(drive: driver.Driver, driven: driver.Driven, row: recordings.Variant) -> str | None:
    rest = drive.desk.rest
    if row.must == "same":
        told = [rest.call_over_rest(driven.token, row.tool, sent) for sent in (row.original, row.arguments)]
        original, variant = (known(rest, driven.token, answer) for answer in told)
        return scores.same_fault(original, variant)
    fault = scores.verdict_fault(refuse=True, answer=drive.call(driven, row.tool, row.arguments))
    if fault is None and row.kind == "args-as-text":
        fault = scores.verdict_fault(refuse=True, answer=rest.call_over_rest(driven.token, row.tool, row.arguments))
        return fault and f"over REST: {fault}"
    return fault


def known(rest: doors.Doors, token: str, answer: scores.Answer) -> scores.Answer:
    """The same answer with the fingerprint that the call's own page shows."""
    return rest.known(token, answer.call) if answer.call and not answer.refused_by_schema else answer


def compromised(course: Course, runs: Sequence[Mapping[str, Any]], tasks: Sequence[Mapping[str, Any]]) -> Iterator[scores.Score]:
    """P5: granted are the tools of the task's expected calls, nobody approves; then the honest tasks under the same grants, approved."""
    grants = recordings.grants()
    jobs = []
    for run in course.cut(recordings.compromised(runs)):
        loaded = recordings.recording(run)
        jobs.append(driver.Job(reference=loaded.run_id, agent=course.domain, calls=loaded.calls, tools=tuple(grants[run["user_task"]])))
    score = scores.Score(f"P5 {course.domain}")
    alone = 0
    for driven in course.count(course.drive.drive(jobs)):
        score.count(driven.job.reference, scores.compromise_fault(course.writes, driven.arrivals))
        alone += scores.stopped_by_grant_alone(driven.job.calls, driven.answers)
    honest = scores.Score("P5 expected calls let through")
    prefix = "task-banking-"
    jobs = [driver.expected_job(dict(task), agent=course.domain, tools=grants[task["run_id"].removeprefix(prefix)]) for task in tasks]
    for driven in course.count(course.drive.drive(jobs)):
        for call, answer in zip(driven.job.calls, driven.answers, strict=True):
            fault = None if answer.status in {"applied", "failed"} else f"{answer.status} {answer.code}"
            honest.count(f"{driven.job.reference} {call.tool}", fault)
    score.note = f"refused by the grant alone {alone}, expected calls refused {honest.total - honest.passed} of {honest.total}"
    yield score
    yield honest
