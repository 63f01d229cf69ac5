"""What needs a person: one list, the most severe first, and of the equally severe the one with the least time left."""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from agents import runs, stops, tools, trends
from agents.models import Agent, Run
from approvals import inbox
from budgets import caps, money, purses, reservations
from controlplane.console.frame import Place

FEW, HANDED = 5, 3
HURRY = datetime.timedelta(minutes=10)
UNUSED = datetime.timedelta(days=21)
URGENT, NOW, SOON, SOMETIME = range(4)


@dataclass(frozen=True, slots=True)
class Item:
    """One line: how severe, until when, what it is about and where it leads."""

    severity: int
    due: datetime.datetime
    icon: str
    title: str
    address: str
    about: str
    badge: str = ""
    required: int = 0
    left: datetime.datetime | None = None
    since: datetime.datetime | None = None
    balance: Any = None


def listed(place: Place, agents: Sequence[Agent]) -> list[Item]:
    """As far as this person may see it; `agents` are the workspace's. Call inside `tenancy.within`."""
    found: list[Item] = []
    if place.may("approvals_decide") or place.may("approvals_decide_two"):
        found += _decidable(place)
    if place.may("agents_view"):
        found += _stopped(place)
        found += _unused(place, agents)
    if place.may("runs_read"):
        found += _doubts(place)
    if place.may("runs_view"):
        found += _handed(place)
    if place.may("budgets_view"):
        found += _purses(place, agents)
    return sorted(found, key=lambda item: (item.severity, item.due, item.address))


def _decidable(place: Place) -> Iterator[Item]:
    hurry = timezone.now() + HURRY
    for each in inbox.needing(by=place.principal, workspace=place.workspace.id)[:FEW]:
        severity = URGENT if each.expires_at < hurry else NOW
        about = f"{each.run.agent.slug} asks you to decide"
        yield Item(
            severity, each.expires_at, "person", each.title, f"approvals/{each.id}", about, required=each.required, left=each.expires_at
        )


def _stopped(place: Place) -> Iterator[Item]:
    if not stops.on():
        return
    found = list(stops.engaged_over(place.workspace.id, organisation=place.organisation.id).order_by("-engaged_at")[:FEW])
    labels = stops.labels(found)
    for each in found:
        title = f"Stopped: {labels.get(each.id, each.scope)}"
        yield Item(NOW, each.engaged_at, "stop", title, f"stops/{each.id}", each.reason, badge="STOPPED", since=each.engaged_at)


def _doubts(place: Place) -> Iterator[Item]:
    for each in runs.in_doubt(place.workspace.id)[:FEW]:
        address = f"runs/{each.call.run_id}?call={each.call_id}&tab=effect#call"
        title, about = f"Nobody knows whether {each.call.name} took place", f"{each.call.run.agent.slug} · key {each.key}"
        yield Item(URGENT, each.intended_at, "warn", title, address, about, badge="IN_DOUBT", since=each.intended_at)


def _handed(place: Place) -> Iterator[Item]:
    """Runs handed over today (UTC): the newest few, and a line for the rest."""
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    found = runs.narrowed(runs.visible(by=place.principal, workspace=place.workspace.id, state=Run.State.HANDED_OFF), over_since=today)
    rows = list(found.order_by("-finished_at", "-id")[: HANDED + 1])
    for each in rows[:HANDED]:
        about = f"{each.agent.slug}: {each.summary}" if each.summary else each.agent.slug
        ended = each.finished_at or each.started_at
        yield Item(SOON, ended, "arrow", each.title or each.id, f"runs/{each.id}", about, badge="HANDED_OFF", since=ended)
    if len(rows) > HANDED:
        address = f"runs?state=HANDED_OFF&over={today.date().isoformat()}"
        yield Item(SOON, timezone.now(), "arrow", "More runs were handed over today", address, "their owners go on with them")


def _purses(place: Place, agents: Sequence[Agent]) -> Iterator[Item]:
    names = {place.organisation.id: place.organisation.name, place.workspace.id: place.workspace.name}
    names |= {each.id: each.slug for each in agents}
    yield from _raises(place, names)
    full = reservations.nearly_spent(list(names))[:FEW]
    for each in full:
        title = f"{names[each.target]} has {money.dollars(max(each.left or 0, 0))} left this {each.period}"
        about = f"{money.dollars(each.spent)} spent and {money.dollars(each.reserved)} held of {money.dollars(each.cap or 0)}"
        yield Item(NOW, timezone.now(), "money", title, f"budgets/{each.level}/{each.target}", about, balance=each)
    known = {each.target for each in full}
    for purse in purses.tree(place.organisation, place.workspace, []):
        if purse.reached_at is None or purse.balance.target in known or (purse.ends_at and purse.reached_at > purse.ends_at):
            continue
        title = f"{purse.name} reaches its cap about {purse.reached_at:%-d %B}"
        about = f"{money.dollars_round(purse.balance.spent)} of {money.dollars(purse.balance.cap or 0)} spent this {purse.balance.period}"
        address = f"budgets/{purse.balance.level}/{purse.balance.target}"
        yield Item(SOON, purse.reached_at, "money", title, address, about, balance=purse.balance)


def _raises(place: Place, names: Mapping[str, str]) -> Iterator[Item]:
    """Higher caps that this person may be the second one for."""
    for asked in caps.waiting_for(place.principal, place.workspace.id)[:FEW]:
        row = asked.row
        what = names.get(row.target, row.target) if row.level != "threshold" else "what one person raises caps to"
        title = f"Raise {what} to {money.in_period(row.cap_micros, row.period)}?"
        about = f"{asked.asked_by} asks you to be the second person"
        yield Item(NOW, row.asked_at, "person", title, f"budgets#{row.id}", about, since=row.asked_at)


def _unused(place: Place, agents: Sequence[Agent]) -> Iterator[Item]:
    """An agent that keeps its tools and has not run for weeks: a grant that nobody needs is only a risk."""
    last, long_ago = trends.last_run(place.workspace.id), timezone.now() - UNUSED
    used = [each for each in agents if each.state != Agent.State.RETIRED and each.version_id]
    idle = [each for each in used if each.created_at < long_ago]
    idle = [each for each in idle if (last.get(each.id) or each.created_at) < long_ago]
    if not idle:
        return
    pins: dict[str, list[str]] = {}
    for pin in tools.pinning(place.workspace.id):
        pins.setdefault(pin.agent_version.agent_id, []).append(pin.name)
    for each in idle[:FEW]:
        ran, held = last.get(each.id), pins.get(each.id, [])
        title = f"{each.name} has not run for {(timezone.now() - ran).days} days" if ran else f"{each.name} has never run"
        about = f"It may still use {len(held)} tool{'s' if len(held) != 1 else ''}. Narrow it, or retire it."
        yield Item(SOMETIME, ran or each.created_at, "clock", title, f"agents/{each.slug}", about, since=ran)
