"""Carries runs on until each is over or waits for people, with the worker's own function, and says how they stand."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from agents.models import Run
from approvals.models import Request
from audit import tenancy
from controlplane import worker
from controlplane.demo.scene import Scene

PATIENCE_S = 60.0
PAUSE_S = 0.05  # before looking again whether a worker elsewhere has done its part


class Stuck(RuntimeError):
    """A run neither ended nor asked anybody in time."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands. `waiting` are the requests that people have not decided."""

    run: str
    state: str
    summary: str
    waiting: tuple[Request, ...]

    @property
    def is_settled(self) -> bool:
        return self.state in Run.OVER or bool(self.waiting)


def standings(made: Scene, runs: Collection[str]) -> list[Standing]:
    with tenancy.within(made.organisation, read_only=True):
        asked: dict[str, list[Request]] = {}
        for request in Request.objects.filter(run_id__in=runs, state=Request.State.OPEN).select_related("plan").order_by("opened_at", "id"):
            asked.setdefault(request.run_id, []).append(request)
        found = Run.objects.filter(id__in=runs).order_by("started_at", "id")
        return [Standing(run.id, run.state, run.summary, tuple(asked.get(run.id, ()))) for run in found]


def carry_on(made: Scene, runs: Sequence[str], *, work: Callable[[], object] = worker.drain) -> list[Standing]:
    """Work until every run is settled; without `work` of our own (`leave_it`) the workers do it. Raises Stuck."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        work()
        found = standings(made, runs)
        if all(each.is_settled for each in found):
            return found
        if time.monotonic() > deadline:
            stuck = ", ".join(f"{each.run} is {each.state}" for each in found if not each.is_settled)
            raise Stuck(f"After {PATIENCE_S:.0f} s: {stuck}. Is a worker running?")
        time.sleep(PAUSE_S)


def leave_it() -> None:
    """Nothing: the workers that run beside us do the work."""
