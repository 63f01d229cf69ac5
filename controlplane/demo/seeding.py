"""What `manage.py demo seed` does: whatever of the demo is missing, one process at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.conf import settings

from controlplane.connectors import builtin
from controlplane.demo import building, history, playing, scene, tokens, waiting


@dataclass(frozen=True, slots=True)
class Seeded:
    """What this call did: whether it built the organisation, how many runs of the history it played, and the request it opened, if any."""

    is_new: bool
    runs: int
    opened: tuple[playing.Standing, ...]


def seed(dsn: str, slug: str = scene.SLUG) -> Seeded:
    """Bring the demo to where a visitor may come. Does nothing that is done already. Raises playing.Stuck."""
    with _alone():
        builtin.install(dsn)
        found = scene.find(slug)
        made = found or building.build(dsn, slug)
        runs = history.play(made)
        opened = waiting.keep_one(made, dsn)
        tokens.keep(made)
    return Seeded(is_new=found is None, runs=runs, opened=tuple(opened))


@contextmanager
def _alone() -> Iterator[None]:
    """Two starts at once: the second waits here and then finds everything done."""
    place = settings.DATA_DIR / "demo"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (place / "seed.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
