"""Changed fields, one by one: the view for an approver who knows the form and not the JSON."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Change = dict[str, Any]

_BETWEEN_WORDS = re.compile(r"[_\-.\s]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_MISSING = object()


def changes(entity: str, before: Any, after: Any, schema: Mapping[str, Any] | None = None) -> list[Change]:
    """Every leaf that differs. A list of plain values is one leaf; what is absent on one side is None there: `op` tells."""
    return [
        {
            "entity": entity,
            "pointer": pointer(path),
            "op": "add" if old is _MISSING else "remove" if new is _MISSING else "replace",
            "before": None if old is _MISSING else old,
            "after": None if new is _MISSING else new,
            "label": label(path, schema),
        }
        for path, old, new in _differences((), before, after)
    ]


def unchanged(entity: str, before: Any, after: Any) -> list[Change]:
    """Every leaf that stays as it is, for whoever unfolds them."""
    changed = [path for path, _, _ in _differences((), before, after)]
    return [
        {"entity": entity, "pointer": pointer(path), "op": "same", "before": value, "after": value, "label": label(path)}
        for path, value in leaves((), before)
        if not any(path[: len(other)] == other for other in changed)
    ]


def leaves(path: tuple[str | int, ...], value: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every leaf of a value with its path; an empty container is a leaf, and so is a list of plain values."""
    children = _children(value)
    if not children:
        yield path, value
    for name, child in children.items():
        yield from leaves((*path, name), child)


def pointer(path: tuple[str | int, ...]) -> str:
    """RFC 6901."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


def label(path: tuple[str | int, ...], schema: Mapping[str, Any] | None = None) -> str:
    """The titles the schema gives to a path, or its names made readable: `("items", 0, "unitPrice")` is "Items 1 / Unit price"."""
    said: list[str] = []
    node: Any = schema or {}
    for part in path:
        node = _below(node, part)
        if isinstance(part, int):
            said[-1:] = [f"{said[-1] if said else 'Item'} {part + 1}"]
        else:
            title = node.get("title")
            said.append(title if isinstance(title, str) and title else humanised(part))
    return " / ".join(said) or "Everything"


def humanised(name: str) -> str:
    """`new_payment_method_id` and `newPaymentMethodID` are both read aloud alike, except for capitals that belong together."""
    words = filter(None, _BETWEEN_WORDS.split(name))
    lower = [word if word.isupper() and len(word) > 1 else word.lower() for word in words]
    text = " ".join(lower) or name
    return text[:1].upper() + text[1:]


def _differences(path: tuple[str | int, ...], before: Any, after: Any) -> Iterator[tuple[tuple[str | int, ...], Any, Any]]:
    if before is _MISSING:
        yield from ((where, _MISSING, value) for where, value in leaves(path, after))
        return
    if after is _MISSING:
        yield from ((where, value, _MISSING) for where, value in leaves(path, before))
        return
    old, new = _children(before), _children(after)
    if type(before) is not type(after) or not (old or new) or _plain_list(before, old) or _plain_list(after, new):
        if not _same(before, after):
            yield path, before, after
        return
    for name in {**old, **new}:
        yield from _differences((*path, name), old.get(name, _MISSING), new.get(name, _MISSING))


def _children(value: Any) -> Mapping[Any, Any]:
    """What is below a value; nothing below a list of plain values, which is read as one."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        return dict(enumerate(value))
    return {}


def _plain_list(value: Any, children: Mapping[Any, Any]) -> bool:
    return isinstance(value, list) and bool(value) and not children


def _same(one: Any, other: Any) -> bool:
    """JSON equality: 1 is 1.0 and is not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _below(node: Any, part: str | int) -> dict[str, Any]:
    if not isinstance(node, Mapping):
        return {}
    if isinstance(part, int):
        found = node.get("items")
    else:
        properties = node.get("properties")
        found = properties.get(part) if isinstance(properties, Mapping) else None
        found = found if found is not None else node.get("additionalProperties")
    return dict(found) if isinstance(found, Mapping) else {}
