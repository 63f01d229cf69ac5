"""Reads an OpenAPI 3.0 or 3.1 document as a list of tools: one closed object schema per operation, and where each argument goes.

An operation that cannot be expressed exactly (recursive schemas, cookies, forms, exotic parameter styles) is left out and named in the log.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from agents.offers import Offer
from controlplane.connectors import interface

METHODS = ("get", "head", "post", "put", "patch", "delete")
OPERATIONS = 2000
NODES = 2000
DEPTH = 20

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)
_ARGUMENT = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@{}%-]*)+", re.ASCII)
_IN_PATH = re.compile(r"\{([^{}/]+)\}")
# Said by the protocol or by us, never by an argument. `accept`, `content-type` and `authorization` OpenAPI itself sets aside.
_SET_ASIDE = frozenset({"accept", "content-type", "authorization", "cookie", "host", "content-length", "transfer-encoding", "connection"})
_KEY = "idempotency-key"

_ANNOTATIONS = frozenset(
    {"type", "enum", "const", "format", "title", "description", "default", "readOnly", "writeOnly", "pattern", "required"}
)
_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "uniqueItems"})
_COUNTS = frozenset({"minItems", "maxItems", "minContains", "maxContains", "minProperties", "maxProperties", "dependentRequired"})
_PLAIN = _ANNOTATIONS | _BOUNDS | _COUNTS
_ONE = frozenset({"items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else", "unevaluatedProperties"})
_LIST = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAP = frozenset({"properties", "patternProperties", "dependentSchemas"})
# Words about an object as a whole: they would be lost if its fields were taken out of it.
_TOGETHER = _LIST | {
    "not",
    "if",
    "patternProperties",
    "dependentSchemas",
    "dependentRequired",
    "minProperties",
    "maxProperties",
    "propertyNames",
}

logger = logging.getLogger(__name__)


class Inexpressible(Exception):
    """Why an operation is left out."""


def tools(document: Any) -> list[Offer]:
    """Raises DiscoveryFailed when the document is not one we read, or holds nothing we can call."""
    version = document.get("openapi") if isinstance(document, dict) else None
    if not isinstance(version, str) or not version.startswith(("3.0", "3.1")) or not isinstance(document.get("paths"), dict):
        raise interface.DiscoveryFailed("The document is not OpenAPI 3.0 or 3.1.")
    found: dict[str, Offer] = {}
    left_out: dict[str, str] = {}
    for path, method, item in _operations(document["paths"]):
        try:
            tool = _tool(_Reader(document, is_30=version.startswith("3.0")), path, method, item)
        except Inexpressible as why:
            left_out[f"{method.upper()} {path}"] = str(why)
            continue
        if tool.name in found:
            raise interface.DiscoveryFailed(f"The document names two operations {tool.name}.", rule=tool.name)
        found[tool.name] = tool
        if len(found) > OPERATIONS:
            raise interface.DiscoveryFailed("The document has too many operations.", limit=OPERATIONS)
    if left_out:
        logger.warning("openapi operations left out: %s", "; ".join(f"{name} ({why})" for name, why in list(left_out.items())[:20]))
    if not found:
        raise interface.DiscoveryFailed("The document has no operation that can be called.", left_out=dict(list(left_out.items())[:20]))
    return list(found.values())


def _operations(paths: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in paths.items():
        if isinstance(item, dict):
            for method in METHODS:
                if isinstance(item.get(method), dict):
                    yield path, method, item


@dataclass(slots=True)
class _Reader:
    """Follows the references of one operation, within one budget."""

    document: dict[str, Any]
    is_30: bool
    nodes: int = 0
    following: list[str] = field(default_factory=list)

    def resolved(self, value: Any) -> dict[str, Any]:
        """An object of the document, behind at most a few references."""
        for _ in range(5):
            if not isinstance(value, dict):
                break
            if "$ref" not in value:
                return value
            value = self._target(value["$ref"])
        raise Inexpressible("a reference leads nowhere")

    def _target(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#/components/"):
            raise Inexpressible("a reference leaves the document's components")
        place: Any = self.document
        for step in reference[2:].split("/"):
            place = place.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(place, dict) else None
        return place

    def schema(self, schema: Any, depth: int = 0) -> Any:
        """The schema as JSON Schema 2020-12, without references."""
        self.nodes += 1
        if self.nodes > NODES or depth > DEPTH:
            raise Inexpressible("a schema is too large or too deep")
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise Inexpressible("a schema is malformed")
        if "$dynamicRef" in schema or "$id" in schema:
            raise Inexpressible("a schema changes what its references mean")
        if "$ref" in schema:
            return self._followed(schema, depth)
        return self._nullable(schema, {word: self._keyword(word, value, depth) for word, value in schema.items() if self._is_kept(word)})

    def _followed(self, schema: dict[str, Any], depth: int) -> Any:
        reference = schema["$ref"]
        if reference in self.following:
            raise Inexpressible("a schema contains itself")
        target = self._target(reference)
        self.following.append(reference)
        found = self.schema(target, depth)
        self.following.pop()
        beside = {word: value for word, value in schema.items() if word != "$ref"}
        if self.is_30 or not beside:
            return found
        own = self.schema(beside, depth)
        return {**own, "allOf": [*own.get("allOf", ()), found]}

    def _is_kept(self, word: str) -> bool:
        return word in _PLAIN or word in _ONE or word in _LIST or word in _MAP

    def _keyword(self, word: str, value: Any, depth: int) -> Any:
        if word in _ONE:
            return self.schema(value, depth + 1)
        if word in _LIST and isinstance(value, list):
            return [self.schema(one, depth + 1) for one in value]
        if word in _MAP and isinstance(value, dict):
            return {name: self.schema(one, depth + 1) for name, one in value.items()}
        if word in _PLAIN and (word != "required" or (isinstance(value, list) and all(isinstance(name, str) for name in value))):
            return value
        raise Inexpressible(f"{word} is malformed")

    def _nullable(self, given: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
        """What 3.0 says in its own words."""
        if not self.is_30:
            return schema
        for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
            if schema.get(exclusive) is True and bound in schema:
                schema[exclusive] = schema.pop(bound)
            elif isinstance(schema.get(exclusive), bool):
                del schema[exclusive]
        if given.get("nullable") is True and isinstance(schema.get("type"), str):
            schema["type"] = [schema["type"], "null"]
            if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
                schema["enum"] = [*schema["enum"], None]
        return schema


@dataclass(slots=True)
class _Draft:
    properties: dict[str, Any] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    places: dict[str, dict[str, Any]] = field(default_factory=dict)
    body: str = "none"  # none | fields | whole

    def add(self, name: str, schema: Any, place: dict[str, Any], *, required: bool) -> None:
        if name in self.places or not _ARGUMENT.fullmatch(name):
            raise Inexpressible(f"two parameters are named {name[:64]}, or its name is no name")
        self.properties[name], self.places[name] = schema, place
        if required:
            self.required.append(name)


def _tool(reader: _Reader, path: str, method: str, item: dict[str, Any]) -> Offer:
    operation = item[method]
    name = operation.get("operationId") or re.sub(r"[^A-Za-z0-9]+", "_", f"{method}{path}").strip("_")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Inexpressible("its name is not 1 to 128 ASCII letters, digits, dots, dashes or underscores")
    if not _PATH.fullmatch(path) or any(step in {".", ".."} for step in path.split("/")):
        raise Inexpressible("its path is not a plain one")
    draft = _Draft()
    for parameter in _parameters(reader, [*_list(item.get("parameters")), *_list(operation.get("parameters"))]):
        _place(reader, draft, parameter)
    if set(_IN_PATH.findall(path)) != {place["name"] for place in draft.places.values() if place["in"] == "path"}:
        raise Inexpressible("its path and its path parameters differ")
    if operation.get("requestBody") is not None:
        _place_body(reader, draft, reader.resolved(operation["requestBody"]))
    return Offer(
        name=name,
        title=_text(operation.get("summary")),
        description=_text(operation.get("description")) or _text(operation.get("summary")),
        input_schema={"type": "object", "properties": draft.properties, "required": draft.required, "additionalProperties": False},
        output_schema=_output(reader, operation),
        hints={"readOnlyHint": method in {"get", "head"}},
        detail={"method": method.upper(), "path": path, "places": draft.places, "body": draft.body},
    )


def _list(value: Any) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise Inexpressible("its parameters are not a list")
    return value or []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _parameters(reader: _Reader, given: list[Any]) -> list[dict[str, Any]]:
    """An operation's parameter replaces its path's of the same place and name."""
    found: dict[tuple[Any, Any], dict[str, Any]] = {}
    for one in given:
        parameter = reader.resolved(one)
        if not isinstance(parameter.get("name"), str) or not isinstance(parameter.get("in"), str):
            raise Inexpressible("a parameter has no name or no place")
        found[parameter.get("in"), parameter["name"]] = parameter
    return list(found.values())


def _place(reader: _Reader, draft: _Draft, parameter: dict[str, Any]) -> None:
    where, name, required = parameter.get("in"), parameter["name"], parameter.get("required") is True
    if where == "header" and name.lower() in _SET_ASIDE | {_KEY}:
        return
    usual = {"path": "simple", "query": "form", "header": "simple"}
    if where not in usual or parameter.get("style", usual[where]) != usual[where] or "schema" not in parameter:
        if required:
            raise Inexpressible(f"the parameter {name[:64]} is of a kind that is not supported")
        return
    schema = reader.schema(parameter["schema"])
    if isinstance(schema, dict) and "description" in parameter:
        schema = {"description": _text(parameter["description"]), **schema}
    place: dict[str, Any] = {"in": where, "name": name}
    if where == "query" and parameter.get("explode") is False:
        place["joined"] = True
    draft.add(name, schema, place, required=required or where == "path")


def _place_body(reader: _Reader, draft: _Draft, body: dict[str, Any]) -> None:
    """An object's fields become arguments beside the parameters; any other body is one argument, `body`."""
    content = body.get("content")
    content = content if isinstance(content, dict) else {}
    media = [kind for kind in content if re.fullmatch(r"application/([a-z.+-]+\+)?json", kind.partition(";")[0].strip().lower())]
    required = body.get("required") is True
    if not media or not isinstance(content[media[0]], dict):
        if required:
            raise Inexpressible("its body is not JSON")
        return
    schema = reader.schema(content[media[0]].get("schema", True))
    if not isinstance(schema, dict) or not _flattens(schema, draft, required=required):
        draft.body = "whole"
        draft.add("body", schema, {"in": "whole", "name": "body"}, required=required)
        return
    draft.body = "fields" if required else "optional"
    for name, one in schema["properties"].items():
        if not (isinstance(one, dict) and one.get("readOnly") is True):
            draft.add(name, one, {"in": "body", "name": name}, required=name in schema.get("required", ()))


def _flattens(schema: dict[str, Any], draft: _Draft, *, required: bool) -> bool:
    properties = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(properties, dict) or not _TOGETHER.isdisjoint(schema):
        return False
    return (
        schema.get("additionalProperties", False) is False
        and draft.places.keys().isdisjoint(properties)
        and all(_ARGUMENT.fullmatch(name) for name in properties)
        and (required or not schema.get("required"))
    )


def _output(reader: _Reader, operation: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of a success that is a JSON object; a helpful thing to know, so its faults leave nothing out."""
    try:
        for status in ("200", "201", "default"):
            if status in operation.get("responses", {}):
                answer = reader.resolved(operation["responses"][status])
                schema = reader.schema(answer["content"]["application/json"]["schema"])
                return schema if isinstance(schema, dict) and schema.get("type") == "object" else None
    except (Inexpressible, LookupError, TypeError, AttributeError):
        return None
    return None
