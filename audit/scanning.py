"""Secrets in a text: which shapes and places are looked for (`shapes`), which hits are credible, and what is put in their stead."""

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import re2  # type: ignore[import-untyped]

from audit import shapes

_NOT_A_SECRET = re.compile(
    rb"""(?ix) \$.* | <.* | \{.* | %.* | \[.* | .*\*{3}.* | .*x{6}.* | x+ | .*\.{3}.* | .*redacted.* | .*placeholder.* | your.* | .*_here .*
    | null | none | true | false | undefined | string | str | text | required | invalid | incorrect | missing | optional | expired | changed
    | reset | forgotten | wrong | test | pass | password | passwd | pwd | secret | token | user | username | yyy | changeme | example
    | value"""
)
_QUOTED = {b'"': re.compile(rb'[^"\r\n]*+'), b"'": re.compile(rb"[^'\r\n]*+")}
_RUN = re.compile(rb"[0-9]{13,}")  # longer than a card's is not a card's
_UNQUOTED = re.compile(rb"[^\s\"',;<>()]*+")


class _Rule(NamedTuple):
    name: str
    shape: Any
    credible: Callable[[bytes], bool]


def may_hide(text: bytes) -> bool:
    """Whether a secret could be in this JSON text. A long number alone is none, unless a card could bear it."""
    if not _hint().search(text):
        return False
    return bool(_trigger().search(text)) or any(len(run) <= 19 and _is_card(run) for run in _RUN.findall(text))


def scrub(text: str) -> str:
    """Every shape and place in one text. A hit that is a placeholder is stepped over, not trusted to hide a later one."""
    raw = text.encode("utf-8", "surrogatepass")
    out: list[bytes] = []
    done = position = 0
    while (hit := any_secret().search(raw, position)) is not None:
        start, end, name = _classify(raw, *hit.span())
        if name:
            out += (raw[done:start], b"[redacted:", name.encode(), b"]")
            done = position = end
        else:
            position = max(start, hit.start() + 1)
    out.append(raw[done:])
    scrubbed = b"".join(out)
    if len(scrubbed) >= 13:
        scrubbed = card_number().sub(lambda found: b"[redacted:card_number]" if _is_card(found.group()) else found.group(), scrubbed)
    return text if scrubbed == raw else scrubbed.decode("utf-8", "surrogatepass")


def _classify(raw: bytes, start: int, end: int) -> tuple[int, int, str]:
    """(from, to, rule) of the secret in a hit; no rule when it is a placeholder, and then `from` is where to look on."""
    resume = start + 1
    rules = _rules()
    for index in sorted(_which().Match(raw[start:end])):
        rule = rules[index]
        found = rule.shape.match(raw, start)
        if found is None:
            continue
        span = next((found.span(group) for group in range(1, len(found.groups()) + 1) if found.group(group)), found.span())
        if rule.credible(raw[slice(*span)]):
            return span[0], _end_of(raw, *span), rule.name
        # A token holds nothing but itself; a value may hold the next name.
        resume = max(resume, span[1] if span == found.span() else span[0])
    return resume, resume, ""


def _end_of(raw: bytes, start: int, end: int) -> int:
    if end - start < shapes.LONGEST:
        return end
    quote = raw[start - 1 : start]
    rest = _QUOTED.get(quote, _UNQUOTED).match(raw, end)
    return rest.end() if rest else end


def _token(secret: bytes) -> bool:
    return len(set(secret)) >= 8 and secret.lower().count(b"x") * 2 < len(secret)


def _phrase(secret: bytes) -> bool:
    return _NOT_A_SECRET.fullmatch(secret) is None and len(set(secret)) >= 3


def _machine_made(secret: bytes) -> bool:
    """Long enough, varied enough, and not a word: what a person writes after `token:` in prose is not masked."""
    if len(secret) < 8 or len(set(secret)) < 6 or b" " in secret or _NOT_A_SECRET.fullmatch(secret) is not None:
        return False
    return not secret.isalpha() or not (secret.islower() or secret.isupper() or secret.istitle())


def _login(secret: bytes) -> bool:
    """`curl -u name:secret`: both halves given, and at least one of them not a stand-in."""
    plain = secret.translate(None, b"\"'")
    if plain.startswith((b"<", b"{{", b"$")) or b"{{" in plain:
        return False
    name, colon, word = plain.partition(b":")
    said = (word or name).strip(b"{}") if b"$" not in (word or name)[:1] else b"$"
    return bool(colon) and len(said) >= 4 and _NOT_A_SECRET.fullmatch(said) is None


@functools.cache
def _options(*, capture: bool) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes in, bytes out: no offsets to translate
    options.never_capture = not capture
    options.log_errors = False
    options.max_mem = 32 << 20
    return options


@functools.cache
def _rules() -> tuple[_Rule, ...]:
    credible = {"connection_string": _phrase, "curl_user": _login, "password": _phrase}
    tokens = [_Rule(name, re2.compile(shape.encode(), _options(capture=True)), _token) for name, shape in shapes.TOKENS.items()]
    places = [
        _Rule(name, re2.compile(shape.encode(), _options(capture=True)), credible.get(name, _machine_made))
        for name, shape in shapes.PLACES.items()
    ]
    return (*tokens, *places)


@functools.cache
def _which() -> Any:
    """Which rules match at the start of a hit, in one look: asking forty in turn would cost more than the search."""
    found = re2.Set.MatchSet(_options(capture=False))
    for shape in (*shapes.TOKENS.values(), *shapes.PLACES.values()):
        found.Add(shape.encode())
    found.Compile()
    return found


@functools.cache
def any_secret() -> Any:
    every = (*shapes.TOKENS.values(), *shapes.PLACES.values())
    return re2.compile("|".join(f"(?:{shape})" for shape in every).encode(), _options(capture=False))


@functools.cache
def _hint() -> Any:
    return re2.compile(f"{shapes.TRIGGER}|{shapes.LONG_NUMBER}".encode(), _options(capture=False))


@functools.cache
def _trigger() -> Any:
    return re2.compile(shapes.TRIGGER.encode(), _options(capture=False))


@functools.cache
def card_number() -> Any:
    return re2.compile(shapes.CARD.encode(), _options(capture=False))


def _is_card(found: bytes) -> bool:
    """A number a card network could have issued, with a right check digit: order numbers and timestamps seldom are."""
    digits = [byte - 48 for byte in found if 48 <= byte <= 57]
    first, size = digits[0], len(digits)
    two = first * 10 + digits[1]
    issued = (
        (first == 4 and size in (13, 16, 19))
        or (size == 16 and (51 <= two <= 55 or 22 <= two <= 27 or two in (35, 60, 62, 64, 65)))
        or (size == 15 and two in (34, 37))
        or (size == 14 and two in (30, 36, 38))
    )
    if not issued or len(set(digits)) < 2:
        return False
    doubled = [digit * 2 - 9 * (digit > 4) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0
