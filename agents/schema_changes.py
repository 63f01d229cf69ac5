"""What differs between two schemas of a tool's arguments, and which of it breaks agents that still send what was right before."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEEPEST = 4
_AT_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems")  # a higher one refuses what was accepted
_AT_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")


@dataclass(frozen=True, slots=True)
class Change:
    argument: str
    words: str
    is_breaking: bool


def between(old: Mapping[str, Any], new: Mapping[str, Any], *, at: str = "", depth: int = 0) -> list[Change]:
    """Argument by argument, the breaking ones first. Schemas are closed: an argument that is gone is refused."""
    then, now = _properties(old), _properties(new)
    needed, needs = _required(old), _required(new)
    found: list[Change] = []
    for name in dict.fromkeys([*then, *now]):
        path = f"{at}{name}"
        if name not in now:
            found.append(Change(path, "is gone: calls that send it are refused", is_breaking=True))
        elif name not in then:
            must = name in needs
            found.append(Change(path, "is new and must be there" if must else "is new, optional", is_breaking=must))
        else:
            if (name in needed) != (name in needs):
                must = name in needs
                found.append(Change(path, "must be there now" if must else "need not be there any more", is_breaking=must))
            found += _of_one(path, then[name], now[name])
            if depth < DEEPEST:
                found += between(_inner(then[name]), _inner(now[name]), at=f"{path}.", depth=depth + 1)
    return sorted(found, key=lambda change: not change.is_breaking)


def _of_one(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    found: list[Change] = []
    if old.get("type") != new.get("type"):
        found.append(Change(path, f"was {_kind(old)}, is {_kind(new)}", is_breaking=True))
    before, after = (each.get("enum") if isinstance(each.get("enum"), list) else None for each in (old, new))
    if before != after:
        gone = [value for value in before or [] if after is not None and value not in after]
        breaks = after is not None and (before is None or bool(gone))
        found.append(Change(path, f"allowed values: {_values(before)} to {_values(after)}", is_breaking=breaks))
    for rule in (*_AT_LEAST, *_AT_MOST):
        was, now = old.get(rule), new.get(rule)
        if was != now:
            tighter = now is not None and (was is None or (now > was if rule in _AT_LEAST else now < was))
            found.append(Change(path, f"{rule}: {_said(was)} to {_said(now)}", is_breaking=tighter))
    for rule in ("pattern", "format", "const"):
        if old.get(rule) != new.get(rule):
            words = f"{rule}: {_said(old.get(rule))} to {_said(new.get(rule))}"
            found.append(Change(path, words, is_breaking=rule in new))
    if old.get("description") != new.get("description"):
        found.append(Change(path, "is described in other words", is_breaking=False))
    return found + _of_items(f"{path}[]", old.get("items"), new.get("items"))


def _of_items(path: str, old: object, new: object) -> list[Change]:
    """What a list may hold. Where nothing was said it could hold anything."""
    if isinstance(new, dict):
        return _of_one(path, old if isinstance(old, dict) else {}, new)
    return [Change(path, "may be anything now", is_breaking=False)] if old and new is None else []


def _properties(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = schema.get("properties")
    return {name: each if isinstance(each, dict) else {} for name, each in found.items()} if isinstance(found, dict) else {}


def _required(schema: Mapping[str, Any]) -> frozenset[str]:
    found = schema.get("required")
    return frozenset(found) if isinstance(found, list) else frozenset()


def _inner(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    items = schema.get("items")
    return items if isinstance(items, dict) else schema


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "anything")
    return " or ".join(map(str, kind)) if isinstance(kind, list) else str(kind)


def _values(values: list[Any] | None) -> str:
    return "any" if values is None else ", ".join(map(str, values[:12])) + (" …" if len(values) > 12 else "")


def _said(value: Any) -> str:
    return "none" if value is None else str(value)[:80]
