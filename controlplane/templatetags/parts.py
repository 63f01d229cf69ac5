"""Parts of pages that are a file each in templates/ui: values in, one component out. `/ui-kit` shows them in every state."""

import re
from collections.abc import Sequence
from typing import Any

from django import template

from agents import views
from audit import tenancy

register = template.Library()

_TARGET = re.compile(r"/(?:go|[-\w]+/[-\w]+/(?P<noun>[a-z]+))(?:/(?P<id>[A-Z]{1,4}-[0-9A-Z]{10,14}))?(?:[?#].*)?", re.ASCII)
_PURPOSE = {"APR": "to review", "R": "to see run", "EV": "to see entry"}
_NOUNS = {"audit": "the audit log", "members": "the members", "health": "system health"}


@register.filter
def destination(target: str) -> str:
    """Where a sign-in leads, in words: "to review APR-…". Nothing of an address that is not one of ours is repeated."""
    found = _TARGET.fullmatch(target or "")
    if found is None:
        return ""
    if found["id"]:
        return f"{_PURPOSE.get(found['id'].partition('-')[0], 'to see')} {found['id']}"
    return f"to {_NOUNS.get(found['noun'], found['noun'])}" if found["noun"] else ""


@register.inclusion_tag("ui/saved_views.html", takes_context=True)
def saved_views(context: dict[str, Any], page: str) -> dict[str, Any]:
    """The views of a list as chips, and a form that saves what is shown now; one line in the list's template."""
    place, query = context["place"], views.plain(context["request"].GET.urlencode())
    with tenancy.within(place.organisation.id):
        found = views.listed(by=place.principal, workspace=place.workspace, page=page)
    saved = [(view, view.query == query) for view in found]
    says_something = any(not pair.startswith("tab=") for pair in query.split("&") if pair)
    is_new = says_something and not any(is_current for _, is_current in saved)
    return {"page": page, "root": place.root, "saved": saved, "query": query, "is_new": is_new, "csrf_token": context.get("csrf_token")}


@register.inclusion_tag("ui/ident.html")
def ident(identifier: str, address: str = "") -> dict[str, Any]:
    """An id with its copy button; a link when it leads somewhere."""
    return {"id": identifier, "address": address}


@register.inclusion_tag("ui/spark.html")
def spark(values: Sequence[float], label: str) -> dict[str, Any]:
    """A line of numbers, drawn by the server. The label says in words what it shows."""
    most, least = max(values, default=0), min(values, default=0)
    step, height = 100 / max(len(values) - 1, 1), (most - least) or 1
    points = " ".join(f"{place * step:.1f},{22 - 20 * (value - least) / height:.1f}" for place, value in enumerate(values))
    return {"points": points, "label": label}


@register.inclusion_tag("ui/problem.html")
def problem(refused: dict[str, Any] | None) -> dict[str, Any]:
    """A refusal in full: what, which rule, now and limit, who can change it, what next."""
    return {"refused": refused or {}}


@register.inclusion_tag("ui/code.html")
def code(text: str, what: str = "Code") -> dict[str, Any]:
    """A block to copy."""
    return {"text": text, "what": what}


@register.inclusion_tag("ui/chips.html")
def chips(chosen: Sequence[tuple[str, str, str]], everything: str = "") -> dict[str, Any]:
    """The filters that are on, each with the address without it: (name, value, address)."""
    return {"chosen": list(chosen), "everything": everything}


@register.inclusion_tag("ui/pager.html")
def pager(first: str = "", further: str = "", label: str = "Pages", back: str = "Newest", on: str = "Older") -> dict[str, Any]:
    """To the beginning of a list, and to what comes next."""
    return {"first": first, "further": further, "label": label, "back": back, "on": on}


@register.inclusion_tag("ui/sorted.html")
def sorted_head(label: str, address: str, direction: str = "", is_number: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002
    """A column head that sorts: its address, and "ascending" or "descending" where it is the one that does."""
    return {"label": label, "address": address, "direction": direction, "is_number": is_number}
