"""What is so about requests that wait, line by line, each with the moment it was looked at. All of it is looked at again when one is
approved and when it is sent.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from agents import policies
from agents.models import Agent, Stop
from approvals import brakes, likeness, requests, sight
from approvals.models import Request
from budgets import money, reservations
from controlplane.console.frame import Place


@dataclass(frozen=True, slots=True)
class Check:
    """One line: is it so, in words, and when it was looked at. `ok` is None where it cannot be known."""

    ok: bool | None
    text: str
    at: datetime.datetime | None = None


def of(place: Place, found: Sequence[Request]) -> dict[str, list[Check]]:
    """The checks of these requests about one tool, by their ids, in as many statements for many as for one. Call inside `tenancy.within`.

    As they are now; the target as it was when it was last read.
    """
    now, stops = requests.database_now(), brakes.over(found)
    active, _ = policies.in_force(place.organisation.id, place.workspace.id)
    balance = reservations.balance("workspace", place.workspace.id)
    left = f"; the workspace has {money.dollars(balance.left)} left this {balance.period}" if balance.left is not None else ""
    earlier = likeness.earlier(found)
    return {
        each.id: [
            Check(ok=True, text=f"Arguments fit the schema of {each.call.name}", at=each.opened_at),
            _target(each),
            _rules(each, active.id if active else "", now),
            Check(ok=True, text=_money(each) + left, at=now),
            _twice(place, each, earlier[each.id], now),
            _repeats(each, now),
            _stop(stops.get(each.id), now),
            _agent(each.run.agent, now),
        ]
        for each in found
    }


def _target(each: Request) -> Check:
    known = bool(each.plan.before_digest)
    text = "Target unchanged since the plan was made" if known else "This tool's target cannot be read, so nobody knows"
    return Check(known or None, text, each.checked_at or each.plan.created_at)


def _rules(each: Request, active: str, now: datetime.datetime) -> Check:
    same, rule = active == each.policy_set_id, ", ".join(each.policies) or "no rule"
    return Check(
        same, f"Rules in force are those it was asked under ({rule})" if same else "The rules changed since: it would be void", now
    )


def _money(each: Request) -> str:
    return "A proposal holds no money until it is applied" if each.is_draft else f"{money.dollars(each.call.reserved_micros)} held"


def _twice(place: Place, each: Request, earlier: Sequence[Request], now: datetime.datetime) -> Check:
    which = ", ".join(seen(place, earlier[:3])) or f"{len(earlier)} times in 30 days"
    twice = f"{each.plan.entity} was changed by this tool before: {which}"
    return Check(not earlier, twice if earlier else "No earlier write of this tool on the same target in 30 days", now)


def _repeats(each: Request, now: datetime.datetime) -> Check:
    flagged = each.run.loop_flagged_at is not None
    return Check(not flagged, "The run repeats itself" if flagged else "The loop guard is quiet", now)


def _stop(stop: Stop | None, now: datetime.datetime) -> Check:
    return Check(stop is None, f"Stopped by a person: {stop.reason}" if stop else "No stop switch is on for it", now)


def _agent(agent: Agent, now: datetime.datetime) -> Check:
    good = agent.state == Agent.State.ACTIVE and agent.stage != Agent.Stage.READ_ONLY
    return Check(good, f"Agent is {agent.get_state_display().lower()}, stage {agent.get_stage_display().lower()}", now)


def seen(place: Place, found: Sequence[Request]) -> list[str]:
    """The ids of those that this reader sees. Call inside `tenancy.within`."""
    return [row.id for row in found if sight.of_run(row.run, by=place.principal)]
