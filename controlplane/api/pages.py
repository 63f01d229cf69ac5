"""Long lists in pages: the next one begins after the last row that was seen, so nothing is skipped or repeated while rows are added."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldError, ValidationError
from django.db.models import Q, QuerySet
from rest_framework import serializers

from controlplane.api import inputs

MOST = 200


@dataclass(frozen=True, slots=True)
class Page:
    items: list[Any]
    next: str


class Paged(inputs.Query):
    """`after` is the `next` of the page before."""

    after = inputs.Text(required=False, max_length=600)
    limit = serializers.IntegerField(required=False, default=50, min_value=1, max_value=MOST)


class InWorkspace(Paged, inputs.OfWorkspace):
    """Pages of what is in a workspace."""


def cut(rows: QuerySet[Any], asked: dict[str, Any], *, order: Sequence[str]) -> Page:
    """One page. `order` names the columns that the rows are ordered by, `-` for descending, ending in one that is unique."""
    names = [name.removeprefix("-") for name in order]
    if asked.get("after"):
        values = _opened(asked["after"], len(order))
        try:
            rows = rows.filter(_beyond(order, values))
        except (ValueError, TypeError, ValidationError, FieldError, OverflowError):
            raise inputs.invalid("?after", "the `next` of another page of this list") from None
    found = list(rows.order_by(*order)[: asked["limit"] + 1])
    items = found[: asked["limit"]]
    if len(found) <= asked["limit"]:
        return Page(items=items, next="")
    return Page(items=items, next=_closed([_value(items[-1], name) for name in names]))


def _beyond(order: Sequence[str], values: Sequence[Any]) -> Q:
    beyond = Q()
    for place, name in enumerate(order):
        same = Q(**{earlier.removeprefix("-"): value for earlier, value in zip(order[:place], values, strict=False)})
        further = Q(**{f"{name[1:]}__lt" if name.startswith("-") else f"{name}__gt": values[place]})
        beyond |= same & further
    return beyond


def _value(row: Any, name: str) -> Any:
    for part in name.split("__"):
        row = getattr(row, part)
    return row.isoformat() if hasattr(row, "isoformat") else row


def _closed(values: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(values, ensure_ascii=False).encode()).decode().rstrip("=")


def _opened(text: str, length: int) -> list[Any]:
    try:
        values = json.loads(base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True))
        good = isinstance(values, list) and len(values) == length and all(_is_key(value) for value in values)
    except (ValueError, RecursionError):
        good = False
    if not good:
        raise inputs.invalid("?after", "the `next` of another page")
    return list(values)


def _is_key(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" not in value and value.isprintable()
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31
