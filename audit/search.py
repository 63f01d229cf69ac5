"""Finding entries: by time, actor, event, outcome, subject, run and words; and the numbers that say how to narrow further."""

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db.models import Func, Q, QuerySet, TextField, Value
from django.db.models.functions import Concat

from audit import events, log
from audit.models import Entry

COUNTED = 2_000  # entries that facets and the histogram are counted over, the newest
LOOKED = 50_000  # entries in which words are looked for, the newest
DRAWN_FROM = 100_000  # entries out of which a sample is drawn at most: each of them is ranked
BARS = 48
TOP = 8


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; nothing in a field leaves it open. `event` may end in `.*`."""

    event: str = ""
    outcome: str = ""
    kind: str = ""
    actor: str = ""
    subject: str = ""
    run: str = ""
    text: str = ""
    since: datetime.datetime | None = None
    until: datetime.datetime | None = None


def entries(wanted: Wanted, *, scope: Q) -> tuple[QuerySet[Entry], datetime.datetime | None]:
    """(the entries, newest first; how far back words were looked for, if not to the end). Call inside `tenancy.within`."""
    found = log.entries(
        event=wanted.event, subject=wanted.subject, run=wanted.run, actor=wanted.actor, since=wanted.since, until=wanted.until
    ).filter(scope)
    if wanted.kind:
        found = found.filter(actor_kind=wanted.kind)
    if wanted.outcome:
        found = found.filter(event__in=events.with_outcome(wanted.outcome))
    if not wanted.text:
        return found, None
    floor = found.values_list("at", flat=True)[LOOKED : LOOKED + 1].first()
    looked = found.filter(at__gt=floor) if floor else found
    return looked.filter(body__icontains=wanted.text), floor


def beside(found: QuerySet[Entry], key: tuple[datetime.datetime, str], *, newer: bool = False) -> QuerySet[Entry]:
    """The entries older than one already seen; or the newer ones, the nearest first."""
    at, identifier = key
    if newer:
        return found.filter(Q(at__gt=at) | Q(at=at, id__gt=identifier)).order_by("at", "id")
    return found.filter(Q(at__lt=at) | Q(at=at, id__lt=identifier))


@dataclass(frozen=True, slots=True)
class Sample:
    """Entries drawn by a seed, newest first, out of how many. `is_too_large`: none were drawn out of more than `DRAWN_FROM`."""

    rows: Sequence[Entry] = ()
    whole: int = 0
    is_too_large: bool = False


def sample(found: QuerySet[Entry], *, number: int, seed: str) -> Sample:
    """The `number` entries with the smallest SHA-256 of the seed, a colon and the id: anybody can draw the same again.

    Every entry is as likely as another, so all of them are ranked; that is why there is a bound. Call inside `tenancy.within`.
    """
    whole = found.order_by().values("id")[: DRAWN_FROM + 1].count()
    if whole > DRAWN_FROM:
        return Sample(is_too_large=True)
    rank = Func(Concat(Value(f"{seed}:"), "id", output_field=TextField()), template="sha256(convert_to(%(expressions)s, 'UTF8'))")
    drawn = list(found.order_by(rank, "id").values_list("id", flat=True)[:number])
    return Sample(list(found.filter(id__in=drawn).order_by("-at", "-id")), whole)


@dataclass(frozen=True, slots=True)
class Bar:
    """How many entries from one moment to another."""

    since: datetime.datetime
    until: datetime.datetime
    number: int


@dataclass(frozen=True, slots=True)
class Numbers:
    """What was found, counted. `is_capped`: over the newest `COUNTED` only."""

    total: int
    is_capped: bool
    families: list[tuple[str, int]] = field(default_factory=list)
    outcomes: list[tuple[str, int]] = field(default_factory=list)
    kinds: list[tuple[str, int]] = field(default_factory=list)
    actors: list[tuple[str, int]] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)


def numbers(found: QuerySet[Entry], *, since: datetime.datetime | None, until: datetime.datetime | None) -> Numbers:
    """Facets and a histogram of what was found. Call inside `tenancy.within`."""
    rows = list(found.values_list("event", "actor_kind", "actor_id", "at")[: COUNTED + 1])
    is_capped, rows = len(rows) > COUNTED, rows[:COUNTED]
    if not rows:
        return Numbers(total=0, is_capped=False)
    first = since if since is not None and not is_capped else rows[-1][3]
    return Numbers(
        total=len(rows),
        is_capped=is_capped,
        families=Counter(event.partition(".")[0] for event, _, _, _ in rows).most_common(),
        outcomes=Counter(events.outcome(event) for event, _, _, _ in rows).most_common(),
        kinds=Counter(kind for _, kind, _, _ in rows).most_common(),
        actors=Counter(actor for _, _, actor, _ in rows).most_common(TOP),
        bars=_bars([at for _, _, _, at in rows], first, min(until, rows[0][3]) if until else rows[0][3]),
    )


def _bars(times: Sequence[datetime.datetime], first: datetime.datetime, last: datetime.datetime) -> list[Bar]:
    """Bars of a round length, at most `BARS`, from the first moment to the last."""
    span = max((last - first).total_seconds(), 1)
    step = next((size for size in _SIZES if span / size <= BARS), _SIZES[-1] * (int(span / _SIZES[-1] / BARS) + 1))
    origin = int(first.timestamp() // step)
    counts = Counter(int(at.timestamp() // step) - origin for at in times)

    def edge(number: int) -> datetime.datetime:
        return datetime.datetime.fromtimestamp((origin + number) * step, datetime.UTC)

    return [Bar(edge(number), edge(number + 1), counts[number]) for number in range(int(last.timestamp() // step) - origin + 1)]


_SIZES = (1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86_400)


def before(entry: Entry) -> Entry | None:
    """The entry that last said the same of the same subject: what stood there before. Call inside `tenancy.within`."""
    if not entry.subject or not entry.event.startswith(events.SETTINGS):
        return None
    same = Entry.objects.filter(event=entry.event, subject=entry.subject, workspace_id=entry.workspace_id)
    return beside(same.order_by("-at", "-id"), (entry.at, entry.id)).first()
