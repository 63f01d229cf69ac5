"""What only the approvals pages say: the parts of a marked value, how many agreed, who decided. Values in, escaped markup out."""

from collections.abc import Sequence
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from agents import runs
from controlplane.templatetags import ui

register = template.Library()
MOST_NAMED = 3
_PLAIN = {"empty": "({})", "rest": "… {}"}
_OPS = {"add": "added", "remove": "removed", "replace": "changed", "move": "moved", "argument": "sent", "same": "unchanged"}
# Why a call that waited was not sent, by the code of its refusal.
_VOID = {
    "stopped": "Void: a person stopped it",
    "void": "Void: no longer as approved",
    "run_over": "Void: its run was over",
    "out_of_scope": "Void: its access was taken back",
    "budget_exceeded": "Void: no money was left",
    "withdrawn": "Withdrawn",
    "sent_back": "Sent back",
}


def code(refusal: str) -> str:
    """The code of a stored refusal, or nothing."""
    found = runs.kept(refusal)
    return str(found.get("code", "")) if isinstance(found, dict) else ""


@register.filter
def ended_as(state: str, refusal: str) -> str:
    """The state of a request or a call in words; of one that is void the cause."""
    if state != "VOID":
        return ui.STATES.get(str(state), (str(state),))[0]
    return _VOID.get(code(refusal), "Void")


@register.simple_tag
def came_to(state: str, refusal: str) -> SafeString:
    """The badge of a request or a call that says why, where it is void."""
    return ui.badge(state, ended_as(state, refusal) if state == "VOID" else "")


@register.filter
def parts(found: tuple[tuple[str, str], ...]) -> SafeString:
    """One side of a change: removed and added words marked, secrets said to be secrets, hidden characters shown."""
    return format_html_join("", "{}", ((_part(kind, text),) for kind, text in found))


def _part(kind: str, text: str) -> SafeString:
    if kind == "del":
        return format_html("<del>{}</del>", ui.visible(text))
    if kind == "ins":
        return format_html("<ins>{}</ins>", ui.visible(text))
    if kind == "secret":
        return format_html('<span class="redact" title="{}">value not shown: secret</span>', ui.visible(text))
    if kind in _PLAIN:
        return format_html('<span class="muted">{}</span>', _PLAIN[kind].format(text))
    return format_html("{}", ui.visible(text))


@register.filter
def op_word(op: str) -> str:
    """What happens to a place, in a word."""
    return _OPS.get(op, op)


@register.filter
def agreed(row: Any) -> int:
    """How many people agreed to the plan that is open."""
    return sum(vote.verdict == "APPROVE" and vote.plan_digest == row.plan.digest for vote in row.votes.all())


@register.filter
def decider(row: Any) -> str:
    """Whose vote was the last."""
    votes = sorted(row.votes.all(), key=lambda vote: (vote.at, vote.id))
    return votes[-1].member.name if votes else ""


@register.filter
def on_it(claim: Any, me: str) -> str:
    """Who has a request in hand, as it is said to a member. Not yet escaped: the template does that."""
    if claim.member_id != me:
        return f"{ui.visible(claim.member.name)} is on it"
    return f"Handed to you by {ui.visible(claim.handed_by.name)}" if claim.handed_by else "you are on it"


@register.filter
def looking(names: Sequence[str]) -> str:
    """ " · Ann, Ben, Cleo and 2 more are looking", or nothing. Not yet escaped: the template does that."""
    shown = [ui.visible(name) for name in names[:MOST_NAMED]]
    if not shown:
        return ""
    more = [f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
    *others, last = shown + more
    return f" · {', '.join(others)} and {last} are looking" if others else f" · {last} is looking"


@register.filter
def spread(depth: int) -> str:
    """The class of a line of the tree at this depth."""
    return f"d{min(depth, 6)}"
