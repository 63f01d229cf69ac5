"""Limits of one run of an agent: steps, calls, tokens, seconds, money, retries, repeats. At one the gate hands the run to its owner."""

from collections.abc import Mapping

from agents import organisations
from agents.models import Agent
from agents.organisations import Principal
from agents.runs import Caps
from audit import log, tenancy
from budgets.models import Limits

FIELDS = ("steps", "tool_calls", "tokens", "seconds", "retries", "micros", "step_micros", "repeats_flag", "repeats_stop")
_LARGEST = dict.fromkeys(FIELDS, 2**31 - 1) | dict.fromkeys(("tokens", "micros", "step_micros"), 2**40)
_SMALLEST = dict.fromkeys(FIELDS, 0) | {"repeats_flag": 2, "repeats_stop": 2}  # one call is no repeat


def put(*, by: Principal, agent: Agent, values: Mapping[str, int]) -> Limits:
    """Set some of an agent's limits. They hold for runs that start from now on. Raises Conflict for an unknown name or a bad number."""
    for name, value in values.items():
        if name not in FIELDS:
            raise organisations.Conflict(
                f"There is no limit {name}.", rule="limits", current=name, limit=", ".join(FIELDS), next_step="Choose one of them."
            )
        if not isinstance(value, int) or isinstance(value, bool) or not _SMALLEST[name] <= value <= _LARGEST[name]:
            raise organisations.Conflict(
                f"{name} cannot be {value!r}.",
                rule="limits",
                current=str(value),
                limit=f"{_SMALLEST[name]} to {_LARGEST[name]}",
                next_step="Give a whole number in that range.",
            )
    with tenancy.within(by.organisation):
        organisations.require(by, "budgets_set" if "micros" in values or "step_micros" in values else "agents_manage", agent.workspace_id)
        limits, _ = Limits.objects.update_or_create(id=agent.id, defaults=dict(values))
        log.append("limits.set", by=by, subject=agent.id, workspace=agent.workspace_id, detail=dict(values))
    return limits


def of(agent: Agent) -> Limits:
    """The agent's limits, or the defaults. Call inside `tenancy.within`."""
    return Limits.objects.filter(id=agent.id).first() or Limits(id=agent.id)


def caps(agent: Agent) -> Caps:
    """The snapshot that a run of this agent starts with. Call inside `tenancy.within`."""
    row = of(agent)
    return Caps(
        max_steps=row.steps,
        max_tool_calls=row.tool_calls,
        max_tokens=row.tokens,
        max_seconds=row.seconds,
        max_retries=row.retries,
        max_micros=row.micros,
        max_step_micros=row.step_micros,
        repeats_flag=row.repeats_flag,
        repeats_stop=row.repeats_stop,
    )
