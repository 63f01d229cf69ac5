"""Every cap of a run, reached: the refusal names it with its numbers, and the run is handed to its owner."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from agents.models import Run
from audit import tenancy
from budgets import limits, prices
from controlplane import model_calls
from controlplane.connectors import models
from tests.world import World


def reach(world: World, **values: int) -> dict[str, Any]:
    """Set limits, make calls until one is refused, and say how it was."""
    limits.put(by=world.people["olga"], agent=world.agent, values={k: v for k, v in values.items() if k not in {"micros", "step_micros"}})
    money = {k: v for k, v in values.items() if k in {"micros", "step_micros"}}
    if money:
        limits.put(by=world.people["fiona"], agent=world.agent, values=money)
    run = world.start()
    for amount in range(1, 9):
        said = run.call("pay", {"account": "a", "amount": amount})
        if said.status == "refused":
            row = run.reload()
            assert (row.state, row.handed_to) == ("HANDED_OFF", world.members["olga"].id)
            assert row.summary
            assert (row.steps, row.tool_calls, row.writes) == (amount, amount - 1, amount - 1)  # a refused call is a step and nothing else
            assert said.refusal is not None
            assert said.refusal["who"]
            assert said.refusal["next"]
            return said.refusal
    raise AssertionError("no cap was reached")


@pytest.mark.parametrize(
    ("values", "code", "rule", "current", "limit"),
    [
        ({"steps": 2}, "limit_reached", "cap steps", 2, 2),
        ({"tool_calls": 3}, "limit_reached", "cap tool_calls", 3, 3),
        ({"step_micros": 9_999}, "limit_reached", "cap step_micros", 0, 9_999),
        ({"micros": 25_000}, "budget_exceeded", "cap run", 20_000, 25_000),
    ],
)
def test_a_cap_is_named_with_its_numbers(world: World, values: dict[str, int], code: str, rule: str, current: int, limit: int) -> None:
    refusal = reach(world, **values)
    assert (refusal["code"], refusal["current"], refusal["limit"]) == (code, current, limit)
    assert refusal["rule"].startswith(rule)


def test_wall_clock_counts_but_not_the_time_people_took(world: World) -> None:
    limits.put(by=world.people["olga"], agent=world.agent, values={"seconds": 60})
    run = world.start()
    with tenancy.within(world.organisation):
        Run.objects.filter(id=run.run.id).update(started_at=F("started_at") - timedelta(seconds=100), waited_ms=90_000)
    assert run.call("get_account", {"account": "a"}).status == "applied"
    with tenancy.within(world.organisation):
        Run.objects.filter(id=run.run.id).update(waited_ms=0)
    said = run.call("get_account", {"account": "b"})
    assert said.refusal is not None
    assert said.refusal["rule"] == "cap seconds"


def test_retries_after_errors_are_counted(world: World) -> None:
    limits.put(by=world.people["olga"], agent=world.agent, values={"retries": 2, "repeats_stop": 100})
    run = world.start()
    said = [run.call("get_account", {"account": "nobody"}) for _ in range(4)]
    assert [one.status for one in said] == ["failed", "failed", "failed", "refused"]
    assert said[-1].refusal is not None
    assert said[-1].refusal["rule"] == "cap retries"


def test_tokens_are_refused_before_they_are_used(world: World) -> None:
    limits.put(by=world.people["olga"], agent=world.agent, values={"tokens": 1_000})
    prices.put(by=world.people["fiona"], workspace=world.workspace.id, item="scripted:idle", input_micros=1, output_micros=1)
    run = world.start()
    request = models.ModelRequest(provider="scripted", model="idle", messages=[{"role": "user", "text": "hello"}], max_output_tokens=2_000)
    said = model_calls.ask(model_calls.Asked(principal=run.principal, run=run.run.id, key="m", request=request))
    assert said.refusal is not None
    assert (said.refusal["code"], said.refusal["rule"], said.refusal["limit"]) == ("limit_reached", "cap tokens", 1_000)
