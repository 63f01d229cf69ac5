"""How many humans a plan needs, who they may be, and how long they have."""

import datetime
from collections.abc import Iterable

from agents import organisations, seats
from agents.models import Agent, Member, PolicySet
from agents.organisations import Principal
from audit.moments import Moment

AUTO, ONE, TWO, REFUSED = "AUTO", "ONE", "TWO", "REFUSED"
REQUIRED = {AUTO: 0, ONE: 1, TWO: 2}
PERMISSION = {1: "approvals_decide", 2: "approvals_decide_two"}
WAITS = {ONE: datetime.timedelta(minutes=60), TWO: datetime.timedelta(minutes=15)}
DRAFT_WAITS = datetime.timedelta(days=7)
# Whoever changed the rules just now does not decide under them (T31).
_COOLING = datetime.timedelta(hours=24)


def tier_for(*, policy_tier: str, stage: str, is_draft: bool) -> str:
    """The policy's tier, raised to one human where the stage or draft mode asks for it. It is never lowered."""
    if policy_tier == AUTO and (is_draft or stage in {Agent.Stage.NARROW, Agent.Stage.DRAFT}):
        return ONE
    return policy_tier


def waits(tier: str, *, is_draft: bool) -> datetime.timedelta:
    """How long a request of this tier stays open. Nobody deciding in time is a no."""
    return DRAFT_WAITS if is_draft else WAITS[tier]


def requesters(*, owner_person: str, starter_person: str, policy_set: str) -> list[str]:
    """The persons who may not decide: the agent's owner, whoever started the run, and whoever put new rules in force within a day.

    Call inside `tenancy.within`.
    """
    persons = {owner_person, starter_person}
    fresh = PolicySet.objects.filter(id=policy_set, activated_at__gt=Moment() - _COOLING)
    changed = fresh.values_list("proposed_by", "activated_by").first()
    persons |= set(Member.objects.filter(id__in=changed or ()).values_list("person", flat=True))
    return sorted(persons - {""})


def why_not(by: Principal, *, required: int, requesters: Iterable[str], workspace: str) -> str:
    """Why this principal may not decide, or nothing. Call inside `tenancy.within`."""
    if by.kind != "person":
        return "Only people decide."
    if by.person in requesters:
        return "You asked for this run, own its agent or just changed the rules, so you may not decide it."
    if not organisations.may(by, PERMISSION[required], workspace):
        return f"This needs the permission {PERMISSION[required]} in its workspace."
    return ""


def barred(*, required: int, requesters: Iterable[str], workspace: str, owner: str, starter_person: str) -> list[tuple[str, str]]:
    """Who could decide but for what they have to do with it, and what that is. Call inside `tenancy.within`."""
    barring = set(requesters)
    holding = [member for member in seats.holding(PERMISSION[required], workspace) if member.person in barring]
    return [(member.name, tie(member, owner=owner, starter_person=starter_person)) for member in holding]


def tie(member: Member, *, owner: str, starter_person: str) -> str:
    """What somebody who may not decide for what they have to do with it has to do with it."""
    return "owns the agent" if member.id == owner else "started the run" if member.person == starter_person else "changed the rules"
