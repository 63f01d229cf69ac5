"""Hosted runs for the workers' tests: a recording is the model, so that any process can play it; short ways to look at the database."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from django.db import connection
from django.db.models.functions import Now

from agents.models import Call, Run, Step, Work
from audit import tenancy
from budgets import prices
from controlplane import runner
from tests.world import World

Plan = Sequence[tuple[str, dict[str, Any]]]


def record(folder: Path, name: str, plan: Plan) -> None:
    """A recording whose n-th turn makes the n-th call of the plan."""
    steps: list[dict[str, Any]] = [{"role": "user", "text": "Go.", "n": 0}]
    for tool, arguments in plan:
        steps.append({"role": "assistant", "n": len(steps)})
        steps.append(
            {"role": "call", "by": "assistant", "id": f"c{len(steps)}", "tool": tool, "args": arguments, "result": "", "n": len(steps)}
        )
    steps.append({"role": "assistant", "text": "Done.", "n": len(steps)})
    with (folder / "runs.jsonl").open("a") as file:
        file.write(json.dumps({"run_id": name, "steps": steps}) + "\n")


def may_play(world: World) -> None:
    """The agent's model is the recorded one."""
    world.publish(models=["recorded:any"])
    prices.put(by=world.people["fiona"], workspace=world.workspace.id, item="recorded:any", input_micros=1, output_micros=1)


def play(world: World, folder: Path, name: str, **options: Any) -> Run:
    """Start a hosted run of the recording."""
    chosen = {"path": str(folder / "runs.jsonl"), "run_id": name, **options}
    order = runner.Order(agent=world.agent.slug, reference=name, hosted=True, prompt="Go.", options=chosen)
    return runner.start(by=world.people["olga"], workspace=world.workspace, order=order).run


def reload(world: World, run: Run) -> Run:
    with tenancy.within(world.organisation):
        run.refresh_from_db()
    return run


def call_of(world: World, identifier: str) -> Call:
    with tenancy.within(world.organisation):
        return Call.objects.get(id=identifier)


def calls_of(world: World, run: Run, **filters: Any) -> list[Call]:
    with tenancy.within(world.organisation):
        return list(Call.objects.filter(run=run, **filters).order_by("number"))


def steps_of(world: World, run: Run) -> list[str]:
    with tenancy.within(world.organisation):
        return list(Step.objects.filter(run_id=run.id).order_by("number").values_list("kind", flat=True))


def work_of(world: World, **filters: Any) -> list[Work]:
    """What waits, but for the ends of roles: in each world somebody audits for a time."""
    with tenancy.within(world.organisation):
        return list(Work.objects.filter(**filters).exclude(kind=Work.Kind.UNSEAT))


def due_work(world: World) -> list[Work]:
    """What a worker could claim now."""
    return work_of(world, due_at__lte=Now(), lease_until=None) + work_of(world, due_at__lte=Now(), lease_until__lt=Now())


def drop_work(world: World) -> None:
    """Nothing of this organisation waits any more, leased or not."""
    with tenancy.within(world.organisation):
        Work.objects.all().delete()


def make_due(world: World) -> None:
    """What would become due some time later is due now, whoever holds it."""
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute(
            "update agents_work set due_at = clock_timestamp(), lease_until = null where organisation_id = %s", [world.organisation]
        )


def make_orphans_due(world: World) -> None:
    """What a dead web process left behind is looked at after seconds and not after minutes. A hosted run looks after its own calls."""
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute(
            "update agents_work w set due_at = clock_timestamp() from agents_call c join agents_run r using (organisation_id)"
            " where w.organisation_id = %s and c.organisation_id = w.organisation_id and c.id = w.subject and r.id = c.run_id"
            " and not r.is_hosted and w.kind = 'call.recover' and w.lease_until is null and w.due_at > clock_timestamp()"
            " and c.created_at < clock_timestamp() - interval '8 seconds'",
            [world.organisation],
        )


def until(claim: Callable[[], object], *, within_s: float = 20.0) -> float:
    """Wait until the claim is true; says how long that took. Fails when it does not become so."""
    began = time.monotonic()
    while not claim():
        if time.monotonic() - began > within_s:
            raise AssertionError(f"not so after {within_s} s")
        time.sleep(0.02)
    return time.monotonic() - began
