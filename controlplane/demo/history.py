"""What happened before the visitor came: some sixty runs through the gate, decided by the cast. Made once; a start cut short goes on."""

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from agents.models import Run
from approvals import requests
from approvals.models import Request, Vote
from audit import tenancy
from controlplane import worker
from controlplane.demo import desk, playing, stories
from controlplane.demo.scene import Scene
from controlplane.demo.stories import Story

SEED = 2041
HANDS = 3
AT_ONCE = 8
MARK = "history"  # among a run's options: which chapter it is
REASONS = (
    "The return has not arrived in the warehouse yet. Ask the customer for the slip.",
    "This invoice was credited last week by Accounts, see the ledger.",
    "The customer wants a replacement, not money. Please call them first.",
)


@dataclass(frozen=True, slots=True)
class Chapter:
    """One run of the past. With a `denial` people say no, in these words."""

    story: Story
    denial: str = ""


def chapters() -> tuple[Chapter, ...]:
    """Always the same ones, in the same order."""
    told = [
        *_refunds(),
        *(Chapter(stories.read_letter(ticket, customer)) for ticket, customer in desk.questions()),
        *(Chapter(stories.ask_again(number)) for number in range(6)),
        *(Chapter(stories.write_at_length(number)) for number in range(5)),
        Chapter(stories.add_column(0)),
        Chapter(stories.add_column(1), denial="Products is read by the shop every minute. Make a table of its own for this."),
        Chapter(stories.add_column(2)),
        Chapter(stories.add_column(3)),
        Chapter(stories.obey_a_letter()),
    ]
    random.Random(SEED).shuffle(told)  # noqa: S311 - a story, not a secret
    return tuple(told)


def _refunds() -> Iterator[Chapter]:
    for number, claim in enumerate(desk.of_history()):
        agent = "refund-trainee" if number % 6 == 4 else "refund-desk"
        denied = REASONS[number // 5 % len(REASONS)] if number % 5 == 2 else ""
        yield Chapter(stories.pay_back(claim, agent), denied)


def missing(made: Scene) -> tuple[set[int], set[int]]:
    """(chapters that were never begun, chapters that are not over)."""
    with tenancy.within(made.organisation, read_only=True):
        known = dict(Run.objects.filter(options__has_key=MARK).values_list(f"options__{MARK}", "state"))
    return set(range(len(chapters()))) - set(known), {number for number, state in known.items() if state not in Run.OVER}


def play(made: Scene) -> int:
    """Whatever is missing of it. Says how many runs there were to carry on."""
    unbegun, unfinished = missing(made)
    todo = sorted(unbegun | unfinished)
    with ThreadPoolExecutor(HANDS, thread_name_prefix="history") as hands:
        for first in range(0, len(todo), AT_ONCE):
            _play(made, todo[first : first + AT_ONCE], unbegun, hands)
    return len(todo)


def _play(made: Scene, numbers: Sequence[int], unbegun: set[int], hands: ThreadPoolExecutor) -> None:
    told = chapters()
    for number in sorted(unbegun.intersection(numbers)):
        stories.start(made, told[number].story, {MARK: number})
    with tenancy.within(made.organisation, read_only=True):
        known = Run.objects.filter(**{f"options__{MARK}__in": list(numbers)})
        runs = dict(known.values_list("id", f"options__{MARK}"))

    def work() -> None:
        list(hands.map(lambda _: worker.drain(), range(HANDS)))

    while waiting := [request for each in playing.carry_on(made, list(runs), work=work) for request in each.waiting]:
        for request in waiting:
            number = runs[request.run_id]
            names = ("Dana", "Priya") if number % 2 else ("Priya", "Dana")
            _decide(made, request, names, told[number].denial)


def _decide(made: Scene, request: Request, names: Sequence[str], denial: str) -> None:
    """The first of them, and the second too where it takes two."""
    for name in names[: 1 if denial else request.required]:
        requests.vote(
            by=made.person(name),
            request_id=request.id,
            verdict=Vote.Verdict.DENY if denial else Vote.Verdict.APPROVE,
            plan_digest=request.plan.digest,
            reason=denial,
        )
