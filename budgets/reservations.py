"""Caps, and what was spent and is held against them. Money moves only in the database's own functions (`sql/ledger.sql`)."""

from collections.abc import Collection
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, QuerySet, Subquery, Sum

from budgets import money, zones
from budgets.models import Cap, LedgerEntry, Reservation, Window


@dataclass(frozen=True, slots=True)
class Balance:
    """One level's purse in its current period."""

    level: str
    target: str
    period: str
    cap: money.Micros | None
    spent: money.Micros
    reserved: money.Micros
    overrun: money.Micros

    @property
    def left(self) -> money.Micros | None:
        """What may still be admitted; None without a cap."""
        return None if self.cap is None else max(self.cap - self.spent - self.reserved, 0)


def balances(organisation: str) -> list[Balance]:
    """Every capped or used level but runs, organisation first. Call inside `tenancy.within`."""
    order = {"organisation": 0, "workspace": 1, "agent": 2}
    caps = {(cap.level, cap.target): cap for cap in Cap.objects.all()}
    starts = zones.starts(list(Cap.Period.values))
    windows = Window.objects.filter(level__in=order)  # not "every level but": there is one of each run
    used = set(windows.values_list("level", "target").distinct())
    now = {(row.level, row.target, row.starts_at): row for row in windows.filter(starts_at__in=starts.values())}

    def one(level: str, target: str) -> Balance:
        cap = caps.get((level, target))
        return balance_of(level, target, cap, now.get((level, target, starts[period_of(level, cap)])))

    return [one(level, target) for level, target in sorted(used | set(caps), key=lambda pair: (order[pair[0]], pair[1]))]


def balance(level: str, target: str, cap: Cap | None = None) -> Balance:
    """One level's purse now. Call inside `tenancy.within`."""
    cap = cap or Cap.objects.filter(level=level, target=target).first()
    start = zones.starts([period_of(level, cap)]).popitem()[1]
    return balance_of(level, target, cap, Window.objects.filter(level=level, target=target, starts_at=start).first())


def period_of(level: str, cap: Cap | None) -> str:
    """What a level's purse is counted over: a run's is its whole life, without a cap it is the month."""
    return "total" if level == "run" else str(cap.period) if cap else Cap.Period.MONTH.value


def balance_of(level: str, target: str, cap: Cap | None, row: Window | None) -> Balance:
    """A level's purse from its cap and the window of the period under way."""
    return Balance(
        level=level,
        target=target,
        period=period_of(level, cap),
        cap=cap.cap_micros if cap else None,
        spent=row.spent if row else 0,
        reserved=row.reserved if row else 0,
        overrun=row.overrun if row else 0,
    )


def drift() -> list[str]:
    """Windows whose balance is not the sum of their ledger entries (I-02): there must be none. Call inside `tenancy.within`."""
    into, out = _moved("credit"), _moved("debit")
    return [
        window.id
        for window in Window.objects.order_by("id")
        if (window.reserved, window.spent, window.overrun)
        != (
            into.get((window.id, "reserved"), 0) - out.get((window.id, "reserved"), 0),
            into.get((window.id, "spent"), 0),
            out.get((window.id, "overrun"), 0),
        )
    ]


def _moved(side: str) -> dict[tuple[str, str], money.Micros]:
    """What each account of each window was credited or debited in all."""
    rows = LedgerEntry.objects.values_list("window_id", side).annotate(total=Sum("amount")).order_by()
    return {(window, account): total for window, account, total in rows}


def of_call(call: str) -> Reservation | None:
    """The hold of one call. Call inside `tenancy.within`."""
    return Reservation.objects.filter(id=call).first()


def ledger(target: str) -> QuerySet[LedgerEntry]:
    """The movements of one level, newest first. Call inside `tenancy.within`."""
    return LedgerEntry.objects.filter(window__target=target).select_related("window").order_by("-at", "-id")


def of_runs(runs: Collection[str]) -> dict[str, money.Micros]:
    """What each of these runs spent. Call inside `tenancy.within`."""
    return dict(Window.objects.filter(level="run", target__in=runs).values_list("target", "spent"))


def spent_of_run() -> Subquery:
    """What the run of an outer query over runs spent, as a value to order by."""
    return Subquery(Window.objects.filter(level="run", target=OuterRef("id")).values("spent")[:1])


def run_that_spent(sign: str, micros: money.Micros) -> Exists:
    """Whether the run of an outer query over runs spent more (">") or less ("<") than that."""
    return Exists(Window.objects.filter(level="run", target=OuterRef("id"), **{"spent__gt" if sign == ">" else "spent__lt": micros}))


def nearly_spent(targets: Collection[str], *, percent: int = 80) -> list[Balance]:
    """Of these levels, those that have used up most of their cap, the fullest first, in two statements. Call inside `tenancy.within`."""
    caps = {(cap.level, cap.target): cap for cap in Cap.objects.filter(target__in=targets).exclude(level="run")}
    starts = zones.starts(sorted({str(cap.period) for cap in caps.values()}))
    found = []
    for row in Window.objects.filter(target__in=targets, starts_at__in=starts.values()):
        cap = caps.get((row.level, row.target))
        if cap is not None and row.starts_at == starts[cap.period] and (row.spent + row.reserved) * 100 >= cap.cap_micros * percent:
            found.append(balance_of(row.level, row.target, cap, row))
    return sorted(found, key=lambda each: ((each.cap or 0) - each.spent - each.reserved, each.target))
