"""How a write ends that was admitted and is never sent: nobody could be shown what it would change, it would fail, or its run is over."""

from agents import runs, tools
from agents.models import Call, Run
from approvals import plans
from audit import outcomes, redaction
from controlplane import effects


class WouldFail(outcomes.Refused):
    code = "would_fail"


class RunOver(outcomes.Refused):
    code = "run_over"


def run_over(run: Run) -> runs.Outcome:
    """Its run ended while the target was read."""
    refusal = RunOver(
        "The run ended before this was planned.",
        rule="run state",
        current=run.state,
        limit="RUNNING",
        who="whoever ended the run",
        next_step="Stop here. Work goes on in a new run.",
    )
    return runs.Outcome(state=Call.State.VOID, event="call.voided", refusal=refusal.as_dict(), note=refusal.message, wake=True)


def unplanned(why: str) -> runs.Outcome:
    """What it would change cannot be shown."""
    refusal = effects.UpstreamFailed(
        "The present state of the target could not be read, so nobody can be shown what would change.",
        rule="preview",
        current=redaction.redact_text(why)[:300],
        limit="readable",
        who="whoever runs the upstream",
        next_step="Check what the call names, then propose it again.",
    )
    return runs.Outcome(state=Call.State.FAILED, event="call.failed", refusal=refusal.as_dict(), is_error=True, note=why[:500], wake=False)


def futile(tool: tools.Facts, target: plans.Target) -> runs.Outcome:
    """The system itself says that this write would fail: nobody is asked about it."""
    reason = target.facts["would_fail"]
    refusal = WouldFail(
        f"{tool.name} would fail: {reason.get('message', '')}",
        rule=str(reason.get("code", "preview")),
        current=target.entity,
        limit="a write that can succeed",
        who="whoever proposes the call",
        next_step="Correct what the message names and propose it again.",
    )
    return runs.Outcome(state=Call.State.FAILED, event="call.failed", refusal=refusal.as_dict(), is_error=True, note=refusal.message[:500])
