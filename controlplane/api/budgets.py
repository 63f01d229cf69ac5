"""Money: what each level may spend, what it did, and what models cost. Amounts are whole micro-units."""

import dataclasses
from typing import Any

from rest_framework import serializers

from agents import contracts, organisations
from agents.organisations import Principal
from audit import tenancy
from budgets import caps, models, prices, reservations
from controlplane.api import inputs, pages
from controlplane.api.routing import Asked, Said, door


class Balance(serializers.Serializer[reservations.Balance]):
    level = serializers.CharField()
    subject = serializers.CharField(source="target")
    period = serializers.CharField()
    cap_micros = serializers.IntegerField(source="cap", allow_null=True)
    spent_micros = serializers.IntegerField(source="spent")
    reserved_micros = serializers.IntegerField(source="reserved")
    overrun_micros = serializers.IntegerField(source="overrun")
    left_micros = serializers.IntegerField(source="left", allow_null=True)


class Raise(serializers.Serializer[models.Raise]):
    """A higher cap, or a higher threshold, that waits for a second person, or did."""

    id = serializers.CharField()
    level = serializers.CharField()
    subject = serializers.CharField(source="target")
    period = serializers.CharField()
    cap_micros = serializers.IntegerField()
    before_micros = serializers.IntegerField()
    before_period = serializers.CharField()
    state = serializers.CharField()
    asked_by = serializers.CharField()
    asked_at = serializers.DateTimeField()
    decided_by = serializers.CharField()
    decided_at = serializers.DateTimeField(allow_null=True)


class AfterPut(Balance):
    """The purse as it is now. `waits` is the raise that a second person has to agree to before the cap is what was sent, or null."""

    waits = Raise(allow_null=True)


class NewCap(inputs.Body):
    period = inputs.Choice(required=False, choices=models.Cap.Period.values, default=models.Cap.Period.MONTH)
    cap_micros = inputs.Whole()


class NewThreshold(inputs.InWorkspace):
    """Micro-units a month up to which one person raises a cap."""

    micros = inputs.Whole()


class Threshold(serializers.Serializer[Any]):
    micros = serializers.IntegerField()
    waits = Raise(allow_null=True)


class Declined(inputs.Body):
    reason = inputs.Text(required=False, default="", allow_blank=True, max_length=500)


class NewPrice(inputs.InWorkspace):
    """Micro-units per million tokens."""

    input_micros = inputs.Whole()
    output_micros = inputs.Whole()
    source = inputs.Text(required=False, default="", allow_blank=True, max_length=300)  # type: ignore[assignment]


class Price(serializers.Serializer[models.Price]):
    item = serializers.CharField()
    version = serializers.IntegerField()
    input_micros = serializers.IntegerField()
    output_micros = serializers.IntegerField()
    source = serializers.CharField()  # type: ignore[assignment]
    created_at = serializers.DateTimeField()


@door(Said(gives=Balance, many=True))
def listed(asked: Asked) -> pages.Page:
    """The purses of the organisation, and of the workspaces whose budgets you may see with their agents."""
    seen = organisations.where(asked.by, "budgets_view")
    targets = {asked.by.organisation} | {workspace.id for workspace in seen}
    targets |= {agent for workspace in seen for agent in contracts.slugs(workspace.id)}
    return pages.Page(items=[balance for balance in reservations.balances(asked.by.organisation) if balance.target in targets], next="")


@door(Said(body=NewCap, gives=AfterPut))
def put(asked: Asked, level: str, subject: str) -> dict[str, Any]:
    """Set what an agent, a workspace or the organisation may spend in a period. A raise above the threshold waits for a second person."""
    by, given = asked.by, asked.body
    with tenancy.within(by.organisation):
        target, workspace = _located(by, level, subject)
        if not workspace:
            organisations.require_everywhere(by, "budgets_set")
            workspace = organisations.where(by, "budgets_set")[0].id
        done = caps.put(by=by, workspace=workspace, level=level, target=target, period=given["period"], cap_micros=given["cap_micros"])
        now = reservations.balance(level, target)
        return {**dataclasses.asdict(now), "left": now.left, "waits": done if isinstance(done, models.Raise) else None}


@door(Said(gives=Raise, many=True))
def raises(asked: Asked) -> pages.Page:
    """What waits for a second person, where you see budgets."""
    seen = organisations.where(asked.by, "budgets_view")
    return pages.Page(items=list(caps.waiting([workspace.id for workspace in seen])), next="")


@door(Said(gives=Raise))
def agree(asked: Asked, identifier: str) -> models.Raise:
    """Be the second person: the raise takes effect."""
    caps.agree(by=asked.by, identifier=identifier)
    return _raise(asked, identifier)


@door(Said(body=Declined, gives=Raise))
def decline(asked: Asked, identifier: str) -> models.Raise:
    """Leave the cap as it is; whoever asked takes the raise back."""
    caps.decline(by=asked.by, identifier=identifier, reason=asked.body["reason"])
    return _raise(asked, identifier)


def _raise(asked: Asked, identifier: str) -> models.Raise:
    with tenancy.within(asked.by.organisation):
        return caps.get(identifier, by=asked.by)


@door(Said(body=NewThreshold, gives=Threshold))
def put_threshold(asked: Asked) -> dict[str, Any]:
    """Set up to where one person raises a cap. Raising it waits for a second person itself."""
    with tenancy.within(asked.by.organisation):
        workspace = organisations.workspace_of(asked.by, asked.body.get("workspace", ""))
        waits = caps.put_threshold(by=asked.by, workspace=workspace.id, micros=asked.body["micros"])
        return {"micros": caps.threshold(), "waits": waits}


def _located(by: Principal, level: str, subject: str) -> tuple[str, str]:
    """(id, workspace) of a level by id or slug. The organisation is in no workspace."""
    if level == "organisation" and subject in (by.organisation, "organisation"):
        return by.organisation, ""
    if level == "workspace":
        workspace = organisations.workspace_of(by, subject)
        return workspace.id, workspace.id
    if level == "agent":
        agent = contracts.find(subject)
        return agent.id, agent.workspace_id
    raise organisations.NotFound("There is no such budget.", rule="budget", next_step="Levels are organisation, workspace and agent.")


@door(Said(gives=Price, many=True))
def price_list(asked: Asked) -> pages.Page:
    """The newest price of every model."""
    organisations.where(asked.by, "budgets_view")
    return pages.Page(items=list(prices.listed()), next="")


@door(Said(body=NewPrice, gives=Price))
def price(asked: Asked, item: str) -> models.Price:
    """A new version of a model's price, `provider:model`. Calls under way keep the price they were reserved at."""
    given = asked.body
    if not item.isprintable() or len(item) > 200:
        raise inputs.invalid("path", "a name of at most 200 visible characters")
    with tenancy.within(asked.by.organisation):
        workspace = organisations.workspace_of(asked.by, given.get("workspace", ""))
    prices.put(
        by=asked.by,
        workspace=workspace.id,
        item=item,
        input_micros=given["input_micros"],
        output_micros=given["output_micros"],
        source=given["source"],
    )
    with tenancy.within(asked.by.organisation):
        return prices.current(item)
