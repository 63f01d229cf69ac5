import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import canonical, strict

SAFE = 2**53 - 1
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
leaves = st.none() | st.booleans() | st.integers(-SAFE, SAFE) | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5), max_leaves=25)


def refusal(raw, **limits):
    with pytest.raises(strict.Malformed) as caught:
        strict.parse(raw, **limits)
    json.dumps(caught.value.as_dict()).encode()
    return caught.value


@given(values, st.booleans())
@settings(max_examples=300, deadline=None)
def test_every_safe_value_comes_through_unchanged(value, ascii_only):
    assert strict.parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(values)
@settings(max_examples=100, deadline=None)
def test_canonical_text_is_safe_to_parse(value):
    try:
        parsed = strict.parse(canonical.encode(value))
    except strict.IntegerOutOfRange:
        return  # a float beyond 2^53 is written like an integer, which is what is refused
    assert canonical.encode(parsed) == canonical.encode(value)


@given(st.binary(max_size=200) | st.text('{}[]":,\\ntrue0-1eE.u', max_size=120).map(str.encode))
@settings(max_examples=600, deadline=None)
def test_any_bytes_parse_or_are_refused_and_never_more_is_accepted_than_json_accepts(raw):
    try:
        value = strict.parse(raw)
    except strict.Malformed:
        return
    assert json.loads(raw) == value


REFUSED = {
    "malformed_json": [
        b"",
        b" ",
        b"{",
        b"[1,]",
        b"{'a':1}",
        b"[1] 2",
        b'{"a":1,}',
        b"tru",
        b'"\x01"',
        b'"\\x"',
        b'"abc',
        b"01",
        b"+1",
        b".5",
        b"\xef\xbb\xbf{}",
        b'{"a"}',
        b"[}",
        b'["' + b"[" * 100,
    ],
    "duplicate_key": [b'{"a":1,"a":2}', b'[{"b":{"a":1,"\\u0061":1}}]', b'{"":0,"":0}'],
    "not_finite": [b"NaN", b"[Infinity]", b'{"a":-Infinity}', b"1e400", b"[-1e999]"],
    "integer_out_of_range": [b"9007199254740992", b"[-9007199254740992]", b'{"n":18446744073709551616}', b"1" * 5000],
    "too_deep": [b"[" * 33 + b"]" * 33, b"[" * 1000 + b"]" * 1000, b'{"a":' * 100_000, b"[" * 500_000, b'["\\"[",' + b"[" * 32 + b"]" * 33],
    "too_large": [b" " * (1 << 20) + b"1"],
    "string_too_long": [
        b'"' + b"a" * (256 * 1024 + 1) + b'"',
        b'{"' + b"k" * (256 * 1024 + 1) + b'":1}',
        ('"' + "é" * (128 * 1024 + 1) + '"').encode(),
    ],
    "too_many_keys": [
        json.dumps({str(n): n for n in range(10_001)}).encode(),
        json.dumps([{str(n): n for n in range(100)}] * 101).encode(),
    ],
    "array_too_long": [json.dumps([0] * 1001).encode(), json.dumps({"a": [[1] * 1001]}).encode()],
    "not_utf8": [b'"\xff"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', '{"a":1}'.encode("utf-16")],
    "nul_character": [b'{"a":"\\u0000"}', b'{"\\u0000":1}', b"\0", b'"a\0b"'],
    "lone_surrogate": [b'"\\ud800"', b'{"\\udc00":1}', b'["\\ud83d\\ud83d"]'],
}


@pytest.mark.parametrize(
    ("code", "raw"), [(code, raw) for code, raws in REFUSED.items() for raw in raws], ids=lambda value: repr(value[:24])
)
def test_each_trick_is_refused_by_its_name(code, raw):
    assert refusal(raw).code == code


def test_a_refusal_says_where():
    assert refusal(b'{"a":"\xc3\xa9", !}').details == {"offset": 11}
    assert refusal(b'{"a/b":[{"c":"\\ud800"}]}').details == {"pointer": "/a~1b/0/c"}
    assert refusal(b'{"a":1,"a":2}').details == {"key": "a"}
    assert refusal(b'{"a":[1,1,1]}', max_array=2).as_dict() | {"message": ""} == {
        "code": "array_too_long", "message": "", "rule": "", "current": 3, "limit": 2, "who": "", "next": "", "pointer": "/a",
    }  # fmt: skip


def test_the_edges_are_inside():
    assert strict.parse(b"[9007199254740991,-9007199254740991]") == [SAFE, -SAFE]
    assert strict.parse(b"[" * 32 + b"]" * 32)
    assert strict.parse(json.dumps([0] * 1000).encode())
    assert strict.parse(json.dumps({str(n): n for n in range(10_000)}).encode())
    assert strict.parse(b'"' + b"a" * (256 * 1024) + b'"')
    assert strict.parse(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_brackets_in_strings_are_not_nesting():
    assert strict.parse(json.dumps(["[" * 50, '"{{{{' * 50, "\\"]).encode()) == ["[" * 50, '"{{{{' * 50, "\\"]


def test_limits_are_the_callers():
    assert refusal(b"[[1]]", max_depth=1).code == "too_deep"
    assert refusal(b'{"a":1,"b":2}', max_keys=1).code == "too_many_keys"
    assert refusal(b'["abc"]', max_string=2).code == "string_too_long"
    assert strict.parse(json.dumps([0] * 5000).encode(), max_array=5000)


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "raw",
    [
        b'"' + b'\\"' * 500_000,
        b"[" * 40 + b'"\\' * 400_000,
        b'{"a":' + b"9" * 1_000_000 + b"}",
        b"[" + b'"",' * 300_000,
        b"[1e" + b"9" * 1_000_000,
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_no_body_costs_more_than_its_length(raw):
    refusal(raw)
