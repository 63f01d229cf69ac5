"""Schema changes: what refuses calls that were right before is marked, what does not is not."""

import pytest

from agents import schema_changes

OLD = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "maxLength": 20},
        "amount": {"type": "integer", "minimum": 1},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "to": {"type": "object", "properties": {"name": {"type": "string"}}},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["id"],
}


def changed(**properties: object) -> dict[str, object]:
    return {**OLD, "properties": {**OLD["properties"], **properties}}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("new", "argument", "breaking"),
    [
        ({**OLD, "required": ["id", "amount"]}, "amount", True),
        ({**OLD, "required": []}, "id", False),
        (changed(note={"type": "string"}), "note", False),
        ({**changed(note={"type": "string"}), "required": ["id", "note"]}, "note", True),
        (changed(amount={"type": "string", "minimum": 1}), "amount", True),
        (changed(amount={"type": "integer", "minimum": 5}), "amount", True),
        (changed(amount={"type": "integer", "minimum": 0}), "amount", False),
        (changed(id={"type": "string", "maxLength": 10}), "id", True),
        (changed(id={"type": "string"}), "id", False),
        (changed(kind={"type": "string", "enum": ["a"]}), "kind", True),
        (changed(kind={"type": "string", "enum": ["a", "b", "c"]}), "kind", False),
        (changed(kind={"type": "string"}), "kind", False),
        (changed(to={"type": "object", "properties": {}}), "to.name", True),
        (changed(tags={"type": "array", "items": {"type": "integer"}}), "tags[]", True),
        (changed(tags={"type": "array", "items": {"type": "string", "maxLength": 3}}), "tags[]", True),
        (changed(tags={"type": "array", "items": {"type": "string", "description": "Words."}}), "tags[]", False),
        (changed(tags={"type": "array"}), "tags[]", False),
        ({**OLD, "properties": {name: each for name, each in OLD["properties"].items() if name != "kind"}}, "kind", True),  # type: ignore[attr-defined]
    ],
)
def test_each_change_is_named_and_judged(new: dict[str, object], argument: str, breaking: bool) -> None:
    assert [(change.argument, change.is_breaking) for change in schema_changes.between(OLD, new)] == [(argument, breaking)]


def test_the_same_schema_has_no_changes() -> None:
    assert schema_changes.between(OLD, OLD) == []


def test_what_a_list_may_hold_is_new_where_anything_was_allowed() -> None:
    bare = changed(tags={"type": "array"})
    assert [(change.argument, change.is_breaking) for change in schema_changes.between(bare, OLD)] == [("tags[]", True)]


def test_the_arguments_inside_a_list_are_named_once() -> None:
    rows = ({"type": "object", "properties": {"n": {"type": kind}}} for kind in ("string", "integer"))
    old, new = (changed(rows={"type": "array", "items": row}) for row in rows)
    assert [(change.argument, change.is_breaking) for change in schema_changes.between(old, new)] == [("rows.n", True)]
