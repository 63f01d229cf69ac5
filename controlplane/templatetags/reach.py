"""Access in words: outcomes with their conditions, cells of the matrix, changes. Values in, escaped text out."""

import functools
from collections.abc import Sequence
from typing import Any

from django import template
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from agents import access
from controlplane.templatetags import ui

register = template.Library()

_WORDS = {name: word for name, (word, _, _) in ui.TIERS.items()}
_TONES = {"AUTO": ("neut", "check"), "ONE": ("warn", "person"), "TWO": ("bad", "people"), "REFUSED": ("neut", "cross")}
_NOTHING = mark_safe('<span class="none">·<span class="vh">not pinned</span></span>')


@register.simple_tag
def outcome(cell: access.Access) -> SafeString:
    """A cell of the access matrix as icon, word and colour: what happens at best, and whether it hangs on something."""
    return _NOTHING if cell.word == "NOT_PINNED" else _badge(cell.lowest, cell.is_limited)


@functools.cache
def _badge(tier: str, limited: bool) -> SafeString:  # noqa: FBT001 - half of a cache's key
    tone, sign = ("info", "check") if limited and tier == "AUTO" else _TONES[tier]
    return format_html('<span class="badge {}-b">{}{}</span>', tone, ui.icon(sign, 12), _WORDS[tier] + (", limited" if limited else ""))


@register.filter
def reach(cell: access.Access) -> str:
    """A range of tiers in words."""
    if cell.word == "NOT_PINNED":
        return "Not pinned"
    return _WORDS[cell.lowest] if cell.lowest == cell.highest else f"{_WORDS[cell.lowest]} to {_WORDS[cell.highest].lower()}"


@register.filter
def condition(cell: access.Access) -> str:
    """An outcome with its condition, as one sentence without its full stop. What could not be computed is said to depend, never guessed."""
    if not cell.cases:
        on = f"; depends on {', '.join(cell.on) or 'the arguments'}" if cell.word == "DEPENDS" else ""
        return reach(cell) + on
    said: dict[str, list[str]] = {}
    for case in cell.cases:
        said.setdefault(case.tier, []).append(case.when)
    text = "; ".join(f"{_WORDS[tier].lower()} when {', or '.join(whens)}" for tier, whens in said.items())
    return text[0].upper() + text[1:]


@register.filter
def tone(word: str) -> str:
    """The colour of a change in access."""
    return {"Gained": "warn-b", "Loosened": "warn-b", "Both ways": "viol-b", "Tightened": "ok-b", "Lost": "ok-b"}.get(word, "neut-b")


@register.simple_tag
def gridrow(root: str, cells: Sequence[Any]) -> SafeString:
    """A line of the matrix: each cell a link to its explanation, with its marks. Thousands of them make a page, so it is one tag a line."""
    return mark_safe("".join(_gridcell(root, cell) for cell in cells))  # noqa: S308 - of parts that are escaped


def _gridcell(root: str, cell: Any) -> str:
    marks = _CHANGED if cell.is_changed else ""
    if cell.is_unused:
        marks = format_html('{}<span class="badge viol-b">{}Unused {} d</span>', marks, ui.icon("clock", 12), cell.idle)
    address = escape(f"{root}/permissions/cell/{cell.agent.slug}/{cell.tool.name}")
    return f'<td><a href="{address}">{_NOTHING if cell.access.word == "NOT_PINNED" else outcome(cell.access)}{marks}</a></td>'


_CHANGED = mark_safe('<span class="mark info-b" title="Changed by the rules in force">△<span class="vh"> changed</span></span>')
