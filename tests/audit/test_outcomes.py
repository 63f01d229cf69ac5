import json
from decimal import Decimal

from audit import outcomes


class TooMuch(outcomes.Refused):
    code = "too_much"


def test_a_refusal_says_what_stood_in_the_way_and_what_to_do_next():
    no = TooMuch("Too much.", rule="cap", current=12, limit=10, who="fiona", next_step="ask", window="month")
    assert no.as_dict() == {
        "code": "too_much",
        "message": "Too much.",
        "rule": "cap",
        "current": 12,
        "limit": 10,
        "who": "fiona",
        "next": "ask",
        "window": "month",
    }
    assert str(no) == "Too much."


def test_details_become_json_without_floats_or_numbers_a_peer_would_round():
    no = TooMuch("x", tools={"b", "a"}, price=Decimal("1.50"), ratio=0.5, big=2**60, pair=(1, None, True), deep={1: [2.5]})
    said = json.loads(json.dumps(no.as_dict()))
    assert said["tools"] == ["a", "b"]
    assert said["price"] == "1.50"
    assert said["ratio"] == "0.5"
    assert said["big"] == str(2**60)
    assert said["pair"] == [1, None, True]
    assert said["deep"] == {"1": ["2.5"]}


def test_a_detail_cannot_hide_the_code():
    no = TooMuch("x", **{"code": "fine", "next": "nothing"})
    assert no.as_dict()["code"] == "too_much"
    assert no.as_dict()["next"] == ""
