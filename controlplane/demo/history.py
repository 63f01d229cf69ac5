"""The last two days before the visitor came: some forty hosted runs, decided by the cast. Made once; a start cut short goes on."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

from django.utils import timezone

from agents.models import Run
from approvals import votes
from approvals.models import Request, Vote
from audit import tenancy
from controlplane.demo import clock, desk, playing, stories
from controlplane.demo.scene import Scene
from controlplane.demo.stories import Story

SEED = 2041
FIRST, LAST = timedelta(hours=44), timedelta(minutes=25)  # before now
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
        *(Chapter(stories.read_letter(ticket, customer)) for ticket, customer in islice(desk.questions(), 10)),
        *(Chapter(stories.ask_again(number)) for number in range(2)),
        *(Chapter(stories.write_at_length(number)) for number in range(2)),
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
    """Whatever is missing of it, one after the other, each at its hour. Says how many runs there were to carry on."""
    unbegun, unfinished = missing(made)
    for number in sorted(unbegun | unfinished):
        _play(made, number, is_new=number in unbegun)
    return len(unbegun | unfinished)


def _play(made: Scene, number: int, *, is_new: bool) -> None:
    chapter, ago = chapters()[number], FIRST - (FIRST - LAST) * number / len(chapters())
    clock.set_back(ago)
    if is_new:
        stories.start(made, chapter.story, {MARK: number})
    with tenancy.within(made.organisation, read_only=True):
        runs = list(Run.objects.filter(**{f"options__{MARK}": number}).values_list("id", flat=True))
    while waiting := [request for each in playing.carry_on(made, runs) for request in each.waiting]:
        for request in waiting:
            names = ("Dana", "Priya") if number % 2 else ("Priya", "Dana")
            read = timedelta(seconds=40 + 37 * (number % 11))
            clock.set_back(max(timezone.now() - request.opened_at - read, timedelta(0)))
            _decide(made, request, names, chapter.denial)


def _decide(made: Scene, request: Request, names: Sequence[str], denial: str) -> None:
    """The first of them, and the second too where it takes two."""
    for name in names[: 1 if denial else request.required]:
        votes.cast(
            by=made.person(name),
            request_id=request.id,
            verdict=Vote.Verdict.DENY if denial else Vote.Verdict.APPROVE,
            plan_digest=request.plan.digest,
            reason=denial,
        )
