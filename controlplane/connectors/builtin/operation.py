"""What one operation of a demo system is: its schemas, its code, and what of the world it shows before and after."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

Row = dict[str, Any]
Arguments = Mapping[str, Any]
Cursor = psycopg.Cursor[Row]


class Rejected(Exception):
    """The system understood the call and says no. Nothing changed."""

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rows a write will change, as people read them. `fingerprint` joins the version without being shown."""

    entity: str
    state: dict[str, Any]
    fingerprint: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`run(cursor, arguments, reference)` does the work; `reference` is unique for each idempotency key, so ids never depend on chance.

    A write has a `snapshot`; `facts(cursor, arguments, outcome)` adds what an approver asks next and runs after `run`, in its transaction.
    `rehearse` runs before `run` in a savepoint of its own that is undone, for facts that only a second way of running can show.
    """

    name: str
    title: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    run: Callable[[Cursor, Arguments, str], dict[str, Any]]
    snapshot: Callable[[Cursor, Arguments, str], Snapshot] | None = None
    facts: Callable[[Cursor, Arguments, Row], Row] | None = None
    rehearse: Callable[[Cursor, Arguments], Row] | None = None
    kind: str = "fields"
    hints: dict[str, Any] = field(default_factory=dict)

    @property
    def is_write(self) -> bool:
        return self.snapshot is not None

    def advice(self) -> dict[str, Any]:
        """Hints with every key a confirmation needs, so a reviewer starts from the owner's word and not from blanks."""
        said = {
            "is_write": self.is_write,
            "risk": "low",
            "reversible": not self.is_write,
            "connector_class": "E1" if self.is_write else "E0",
            "price_micros": 0,
            "subjects": {},
            "preview": {"kind": self.kind} if self.is_write else None,
            "redact": [],
            "undo": None,
            "formats": {},
        }
        return said | self.hints


def schema(required: dict[str, Any], /, **optional: Any) -> dict[str, Any]:
    """A closed object schema: an argument nobody named is a fault."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": required | optional,
        "required": list(required),
        "additionalProperties": False,
    }


def text(description: str, *, longest: int = 200, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, "minLength": 1, "maxLength": longest} | more


def identifier(description: str, *, prefix: str) -> dict[str, Any]:
    return {"type": "string", "description": description, "pattern": f"^{prefix}-[0-9]{{4}}$", "examples": [f"{prefix}-2041"]}


def cents(description: str, *, least: int = 0) -> dict[str, Any]:
    return {"type": "integer", "description": description, "minimum": least, "maximum": 100_000_000}


def choice(description: str, *options: str) -> dict[str, Any]:
    return {"type": "string", "description": description, "enum": list(options)}


def listing(description: str, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "description": description, "items": item}


def limit(*, most: int, usual: int) -> dict[str, Any]:
    return {"type": "integer", "description": f"At most this many, {usual} if not said.", "minimum": 1, "maximum": most, "default": usual}


TEXT: dict[str, Any] = {"type": "string"}
WHEN: dict[str, Any] = {"type": "string", "format": "date-time"}
DAY: dict[str, Any] = {"type": ["string", "null"], "format": "date"}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
TAGS: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
