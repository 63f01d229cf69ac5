"""Takes secrets and configured personal fields out of a value before it is written anywhere. It fails closed and never raises.

A mask says which rule asked for it, `[redacted:jwt]`, and nothing about the length or the characters of what was there.
"""

import bisect
import functools
import json
import re
from collections.abc import Collection
from itertools import accumulate
from typing import Any

import orjson

from audit import scanning, shapes

FAILED = "[redaction failed]"
# Shorter values are words that occur by chance elsewhere: masking them everywhere would deface the record.
SHORTEST_KNOWN = 6
_MOST_PARTS = 2_000_000

_OPENERS = frozenset('{["')  # of JSON in a string
_SCHEMA_WORDS = frozenset({"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"})


def redact(value: Any, *, fields: Collection[str] = frozenset(), known: Collection[str] = ()) -> Any:
    """The value without its secrets, without whatever stands under one of `fields`, and without the exact strings in `known`.

    What stood under a field is also masked where the same value repeats it. Never raises: what cannot be redacted is replaced whole.
    """
    try:
        if _is_quiet(value, fields, known):
            return value
        names, clean = frozenset(map(str.lower, fields)), _clean_texts(value)
        if not names and not known and _is_plain(value, clean):
            return value
        walk = _Walk(names, clean)
        found = walk.value(value)
        repeated = _spellings({*walk.seen, *known})
        return _without(found, sorted(repeated, key=len, reverse=True)) if _occurs(repeated, found) else found
    except Exception:  # whatever went wrong, the original must not be written
        return FAILED


def redact_text(text: str) -> str:
    """The text without its secrets. Never raises."""
    try:
        return scanning.scrub(text)
    except Exception:
        return FAILED


def personal(value: Any, fields: Collection[str]) -> frozenset[str]:
    """The strings that stand under `fields`: what `known` wants when the same person is written about again. Never raises."""
    try:
        walk = _Walk(frozenset(map(str.lower, fields)), _clean_texts(value))
        walk.value(value)
    except Exception:  # a value that cannot be walked is replaced whole by redact()
        return frozenset()
    return frozenset(text for text in walk.seen if len(text) >= SHORTEST_KNOWN)


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret whatever its value looks like."""
    plain = name.lower().replace("_", "").replace("-", "").replace(".", "").replace(" ", "")
    return plain in shapes.KEY_NAMES or plain.endswith(shapes.KEY_ENDINGS)


def _is_quiet(value: Any, fields: Collection[str], known: Collection[str]) -> bool:
    """One pass over the JSON text instead of one per string: most values end here."""
    try:
        text = orjson.dumps(value)
    except TypeError:
        return False
    if scanning.may_hide(text) or any(spelling.encode("utf-8", "surrogatepass") in text for spelling in _spellings(known)):
        return False
    lower = text.lower()
    return not any(field.lower().encode() in lower for field in fields)


def _is_plain(value: Any, clean: Collection[str]) -> bool:
    """Whether a walk would copy the value as it is: no string with a hit or with JSON in it, no secret name, no long number."""
    waiting = [value]
    for item in waiting:  # it grows meanwhile
        if isinstance(item, str):
            plain = item in clean and item[:1] not in _OPENERS
        elif isinstance(item, dict):
            plain = all(isinstance(key, str) and key in clean and not is_secret_name(key) for key in item)
            waiting += item.values()
        elif isinstance(item, list):
            plain = True
            waiting += item
        else:
            plain = item is None or (isinstance(item, int | float) and item <= 10**12)
        if not plain:
            return False
    return True


def _occurs(texts: Collection[str], value: Any) -> bool:
    try:
        written = orjson.dumps(value)
    except TypeError:
        return bool(texts)
    return any(text.encode("utf-8", "surrogatepass") in written for text in texts)


def _spellings(known: Collection[str]) -> set[str]:
    """Each string as itself and as JSON may write it."""
    long = [text for text in known if len(text) >= SHORTEST_KNOWN]
    return {*long, *(json.dumps(text)[1:-1] for text in long), *(json.dumps(text, ensure_ascii=False)[1:-1] for text in long)}


def _clean_texts(value: Any) -> set[str]:
    """The strings in which nothing matches, found by searching all of them as one text: a search each would cost ten times more."""
    texts: list[str] = []
    waiting = [value]
    parts = 0
    while waiting:
        parts += 1
        if parts > _MOST_PARTS:
            raise ValueError("a value without end, or nobody's payload")
        item = waiting.pop()
        if isinstance(item, str):
            texts.append(item)
        elif isinstance(item, dict):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item
    joined = "\0".join(texts).encode("utf-8", "surrogatepass")
    ends = list(accumulate(len(text) + 1 if text.isascii() else len(text.encode("utf-8", "surrogatepass")) + 1 for text in texts))
    suspect: set[str] = set()
    for pattern in (scanning.any_secret(), scanning.card_number()):
        position = 0
        # A match may run on into the next string, so the search resumes where that begins and not where the match ends.
        while position < len(joined) and (hit := pattern.search(joined, position)) is not None:
            index = bisect.bisect_right(ends, hit.start())
            suspect.add(texts[index])
            position = ends[index]
    return set(texts) - suspect


class _Walk:
    """Copies a value, masking. `seen` collects the strings that stood under a configured field."""

    def __init__(self, fields: frozenset[str], clean: set[str]) -> None:
        self.fields = fields
        self.clean = clean
        self.seen: set[str] = set()

    def value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return self.mapping(value)
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if isinstance(value, int) and value > 10**12:
            masked = scanning.scrub(str(value))
            return value if masked.isdigit() else masked
        return value if not isinstance(value, bytes | bytearray | memoryview) else self.text(bytes(value).decode("utf-8", "replace"))

    def mapping(self, value: dict[Any, Any]) -> dict[Any, Any]:
        out: dict[Any, Any] = {}
        for key, item in value.items():
            name = self.text(key) if isinstance(key, str) else key
            if name in out:
                name = f"{name}#{len(out)}"
            if isinstance(key, str) and key.lower() in self.fields:
                out[name] = self.field(item, f"[redacted:{key.lower()}]")
            elif isinstance(key, str) and is_secret_name(key) and not (isinstance(item, dict) and _SCHEMA_WORDS & item.keys()):
                out[name] = _mask_leaves(item, f"[redacted:{key.lower()}]")
            else:
                out[name] = self.value(item)
        return out

    def field(self, item: Any, mask: str) -> Any:
        if item is None or item == mask:
            return item
        self.collect(item)
        return mask

    def text(self, text: str) -> str:
        """JSON inside a string is a value too: tools answer with it, and names are what `fields` goes by."""
        if (text[:1] + text.rstrip()[-1:] in ("{}", "[]", '""')) and len(text) > 1:
            try:
                inner = json.loads(text, object_pairs_hook=_unique)
            except ValueError:
                inner = None
            if inner is not None:
                self.clean |= _clean_texts(inner)
                masked = self.value(inner)
                return text if masked == inner else json.dumps(masked, ensure_ascii=False)
        if self.fields:
            text = _field_in_text(self.fields).sub(self.field_in_text, text)
        return text if text in self.clean else scanning.scrub(text)

    def field_in_text(self, found: re.Match[str]) -> str:
        mask = f"[redacted:{found['field'].lower()}]"
        value = found["value"].strip("\\\"'")
        if value == mask:
            return found[0]
        self.collect(value)
        return f'{found["name"]}"{mask}"'

    def collect(self, item: Any) -> None:
        if isinstance(item, str):
            self.seen.add(item)
        elif isinstance(item, dict):
            # "country" is a word, "card_8897086" is somebody's card.
            self.collect([key for key in item if isinstance(key, str) and sum(map(str.isdigit, key)) >= 3])
            self.collect(list(item.values()))
        elif isinstance(item, list | tuple):
            for part in item:
                self.collect(part)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the same key twice: treat it as text, or the first value would escape")
    return found


def _mask_leaves(item: Any, mask: str) -> Any:
    if isinstance(item, dict):
        return {key: _mask_leaves(inner, mask) for key, inner in item.items()}
    if isinstance(item, list | tuple):
        return [_mask_leaves(inner, mask) for inner in item]
    return item if item is None or isinstance(item, bool) or item == "" else mask


def _without(value: Any, known: list[str]) -> Any:
    if isinstance(value, str):
        for text in known:
            if text in value:
                value = value.replace(text, "[redacted:known]")
        return value
    if isinstance(value, dict):
        return {_without(key, known): _without(item, known) for key, item in value.items()}
    return [_without(item, known) for item in value] if isinstance(value, list) else value


@functools.lru_cache(maxsize=256)
def _field_in_text(fields: frozenset[str]) -> re.Pattern[str]:
    """`"email": "..."` in text that is not whole JSON, escaped or not. Linear: nothing here can be matched in two ways."""
    names = "|".join(sorted(map(re.escape, fields), key=len, reverse=True))
    return re.compile(
        rf"""(?i)(?P<name>(?<![\w-])(?P<field>{names})\\*["']?[ \t]{{0,8}}[:=][ \t]{{0,8}})"""
        r"""(?P<value>\\"[^"\\]*+\\"?|"(?:[^"\\]|\\.)*+"?|'[^'\n]*+'?|[^\s,;{}\[\]"'\\]++)"""
    )
