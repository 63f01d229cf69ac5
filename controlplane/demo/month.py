"""The thirty days before the visitor came: which runs there were, always the same ones. The newest are played first."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import cycle

from django.utils import timezone

from agents.models import Organisation, Run
from audit import tenancy
from controlplane.demo import building, desk, errands, history, stories
from controlplane.demo.errands import CRASH, DENY, EXPIRE, TWICE, Errand
from controlplane.demo.scene import Scene

SEED, RUNS = 30_2041, 4_140
MARK = "month"  # among a run's options: which of them it is
DENIED, EXPIRED = 27, 12
LOOPS, SPREES, STRAYED, CRASHED, COURIERS = 22, 12, 55, 45, 3
OPEN_FROM, OPEN_UNTIL = 6, 20
REASONS = (*history.REASONS, "The amount is for two items and only one came back.")


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of it there is."""

    played: int
    of: int = RUNS

    @property
    def is_complete(self) -> bool:
        return self.played >= self.of


def is_there(made: Scene) -> bool:
    """Whether nobody has removed the demo meanwhile."""
    with tenancy.within(made.organisation, read_only=True):
        return Organisation.objects.exists()


def began(made: Scene) -> datetime:
    """The moment everything is dated back from: when the demo was built."""
    with tenancy.within(made.organisation, read_only=True):
        created: datetime = Organisation.objects.values_list("created_at", flat=True).get()
    return created + building.FOUNDED


def errands_of(start: datetime, letters: list[desk.Claim]) -> list[Errand]:
    """All of them, the newest first."""
    dice = random.Random(SEED)  # noqa: S311 - a story, not a secret
    kinds = _kinds(dice)
    times = sorted(_time(dice, start) for _ in range(RUNS))
    refunds, questions = iter(letters), cycle(desk.readings())
    found = []
    kinds[-COURIERS:] = ["courier"] * COURIERS  # it was used for one day, a month ago
    for number, (ago, kind) in enumerate(zip(times, kinds, strict=True)):
        found.append(_errand(number, ago, kind, refunds, questions))
    return found


def _kinds(dice: random.Random) -> list[str]:
    decided = [DENY] * DENIED + [EXPIRE] * EXPIRED + [TWICE] + ["refund"] * (desk.LETTERS - DENIED - EXPIRED - 1)
    others = ["loop"] * LOOPS + ["spree"] * SPREES + ["strayed"] * STRAYED + [CRASH] * CRASHED
    kinds = decided + others + ["stock"] * ((RUNS - len(decided) - len(others)) // 6)
    kinds += ["triage"] * (RUNS - len(kinds))
    dice.shuffle(kinds)
    last = RUNS - 1  # what is worth noticing lies in the days that pages show first, and nothing but the courier at the far end
    for place, kind in ((140, TWICE), (35, EXPIRE), (20, DENY), (12, "loop")):
        other = kinds.index(kind)
        kinds[place], kinds[other] = kinds[other], kinds[place]
    for place in range(last - COURIERS + 1, RUNS):
        other = kinds.index("triage")
        kinds[place], kinds[other] = kinds[other], kinds[place]
    return kinds


def _errand(number: int, ago: timedelta, kind: str, refunds: Iterator[desk.Claim], questions: Iterator[tuple[str, str]]) -> Errand:
    if kind in {DENY, EXPIRE, TWICE, "refund"}:
        return Errand(number, ago, stories.pay_back(next(refunds)), kind, REASONS[number % len(REASONS)] if kind == DENY else "")
    if kind == "stock":
        return Errand(number, ago, stories.count_stock(number))
    if kind == "loop":
        return Errand(number, ago, stories.ask_again(number))
    if kind == "spree":
        return Errand(number, ago, stories.write_at_length(number))
    ticket, customer = next(questions)
    if kind == "courier":
        return Errand(number, ago, stories.triage(ticket, customer, agent="invoice-courier"))
    other = next(who for _, who in desk.readings() if who != customer)
    return Errand(number, ago, stories.triage(ticket, other if kind == "strayed" else customer), CRASH if kind == CRASH else "")


def _time(dice: random.Random, start: datetime) -> timedelta:
    """Some hours of some days are busier, nights are still, and there is a little more to do each week."""
    while True:
        ago = timedelta(seconds=dice.uniform(900, desk.DAYS * 86_400))
        at = start - ago
        busy = 0.25 if at.isoweekday() > 5 else 1.0
        busy *= max(0.0, 1 - abs(at.hour + at.minute / 60 - 12.5) / 7) if OPEN_FROM <= at.hour < OPEN_UNTIL else 0.02
        if dice.random() < busy * (1 - 0.3 * ago.days / desk.DAYS):
            return ago


def progress(made: Scene) -> Progress:
    """Call where the demo's organisation is in force or none is."""
    with tenancy.within(made.organisation):
        return Progress(Run.objects.filter(options__has_key=MARK).count())


def play(made: Scene, *, until: float | None = None, most: int = RUNS) -> int:
    """What is missing of it, newest first, until `time.monotonic()` has come to `until`. Says how many were played. Needs `clock.past`."""
    with tenancy.within(made.organisation, read_only=True):
        known = dict(Run.objects.filter(options__has_key=MARK).values_list(f"options__{MARK}", "state"))
        cut_short = Run.objects.filter(options__has_key=MARK).exclude(state__in=Run.OVER).values_list("id", flat=True)
        left = list(cut_short)
    for run in left:
        errands.abandon(made, run)
    start, played = began(made), 0
    for errand in errands_of(start, desk.letters()):
        if errand.number in known:
            continue
        if not is_there(made) or played >= most or (until is not None and time.monotonic() > until):
            break
        errand.ago += timezone.now() - start
        errands.play(made, errand, MARK)
        played += 1
    return played
