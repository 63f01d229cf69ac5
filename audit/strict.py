"""Strict JSON for everything that arrives: what other parsers quietly accept or alter is refused here, with its name.

A body is parsed before anyone is known to have sent it, so no input may cost more than its own length.
"""

import json
import math
import re
from collections.abc import Iterable
from itertools import accumulate
from typing import Any, NoReturn

from audit import outcomes

SAFE_INTEGER = 2**53 - 1

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_A_BRACKET = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class Malformed(outcomes.Refused):
    """The body is not JSON; the subclasses say that it is JSON nobody should act on."""

    code = "malformed_json"


class DuplicateKey(Malformed):
    code = "duplicate_key"


class NotFinite(Malformed):
    code = "not_finite"


class IntegerOutOfRange(Malformed):
    code = "integer_out_of_range"


class TooDeep(Malformed):
    code = "too_deep"


class TooLarge(Malformed):
    code = "too_large"


class StringTooLong(Malformed):
    code = "string_too_long"


class TooManyKeys(Malformed):
    code = "too_many_keys"


class ArrayTooLong(Malformed):
    code = "array_too_long"


class NotUtf8(Malformed):
    code = "not_utf8"


class NulCharacter(Malformed):
    code = "nul_character"


class LoneSurrogate(Malformed):
    code = "lone_surrogate"


def parse(
    raw: bytes,
    *,
    max_bytes: int = 1 << 20,
    max_depth: int = 32,
    max_keys: int = 10_000,
    max_string: int = 256 * 1024,
    max_array: int = 1000,
) -> Any:
    """The value of a JSON text. Raises Malformed, and nothing else, for every body that is not safe to act on."""
    if len(raw) > max_bytes:
        raise TooLarge(f"The body is larger than {max_bytes} bytes.", current=len(raw), limit=max_bytes)
    text = _decode(raw)
    if raw.count(b"[") + raw.count(b"{") > max_depth:
        _refuse_depth(raw, max_depth)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode())
        raise Malformed(f"Not JSON: {error.msg} at byte {offset}.", offset=offset) from None
    # The counts are of the text, so they can only be too high: most bodies end here, without a walk.
    if b"\\u" in raw or len(raw) > max_string or raw.count(b",") >= max_array or raw.count(b":") > max_keys:
        _Walk(max_keys=max_keys, max_string=max_string, max_array=max_array).through(value)
    return value


def _decode(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotUtf8(f"The body is not UTF-8 at byte {error.start}.", offset=error.start) from None
    if b"\0" in raw:
        offset = raw.index(b"\0")
        raise NulCharacter(f"The body holds a NUL character at byte {offset}.", offset=offset)
    return text


def _refuse_depth(raw: bytes, max_depth: int) -> None:
    """Before parsing: the standard parser recurses. An open string at the end is skipped whole; the parser will name it."""
    brackets = _STRING.sub(b"", raw).translate(None, _NOT_A_BRACKET)
    deepest = max(accumulate(map(_STEP.__getitem__, brackets)), default=0)
    if deepest > max_depth:
        raise TooDeep(f"The body is nested deeper than {max_depth}.", current=deepest, limit=max_depth)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DuplicateKey("An object names the same key twice.", key=key[:64].encode("utf-8", "replace").decode())
            seen.add(key)
    return found


def _integer(literal: str) -> int:
    # Sixteen digits and a sign; longer literals never reach int(), whose cost grows with the square of the length.
    value = int(literal) if len(literal) <= 17 else SAFE_INTEGER + 1
    if not -SAFE_INTEGER <= value <= SAFE_INTEGER:
        raise IntegerOutOfRange("An integer is beyond 2^53-1; send it as a string.", current=literal[:40], limit=SAFE_INTEGER)
    return value


def _float(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise NotFinite("A number is too large to be held.", current=literal[:40])
    return value


def _constant(name: str) -> NoReturn:
    raise NotFinite(f"{name} is not a JSON number.", current=name)


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_int=_integer, parse_float=_float, parse_constant=_constant)


class _Walk:
    """One pass without recursion over the parsed value. `parents` leads from each container to its pointer."""

    def __init__(self, *, max_keys: int, max_string: int, max_array: int) -> None:
        self.max_keys = max_keys
        self.max_string = max_string
        self.max_array = max_array
        self.keys = 0

    def through(self, value: Any) -> None:
        waiting: list[tuple[Any, Any]] = [(value, None)]
        while waiting:
            item, path = waiting.pop()
            children: Iterable[tuple[Any, Any]] = ()
            if isinstance(item, str):
                self.string(item, path)
            elif isinstance(item, dict):
                self.names(item, path)
                children = item.items()
            elif isinstance(item, list):
                self.length(item, path)
                children = enumerate(item)
            waiting.extend((child, (path, name)) for name, child in children if isinstance(child, str | dict | list))

    def names(self, item: dict[str, Any], path: Any) -> None:
        self.keys += len(item)
        if self.keys > self.max_keys:
            raise TooManyKeys(f"The body names more than {self.max_keys} keys.", limit=self.max_keys)
        for key in item:
            self.string(key, path)

    def length(self, item: list[Any], path: Any) -> None:
        if len(item) > self.max_array:
            message = f"An array holds more than {self.max_array} items."
            raise ArrayTooLong(message, current=len(item), limit=self.max_array, pointer=_pointer(path))

    def string(self, text: str, path: Any) -> None:
        if "\0" in text:
            raise NulCharacter("A string holds a NUL character.", pointer=_pointer(path))
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise LoneSurrogate("A string holds half of a surrogate pair.", pointer=_pointer(path)) from None
        if size > self.max_string:
            message = f"A string is longer than {self.max_string} bytes."
            raise StringTooLong(message, current=size, limit=self.max_string, pointer=_pointer(path))


def _pointer(path: Any) -> str:
    parts: list[str] = []
    while path is not None:
        path, name = path
        parts.append(str(name).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in reversed(parts)).encode("utf-8", "replace").decode()
