"""Who asks, in which run, and which calls are theirs. A credential decides; nothing in a body or header does."""

from collections.abc import Mapping
from dataclasses import dataclass

from agents import organisations, runs
from agents.models import Call
from agents.organisations import Principal
from audit import tenancy
from controlplane import runner
from controlplane.mcp import eras, frames


@dataclass(frozen=True, slots=True)
class Asked:
    """One request by one agent, and how to answer it."""

    principal: Principal
    frame: frames.Frame
    era: eras.Era
    headers: Mapping[str, str]


def run_of(principal: Principal) -> str:
    """The run that this key is for; an agent's own key acts in the run that is open."""
    return principal.run or runner.open_run_of(principal)


def own_call(principal: Principal, identifier: str) -> Call:
    """A tool call of this caller. Raises NotFound for everybody else's."""
    with tenancy.within(principal.organisation, read_only=True):
        call = runs.get_call(identifier, by=principal)
    if call.kind != Call.Kind.TOOL:
        raise organisations.NotFound(
            "There is no such call.", rule="call", current=identifier[:40], next_step="Use the call id that tools/call answered with."
        )
    return call
