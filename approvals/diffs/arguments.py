"""What will be sent, argument by argument, with the meaning its schema gives it: the view when nobody can say what it will change."""

from collections.abc import Mapping
from typing import Any

from approvals.diffs import fields


def changes(schema: Mapping[str, Any] | None, arguments: Mapping[str, Any]) -> list[fields.Change]:
    """Every leaf of every argument, in the order of the schema: the agent does not decide what an approver reads first."""
    named = (schema or {}).get("properties")
    order = list(named) if isinstance(named, Mapping) else []
    names = [name for name in order if name in arguments] + sorted(name for name in arguments if name not in order)
    return [
        {
            "entity": "",
            "pointer": fields.pointer(path),
            "op": "argument",
            "before": None,
            "after": value,
            "label": fields.label(path, schema),
        }
        for name in names
        for path, value in fields.leaves((name,), arguments[name])
    ]
