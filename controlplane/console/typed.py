"""A tool's arguments as form fields, and what was typed into them as JSON values of the types the schema names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LONGEST = 20_000
MOST_FIELDS = 40
_KINDS = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}


@dataclass(frozen=True, slots=True)
class Field:
    """One argument. `kind` is integer, number, boolean, string or json; `options` are the only values it may have."""

    name: str
    kind: str
    is_required: bool
    said: str
    options: tuple[str, ...]
    given: str
    fault: str = ""

    @property
    def hint(self) -> str:
        return _KINDS.get(self.kind, "JSON")

    @property
    def is_long(self) -> bool:
        return self.kind == "json"


def read(schema: Mapping[str, Any], given: Mapping[str, str]) -> tuple[list[Field], dict[str, Any]]:
    """(the fields with what was typed, the arguments). A field left empty is not given; text that is no value of its type is a fault."""
    properties = schema.get("properties")
    fields: list[Field] = []
    arguments: dict[str, Any] = {}
    for name, each in list((properties if isinstance(properties, dict) else {}).items())[:MOST_FIELDS]:
        found = each if isinstance(each, dict) else {}
        text = given.get(f"a.{name}", "").replace("\0", "").strip()[:LONGEST]
        kind = _kind(found)
        fault = ""
        if text:
            try:
                arguments[name] = _value(kind, text)
            except ValueError:
                fault = f"This is no {_KINDS.get(kind, 'JSON')}."
        options = tuple(item for item in found.get("enum", []) if isinstance(item, str)) if kind == "string" else ()
        said = found.get("description")
        required = name in schema.get("required", [])
        fields.append(Field(name, kind, required, said if isinstance(said, str) else "", options, text, fault))
    return fields, arguments


def _kind(found: Mapping[str, Any]) -> str:
    kinds = found.get("type")
    plain = [kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if kind != "null"]
    if not kinds and all(isinstance(item, str) for item in found.get("enum", [None])):
        return "string"
    return plain[0] if len(plain) == 1 and plain[0] in _KINDS else "json"


def _value(kind: str, text: str) -> Any:
    if kind == "string":
        return text
    if kind == "boolean":
        if text.lower() not in {"true", "false"}:
            raise ValueError(text)
        return text.lower() == "true"
    value = json.loads(text.replace(",", "") if kind in {"integer", "number"} else text, parse_constant=_no_constant)
    if kind in {"integer", "number"} and (isinstance(value, bool) or not isinstance(value, int if kind == "integer" else int | float)):
        raise ValueError(text)
    return value


def _no_constant(text: str) -> Any:
    raise ValueError(text)
