import enum
import hashlib
import json
import math
import uuid

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import canonical

SAFE = 2**53 - 1
numbers = st.integers(-SAFE, SAFE) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(codec="utf-8"), max_size=12)
leaves = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=25,
)


@given(values)
@settings(max_examples=600, deadline=None)
def test_it_agrees_with_the_reference_for_every_json_value(value):
    assert canonical.encode(value) == rfc8785.dumps(value)


@given(values)
@settings(max_examples=200, deadline=None)
def test_canonical_text_reads_back_as_the_same_canonical_text(value):
    assert canonical.encode(json.loads(canonical.text(value), parse_int=_number)) == canonical.encode(value)


def _number(literal):
    return int(literal) if abs(int(literal)) <= SAFE else float(literal)


def test_keys_are_ordered_by_utf_16_not_by_code_point():
    # U+FB33 comes before U+1F600 by code point and after it in UTF-16: where orjson alone would be wrong.
    assert canonical.text({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'


@pytest.mark.parametrize("control", [chr(code) for code in range(0x20)] + ["\x7f", "\u2028", '"', "\\", "/"])
def test_the_fast_path_escapes_as_the_reference_does(control):
    assert canonical.encode({"k": control}) == rfc8785.dumps({"k": control})


def test_one_and_one_point_zero_are_one_number():
    assert canonical.encode([1, -0.0, 1e21, 0.1]) == canonical.encode([1.0, 0, 1e21, 0.1]) == b"[1,0,1e+21,0.1]"
    assert canonical.digest({"a": 5}) == canonical.digest({"a": 5.0})


class Colour(enum.StrEnum):
    RED = "red"


def test_text_choices_are_their_text():
    assert canonical.encode({"c": Colour.RED}) == b'{"c":"red"}'


def endless():
    loop: list[object] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        [-math.inf],
        2**53,
        -(2**53),
        {"n": 2**64},
        "\ud800",
        {"\udfff": 1},
        {1: 2},
        b"x",
        {1, 2},
        uuid.UUID(int=7),
        object(),
        endless(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_carry_faithfully_has_no_canonical_form(value):
    with pytest.raises((TypeError, ValueError)):
        canonical.encode(value)


def test_a_digest_is_bound_to_its_domain():
    assert canonical.digest({"a": 1}, domain="plan") == hashlib.sha256(b'plan\0{"a":1}').hexdigest()
    assert canonical.digest({"a": 1}, domain="plan") != canonical.digest({"a": 1})
