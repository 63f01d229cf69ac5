"""Runs that Remit itself executes: one durable step at a time, from what is written down. Any worker takes the next; none repeats one."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from agents import answers, contracts, identity, organisations, runs, tools
from agents.models import Agent, Capability, Run, Step, Workspace
from agents.organisations import Principal
from audit import tenancy
from budgets import limits
from controlplane import examination, gate, model_calls, outbox, recovery
from controlplane.connectors import models

MAX_OUTPUT_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody asks an agent to do."""

    agent: str
    reference: str = ""
    title: str = ""
    subject: Sequence[str] = ()
    tools: Sequence[str] | None = None
    bindings: Mapping[str, Sequence[Any]] | None = None
    expires_in: timedelta = timedelta(hours=1)
    hosted: bool = False
    prompt: str = ""
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """A run, and the token that acts for it and nothing else. Hosted runs have none."""

    run: Run
    token: str


def start(*, by: Principal, workspace: Workspace, order: Order) -> Started:
    """Start a run: its capability, its caps, its key, and for a hosted one its first work, in one transaction.

    A person with runs_start may bind it to a subject. An agent may start its own runs, narrowed further but never bound to a customer.
    """
    with tenancy.within(by.organisation):
        agent = contracts.get(by.id if by.kind == "agent" else order.agent, workspace=workspace)
        _may_start(by, agent, order)
        capability = _capability(by, agent, order)
        run = runs.start(
            by=by,
            agent=agent,
            caps=limits.caps(agent),
            capability=capability,
            reference=order.reference,
            title=order.title,
            is_hosted=order.hosted,
            options={**(order.options or {}), **({"prompt": order.prompt} if order.hosted else {})},
        )
        if order.hosted:
            outbox.enqueue(organisation=by.organisation, kind="run.advance", subject=run.id)
            return Started(run=run, token="")
        return Started(
            run=run, token=identity.issue(by=by, agent=agent, run=run.id, label=order.reference[:80], expires_in=order.expires_in).token
        )


def _may_start(by: Principal, agent: Agent, order: Order) -> None:
    if by.kind == "agent":
        if by.run:
            raise organisations.Forbidden(
                "A run's key does not start runs.",
                rule="key",
                current="run",
                limit="an agent's key",
                who="whoever started the run",
                next_step="Use the agent's own key.",
            )
        if order.subject:
            raise organisations.Forbidden(
                "An agent cannot bind a run to a customer by itself.",
                rule="capability",
                current="agent",
                limit="a person or service with runs_start",
                who="whoever holds runs_start",
                next_step="Have the run started by the system that knows the customer.",
            )
    else:
        organisations.require(by, "runs_start", agent.workspace_id)


def _capability(by: Principal, agent: Agent, order: Order) -> Capability | None:
    if by.kind == "agent" and order.tools is None and not order.bindings:
        return None
    return identity.grant(
        by=by, agent=agent, subject=order.subject, tools=order.tools, bindings=order.bindings, expires_in=order.expires_in
    )


def open_run_of(principal: Principal) -> str:
    """The run that an agent's own key acts in when it names none: its newest one that is not over, or a new one.

    Starting over does not reset a cap of the agent, its workspace or its organisation.
    """
    with tenancy.within(principal.organisation):
        found = runs.open_of(principal.id)
        if found is None:
            agent = contracts.lock(principal.id)  # two first calls at once open one run
            found = runs.open_of(principal.id) or runs.start(
                by=principal, agent=agent, caps=limits.caps(agent), reference=f"key {principal.key}"
            )
        return found.id


def advance(lease: outbox.Lease) -> None:
    """Take steps of one hosted run until it waits for people or ends. Raises LostLease when another worker has it."""
    with tenancy.within(lease.organisation):
        run = Run.objects.select_related("agent", "agent_version").get(id=lease.subject)
    actor = Principal(kind="agent", id=run.agent_id, organisation=lease.organisation, run=run.id, workspace=run.workspace_id)
    while _step(lease, run, actor):
        pass


def _hold(lease: outbox.Lease) -> None:
    """The run, then the right to advance it: a step refers to its run, and whoever settles a call has the run when it rings for work."""
    runs.lock(lease.subject)
    outbox.hold(lease)


def _step(lease: outbox.Lease, run: Run, actor: Principal) -> bool:
    """One step. True when the next may follow at once."""
    with tenancy.within(lease.organisation):
        _hold(lease)
        run.refresh_from_db(fields=["state", "summary", "handed_to"])
        steps = [(step.kind, step.call_id, json.loads(step.content)) for step in runs.steps(run)]
        if run.state in Run.OVER:
            if run.state == Run.State.HANDED_OFF and steps and steps[-1][0] != Step.Kind.HANDOFF:
                runs.add_step(run=run, kind=Step.Kind.HANDOFF, content={"summary": run.summary, "handed_to": run.handed_to})
            return False
        if not steps:
            Run.objects.filter(id=run.id, state=Run.State.QUEUED).update(state=Run.State.RUNNING)
            runs.add_step(run=run, kind=Step.Kind.PROMPT, content=prompt_of(run))
            return True
    answered = {content["id"] for kind, _, content in steps if kind == Step.Kind.TOOL}
    turns = [(call, content) for kind, call, content in steps if kind == Step.Kind.MODEL]
    if turns and turns[-1][1]["calls"]:
        for call in gate.standing(lease.organisation, turns[-1][0]).result["calls"]:  # exact: the step beside it is redacted
            key = f"{len(turns)}/{call['id']}"
            if key not in answered:
                return _tool(lease, run, actor, key, call)
    elif turns:
        conclude(run, actor, steps, summary=turns[-1][1]["text"] or "Finished.")
        return False
    return _model(lease, run, actor, steps, turn=len(turns))


_LEFT_OPEN = frozenset({"denied", "expired", "void", "refused", "in_doubt"})


def conclude(run: Run, actor: Principal, steps: list[tuple[str, str, dict[str, Any]]], *, summary: str) -> None:
    """The agent has nothing more to do. If the last thing it tried was not done, a person must go on, so the run is handed to its owner."""
    tried = [content["status"] for kind, _, content in steps if kind == Step.Kind.TOOL]
    if tried and tried[-1] in _LEFT_OPEN:
        runs.end(by=actor, run=run, state=Run.State.HANDED_OFF, summary=summary, event="run.handed_off", handed_to=run.agent.owner_id)
    else:
        runs.end(by=actor, run=run, state=Run.State.SUCCEEDED, summary=summary)


def prompt_of(run: Run) -> dict[str, Any]:
    """The whole prompt as it is sent: system text, goal contract, the tools with their schemas, and the order."""
    version = run.agent_version
    listed = [
        {"name": tool.name, "description": tool.description, "input_schema": tools.schema(tool.input_schema)}
        for tool in tools.pinned(version.id)
    ]
    never = "\n".join(f"- {line}" for line in version.never)
    return {
        "system": f"{version.prompt}\n\nPurpose: {version.purpose}\nNever:\n{never}\nOutput: {version.output}",
        "tools": listed,
        "input": run.options.get("prompt", ""),
    }


def _tool(lease: outbox.Lease, run: Run, actor: Principal, key: str, call: Mapping[str, Any]) -> bool:
    proposal = examination.Proposal(principal=actor, run=run.id, name=str(call["tool"]), arguments=call["arguments"], key=key)
    try:
        admission = gate.admit(proposal)
    except answers.InProgress as busy:
        admission = recovery.adopt(proposal, str(busy.details["call"]))
    if admission.status in {"pending_approval", "in_doubt", "running"}:
        return False  # whoever settles it rings again
    answer = (
        admission.result
        if admission.result is not None
        else {
            "content": [{"type": "text", "text": json.dumps(told(admission))}],
            "structuredContent": told(admission),
            "isError": admission.status != "drafted",
        }
    )
    with tenancy.within(lease.organisation):
        _hold(lease)
        runs.add_step(
            run=run,
            kind=Step.Kind.TOOL,
            call=admission.call,
            content={"id": key, "call_id": call["id"], "tool": call["tool"], "status": admission.status, "result": answer},
        )
    return True


def told(admission: gate.Admission) -> dict[str, Any]:
    """How a call stands, as the agent is told when there is no result."""
    told: dict[str, Any] = {"status": admission.status, "call": admission.call, **(admission.refusal or {})}
    return told | ({"approval": admission.approval, "expires_at": admission.expires_at} if admission.approval else {})


def _model(lease: outbox.Lease, run: Run, actor: Principal, steps: list[tuple[str, str, dict[str, Any]]], *, turn: int) -> bool:
    prompt = steps[0][2]
    provider, _, name = (run.agent_version.model_names[0] if run.agent_version.model_names else ":").partition(":")
    limit = int(run.options.get("max_output_tokens", MAX_OUTPUT_TOKENS))
    request = models.ModelRequest(
        provider=provider,
        model=name,
        messages=conversation(steps),
        tools=prompt["tools"],
        max_output_tokens=limit,
        temperature=None,
        options=run.options,
    )
    admission = _asked(run, actor, turn, request)
    if admission.status == "applied":
        content, usage = admission.result, admission.result["usage"]
        with tenancy.within(lease.organisation):
            _hold(lease)
            runs.add_step(
                run=run, kind=Step.Kind.MODEL, call=admission.call, content=content, usage=(usage["input_tokens"], usage["output_tokens"])
            )
        return True
    code = (admission.refusal or {}).get("code", "")
    if admission.status == "refused" and code in {"budget_exceeded", "limit_reached", "no_progress"}:
        return True  # the gate handed the run over; the next look writes that down
    if admission.status == "refused" and code == "stopped":
        return False  # whoever lets it go on rings for it
    runs.end(
        by=organisations.system(lease.organisation, "runner"),  # its words, not the agent's
        run=run,
        state=Run.State.FAILED,
        summary=str((admission.refusal or {}).get("message", "The model did not answer.")),
        event="run.failed",
    )
    return False


def _asked(run: Run, actor: Principal, turn: int, request: models.ModelRequest) -> gate.Admission:
    """The turn's answer. What a stop refused stays refused under its key, so after each stop it is asked under another."""
    for stops in itertools.count():
        key = f"model/{turn}" + (f"/{stops}" if stops else "")
        admission = model_calls.ask(model_calls.Asked(principal=actor, run=run.id, key=key, request=request))
        if not (admission.is_replay and admission.status == "refused" and (admission.refusal or {}).get("code") == "stopped"):
            break
    return admission


def conversation(steps: list[tuple[str, str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """The conversation in the providers' neutral shape, rebuilt from redacted steps: a secret a tool returned never reaches a model."""
    messages: list[dict[str, Any]] = []
    for kind, _, content in steps:
        if kind == Step.Kind.PROMPT:
            messages += [{"role": "system", "text": content["system"]}, {"role": "user", "text": content["input"]}]
        elif kind == Step.Kind.MODEL:
            messages.append(
                {
                    "role": "assistant",
                    "text": content["text"],
                    "reasoning": content["reasoning"],
                    "calls": content["calls"],
                    "reasoning_parts": content.get("reasoning_parts", []),
                }
            )
        elif kind == Step.Kind.TOOL:
            text = "\n".join(str(block.get("text", "")) for block in content["result"].get("content", []))
            messages.append(
                {
                    "role": "tool",
                    "call_id": content["call_id"],
                    "tool": content["tool"],
                    "result": content["result"],
                    "text": text,
                    "status": content["status"],
                }
            )
    return messages
