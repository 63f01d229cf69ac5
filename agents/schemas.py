"""What arguments a tool takes: JSON Schema 2020-12, judged offline and in bounded time.

A schema comes from outside and is judged once, by lint(), before it is stored. It decides what is accepted; it never fetches anything.
`format` is an annotation, as 2020-12 has it: the upstream is the one to know whether an e-mail address is one.
"""

import functools
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote

import jsonschema_rs
import orjson

from audit import canonical, outcomes, redaction

MOST_BYTES = 64 * 1024
MOST_DEPTH = 20
MOST_NODES = 1000
MOST_EXPANDED = 2000
MOST_FAULTS = 10
_SHORT = 40

DIALECTS = frozenset(
    {
        "https://json-schema.org/draft/2020-12/schema",
        "https://json-schema.org/draft/2019-09/schema",
        "http://json-schema.org/draft-07/schema",
        "http://json-schema.org/draft-06/schema",
        "http://json-schema.org/draft-04/schema",
    }
)
# Linear time only: no look-around, no back-references, no compiled pattern above a megabyte.
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 21)

# Where subschemas are. In place: they judge the same value; the others judge a part of it, and "*" stands for any name, "#" for any index.
_IN_PLACE = ("not", "if", "then", "else")
_IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
_IN_PLACE_MAPS = ("dependentSchemas", "dependencies")
_PARTS = {
    "additionalProperties": "*",
    "unevaluatedProperties": "*",
    "items": "#",
    "additionalItems": "#",
    "contains": "#",
    "unevaluatedItems": "#",
    # These judge a name and a decoded text: nothing below them recurses into the value itself.
    "propertyNames": "@",
    "contentSchema": "@",
}
_DEFINITIONS = ("$defs", "definitions")
_CANNOT_BOUND = ("$dynamicRef", "$recursiveRef")


class SchemaRejected(outcomes.Refused):
    """The schema could cost more than a call may, asks for something outside itself, or is not JSON Schema."""

    code = "schema_rejected"


class Fault(NamedTuple):
    """One way in which arguments do not fit. `got` names the type and a redacted glimpse, never a secret."""

    pointer: str
    expected: str
    got: str


def lint(schema: Any) -> None:
    """Whether a schema may be stored. Raises SchemaRejected with the limit it broke."""
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise _rejected("A tool's schema describes an object.", rule="type", current=_kind(schema))
    _measure(schema)
    dialect = str(schema.get("$schema", "https://json-schema.org/draft/2020-12/schema")).rstrip("#")
    if dialect not in DIALECTS:
        raise _rejected("The schema declares a dialect that is not known here.", rule="$schema", current=dialect[:200])
    _Expansion(schema).through()
    try:
        _validator(schema)
    except Exception as error:  # the engine raises ValidationError, ReferencingError and ValueError, all with one meaning here
        said = getattr(error, "message", "") or str(error)
        raise _rejected(f"Not a schema that can be used: {said.splitlines()[0][:300]}", rule="JSON Schema") from None


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with "no unnamed argument" said aloud, unless it already says what happens to arguments it does not name."""
    found = _Names(schema)
    found.read(schema)
    if found.open or "additionalProperties" in schema or "unevaluatedProperties" in schema:
        return dict(schema)
    out = dict(schema)
    if "$ref" in out:
        # Drafts before 2019-09 ignore everything beside a $ref.
        out["allOf"] = [*out.get("allOf", ()), {"$ref": out.pop("$ref")}]
    for keyword, names in (("properties", found.names), ("patternProperties", found.patterns)):
        own = out.get(keyword, {})
        if names - own.keys():
            out[keyword] = {**own, **{name: {} for name in sorted(names - own.keys())}}
    out["additionalProperties"] = False
    return out


def faults(schema_text: str, arguments: Any, *, digest: str) -> list[Fault]:
    """How the arguments do not fit; empty when they do. At most ten, in the order of the schema."""
    if not isinstance(arguments, dict):
        return [Fault("", "an object", _got(arguments))]
    validator = _compiled(digest, schema_text)
    try:
        # Half a surrogate, a set, a key that is no string, an integer that other systems would round: not JSON, whatever the schema says.
        orjson.dumps(arguments, option=orjson.OPT_STRICT_INTEGER)
        if validator.is_valid(arguments):
            return []
        found: list[Fault] = []
        for error in validator.iter_errors(arguments):
            found += _faults_of(error)
            if len(found) >= MOST_FAULTS:
                break
    except (ValueError, TypeError) as error:
        return [Fault("", "JSON values", type(error).__name__)]
    return found[:MOST_FAULTS]


@functools.lru_cache(maxsize=2048)
def _compiled(digest: str, schema_text: str) -> Any:
    """By digest and text: the text is what is judged, so a wrong digest can cost a compilation but never a verdict."""
    schema = json.loads(schema_text)
    if schema.get("additionalProperties") is False:
        schema.setdefault("properties", {})  # without it the engine reports one unnamed argument of many, and not its name
    return _validator(schema)


def _validator(schema: Any) -> Any:
    return jsonschema_rs.validator_for(
        schema, offline=True, validate_formats=False, mask="[redacted]", pattern_options=_PATTERNS, ignore_unknown_formats=True
    )


def _rejected(message: str, *, rule: str, current: Any = None, limit: Any = None) -> SchemaRejected:
    return SchemaRejected(
        message,
        rule=rule,
        current=current,
        limit=limit,
        who="the author of the tool",
        next_step="Change the tool's schema and discover again.",
    )


def _measure(schema: Any) -> None:
    _count(schema)
    try:
        size = len(canonical.encode(schema))
    except (TypeError, ValueError) as error:
        raise _rejected(f"The schema is not JSON that can be signed: {error}", rule="canonical JSON") from None
    if size > MOST_BYTES:
        raise _rejected(f"The schema is larger than {MOST_BYTES} bytes.", rule="size", current=size, limit=MOST_BYTES)


def _count(schema: Any) -> None:
    nodes = 0
    level = [schema]
    for depth in range(1, MOST_DEPTH + 2):
        nodes += len(level)
        if not level:
            return
        if depth > MOST_DEPTH:
            raise _rejected(f"The schema is nested deeper than {MOST_DEPTH}.", rule="depth", current=depth, limit=MOST_DEPTH)
        if nodes > MOST_NODES:
            raise _rejected(f"The schema has more than {MOST_NODES} nodes.", rule="nodes", current=nodes, limit=MOST_NODES)
        below = [child for node in level for child in (node.values() if isinstance(node, dict) else node)]
        level = [child for child in below if isinstance(child, dict | list)]


def _subschemas(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(step, subschema): the step is "" in place, a property's name behind a slash, "*" any name, "#" any index, "@" not the value."""
    for keyword, value in schema.items():
        if keyword in _IN_PLACE:
            yield "", value
        elif keyword in _IN_PLACE_LISTS and isinstance(value, list):
            yield from (("", item) for item in value)
        elif keyword in _IN_PLACE_MAPS and isinstance(value, dict):
            yield from (("", item) for item in value.values() if not isinstance(item, list))
        else:
            yield from _parts(keyword, value)


def _parts(keyword: str, value: Any) -> Iterator[tuple[str, Any]]:
    if keyword in _PARTS:
        yield from ((_PARTS[keyword], item) for item in (value if isinstance(value, list) else [value]))
    elif keyword == "prefixItems" and isinstance(value, list):
        yield from (("#", item) for item in value)
    elif keyword == "properties" and isinstance(value, dict):
        yield from ((f"/{name}", item) for name, item in value.items())
    elif keyword == "patternProperties" and isinstance(value, dict):
        yield from (("*", item) for item in value.values())


def _target(root: Mapping[str, Any], reference: Any) -> Any:
    """What a local $ref points to. Raises SchemaRejected for everything that is not inside the schema."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise _rejected("The schema refers to something outside itself.", rule="$ref", current=str(reference)[:200])
    pointer = unquote(reference[1:])
    if pointer and not pointer.startswith("/"):
        raise _rejected("The schema refers to an anchor; use a pointer such as #/$defs/name.", rule="$ref", current=reference[:200])
    node: Any = root
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, list) and name.isdecimal() and int(name) < len(node):
            node = node[int(name)]
        elif isinstance(node, dict) and name in node:
            node = node[name]
        else:
            raise _rejected("The schema refers to something it does not hold.", rule="$ref", current=reference[:200])
    if not isinstance(node, dict | bool):
        raise _rejected("The schema refers to something that is not a schema.", rule="$ref", current=reference[:200])
    return node


_Entered = dict[int, tuple[int, Counter[tuple[str, ...]]]]


class _Expansion:
    """The schema with every reference written out, counted and not built.

    A reference back to where the expansion came from is a recursion. It is allowed when it goes on to a part of the value, and when
    one part is not judged by the same recursion twice: twice would be 2^depth times for a nested value.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.nodes = 0
        self.visited: set[int] = set()

    def through(self) -> None:
        self.schema(self.root, (), {id(self.root): (0, Counter())})
        for keyword in _DEFINITIONS:
            definitions = self.root.get(keyword)
            for definition in definitions.values() if isinstance(definitions, dict) else ():
                if id(definition) not in self.visited:
                    self.schema(definition, (), {id(definition): (0, Counter())})

    def schema(self, schema: Any, steps: tuple[str, ...], entered: _Entered) -> None:
        """`entered` says, of each schema entered on the way here, after how many steps that was and which ways have led back to it."""
        self.nodes += 1
        if self.nodes > MOST_EXPANDED:
            message = f"The schema has more than {MOST_EXPANDED} nodes once its references are written out."
            raise _rejected(message, rule="expansion", current=self.nodes, limit=MOST_EXPANDED)
        if not isinstance(schema, dict):
            return
        self.refuse_strangers(schema)
        if "$ref" in schema:
            self.reference(_target(self.root, schema["$ref"]), steps, entered)
        for step, child in _subschemas(schema):
            self.schema(child, (*steps, step) if step else steps, entered)

    def refuse_strangers(self, schema: dict[str, Any]) -> None:
        for keyword in _CANNOT_BOUND:
            if keyword in schema:
                raise _rejected(f"{keyword} cannot be bounded; write the reference out.", rule=keyword, current=str(schema[keyword])[:200])
        if schema is not self.root and isinstance(schema.get("$id"), str):
            raise _rejected("Only the whole schema may have an $id.", rule="$id", current=schema["$id"][:200])

    def reference(self, target: Any, steps: tuple[str, ...], entered: _Entered) -> None:
        if id(target) not in entered:
            if len(entered) > MOST_DEPTH:
                raise _rejected(f"More than {MOST_DEPTH} references lead into each other.", rule="expansion", limit=MOST_DEPTH)
            self.visited.add(id(target))
            self.schema(target, steps, {**entered, id(target): (len(steps), Counter())})
            return
        start, ways = entered[id(target)]
        way = steps[start:]
        if not way:
            raise _rejected("The schema refers to itself without going on to a part of the value.", rule="recursion")
        ways[way] += 1
        if sum(count for other, count in ways.items() if _same_part(other, way)) > 1:
            raise _rejected("The schema judges one part of a value by the same recursion more than once.", rule="recursion")


def _same_part(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two ways may lead to the same part of a value: two names are two parts, a rule for any name may mean either."""
    return len(one) == len(other) and all(
        a == b or (a == "*" and b.startswith("/")) or (b == "*" and a.startswith("/")) for a, b in zip(one, other, strict=True)
    )


class _Names:
    """The argument names and name patterns that a schema mentions for the value itself, whichever branch mentions them."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.seen: set[int] = set()
        self.names: set[str] = set()
        self.patterns: set[str] = set()
        self.open = False

    def read(self, schema: Any) -> None:
        if not isinstance(schema, Mapping) or id(schema) in self.seen:
            return
        self.seen.add(id(schema))
        self.names |= {*schema.get("properties", ()), *schema.get("required", ())}
        self.patterns |= set(schema.get("patternProperties", ()))
        if schema is not self.root:
            self.open |= any(schema.get(keyword, False) is not False for keyword in ("additionalProperties", "unevaluatedProperties"))
        if "$ref" in schema:
            self.read(_target(self.root, schema["$ref"]))
        for step, child in _subschemas(schema):
            if not step:
                self.read(child)


@dataclass(frozen=True, slots=True)
class _Words:
    """How one keyword says what it expects. The value is the schema author's, never the caller's."""

    before: str
    after: str = ""

    def say(self, value: Any) -> str:
        return f"{self.before}{json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value}{self.after}"[:200]


_EXPECTED = {
    "pattern": _Words("text matching "),
    "minimum": _Words("at least "),
    "maximum": _Words("at most "),
    "exclusiveMinimum": _Words("more than "),
    "exclusiveMaximum": _Words("less than "),
    "multipleOf": _Words("a multiple of "),
    "minLength": _Words("at least ", " characters"),
    "maxLength": _Words("at most ", " characters"),
    "minItems": _Words("at least ", " items"),
    "maxItems": _Words("at most ", " items"),
    "minProperties": _Words("at least ", " fields"),
    "maxProperties": _Words("at most ", " fields"),
    "const": _Words(""),
}
_PLAIN = {
    "anyOf": "a value that fits one of the alternatives",
    "oneOf": "a value that fits exactly one of the alternatives",
    "not": "a value that does not fit the excluded schema",
    "uniqueItems": "no item twice",
    "contains": "an item that fits the schema of contains",
    "propertyNames": "field names that fit the schema",
}


def _faults_of(error: Any) -> list[Fault]:
    kind = error.kind
    path = list(error.instance_path)
    if kind.name in ("additionalProperties", "unevaluatedProperties"):
        inside = error.instance if isinstance(error.instance, dict) else {}
        return [Fault(_pointer([*path, name]), "no field of this name", _got(inside.get(name), name)) for name in kind.unexpected]
    if kind.name == "falseSchema":
        beyond = error.schema_path[-1:] == ["additionalProperties"]
        return [Fault(_pointer(path), "no field" if beyond else "nothing", "a field" if beyond else _got(error.instance))]
    if kind.name == "required":
        return [Fault(_pointer([*path, kind.property]), "a value", "nothing")]
    return [Fault(_pointer(path), _expected(kind), _got(error.instance, str(path[-1]) if path else ""))]


def _expected(kind: Any) -> str:
    if kind.name == "type":
        return " or ".join(sorted(kind.types))
    if kind.name == "enum":
        options = [json.dumps(option, ensure_ascii=False) for option in kind.options]
        more = f" or {len(options) - 10} more" if len(options) > 10 else ""
        return f"one of {', '.join(options[:10])}{more}"[:400]
    if kind.name in _EXPECTED:
        return _EXPECTED[kind.name].say(kind.value)
    return _PLAIN.get(kind.name, f"a value that fits {kind.name}")


def _got(value: Any, name: str = "") -> str:
    kind = _kind(value)
    if isinstance(value, dict):
        return f"object with {len(value)} fields"
    if isinstance(value, list):
        return f"array of {len(value)} items"
    if value is None or isinstance(value, bool):
        return kind if value is None else f"{kind} {json.dumps(value)}"
    if name and redaction.is_secret_name(name):
        return f"{kind} [redacted]"
    shown = redaction.redact_text(str(value))
    shown = shown if len(shown) <= _SHORT else f"{shown[:_SHORT]}…"
    return f'{kind} "{shown}"' if isinstance(value, str) else f"{kind} {shown}"


def _kind(value: Any) -> str:
    names = {str: "string", bool: "boolean", int: "integer", float: "number", dict: "object", list: "array", type(None): "null"}
    return names.get(type(value), type(value).__name__)


def _pointer(path: list[Any]) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)
