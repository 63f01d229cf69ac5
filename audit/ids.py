"""Names for rows: a prefix that says the noun, then Crockford base32 that can be read aloud. No order, no meaning."""

import hashlib
import re
import secrets

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 10
# 50 bits are plenty for nouns people make. Rows that traffic makes reach 10^9, where 50 bits would collide hundreds of times.
LONG_LENGTH = 14
LONG = frozenset({"C", "ST", "EFF", "PLN", "V", "EV", "W"})

_PREFIX = re.compile(r"[A-Z]{1,4}")
_ID = re.compile(rf"([A-Z]{{1,4}})-(?:[{ALPHABET}]{{{LENGTH}}}|[{ALPHABET}]{{{LONG_LENGTH}}})")


def new(prefix: str) -> str:
    """A fresh, unguessable identifier such as `R-7F3K2QW9MX`. ValueError when the prefix is not 1-4 capital letters."""
    if _PREFIX.fullmatch(prefix) is None:
        raise ValueError(f"not an id prefix: {prefix!r}")
    length = LONG_LENGTH if prefix in LONG else LENGTH
    return f"{prefix}-{''.join([ALPHABET[byte & 31] for byte in secrets.token_bytes(length)])}"


def of(prefix: str, text: str) -> str:
    """The one identifier that a text has: for nouns whose name is unique in an installation."""
    if _PREFIX.fullmatch(prefix) is None:
        raise ValueError(f"not an id prefix: {prefix!r}")
    length = LONG_LENGTH if prefix in LONG else LENGTH
    return f"{prefix}-{''.join([ALPHABET[byte & 31] for byte in hashlib.sha256(text.encode()).digest()[:length]])}"


def prefix_of(text: str) -> str:
    """The prefix of a well-formed identifier, or "" for anything else: what a door asks before it queries."""
    found = _ID.fullmatch(text)
    return found.group(1) if found else ""
