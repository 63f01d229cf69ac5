"""What an entry says in one sentence: the catalogue's words, with the names, amounts and codes that its canonical body holds.

Made of the body alone, so a page of entries asks nothing more. Values are cut, never formatted again, and not escaped: the page does that.
"""

import re
from typing import Any

from audit import events
from audit.models import Entry
from budgets import money

LONGEST = 60
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@+-]+…?(?<![.:])")
# Said instead of the catalogue's sentence when the body has all that it names.
_SAID = {
    "agent.registered": "The agent {slug} was registered.",
    "agent.version_published": "Version {number} of an agent was published, pinning its prompt, tools, policies and models.",
    "call.admitted": "The gate admitted {tool}{money}.",
    "call.refused": "The gate refused {tool}{money}: {code}.",
    "call.held": "The gate holds {tool} until people decide.",
    "call.drafted": "The gate kept {tool} as a proposal.",
    "call.answered": "{tool} was answered.",
    "call.failed": "{tool} failed.",
    "call.denied": "{tool} was denied by what a person had decided about its like; nobody was asked again.",
    "call.voided": "{tool} was voided before it was sent.",
    "cap.set": "The cap of one {level} was set to {cap}.",
    "cap.raise_asked": "Raising {raised} to {cap} was asked for; it waits for a second person.",
    "cap.threshold_set": "One person raises caps up to {threshold} a month.",
    "connector.registered": "The connector {slug} was registered.",
    "effect.applied": "{tool} took place{money}.",
    "effect.failed": "{tool} did not take place.",
    "effect.in_doubt": "Nobody knows yet whether {tool} took place; its money stays held.",
    "member.added": "{name} became a member.",
    "member.deactivated": "The member {name} was deactivated.",
    "organisation.created": "The organisation {name} was created.",
    "request.opened": "People were asked to decide on {tool}.",
    "request.approved": "{tool} was approved.",
    "request.denied": "{tool} was denied.",
    "request.expired": "Nobody decided on {tool} in time, so it was denied.",
    "request.withdrawn": "The request about {tool} was withdrawn.",
    "request.sent_back": "A person sent {tool} back to its agent with a hint; nothing was decided.",
    "request.claimed": "A person took the request about {tool} in hand; the others may still decide it.",
    "request.unclaimed": "A person left the request about {tool} to the others.",
    "request.handed_over": "A person handed the request about {tool} to {name}; the others may still decide it.",
    "request.snoozed": "A person set the request about {tool} aside for themselves; the others still see it.",
    "request.woken": "The request about {tool} came back to a person who had set it aside.",
    "request.voted": "A person voted to {verdict} {tool}.",
    "run.handed_off": "The gate handed a run to its owner: {reason}.",
    "seat.granted": "A member was given the role {role}{ending}.",
    "seat.end_set": "The end of a member's role {role} was changed from {from_end} to {to_end}.",
    "seat.ended": "The role {role} of a member ended at its time.",
    "seat.removed": "The role {role} was taken from a member.",
    "stop.engaged": "One {scope} was stopped: {reason}.",
    "stop.released": "The stop of one {scope} was released.",
    "stop.ended": "The stop of one {scope} ended at its time.",
    "tool.drifted": "{name} upstream no longer matches its confirmed version; it is refused until confirmed again.",
    "tool.retired": "The tool {name} was retired.",
    "view.saved": "A filtered list was saved as {name}.",
    "workspace.created": "The workspace {slug} was created.",
}
_VERDICTS = {"APPROVE": "approve", "DENY": "deny"}


def of(entry: Entry) -> str:
    """The sentence of an entry: as specific as its body allows, the catalogue's otherwise."""
    plain = events.CATALOGUE.get(entry.event, entry.event)
    said = _SAID.get(entry.event)
    if said is None:
        return plain
    try:
        return said.format_map(_facts(entry.told["detail"]))
    except (KeyError, TypeError, ValueError):  # written before that was kept, or by a body of another shape
        return plain


def _facts(detail: dict[str, Any]) -> dict[str, str]:
    """What sentences may name, as short texts. What is missing is missing, and no sentence is made of it."""
    found = {name: _short(value) for name, value in detail.items() if isinstance(value, str | int) and value != ""}
    refusal = detail.get("refusal")
    if isinstance(refusal, dict) and refusal.get("code"):
        found["code"] = _short(refusal["code"])
    if "verdict" in found:
        found["verdict"] = _VERDICTS.get(found["verdict"], found["verdict"])
    if isinstance(detail.get("cap_micros"), int):
        found["cap"] = money.in_period(detail["cap_micros"], str(detail.get("period")))
    if isinstance(detail.get("two_people_above"), int):
        found["threshold"] = money.dollars(detail["two_people_above"])
    if "level" in found:
        is_threshold = detail["level"] == "threshold"
        found["raised"] = "the amount up to which one person raises caps" if is_threshold else f"the cap of one {found['level']}"
    found["from_end"], found["to_end"] = (_end(detail.get(name)) for name in ("before", "until"))
    found["ending"] = f" until {found['to_end']}" if detail.get("until") else ""
    spent = detail.get("amount") or detail.get("micros")
    found["money"] = f", {money.dollars(spent)}" if isinstance(spent, int) and spent > 0 else ""
    return found


def _end(moment: object) -> str:
    """A time as the entry has it, to the minute."""
    return f"{str(moment)[:16].replace('T', ' ')} UTC" if moment else "no end"


def _short(value: object) -> str:
    """A plain name as it is; whatever else somebody chose in quotes, so that it cannot end our sentence and begin its own."""
    text = str(value)
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return text if _PLAIN.fullmatch(text) else f"“{text.replace('“', chr(39)).replace('”', chr(39))}”"
