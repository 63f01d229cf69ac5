"""The tree of one policy: its nodes, the attributes they name, and slips that are valid Cedar yet never true.

A forbid that never holds is a hole that nobody sees, so these are errors when a policy is saved.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from cedarpy import pst

from agents import vocabulary

# Attributes with a closed list of words. Cedar sees text: a rule about the risk "hgih" is valid, and never holds.
_WORDS: dict[tuple[str, ...], frozenset[str]] = {
    ("resource", "risk"): vocabulary.RISKS,
    ("principal", "category"): vocabulary.CATEGORIES,
    ("principal", "stage"): vocabulary.STAGES,
    ("context", "stage"): vocabulary.STAGES,
}


def never_true(node: Any, known: frozenset[tuple[str, ...]]) -> Iterator[str]:
    """Typing slips in this node that Cedar's validator lets pass. `known`: every attribute path that the policy can meet."""
    match node:
        case pst.HasAttr(base=base, attrs=attrs) if (path := _path(base)) and (*path, *attrs) not in known:
            yield f"`{'.'.join(path)} has {'.'.join(attrs)}` never holds: nothing this policy applies to has that attribute"
        case pst.BinaryOp(op="eq" | "not_eq", left=left, right=right):
            for this, other in ((left, right), (right, left)):
                yield from _unknown_words(_path(this), [other])
        case pst.BinaryOp(op="contains", left=pst.Set(elements=elements), right=right):
            yield from _unknown_words(_path(right), elements)


def _unknown_words(path: tuple[str, ...], candidates: Iterable[pst.Expr]) -> Iterator[str]:
    allowed = _WORDS.get(path)
    for candidate in candidates:
        if allowed is not None and isinstance(candidate, pst.StringLit) and candidate.value not in allowed:
            yield f'`{".".join(path)}` is never "{candidate.value}", only one of {", ".join(sorted(allowed))}'


def _path(expression: pst.Expr) -> tuple[str, ...]:
    """("context", "args", "amount") for context.args.amount, and () for anything but plain access."""
    attributes: list[str] = []
    while isinstance(expression, pst.GetAttr):
        attributes.append(expression.attr)
        expression = expression.base
    return (expression.name, *reversed(attributes)) if isinstance(expression, pst.Var) else ()


def looks(tree: pst.Template) -> frozenset[str] | None:
    """What of the context the policy looks at: its attributes by name, or None when it may look at all of it."""
    found: set[str] = set()
    seen = 0
    for node in nodes(tree):
        match node:
            case pst.GetAttr(base=pst.Var(name="context"), attr=attr):
                found.add(attr)
                seen -= 1
            case pst.HasAttr(base=pst.Var(name="context"), attrs=attrs):
                found.add(attrs[0])
                seen -= 1
            case pst.Var(name="context"):
                seen += 1
    return frozenset(found) if seen == 0 else None


def names(node: Any) -> Iterable[str]:
    """The attribute names that this node itself mentions."""
    match node:
        case pst.GetAttr(attr=attr):
            return (attr,)
        case pst.HasAttr(attrs=attrs):
            return attrs
        case pst.Record(fields=members):
            return members
    return ()


def nodes(tree: pst.Template) -> Iterator[Any]:
    """Every node of a policy, without recursion."""
    stack: list[Any] = [tree]
    while stack:
        value = stack.pop()
        if isinstance(value, tuple):
            stack.extend(value)
        elif isinstance(value, Mapping):
            stack.extend(value.values())
        elif is_dataclass(value):
            yield value
            stack.extend(getattr(value, f.name) for f in fields(value))
