"""Conditions in words: true on both sides of each border, and silent where a border cannot be read off the rules."""

from collections.abc import Mapping
from typing import Any

import pytest

from agents import access, cedar, conditions, vocabulary

SCHEMA = {
    "type": "object",
    "properties": {
        "amount": {"type": "number"},
        "count": {"type": "integer", "minimum": 0, "maximum": 40},
        "currency": {"type": "string", "enum": ["EUR", "USD", "JPY"]},
        "note": {"type": "string"},
        "urgent": {"type": "boolean"},
        "amount_cents": {"type": "integer"},
    },
    "required": ["amount", "count", "currency", "urgent", "amount_cents"],
}
WORDS = vocabulary.Vocabulary([vocabulary.ToolFacts("pay", True, "high", False, "money", "bank", "E1", SCHEMA)])
AGENT = vocabulary.AgentFacts("teller", "bounded", "GATED", "acme", "otto")
ALL = '@id("all") permit (principal, action == Action::"pay", resource);\n'


def forbid(clause: str) -> str:
    scope = 'forbid (principal, action == Action::"pay", resource)'
    return f'@id("one") {scope} when {{ {clause} }} unless {{ context.approvals >= 1 }};\n'


def cases(*rules: str) -> list[tuple[str, str]]:
    compiled = cedar.compile(ALL + "".join(rules), WORDS)
    fresh, _ = access._verdicts(compiled, AGENT, "pay", 12, 3)

    def tier(arguments: Mapping[str, Any]) -> str:
        return compiled.decide(vocabulary.Request(AGENT, "pay", arguments)).tier

    found = conditions.cases(compiled, hang=fresh.open, schema=SCHEMA, tier=tier)
    for case in found:
        if case.example:
            assert tier(conditions.filled(SCHEMA, dict(case.example))) == case.tier or " and " in case.when
    return [(case.when, case.tier) for case in found]


@pytest.mark.parametrize(
    ("clause", "said"),
    [
        ("context.args.count > 10", [("count is 10 or less", "AUTO"), ("count is more than 10", "ONE")]),
        ("context.args.count >= 10", [("count is less than 10", "AUTO"), ("count is 10 or more", "ONE")]),
        ("5 > context.args.count", [("count is less than 5", "ONE"), ("count is 5 or more", "AUTO")]),
        ("context.args.count == 7", [("count is less than 7", "AUTO"), ("count is 7", "ONE"), ("count is more than 7", "AUTO")]),
        (
            "context.args.count >= 3 && context.args.count <= 5",
            [("count is less than 3", "AUTO"), ("count is 3 to 5", "ONE"), ("count is more than 5", "AUTO")],
        ),
        (
            'context.args.amount.greaterThan(decimal("49.5"))',
            [("amount is 49.5 or less", "AUTO"), ("amount is more than 49.5", "ONE")],
        ),
        (
            "context.args.amount_cents > 50000",
            [("amount is $500.00 or less", "AUTO"), ("amount is more than $500.00", "ONE")],
        ),
        ("context.args.urgent", [("urgent is true", "ONE"), ("urgent is false", "AUTO")]),
        ("!context.args.urgent", [("urgent is true", "AUTO"), ("urgent is false", "ONE")]),
        ('context.args.currency != "EUR"', [('currency is "EUR"', "AUTO"), ('currency is "USD" or is "JPY"', "ONE")]),
        ('["EUR", "USD"].contains(context.args.currency)', [('currency is "EUR" or is "USD"', "ONE"), ('currency is "JPY"', "AUTO")]),
        (
            'context.args has note && context.args.note == "x"',
            [('note is "x"', "ONE"), ("note is anything else or is not given", "AUTO")],
        ),
        ("context.args.count > 100", []),  # its schema ends at 40, so it never holds; one outcome needs no condition
    ],
)
def test_one_argument(clause: str, said: list[tuple[str, str]]) -> None:
    found = cases(forbid(clause))
    assert found == said or (not said and {tier for _, tier in found} <= {"AUTO"})


def test_two_arguments_are_said_together() -> None:
    assert cases(forbid('context.args.currency == "EUR" && context.args.count > 10')) == [
        ('currency is "EUR" and count is 10 or less', "AUTO"),
        ('currency is "EUR" and count is more than 10', "ONE"),
        ('currency is "USD" or is "JPY"', "AUTO"),
    ]


@pytest.mark.parametrize(
    "clause",
    [
        'context.args has note && context.args.note like "*refund*"',
        "context.args.count + 1 > 10",
        "context.args.count > context.args.amount_cents",
        'context.args.currency == "EUR" && context.args.urgent && context.args.count > 3',
    ],
)
def test_what_shows_no_border_is_not_guessed(clause: str) -> None:
    assert cases(forbid(clause)) == []
