"""RFC 6902, with what was there before: the view for entities that are documents. Applied in order it turns before into after."""

from typing import Any

import jsonpatch

from approvals.diffs import fields


def changes(entity: str, before: Any, after: Any) -> list[fields.Change]:
    """add, remove and replace, never move or copy: an approver reads each value where it ends."""
    out: list[fields.Change] = []
    was: dict[str, Any] = {}
    # Each test operation holds the value that the next operation on its path takes away.
    for operation in jsonpatch.JsonPatch.from_diff(before, after, optimization=False, generate_test_ops=True):
        if operation["op"] == "test":
            was = operation
            continue
        path = operation["path"]
        out.append(
            {
                "entity": entity,
                "pointer": path,
                "op": operation["op"],
                "before": was["value"] if was.get("path") == path and operation["op"] != "add" else None,
                "after": operation.get("value"),
                "label": fields.label(parts(path)),
            }
        )
        was = {}
    return out


def patch(found: list[fields.Change]) -> list[dict[str, Any]]:
    """The changes as the RFC 6902 document they came from."""
    return [
        {"op": change["op"], "path": change["pointer"], **({} if change["op"] == "remove" else {"value": change["after"]})}
        for change in found
    ]


def parts(pointer: str) -> tuple[str | int, ...]:
    """The names in a pointer; what is written as a number is read as a place in a list."""
    names = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    return tuple(int(name) if name.isdecimal() and name.isascii() and len(name) < 6 else name for name in names)
