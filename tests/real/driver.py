"""Drives recorded runs through the doors: eight runs at a time, the calls of a run in order, approvers voting where they should."""

import http.client
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.real import doors, recordings, registration, scores, tape

RUNS_AT_ONCE = 8
MOST_BROKEN = 20  # calls that a door did not answer as promised; beyond it the product is not there, and the harness gives up


@dataclass(frozen=True, slots=True)
class Job:
    """One run to drive: `reference` is the tape's name for it, `tools` the grant (None: every pinned tool)."""

    reference: str
    agent: str
    calls: tuple[recordings.Recorded, ...]
    subject: tuple[str, ...] = ()
    tools: tuple[str, ...] | None = None
    approve: bool = False


@dataclass(slots=True)
class Driven:
    """What became of a job: the answers in order, what arrived upstream, and, where asked for, the run's record and its database."""

    job: Job
    run: str = ""
    token: str = ""
    answers: list[scores.Answer] = field(default_factory=list)
    arrivals: list[scores.Arrival] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)
    database: str = ""


class Driver:
    def __init__(self, *, desk: registration.Desk, upstream: tape.Tape) -> None:
        self.desk, self.upstream = desk, upstream
        self.approvals = 0
        self.calls = 0
        self.broken = 0
        self._lock = threading.Lock()

    def drive(self, jobs: Sequence[Job], *, batch: int = 400, finish: Callable[[Driven], None] | None = None) -> Iterator[Driven]:
        """In batches: after each, the log of the upstream is collected and the tape forgets. A failure of the harness itself raises."""
        with ThreadPoolExecutor(RUNS_AT_ONCE) as pool:
            for start in range(0, len(jobs), batch):
                done = list(pool.map(lambda job: self._one(job, finish), jobs[start : start + batch]))
                arrived = scores.by_run(self.upstream.log())
                self.upstream.reset()
                for driven in done:
                    driven.arrivals = arrived.get(driven.job.reference, [])
                yield from done

    def _one(self, job: Job, finish: Callable[[Driven], None] | None) -> Driven:
        driven = self.start(job)
        for call in job.calls:
            driven.answers.append(self.call(driven, call.tool, call.arguments))
        if finish is not None:
            finish(driven)
        return driven

    def start(self, job: Job) -> Driven:
        wanted: dict[str, Any] = {
            "agent": job.agent,
            "workspace": self.desk.workspace,
            "reference": job.reference,
            "subject": list(job.subject),
            "expires_in_s": 3600,
        }
        if job.tools is not None:
            wanted["tools"] = list(job.tools)
        begun = self.desk.rest.ask("POST", "/api/v1/runs", self.desk.owner, wanted)
        return Driven(job=job, run=begun["id"], token=begun["token"])

    def call(self, driven: Driven, tool: str, arguments: Any) -> scores.Answer:
        """Over MCP. A held call is voted through and waited for when the job says so; else it stays held."""
        try:
            return self._call(driven, tool, arguments)
        except (OSError, http.client.HTTPException, doors.DoorAnswered) as error:
            with self._lock:
                self.broken += 1
            if self.broken > MOST_BROKEN:
                raise
            return scores.Answer(status="broken", text=f"{type(error).__name__} {error}")

    def _call(self, driven: Driven, tool: str, arguments: Any) -> scores.Answer:
        answer, facts = self.desk.rest.call_over_mcp(driven.token, tool, arguments)
        with self._lock:
            self.calls += 1
        if answer.status == doors.HELD and driven.job.approve:
            self.vote(facts["approval"], facts["plan"])
            return self.desk.rest.outcome(driven.token, answer.call)
        return answer

    def vote(self, approval: str, plan: str) -> None:
        """One approver after the other, until the request is no longer open."""
        for approver in self.desk.approvers:
            ballot = {"verdict": "approve", "plan": plan, "reason": "as recorded"}
            told = self.desk.rest.ask("POST", f"/api/v1/approvals/{approval}/votes", approver, ballot)
            with self._lock:
                self.approvals += 1
            if told.get("state", "OPEN") != "OPEN":
                return

    def look_up(self, driven: Driven) -> None:
        driven.record = self.desk.rest.ask("GET", f"/api/v1/runs/{driven.run}", self.desk.owner)

    def hash_database(self, driven: Driven) -> None:
        driven.database = self.upstream.database_hash(driven.job.reference)


def expected_job(run: dict[str, Any], *, agent: str, shop: recordings.Shop | None = None, tools: Iterable[str] | None = None) -> Job:
    """A recorded or pseudo run whose every held write is approved."""
    loaded = recordings.recording(run)
    subject = tuple(shop.owners((call.tool, call.arguments) for call in loaded.calls)) if shop else ()
    return Job(
        reference=loaded.run_id,
        agent=agent,
        calls=loaded.calls,
        subject=subject,
        tools=None if tools is None else tuple(tools),
        approve=True,
    )
