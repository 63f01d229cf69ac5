"""An agent of somebody's own programme: it asks its model and its tools through the gate, turn by turn, and ends its run itself.

The same scripts as the hosted ones, and the same prompt, conversation and ending. People answer what it asks them; between two turns the
clock of the record is moved on, so that a run lasts as long as such a run does.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from agents import organisations, runs
from agents.models import Run, Step, Work
from agents.organisations import Principal
from approvals import requests, votes
from approvals.models import Request, Vote
from audit import tenancy
from controlplane import examination, gate, model_calls, recovery, runner
from controlplane.connectors import models
from controlplane.demo import clock, stories
from controlplane.demo.scene import Scene
from controlplane.demo.stories import Story

DENY, EXPIRE, CRASH, TWICE = "deny", "expire", "crash", "twice"


@dataclass(slots=True)
class Errand:
    """One run of the past: how long ago it began, and how it turned out otherwise than well."""

    number: int
    ago: timedelta
    story: Story
    twist: str = ""
    reason: str = ""
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.number)  # noqa: S311 - a story, not a secret

    def pass_time(self, least_s: float, most_s: float) -> None:
        self.ago = max(self.ago - timedelta(seconds=self.dice.uniform(least_s, most_s)), timedelta(0))
        clock.set_back(self.ago)


def play(made: Scene, errand: Errand, mark: str) -> str:
    """The run, played to its end; its id."""
    clock.set_back(errand.ago)
    run = stories.start(made, errand.story, {mark: errand.number}, hosted=False)
    with tenancy.within(made.organisation):
        run = Run.objects.select_related("agent", "agent_version").get(id=run.id)
        prompt = runner.prompt_of(run) | {"input": errand.story.prompt}
    actor = Principal(kind="agent", id=run.agent_id, organisation=made.organisation, run=run.id, workspace=run.workspace_id)
    steps: list[tuple[str, str, dict[str, Any]]] = [(Step.Kind.PROMPT, "", prompt)]
    while (answer := _ask(run, actor, errand, steps)) is not None:
        steps.append((Step.Kind.MODEL, "", answer))
        if not answer["calls"]:
            runner.conclude(run, actor, steps, summary=answer["text"] or "Finished.")
            break
        if errand.twist == CRASH:
            _fail(run, actor, "The agent's process ended before its work was done.")
            break
        for call in answer["calls"]:
            steps.append(_call(made, run, actor, errand, call, len(steps)))
    return run.id


def _ask(run: Run, actor: Principal, errand: Errand, steps: Sequence[tuple[str, str, dict[str, Any]]]) -> dict[str, Any] | None:
    """The model's next turn; None when the run is over."""
    provider, _, name = run.agent_version.model_names[0].partition(":")
    request = models.ModelRequest(
        provider=provider,
        model=name,
        messages=runner.conversation(list(steps)),
        tools=steps[0][2]["tools"],
        max_output_tokens=runner.MAX_OUTPUT_TOKENS,
        temperature=None,
        options={},
    )
    errand.pass_time(0.4, 2.5)
    admission = model_calls.ask(model_calls.Asked(principal=actor, run=run.id, key=f"model/{len(steps)}", request=request))
    errand.pass_time(0.9, 5.0)
    if admission.status == "applied":
        return dict(admission.result)
    if admission.status != "refused":
        _fail(run, actor, "The model did not answer.")
    return None


def _fail(run: Run, actor: Principal, why: str) -> None:
    runs.end(by=organisations.system(actor.organisation, "runner"), run=run, state=Run.State.FAILED, summary=why, event="run.failed")


def _call(made: Scene, run: Run, actor: Principal, errand: Errand, call: dict[str, Any], turn: int) -> tuple[str, str, dict[str, Any]]:
    key = f"{turn}/{call['id']}"
    proposal = examination.Proposal(principal=actor, run=run.id, name=str(call["tool"]), arguments=call["arguments"], key=key)
    errand.pass_time(0.1, 0.6)
    admission = gate.admit(proposal)
    if admission.status == "pending_approval":
        admission = _people(made, errand, admission)
        if errand.twist == TWICE and admission.status == "applied":
            _again(proposal, errand)
    errand.pass_time(0.05, 0.9)
    result = admission.result if admission.result is not None else {"structuredContent": runner.told(admission), "isError": True}
    content = {"id": key, "call_id": call["id"], "tool": call["tool"], "status": admission.status, "result": result}
    return Step.Kind.TOOL, admission.call, content


def _again(proposal: examination.Proposal, errand: Errand) -> None:
    """The agent was restarted and does not remember: the same key is answered from the record, a new one finds nothing left to refund."""
    errand.pass_time(40, 90)
    gate.admit(proposal)
    gate.admit(examination.Proposal(proposal.principal, proposal.run, proposal.name, proposal.arguments, f"{proposal.key}/restarted"))


def _people(made: Scene, errand: Errand, held: gate.Admission) -> gate.Admission:
    """Somebody reads it after a while and decides, or nobody does in time."""
    with tenancy.within(made.organisation):
        request = Request.objects.select_related("plan").get(id=held.approval)
    if errand.twist == EXPIRE:
        errand.pass_time(3700, 3900)
        requests.expire(by=organisations.system(made.organisation, "expiry"), request_id=request.id)
        return gate.standing(made.organisation, held.call)
    names = ["Dana", "Priya"] if errand.dice.random() < 0.6 else ["Priya", "Dana"]
    for name in names[: 1 if errand.twist == DENY else request.required]:
        errand.pass_time(25, 400)
        with tenancy.within(made.organisation):
            votes.cast(
                by=made.person(name),
                request_id=request.id,
                verdict=Vote.Verdict.DENY if errand.twist == DENY else Vote.Verdict.APPROVE,
                plan_digest=request.plan.digest,
                reason=errand.reason,
            )
            # We go on with it ourselves, at the hour of the story: no worker of today may.
            Work.objects.filter(kind=Work.Kind.RESUME, subject=held.call).delete()
    if errand.twist == DENY:
        return gate.standing(made.organisation, held.call)
    errand.pass_time(0.2, 1.5)
    return recovery.resume(made.organisation, held.call)


def abandon(made: Scene, run: str) -> None:
    """A run whose player was stopped: its programme is gone, and that is what it says."""
    with tenancy.within(made.organisation):
        found = Run.objects.get(id=run)
    actor = Principal(kind="agent", id=found.agent_id, organisation=made.organisation, run=found.id, workspace=found.workspace_id)
    _fail(found, actor, "The agent's process ended before its work was done.")
