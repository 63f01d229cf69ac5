"""On which argument values an outcome hangs, in words. Nothing is guessed: the rules say where their borders lie, and the engine that
decides at run time is asked on both sides of each. Rules whose borders cannot be read off have no words here, and the answer is empty.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cedarpy import pst

from agents import cedar, policy_trees, shapes

CENTS = "_cents"  # how an argument ends that counts them

MOST_ARGUMENTS = 2
MOST_PROBES = 200
_COMPARED = frozenset({"less", "less_eq", "greater", "greater_eq", "eq", "not_eq"})
_DECIMAL = frozenset({"decimal_less_than", "decimal_less_eq", "decimal_greater", "decimal_greater_eq"})
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Case:
    """With these argument values the outcome is this tier. `example` holds values for which the engine said so."""

    when: str
    tier: str
    example: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class _Region:
    """Values of one argument that no rule tells apart, and one of them."""

    value: Any
    words: str = ""
    low: "_Border | None" = None
    high: "_Border | None" = None
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class _Border:
    at: Decimal
    included: bool


def cases(
    compiled: cedar.Compiled, *, hang: Iterable[str], schema: Mapping[str, Any], tier: Callable[[Mapping[str, Any]], str]
) -> tuple[Case, ...]:
    """The outcomes by argument value. `hang` are the rules it hangs on; `tier` asks the engine with some arguments."""
    mentioned = _mentions([compiled.policies[id] for id in hang])
    properties = schema.get("properties", {})
    if not mentioned or len(mentioned) > MOST_ARGUMENTS or not set(mentioned) <= set(properties):
        return ()
    shape = {field.name: field for field in shapes.read(dict(schema))[0].fields}
    regions = {}
    for name, literals in mentioned.items():
        found = _regions(name, literals, shape.get(name), properties[name])
        if not found:
            return ()
        regions[name] = found
    if math.prod(len(found) for found in regions.values()) > MOST_PROBES:
        return ()
    filler = {name: value for name, value in filled(schema, {}).items() if name not in regions}
    # the argument that is a number is said last and in ranges; the other, if there is one, in front of it
    *first, last = sorted(regions, key=lambda name: regions[name][0].ordered)
    groups: dict[tuple[Case, ...], list[_Region]] = {}
    outer = regions[first[0]] if first else [_Region(_MISSING)]
    for region in outer:
        given = filler | _given(first[0], region) if first else filler
        inner = [(each, tier(given | _given(last, each))) for each in regions[last]]
        groups.setdefault(tuple(_merged(last, inner)), []).append(region)
    if len(groups) == 1:
        return next(iter(groups))
    named = [(f"{first[0]} {_joined(region.words for region in members)}", cases) for cases, members in groups.items()]
    return tuple(Case(f"{name} and {each.when}" if each.when else name, each.tier, each.example) for name, cases in named for each in cases)


def mentioned(policy: cedar.Policy) -> frozenset[str]:
    """The arguments that a rule names."""
    found = set()
    for node in policy_trees.nodes(policy.tree):
        if _is_argument(node):
            found.add(node.attr)
        if isinstance(node, pst.HasAttr) and _is_arguments(node.base):
            found.add(node.attrs[0])
    return frozenset(found)


def is_whole(policy: cedar.Policy) -> bool:
    """Does a rule look at the arguments, or the whole context, as one value?"""
    nodes = list(policy_trees.nodes(policy.tree))
    context = sum(isinstance(node, pst.Var) and node.name == "context" for node in nodes)
    named = sum(isinstance(node, pst.GetAttr) and isinstance(node.base, pst.Var) and node.base.name == "context" for node in nodes)
    below = sum(isinstance(node, pst.GetAttr | pst.HasAttr) and _is_arguments(node.base) for node in nodes)
    return context > named or sum(map(_is_arguments, nodes)) > below


def names(compiled: cedar.Compiled, tool: str) -> frozenset[str]:
    """Every argument of a tool that rules can see."""
    return frozenset(path[2] for path in compiled.vocabulary.paths(tool) if path[:2] == ("context", "args") and len(path) > 2)


def _given(name: str, region: _Region) -> dict[str, Any]:
    return {} if region.value is _MISSING else {name: region.value}


def _merged(name: str, asked: list[tuple[_Region, str]]) -> Iterator[Case]:
    """One case for each tier in a row; neighbours on the number line become one range."""
    if len({tier for _, tier in asked}) == 1:
        yield Case("", asked[0][1], _example(name, asked[0][0]))
        return
    if asked[0][0].ordered:
        for (tier, _), run in itertools.groupby(asked, key=lambda pair: (pair[1], pair[0].ordered)):
            members = [region for region, _ in run]
            yield Case(f"{called(name)} {_range(members, functools.partial(said, name))}", tier, _example(name, members[-1]))
        return
    by_tier: dict[str, list[_Region]] = {}
    for region, tier in asked:
        by_tier.setdefault(tier, []).append(region)
    for tier, alike in by_tier.items():
        yield Case(f"{called(name)} {_joined(region.words for region in alike)}", tier, _example(name, alike[0]))


def _example(name: str, region: _Region) -> tuple[tuple[str, Any], ...]:
    return tuple(_given(name, region).items())


def _joined(words: Iterable[str]) -> str:
    return " or ".join(words)


def _range(members: list[_Region], said: Callable[[Decimal], str]) -> str:
    """One range of numbers in words."""
    if not members[0].ordered:
        return members[0].words
    low, high = members[0].low, members[-1].high
    if low and high and low.at == high.at:
        return f"is {said(low.at)}"
    if low and high and low.included and high.included:
        return f"is {said(low.at)} to {said(high.at)}"
    if not low:
        return f"is {said(high.at)} or less" if high and high.included else f"is less than {said(high.at)}" if high else "is any number"
    from_ = f"is {said(low.at)} or more" if low.included else f"is more than {said(low.at)}"
    to = "" if not high else f", up to {said(high.at)}" if high.included else f", but less than {said(high.at)}"
    return from_ + to


def called(name: str) -> str:
    """An argument as sentences call it: what counts cents is said as money, and needs no unit in its name."""
    return name.removesuffix(CENTS)


def said(name: str, value: Decimal | int) -> str:
    """A number that an argument has or is compared with, as people read it: 50,000 cents are $500.00."""
    if name.endswith(CENTS) and not value % 1:
        return f"${Decimal(value) / 100:,.2f}"
    return f"{value:,f}".rstrip("0").rstrip(".") if value % 1 else f"{int(value):,}"


def _mentions(policies: Iterable[cedar.Policy]) -> dict[str, set[Any]]:
    """The arguments that these rules look at, with the values they compare them with. Empty when one is looked at in another way."""
    found: dict[str, set[Any]] = {}
    for policy in policies:
        plain: set[int] = set()  # the mentions that a border can be read off
        nodes = list(policy_trees.nodes(policy.tree))
        for argument, literals in (pair for node in nodes for pair in (*_compared(node), *_said_alone(node))):
            plain.add(id(argument))
            found.setdefault(argument.attr, set()).update(literals)
        for node in nodes:
            if isinstance(node, pst.HasAttr) and _is_arguments(node.base):
                found.setdefault(node.attrs[0], set())
        if any(_is_opaque(node, plain) for node in nodes):
            return {}
    return found


def _is_opaque(node: Any, plain: set[int]) -> bool:
    """Does it look at the arguments in a way that shows no border?"""
    below = _below(node)
    if isinstance(node, pst.HasAttr) and _is_arguments(node.base):
        return len(node.attrs) > 1
    if any(_is_arguments(each) for each in below) and not isinstance(node, pst.GetAttr):
        return True
    return any(_is_argument(each) and id(each) not in plain for each in below)


def _below(node: Any) -> list[Any]:
    names = getattr(node, "__dataclass_fields__", {})
    values = [getattr(node, name) for name in names]
    return [item for value in values for item in (value if isinstance(value, tuple) else (value,))]


def _is_arguments(node: Any) -> bool:
    return isinstance(node, pst.GetAttr) and node.attr == "args" and isinstance(node.base, pst.Var) and node.base.name == "context"


def _is_argument(node: Any) -> bool:
    return isinstance(node, pst.GetAttr) and _is_arguments(node.base)


def _compared(node: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    match node:
        case pst.BinaryOp(op=op, left=left, right=right) if op in _COMPARED | _DECIMAL:
            for this, other in ((left, right), (right, left)):
                value = _literal(other)
                if _is_argument(this) and value is not None:
                    yield this, (value,)
        case pst.BinaryOp(op="contains", left=pst.Set(elements=elements), right=right) if _is_argument(right):
            values = tuple(_literal(each) for each in elements)
            if None not in values:
                yield right, values


def _said_alone(node: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """An argument that is true or false and stands as a condition of its own."""
    match node:
        case pst.When(expr=expr) | pst.Unless(expr=expr) | pst.UnaryOp(op="not", arg=expr) if _is_argument(expr):
            yield expr, ()
        case pst.BinaryOp(op="and" | "or", left=left, right=right):
            yield from ((each, ()) for each in (left, right) if _is_argument(each))


def _literal(node: Any) -> Any:
    match node:
        case pst.LongLit(value=value) | pst.StringLit(value=value) | pst.BoolLit(value=value):
            return value
        case pst.UnaryOp(op="decimal", arg=pst.StringLit(value=value)):
            return Decimal(value)
    return None


def _regions(name: str, literals: set[Any], field: shapes.Field | None, schema: Any) -> list[_Region]:
    """The argument's values cut where a rule could tell them apart; nothing when that cannot be said."""
    if field is None:
        return []
    missing = [] if field.required else [_Region(_MISSING, "is not given")]
    if field.shape.kind in {"Long", "decimal"}:
        step = Decimal(1) if field.shape.kind == "Long" else Decimal("0.0001")
        return _line({Decimal(each) for each in literals}, step, schema if isinstance(schema, dict) else {}, field) + missing
    if field.shape.kind == "Boolean":
        return [*(_Region(each, f"is {str(each).lower()}") for each in (True, False)), *missing]
    if field.shape.kind == "String":
        listed = schema.get("enum") if isinstance(schema, dict) else None
        known = [each for each in (listed if isinstance(listed, list) else sorted(literals)) if isinstance(each, str)]
        other = [] if isinstance(listed, list) else [_Region(_unlike(known), "is anything else")]
        return [_Region(each, f'is "{each[:60]}"') for each in known] + other + missing if known else missing
    return []


def _line(borders: set[Decimal], step: Decimal, schema: Mapping[str, Any], field: shapes.Field) -> list[_Region]:
    """Between two neighbouring borders no rule tells numbers apart; each border stands alone, and equal neighbours are merged later."""
    low, high = _bound(schema.get("minimum")), _bound(schema.get("maximum"))
    found: list[_Region] = []
    edges = sorted(each for each in borders if (low is None or each >= low) and (high is None or each <= high))
    before: Decimal | None = None
    for edge in [*edges, None]:
        first = (before + step) if before is not None else low
        last = (edge - step) if edge is not None else high
        if first is None or last is None or first <= last:
            value = first if before is not None else last
            value = value if value is not None else first if first is not None else Decimal(0)
            found.append(
                _Region(
                    _plain(value, field),
                    low=_Border(before, included=False) if before is not None else None,
                    high=_Border(edge, included=False) if edge is not None else None,
                    ordered=True,
                )
            )
        if edge is not None:
            found.append(_Region(_plain(edge, field), low=_Border(edge, included=True), high=_Border(edge, included=True), ordered=True))
        before = edge
    return found


def _bound(value: Any) -> Decimal | None:
    return Decimal(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _plain(value: Decimal, field: shapes.Field) -> Any:
    return int(value) if field.shape.kind == "Long" else value


def _unlike(known: Iterable[str]) -> str:
    return max(known, key=len, default="") + "x"


def filled(schema: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given arguments, and some value for each other one that must be there: for arguments that no rule in question looks at."""
    fields = shapes.read(dict(schema))[0].fields
    return {field.name: _any(field.shape) for field in fields if field.required} | dict(given)


def _any(shape: shapes.Shape) -> Any:
    """Some value of this shape: for an argument that no rule in question looks at."""
    if shape.kind == "Record":
        return {field.name: _any(field.shape) for field in shape.fields if field.required}
    return {"String": "", "Long": 0, "Boolean": False, "decimal": 0, "Set": []}[shape.kind]
