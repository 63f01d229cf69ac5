"""What `manage.py demo seed` does: whatever of the demo is missing, one process at a time."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings

from controlplane.connectors import builtin
from controlplane.demo import allowance, building, clock, desk, history, month, playing, removal, scene, tokens, waiting

PATIENCE_S = 6.0  # how much of the month a first visitor waits for; the rest is played while they look around


@dataclass(frozen=True, slots=True)
class Seeded:
    """What this call did: whether it built the organisation, how many runs of the past it played, and the request it opened, if any."""

    is_new: bool
    runs: int
    opened: tuple[playing.Standing, ...]


def seed(dsn: str, slug: str = scene.SLUG, *, patience_s: float = PATIENCE_S, again: bool = False) -> Seeded:
    """Bring the demo to where a visitor may come. Does nothing that is done already nor, unless `again`, after somebody removed it.

    Raises playing.Stuck, clock.NoOwner.
    """
    with _alone():
        builtin.install(dsn)
        found = scene.find(slug)
        if found is None and not again and removal.was_removed(slug):
            return Seeded(is_new=False, runs=0, opened=())
        runs, made = 0, found
        if made is None or any(history.missing(made)):
            with clock.past():
                if made is None:
                    desk.deliver(dsn)
                    made = building.build(dsn, slug)
                runs = history.play(made) + month.play(made, until=time.monotonic() + patience_s)
        opened = waiting.keep_one(made, dsn)
        tokens.keep(made)
    return Seeded(is_new=found is None, runs=runs, opened=tuple(opened))


def remember(slug: str = scene.SLUG) -> int:
    """Play what is left of the month, beside a running Remit, and let finance set the month's cap when all is known."""
    made = scene.find(slug)
    if made is None or month.progress(made).is_complete:
        return 0
    with _alone(), clock.past():
        played = month.play(made)
        clock.set_back(timedelta(days=1))
        if month.is_there(made):
            allowance.settle(made)
    return played


@contextmanager
def _alone() -> Iterator[None]:
    """Two starts at once: the second waits here and then finds everything done."""
    place = settings.DATA_DIR / "demo"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (place / "seed.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
