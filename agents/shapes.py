"""JSON Schema as Cedar types, and JSON values in those types: what a policy can see of a call's arguments.

Exact or not at all: a value that Cedar cannot hold as it is raises Unrepresentable, it is never rounded or coerced.
An array becomes a set, so a policy sees neither its order nor its repeats. `number` becomes decimal: four fraction digits.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

DEEPEST_RECORD = 4  # nested records below `args`
_REFERENCES = 16  # `$ref` hops for one argument: a schema that points at itself ends here
_LONGS = range(-(2**63), 2**63)
_SCALE = 10_000  # a Cedar decimal is an i64 of ten-thousandths
_DIGITS = 15  # of its whole part
_ESCAPES = frozenset({"__entity", "__extn", "__expr"})  # Cedar's JSON reads records with these keys as something else

Kind = Literal["String", "Long", "Boolean", "decimal", "Set", "Record"]


class Unrepresentable(ValueError):
    """A value that Cedar cannot hold exactly, or that is not of the type its tool declares. Never carries the value."""

    def __init__(self, argument: str, why: str) -> None:
        super().__init__(f'the argument "{argument}" {why}')
        self.argument = argument


@dataclass(frozen=True, slots=True)
class Shape:
    """A Cedar type: scalars need only `kind`."""

    kind: Kind
    element: "Shape | None" = None
    fields: "tuple[Field, ...]" = ()

    def as_cedar(self) -> dict[str, Any]:
        if self.kind == "decimal":
            return {"type": "Extension", "name": "decimal"}
        if self.kind == "Set":
            assert self.element is not None
            return {"type": "Set", "element": self.element.as_cedar()}
        if self.kind == "Record":
            return {"type": "Record", "attributes": {f.name: f.shape.as_cedar() | {"required": f.required} for f in self.fields}}
        return {"type": self.kind}

    def paths(self) -> "Iterator[tuple[str, ...]]":
        """Every attribute path below this shape."""
        for f in self.fields:
            yield (f.name,)
            for below in f.shape.paths():
                yield (f.name, *below)


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    shape: Shape
    required: bool = True


STRING, LONG, BOOLEAN, DECIMAL = Shape("String"), Shape("Long"), Shape("Boolean"), Shape("decimal")
STRINGS = Shape("Set", element=STRING)
_SCALARS = {"string": STRING, "integer": LONG, "number": DECIMAL, "boolean": BOOLEAN}


def read(schema: dict[str, Any]) -> tuple[Shape, tuple[str, ...]]:
    """A tool's arguments as a record, and the dotted paths that no policy can see (`*`: arguments the schema does not name)."""
    reader = _Reader(schema)
    return reader.record(schema, at="", depth=0), tuple(reader.unseen)


@dataclass(slots=True)
class _Reader:
    """Reads one tool's JSON Schema; `unseen` collects what no policy can see."""

    root: dict[str, Any]
    unseen: list[str] = field(default_factory=list)

    def record(self, schema: dict[str, Any], *, at: str, depth: int) -> Shape:
        properties = schema.get("properties")
        required = schema.get("required")
        required = set(required) if isinstance(required, list) else set()
        fields = []
        for name, below in properties.items() if isinstance(properties, dict) else ():
            path = f"{at}{name}"
            shape, nullable = (None, False) if name in _ESCAPES else self._shape(below, at=path, depth=depth)
            if shape is None:
                self.unseen.append(path)
            else:
                fields.append(Field(name, shape, required=name in required and not nullable))
        # A tool's own arguments are closed unless it says otherwise (agents.schemas.closed); deeper objects follow JSON Schema.
        unnamed = schema.get("additionalProperties", depth > 0) is not False or bool(schema.get("patternProperties"))
        if unnamed:
            self.unseen.append(f"{at}*")
        return Shape("Record", fields=tuple(fields))

    def _shape(self, schema: Any, *, at: str, depth: int) -> tuple[Shape | None, bool]:
        """The shape of one argument and whether it may be null; no shape means that policies cannot see it."""
        schema, nullable = self._narrowed(schema)
        kind, nothing = _type_of(schema)
        nullable = nullable or nothing
        if kind in _SCALARS:
            return _SCALARS[kind], nullable
        if kind == "array" and "prefixItems" not in schema:
            element, holes = self._shape(schema.get("items"), at=f"{at}[]", depth=DEEPEST_RECORD)
            if element in (STRING, LONG) and not holes:
                return Shape("Set", element=element), nullable
        if kind == "object" and depth < DEEPEST_RECORD:
            record = self.record(schema, at=f"{at}.", depth=depth + 1)
            if record.fields:
                return record, nullable
            self.unseen = [path for path in self.unseen if not path.startswith(f"{at}.")]  # the whole argument is named instead
        return None, nullable

    def _narrowed(self, schema: Any) -> tuple[dict[str, Any], bool]:
        """Follows local references, and a choice between null and one other thing."""
        nullable = False
        for _ in range(_REFERENCES):
            if not isinstance(schema, dict):
                return {}, nullable
            if isinstance(schema.get("$ref"), str):
                beside = {key: value for key, value in schema.items() if key != "$ref"}
                target = self._target(schema["$ref"])
                schema = {**target, **beside} if isinstance(target, dict) else None
                continue
            choice = next((schema[key] for key in ("anyOf", "oneOf", "allOf") if isinstance(schema.get(key), list)), None)
            if choice is None or "type" in schema:
                return schema, nullable
            others = [branch for branch in choice if branch != {"type": "null"}]
            nullable = nullable or len(others) < len(choice)
            schema = others[0] if len(others) == 1 else None
        return {}, nullable

    def _target(self, reference: str) -> Any:
        """The part of the document that a local JSON pointer names, or None."""
        if reference != "#" and not reference.startswith("#/"):
            return None
        found: Any = self.root
        for part in reference[1:].split("/")[1:]:
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        return found


def _type_of(schema: dict[str, Any]) -> tuple[str, bool]:
    """(JSON type or "", may be null), from `type`, or else from the values of `enum` or `const`."""
    kinds = schema.get("type")
    if kinds is None:
        values = schema["enum"] if isinstance(schema.get("enum"), list) else [schema["const"]] if "const" in schema else []
        names = {bool: "boolean", str: "string", int: "integer", type(None): "null"}
        kinds = sorted({names.get(type(value), "other") for value in values})
    kinds = kinds if isinstance(kinds, list) else [kinds]
    others = [kind for kind in kinds if kind != "null"]
    single = others[0] if len(others) == 1 and isinstance(others[0], str) else ""
    return single, len(others) < len(kinds) or schema.get("nullable") is True


def represent(shape: Shape, value: Any, *, at: str = "") -> Any:
    """The value in Cedar's JSON. Null and missing optional attributes are left out. Raises Unrepresentable."""
    if shape.kind == "Record":
        return _represent_record(shape, value, at=at)
    if shape.kind == "Set":
        assert shape.element is not None
        if not isinstance(value, list | tuple):
            raise Unrepresentable(at, "is not a list")
        return [represent(shape.element, item, at=f"{at}[{number}]") for number, item in enumerate(value)]
    if shape.kind == "decimal":
        return {"__extn": {"fn": "decimal", "arg": _decimal(value, at=at)}}
    if shape.kind == "Long":
        return _long(value, at=at)
    if shape.kind == "Boolean":
        if not isinstance(value, bool):
            raise Unrepresentable(at, "is not true or false")
        return value
    return _text(value, at=at)


def _represent_record(shape: Shape, value: Any, *, at: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Unrepresentable(at, "is not an object")
    record = {}
    for f in shape.fields:
        path = f"{at}.{f.name}" if at else f.name
        given = value.get(f.name)
        if given is not None:
            record[f.name] = represent(f.shape, given, at=path)
        elif f.required:
            raise Unrepresentable(path, "is missing")
    return record


def _text(value: Any, *, at: str) -> str:
    if not isinstance(value, str):
        raise Unrepresentable(at, "is not text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unrepresentable(at, "holds half a character") from None
    return value


def _long(value: Any, *, at: str) -> int:
    whole = int(value) if isinstance(value, float) and value.is_integer() else value  # JSON Schema: 5.0 is an integer
    if not isinstance(whole, int) or isinstance(whole, bool):
        raise Unrepresentable(at, "is not a whole number")
    if whole not in _LONGS:
        raise Unrepresentable(at, "does not fit in 64 bits")
    return whole


def _decimal(value: Any, *, at: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Unrepresentable(at, "is not a number")
    # repr: the number that was written in the JSON, not the binary fraction beside it.
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise Unrepresentable(at, "is not a finite number")
    if number.adjusted() >= _DIGITS:  # before the arithmetic: 1e308 has three hundred digits, and a Decimal may have more
        raise Unrepresentable(at, "is too large for a decimal")
    numerator, denominator = number.as_integer_ratio()
    scaled, lost = divmod(numerator * _SCALE, denominator)
    if lost:
        raise Unrepresentable(at, "has more than four decimal places")
    if scaled not in _LONGS:
        raise Unrepresentable(at, "is too large for a decimal")
    whole, fraction = divmod(abs(scaled), _SCALE)
    return f"{'-' if scaled < 0 else ''}{whole}.{fraction:04d}"
