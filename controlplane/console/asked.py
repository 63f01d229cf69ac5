"""What a page was asked for: its query as clean text, and the address that asks for something else. The address is the page's state."""

import datetime
from typing import Any

from django.http import Http404, HttpRequest
from django.utils import dateparse


def text(request: HttpRequest, name: str, *, longest: int = 200) -> str:
    """A parameter without its outer spaces; what PostgreSQL cannot hold is left out."""
    return request.GET.get(name, "").replace("\0", "").strip()[:longest]


def a_day(text: str) -> datetime.date | None:
    """A date such as 2026-11-21 as it was typed; None when there is none, or it is no date."""
    try:
        return dateparse.parse_date(text.strip())
    except ValueError:
        return None


def identifier(given: str) -> str:
    """An id out of an address. Raises Http404 for what no id can be."""
    if "\0" in given or len(given) > 200:
        raise Http404
    return given


def address(request: HttpRequest, **changes: Any) -> str:
    """This page with some parameters changed; an empty one is left out. A POST's page is that of the noun it was sent about."""
    path = request.path if request.method in {"GET", "HEAD"} else request.path.rpartition("/")[0]
    query = request.GET.copy()
    for name, value in changes.items():
        query.pop(name, None)
        if value:
            query[name] = str(value)
    return f"{path}?{query.urlencode()}" if query else path
