"""A plan's stored changes as rows for people: words marked, secrets said to be secrets, moves kept as moves. Values in, values out."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from budgets import money

VIEWS = {"fields": "Fields", "patch": "JSON patch", "raw": "Raw"}
LONGEST_COMPARED = 4000
SHOWN = 2000  # characters of one side that a page shows
_MASK = re.compile(r"\[redacted(?::[^\]]{0,60})?\]|\[redaction failed\]")
_WORD = re.compile(r"\s+|\w+|[^\w\s]", re.UNICODE)
_OPS = {"add": "add", "remove": "remove", "replace": "replace", "argument": "argument", "same": "same"}

Part = tuple[str, str]  # ("same" | "del" | "ins" | "secret" | "empty" | "rest", text)


@dataclass(frozen=True, slots=True)
class Row:
    """One changed place. `note` says what its values cannot; `is_new` marks what differs from what the reader saw before."""

    entity: str
    label: str
    pointer: str
    op: str
    before: tuple[Part, ...]
    after: tuple[Part, ...]
    note: str = ""
    is_new: bool = False


def rows(changes: Sequence[Mapping[str, Any]], seen: Sequence[Mapping[str, Any]] | None = None) -> list[Row]:
    """The changes in order; what is added right after the same value was removed is a move."""
    known = None if seen is None else {json.dumps(change, sort_keys=True) for change in seen}
    found: list[Row] = []
    last: Mapping[str, Any] | None = None
    for change in changes:
        is_new = known is not None and json.dumps(dict(change), sort_keys=True) not in known
        if last is not None and _is_move(last, change):
            found[-1] = _moved(last, change, is_new=is_new)
            last = None
            continue
        found.append(_row(change, is_new=is_new))
        last = change
    return found


def shared(plans: Sequence[Sequence[Row]]) -> list[Row]:
    """The rows that each of several plans has, whatever it is about. One plan shares nothing."""
    if len(plans) < 2:
        return []
    others = [{plainly(row) for row in rows} for rows in plans[1:]]
    return [row for row in plans[0] if all(plainly(row) in other for other in others)]


def plainly(row: Row) -> Row:
    """The row without the entity it is about: equal where two plans change the same in the same way."""
    return replace(row, entity="", is_new=False)


def fitting(rows: Sequence[Row], *, most: int, characters: int) -> list[Row]:
    """The first of these rows that can be read where many plans stand beside each other; whole rows, so nobody reads half a change."""
    found: list[Row] = []
    for row in rows[:most]:
        sides = (*row.before, *row.after)
        characters -= sum(len(text) for _, text in sides)
        if characters < 0 or any(kind == "rest" for kind, _ in sides):
            break
        found.append(row)
    return found


def _is_move(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if (one["op"], other["op"]) != ("remove", "add") or one.get("entity") != other.get("entity"):
        return False
    return bool(
        one.get("before") == other.get("after") and one.get("before") not in (None, "", [], {}) and not _is_secret(one.get("before"))
    )


def _moved(one: Mapping[str, Any], other: Mapping[str, Any], *, is_new: bool) -> Row:
    parts = plain(one.get("before"), str(one["pointer"]))
    label = str(other.get("label") or other["pointer"])
    return Row(
        str(one.get("entity", "")), label, f"{one['pointer']} → {other['pointer']}", "move", parts, parts, "moved, not changed", is_new
    )


def _row(change: Mapping[str, Any], *, is_new: bool) -> Row:
    before, after, pointer = change.get("before"), change.get("after"), str(change.get("pointer", ""))
    if _is_secret(before) or _is_secret(after):
        left, right = (_secret(before), _secret(after))
        note = "the two differ" if change["op"] == "replace" else "both are equal" if change["op"] == "same" else ""
    else:
        left, right, note = *marked(before, after, pointer, op=str(change["op"])), _reordered(before, after)
    label = str(change.get("label") or pointer or "Everything")
    if pointer.endswith("_cents"):
        label = label.removesuffix(" cents")  # its values are shown as money
    return Row(str(change.get("entity", "")), label, pointer, _OPS.get(str(change["op"]), "replace"), left, right, note, is_new)


def _is_secret(value: Any) -> bool:
    return isinstance(value, str) and _MASK.fullmatch(value) is not None


def _secret(value: Any) -> tuple[Part, ...]:
    return (("secret", str(value)),) if value is not None else (("empty", "nothing"),)


def _reordered(before: Any, after: Any) -> str:
    if isinstance(before, list) and isinstance(after, list) and before != after:
        written = [sorted(json.dumps(item, sort_keys=True) for item in side) for side in (before, after)]
        return "the same items in another order" if written[0] == written[1] else ""
    return ""


def marked(before: Any, after: Any, pointer: str, *, op: str = "replace") -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Both sides with the words that differ marked."""
    if op in {"argument", "same"}:
        return plain(before, pointer), plain(after, pointer)
    if isinstance(before, list) and isinstance(after, list) and _is_plain(before) and _is_plain(after):
        return _sides([said(item, pointer) for item in before], [said(item, pointer) for item in after], between=", ")
    old, new = said(before, pointer), said(after, pointer)
    if not (isinstance(before, str) and isinstance(after, str)) or max(len(old), len(new)) > LONGEST_COMPARED or not old or not new:
        return _whole("del", before, old), _whole("ins", after, new)
    words = _WORD.findall(old), _WORD.findall(new)
    if difflib.SequenceMatcher(None, *words, autojunk=False).quick_ratio() < 0.3:  # nothing worth following word by word
        return _whole("del", before, old), _whole("ins", after, new)
    return _sides(*words)


def plain(value: Any, pointer: str) -> tuple[Part, ...]:
    """One side without marks, its secrets taken for what they are."""
    return _whole("same", value, said(value, pointer))


def _whole(kind: str, value: Any, text: str) -> tuple[Part, ...]:
    if value is None or text == "":
        return (("empty", "nothing" if value is None else "empty"),)
    if _MASK.search(text):
        return tuple(_split(kind, text))
    return _cut([(kind, text)])


def _split(kind: str, text: str) -> Iterable[Part]:
    at = 0
    for mask in _MASK.finditer(text):
        if mask.start() > at:
            yield kind, text[at : mask.start()]
        yield "secret", mask[0]
        at = mask.end()
    if at < len(text):
        yield kind, text[at:]


def _sides(old: Sequence[str], new: Sequence[str], *, between: str = "") -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    left: list[Part] = []
    right: list[Part] = []
    for op, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        kinds = ("same", "same") if op == "equal" else ("del", "ins")
        for side, kind, words in ((left, kinds[0], old[a:b]), (right, kinds[1], new[c:d])):
            if words:
                side.append((kind, (between if side and between else "") + between.join(words)))
    return _cut(left or [("empty", "none")]), _cut(right or [("empty", "none")])


def _cut(parts: Sequence[Part]) -> tuple[Part, ...]:
    """As much as a page shows, and how much more there is."""
    found: list[Part] = []
    room = SHOWN
    for kind, text in parts:
        if room <= 0:
            break
        found.append((kind, text[:room]))
        room -= len(text)
    left = sum(len(text) for _, text in parts) - sum(len(text) for _, text in found)
    return tuple(found) + ((("rest", f"{left:,} more characters"),) if left else ())


def _is_plain(items: Sequence[Any]) -> bool:
    return not any(isinstance(item, list | dict) for item in items)


def said(value: Any, pointer: str) -> str:
    """A value as people read it: money for cents, yes and no, text as it is, everything else as compact JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and pointer.endswith("_cents"):
        return money.dollars(value * 10_000)
    if isinstance(value, str):
        return value
    if isinstance(value, list) and _is_plain(value):
        return ", ".join(said(item, pointer) for item in value) or "none"
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Branch:
    """A line of the tree: a name on the way to changed places, or a changed place itself."""

    depth: int
    name: str
    row: Row | None = None


def tree(found: Sequence[Row]) -> list[Branch]:
    """The changed branches only, each name once, in the order of the changes."""
    lines: list[Branch] = []
    open_: list[str] = []
    for row in found:
        path = [
            row.entity or "the call",
            *(part.replace("~1", "/").replace("~0", "~") for part in row.pointer.split(" ")[0].split("/")[1:]),
        ]
        parents = path[:-1] if len(path) > 1 else path
        same = 0
        while same < min(len(parents), len(open_)) and parents[same] == open_[same]:
            same += 1
        lines += [Branch(depth, parents[depth]) for depth in range(same, len(parents))]
        open_ = parents
        lines.append(Branch(len(parents), path[-1] if len(path) > 1 else "/", row))
    return lines


def patch(changes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The changes as RFC 6902 writes them, redacted like the rest."""
    found: list[dict[str, Any]] = []
    for change in changes:
        op = {"argument": "add", "same": "test"}.get(str(change["op"]), str(change["op"]))
        found.append({"op": op, "path": change["pointer"], **({} if op == "remove" else {"value": change.get("after")})})
    return found


def reach(changes: Sequence[Mapping[str, Any]], system: str) -> str:
    """`2 fields in billing`."""
    number, entities = len(changes), {str(change.get("entity", "")) for change in changes}
    where = f" in {system}" + (f", {len(entities)} records" if len(entities) > 1 else "")
    return f"{number} field{'' if number == 1 else 's'}{where}"
