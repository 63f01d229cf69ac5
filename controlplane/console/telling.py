"""A run in one sentence, made of what the record holds and of nothing that an agent said about itself; and who wrote its last words."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agents import organisations
from agents.models import Call, Run
from audit import log
from controlplane.templatetags import approvals as filters

HUMANS = {"ONE": "one human", "TWO": "two humans"}
# state of a call -> what is said of it
_SAID = {
    Call.State.REFUSED: "was refused {}",
    Call.State.DENIED: "was denied {} by a person",
    Call.State.EXPIRED: "asked for {}, but nobody decided in time",
    Call.State.FAILED: "failed at {}",
    Call.State.DRAFTED: "left a proposal for {}",
    Call.State.IN_DOUBT: "may or may not have done {}",
}
# cause of a call that was void -> what is said of it
_VOIDED = {
    "stopped": "was held by a stop at",
    "withdrawn": "was made to leave",
    "sent_back": "was sent back with",
    "run_over": "ended before people decided on",
}


def sentence(calls: Sequence[Call]) -> str:
    """What the run did, in order of kind: asked, read, changed, was stopped at, waits for."""
    if not calls:
        return "No call yet."
    done = [call for call in calls if call.state == Call.State.APPLIED]
    asked = sum(call.kind == Call.Kind.MODEL for call in done)
    read = [call.name for call in done if call.kind == Call.Kind.TOOL and not call.is_write]
    changed = [call.name for call in done if call.is_write]
    parts = [f"asked the model {_times(asked)}"] if asked else []
    parts += [f"read with {_listed(read)}"] if read else []
    parts += [f"changed something with {_listed(changed)}"] if changed else []
    for state, said in _SAID.items():
        names = [_short(call) for call in calls if call.state == state]
        parts += [said.format(_listed(names))] if names else []
    parts += [f"{said} {_listed(names)}" for said, names in _voided(calls).items()]
    parts += [f"waits for {HUMANS.get(call.tier, 'people')} on {call.name}" for call in calls if call.state == Call.State.HELD]
    if not parts:
        return "Its calls are under way."
    text = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
    return text[0].upper() + text[1:] + "."


def _voided(calls: Sequence[Call]) -> dict[str, list[str]]:
    """What became of calls that waited and were not sent, by its cause."""
    found: dict[str, list[str]] = {}
    for call in calls:
        if call.state == Call.State.VOID:
            found.setdefault(_VOIDED.get(filters.code(call.refusal), "could not send"), []).append(_short(call))
    return found


def _short(call: Call) -> str:
    return "the model" if call.kind == Call.Kind.MODEL else call.name


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"{name} ({_times(times)})" if times > 1 else name for name, times in Counter(names).items())


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


@dataclass(frozen=True, slots=True)
class Ending:
    """The words that a run ended with, and whose they are. A fact is Remit's own; all else is what somebody claims (R12)."""

    text: str
    source: str
    is_fact: bool = False


ENDS = ("run.finished", "run.stopped", "run.failed", "run.handed_off")


def ending(run: Run) -> Ending | None:
    """How the run ended in the words that were left, by whoever the log says ended it. Call inside `tenancy.within`."""
    if not run.summary or run.finished_at is None:
        return None
    entry = log.entries(run=run.id, subject=run.id, since=run.finished_at).filter(event__in=ENDS).order_by("at", "id").first()
    kind = entry.actor_kind if entry is not None else ""
    if kind == "system":
        return Ending(
            run.summary,
            "Written by the gate as it ended the run." if run.handed_to else "Written by Remit as it ended the run.",
            is_fact=True,
        )
    if kind == "person" and entry is not None:
        who = organisations.names([entry.actor_id]).get(entry.actor_id, "a person")
        return Ending(run.summary, f"The reason given by {who}, who ended the run.")
    return Ending(run.summary, "Written by the agent at the end. Not checked." if kind == "agent" else "Left at the end. Not checked.")
