"""One text for one value: RFC 8785. Digests of plans, schemas and log entries are taken over these bytes and nothing else."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
import rfc8785

# orjson sorts keys by UTF-8 and JCS by UTF-16: equal only for ASCII keys. Floats are written differently. 53 bits hold on both sides.
_OPTIONS = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_STRICT_INTEGER
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


_EXACT = frozenset({str, int, bool, type(None)})


def encode(value: Any) -> bytes:
    """The canonical bytes. ValueError or TypeError for NaN, infinities, integers beyond 2^53-1, lone surrogates and foreign types."""
    try:
        quick = orjson.dumps(value, option=_OPTIONS)
    except TypeError:
        quick = b""
    if quick and agrees(value):
        return quick
    try:
        return rfc8785.dumps(value)
    except RecursionError:
        raise ValueError("nested too deeply for canonical JSON") from None


def text(value: Any) -> str:
    """The canonical bytes as text."""
    return encode(value).decode()


def has_floats(value: Any) -> bool:
    """Whether a number in the value is not an integer."""
    if isinstance(value, float):
        return True
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return any(map(has_floats, items))


def digest(value: Any, *, domain: str = "") -> str:
    """Hexadecimal SHA-256 over domain, a zero byte and the canonical bytes. The domain keeps two uses of one value apart."""
    return hashlib.sha256(domain.encode() + b"\0" + encode(value)).hexdigest()


def agrees(value: Any) -> bool:
    """Whether orjson's bytes are JCS: only exact JSON types, no floats, ASCII keys."""
    waiting = [value]
    for item in waiting:  # it grows meanwhile
        kind = type(item)
        if kind is dict:
            if not all(map(str.isascii, item)):
                return False
            waiting += item.values()
        elif kind is list or kind is tuple:
            waiting += item
        elif kind not in _EXACT:
            return False
    return True
