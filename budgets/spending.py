"""The movements of money, narrowed by what they were for, and the runs that a cap stopped. Sums over whole months are in `sums`."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass

from django.db import connection
from django.db.models import Count, Q, QuerySet, Sum

from agents.models import Call, Run
from agents.organisations import Principal
from audit import exports, log, tenancy
from budgets import money, zones
from budgets.models import LedgerEntry, Reservation, Window

KINDS = {"spent": "Spent", "held": "Held now", "": "Every movement"}
TOP = 20
_PIECE = 2_000
COLUMNS = ("at", "call", "run", "agent", "kind_of_call", "name", "call_state", "movement", "debit", "credit", "amount_micros", "amount")


@dataclass(frozen=True, slots=True)
class Query:
    """Movements of one level, narrowed. `show`: spent, held (what is reserved right now), or nothing for every movement."""

    level: str
    target: str
    window: str = ""
    month: zones.Month | None = None
    day: datetime.date | None = None
    show: str = ""
    name: str = ""
    agent: str = ""
    outcome: str = ""
    run: str = ""

    def rows(self) -> QuerySet[LedgerEntry]:
        """Newest first. Call inside `tenancy.within`."""
        found = LedgerEntry.objects.filter(window__in=Window.objects.filter(level=self.level, target=self.target))
        if self.window:
            found = found.filter(window=self.window)
        if self.month:
            found = found.filter(window__in=_windows(self.level, self.target, self.month))
            found = found.exclude(_NEVER_ENDING & ~Q(at__gte=self.month.start, at__lt=self.month.end))
        if self.day and self.month:
            opening = zones.midnight(self.day, self.month.zone)
            found = found.filter(at__gte=opening, at__lt=zones.midnight(self.day + datetime.timedelta(days=1), self.month.zone))
        if self.show == "spent":
            found = found.filter(credit="spent")
        if self.show == "held":
            found = found.filter(kind="hold", call_id__in=Reservation.objects.filter(state=Reservation.State.HELD).values("id"))
        calls = self._calls()
        if calls:
            found = found.filter(call_id__in=Call.objects.filter(calls).values("id"))
        return found.select_related("window").order_by("-at", "-id")

    def _calls(self) -> Q:
        asked = {"name": self.name, "run_id": self.run, "run__agent__slug": self.agent, "run__state": self.outcome}
        return Q(**{field: value for field, value in asked.items() if value})

    def total(self) -> tuple[money.Micros, int]:
        """(the sum of the rows, how many). Call inside `tenancy.within`."""
        found = self.rows().order_by().aggregate(total=Sum("amount"), number=Count("id"))
        return int(found["total"] or 0), int(found["number"])


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_NEVER_ENDING = Q(window__starts_at=_EPOCH)


def _windows(level: str, target: str, month: zones.Month) -> QuerySet[Window]:
    """The windows of a month: a call counts in the period it was admitted in. One without end counts by when money moved."""
    own = Window.objects.filter(level=level, target=target)
    return own.filter(Q(starts_at__gte=month.start, starts_at__lt=month.end) | Q(starts_at=_EPOCH))


def below(rows: QuerySet[LedgerEntry], before: tuple[datetime.datetime, str] | None) -> QuerySet[LedgerEntry]:
    """The rows after one that was seen already."""
    return rows.filter(Q(at__lt=before[0]) | Q(at=before[0], id__lt=before[1])) if before else rows


def calls_of(rows: list[LedgerEntry]) -> dict[str, Call]:
    """The calls behind these movements, with their runs and agents. Call inside `tenancy.within`."""
    found = Call.objects.filter(id__in={row.call_id for row in rows}).select_related("run__agent")
    return {call.id: call for call in found.only("id", "run_id", "name", "kind", "state", "run__agent__slug", "run__state")}


@dataclass(frozen=True, slots=True)
class Stopped:
    """A run that a cap handed to its owner, as the log has it."""

    run: str
    agent: str
    rule: str
    call: str
    at: datetime.datetime
    entry: str


_STOPPED = """
SELECT run_id, body::jsonb->'detail'->>'rule', body::jsonb->'detail'->>'call', at, id, count(*) OVER ()
FROM audit_entry
WHERE event = 'run.handed_off' AND workspace_id = %s AND at >= %s AND at < %s
  AND (body::jsonb->'detail'->>'reason' = 'budget_exceeded' OR body::jsonb->'detail'->>'rule' = 'cap step_micros')
ORDER BY at DESC, id DESC LIMIT %s
"""


def stopped_by_a_cap(workspace: str, month: zones.Month) -> tuple[list[Stopped], int]:
    """(the newest, how many in all) of the runs that a cap of money stopped. Call inside `tenancy.within`."""
    with connection.cursor() as cursor:
        cursor.execute(_STOPPED, [workspace, month.start, month.end, TOP])
        rows = cursor.fetchall()
    slugs = dict(Run.objects.filter(id__in=[row[0] for row in rows]).values_list("id", "agent__slug"))
    return [Stopped(run, slugs.get(run, ""), rule or "", call or "", at, entry) for run, rule, call, at, entry, _ in rows], rows[0][
        5
    ] if rows else 0


def export(*, by: Principal, workspace: str, query: Query, said: dict[str, str], zone: datetime.tzinfo) -> Iterator[bytes]:
    """The movements of a query as CSV, in pieces; that they were taken is entered first. `said` is the filter in words, for its head."""
    with tenancy.within(by.organisation):
        log.append(
            "spending.exported", by=by, subject=query.target, workspace=workspace, detail={"level": query.level, "filter": dict(said)}
        )
        newest = query.rows().first()
    return _pieces(by.organisation, query, said=said, zone=zone, newest=newest)


def _pieces(organisation: str, query: Query, *, said: dict[str, str], zone: datetime.tzinfo, newest: LedgerEntry | None) -> Iterator[bytes]:
    yield exports.head("Movements of money", {"zone": str(zone), **said})
    yield exports.row(COLUMNS)
    last = (newest.at, newest.id) if newest else None
    rows = [newest] if newest else []
    while rows:
        with tenancy.within(organisation, read_only=True):
            calls = calls_of(rows)
            piece = b"".join(exports.row(_cells(row, calls.get(row.call_id), zone)) for row in rows)
            rows = list(below(query.rows(), last)[:_PIECE])
            last = (rows[-1].at, rows[-1].id) if rows else last
        yield piece


def _cells(row: LedgerEntry, call: Call | None, zone: datetime.tzinfo) -> list[str]:
    about = (call.run_id, call.run.agent.slug, call.kind, call.name, call.state) if call else ("",) * 5
    cells = [
        row.at.astimezone(zone).isoformat(),
        row.call_id,
        *about,
        row.kind,
        row.debit,
        row.credit,
        str(row.amount),
        money.dollars(row.amount),
    ]
    return [exports.cell(text) for text in cells]
