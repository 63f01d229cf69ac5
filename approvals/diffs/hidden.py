"""Changes as they may be stored and shown: redaction goes by names, and a change carries its names in the pointer."""

from collections.abc import Collection
from typing import Any

from approvals.diffs import fields, json_patch
from audit import redaction


def changes(found: list[fields.Change], names: Collection[str] = frozenset()) -> list[fields.Change]:
    """The changes without secrets and without the values of the fields in `names`, wherever else those values are repeated."""
    private = frozenset(name.lower() for name in names)
    known: set[str] = set()
    for change in found:
        if _hidden_at(change, private) is not None:
            known |= redaction.personal({"x": [change["before"], change["after"]]}, {"x"})
    return [_hide(change, private, known) for change in found]


def _hide(change: fields.Change, private: frozenset[str], known: Collection[str]) -> fields.Change:
    at = _hidden_at(change, private)
    if at is None:
        kept: fields.Change = redaction.redact(change, fields=private, known=known)
        return kept
    path = json_patch.parts(change["pointer"])
    mask = f"[redacted:{str(path[at]).lower()}]"
    shown: dict[str, Any] = {**change, "before": _mask(change["before"], mask), "after": _mask(change["after"], mask)}
    if at + 1 < len(path):
        # The names below a private field are private as well: a wallet is a mapping from card ids.
        shown |= {"pointer": f"{fields.pointer(path[: at + 1])}/…", "label": fields.label(path[: at + 1])}
    return shown


def _hidden_at(change: fields.Change, private: frozenset[str]) -> int | None:
    for index, part in enumerate(json_patch.parts(change["pointer"])):
        if isinstance(part, str) and (part.lower() in private or redaction.is_secret_name(part)):
            return index
    return None


def _mask(value: Any, mask: str) -> Any:
    return None if value is None else mask
