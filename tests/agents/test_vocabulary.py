"""The words of policies: which arguments they can see, in which type, and how values are put in them exactly or not at all."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import shapes, vocabulary

AGENT = vocabulary.AgentFacts("refunds", "bounded", "GATED", "acme", "otto")
TEXT = {"type": "string"}


def tool(name: str = "refund", **schema: object) -> vocabulary.ToolFacts:
    return vocabulary.ToolFacts(name, True, "high", False, "payments", "bank", "E1", {"type": "object", **schema})


def shape_of(schema: object, *, required: bool = True) -> dict[str, object] | None:
    """The Cedar type of one argument `x`, or None when no policy can see it."""
    words = vocabulary.Vocabulary([tool(properties={"x": schema}, required=["x"] if required else [])])
    attributes = words.schema[""]["actions"]["refund"]["appliesTo"]["context"]["attributes"]["args"]["attributes"]
    assert ("x" in attributes) == ("x" not in words.invisible("refund"))
    found: dict[str, object] | None = attributes.get("x")
    return found


def context(words: vocabulary.Vocabulary, arguments: dict[str, object]) -> dict[str, object]:
    found: dict[str, object] = words.context(vocabulary.Request(AGENT, "refund", arguments))["args"]
    return found


def decimal(text: str) -> dict[str, object]:
    return {"__extn": {"fn": "decimal", "arg": text}}


# The schema


def test_every_tool_is_an_action_in_its_group_and_models_have_their_own() -> None:
    reads = dataclasses.replace(tool("look"), is_write=False)
    words = vocabulary.Vocabulary([tool(), reads], [vocabulary.ModelFacts("gpt", "openai")])
    actions = words.schema[""]["actions"]
    assert actions["refund"]["memberOf"] == [{"id": "write"}]
    assert actions["look"]["memberOf"] == [{"id": "read"}]
    assert actions["read"]["memberOf"] == actions["write"]["memberOf"] == [{"id": "call"}]
    assert actions["model"]["appliesTo"]["resourceTypes"] == ["Model"]
    assert words.groups("look") == {"look", "read", "call"}
    assert words.groups("model") == {"model"}
    assert words.actions == ("model", "refund", "look")


@pytest.mark.parametrize("name", ["call", "read", "write", "model"])
def test_a_tool_may_not_bear_the_name_of_an_action_group(name: str) -> None:
    with pytest.raises(vocabulary.VocabularyRejected) as refusal:
        vocabulary.Vocabulary([tool(name)])
    assert refusal.value.as_dict()["code"] == "vocabulary_rejected"


def test_two_tools_may_not_share_a_name() -> None:
    with pytest.raises(vocabulary.VocabularyRejected, match="two tools"):
        vocabulary.Vocabulary([tool(), tool()])


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (TEXT, {"type": "String"}),
        ({"type": "integer"}, {"type": "Long"}),
        ({"type": "number"}, {"type": "Extension", "name": "decimal"}),
        ({"type": "boolean"}, {"type": "Boolean"}),
        ({"type": "array", "items": TEXT}, {"type": "Set", "element": {"type": "String"}}),
        ({"type": "array", "items": {"type": "integer"}}, {"type": "Set", "element": {"type": "Long"}}),
        ({"enum": ["a", "b"]}, {"type": "String"}),
        ({"const": 3}, {"type": "Long"}),
    ],
)
def test_json_types_become_cedar_types(schema: object, expected: dict[str, object]) -> None:
    assert shape_of(schema) == expected | {"required": True}


@pytest.mark.parametrize(
    "schema",
    [
        {"anyOf": [TEXT, {"type": "null"}]},
        {"oneOf": [{"type": "null"}, TEXT]},
        {"type": ["string", "null"]},
        {"type": "string", "nullable": True},
        {"enum": ["a", None]},
    ],
)
def test_what_may_be_null_is_optional_even_when_it_is_required(schema: object) -> None:
    assert shape_of(schema) == {"type": "String", "required": False}
    assert shape_of(TEXT, required=False) == {"type": "String", "required": False}


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"type": "array"},
        {"type": "array", "items": {"type": "number"}},
        {"type": "array", "items": {"type": ["string", "null"]}},
        {"type": "array", "items": {"type": "array", "items": TEXT}},
        {"type": "array", "items": {"type": "object", "properties": {"a": TEXT}}},
        {"type": "array", "prefixItems": [TEXT], "items": TEXT},
        {"type": "object"},
        {"type": "object", "properties": {"any": {}}},
        {"type": ["string", "integer"]},
        {"anyOf": [TEXT, {"type": "integer"}]},
        {"enum": ["a", 1]},
        {"enum": [1.5]},
        {"type": "null"},
        {"type": "file"},
        {"$ref": "https://example.org/x.json"},
        {"$ref": "#/properties/x"},
        {"$ref": "#/nowhere/at/all"},
    ],
)
def test_what_has_no_cedar_type_is_listed_as_invisible(schema: object) -> None:
    assert shape_of(schema) is None


def test_a_local_reference_is_followed_and_its_neighbours_count() -> None:
    schema = {
        "$defs": {"a/b": {"$ref": "#/$defs/money"}, "money": {"type": "number"}},
        "properties": {"x": {"$ref": "#/$defs/a~1b", "title": "X"}, "y": {"allOf": [{"$ref": "#/$defs/money"}]}},
    }
    shape, unseen = shapes.read(schema)
    assert [(f.name, f.shape) for f in shape.fields] == [("x", shapes.DECIMAL), ("y", shapes.DECIMAL)]
    assert unseen == ()


def test_records_nest_four_levels_and_what_lies_deeper_is_invisible() -> None:
    schema: dict[str, object] = {**TEXT}
    for _ in range(6):
        schema = {"type": "object", "properties": {"o": schema, "t": TEXT}, "additionalProperties": False}
    shape, unseen = shapes.read(schema)
    assert max(len(path) for path in shape.paths()) == 5
    assert unseen == ("o.o.o.o.o",)


def test_arguments_without_a_name_are_shown_as_a_star() -> None:
    address = {"type": "object", "properties": {"zip": TEXT}}
    assert shapes.read({"properties": {"to": address}})[1] == ("to.*",)
    assert shapes.read({"properties": {"to": address | {"additionalProperties": False}}})[1] == ()
    assert shapes.read({"properties": {"a": TEXT}, "additionalProperties": True})[1] == ("*",)
    assert shapes.read({"patternProperties": {"^x": TEXT}})[1] == ("*",)


@pytest.mark.parametrize("name", ["__extn", "__entity", "__expr"])
def test_an_argument_with_one_of_cedars_escape_names_is_invisible(name: str) -> None:
    words = vocabulary.Vocabulary([tool(properties={name: TEXT, "a": TEXT})])
    assert words.invisible("refund") == (name,)
    assert context(words, {name: {"fn": "decimal", "arg": "1.0"}, "a": "b"}) == {"a": "b"}


def test_cedar_accepts_the_schema_whatever_the_arguments_are_called() -> None:
    strange = ["", "a b", "size.screen", "ünï", '"', "context", "permit", "\\", "\n", "String", "if"]
    words = vocabulary.Vocabulary([tool(properties=dict.fromkeys(strange, TEXT))], [vocabulary.ModelFacts("m", "p")])
    schema = cedarpy.Schema.from_json_str(words.schema_text)
    request = vocabulary.Request(AGENT, "refund", dict.fromkeys(strange, "x"))
    answer = cedarpy.is_authorized(
        {
            "principal": {"type": "Agent", "id": AGENT.slug},
            "action": {"type": "Action", "id": "refund"},
            "resource": {"type": "Tool", "id": "refund"},
            "context": words.context(request),
        },
        'permit (principal, action, resource) when { context.args["a b"] == "x" && principal.owner == "otto" && !resource.reversible };',
        words.entities(agent=AGENT, action="refund"),
        schema,
    )
    assert answer.allowed, answer.diagnostics.errors


# The values


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, "5.0000"),
        (-0.0, "0.0000"),
        (19.99, "19.9900"),
        (-0.0001, "-0.0001"),
        (1e3, "1000.0000"),
        (Decimal("1.50"), "1.5000"),
        (922337203685477, "922337203685477.0000"),
    ],
)
def test_numbers_become_decimals_as_they_were_written(value: object, expected: str) -> None:
    assert shapes.represent(shapes.DECIMAL, value) == decimal(expected)


@pytest.mark.parametrize(
    "value", [0.00001, 0.1 + 0.2, 1e15, 922337203685477.6, float("inf"), float("nan"), "5", True, None, [], 10**400, Decimal("1e999999")]
)
def test_a_number_that_no_decimal_holds_exactly_is_refused_rather_than_rounded(value: object) -> None:
    with pytest.raises(shapes.Unrepresentable) as fault:
        shapes.represent(shapes.DECIMAL, value, at="amount")
    assert fault.value.argument == "amount"


@given(st.decimals(min_value=-(10**14), max_value=10**14, places=4))
def test_any_amount_with_four_places_survives_unchanged(amount: Decimal) -> None:
    assert Decimal(shapes.represent(shapes.DECIMAL, amount)["__extn"]["arg"]) == amount


@given(st.floats())
def test_a_float_is_either_exact_or_refused(value: float) -> None:
    try:
        text = shapes.represent(shapes.DECIMAL, value)["__extn"]["arg"]
    except shapes.Unrepresentable:
        return
    assert float(text) == value


def test_whole_numbers_fit_in_64_bits_or_are_refused() -> None:
    assert shapes.represent(shapes.LONG, 5.0) == 5
    assert shapes.represent(shapes.LONG, -(2**63)) == -(2**63)
    for value in (2**63, 5.5, True, "5", float("inf")):
        with pytest.raises(shapes.Unrepresentable):
            shapes.represent(shapes.LONG, value)


def test_null_and_missing_are_left_out_and_only_declared_arguments_are_shown() -> None:
    words = vocabulary.Vocabulary([tool(properties={"a": TEXT, "b": TEXT, "c": TEXT}, required=["a"])])
    assert context(words, {"a": "x", "b": None, "other": 1}) == {"a": "x"}


def test_a_fault_names_the_path_of_the_argument_and_never_its_value() -> None:
    to = {"type": "object", "properties": {"lines": {"type": "array", "items": {"type": "integer"}}, "zip": TEXT}, "required": ["zip"]}
    words = vocabulary.Vocabulary([tool(properties={"to": to})])
    for arguments, path in (
        ({"to": {"lines": [1, "hunter2"], "zip": "x"}}, "to.lines[1]"),
        ({"to": {"lines": "hunter2", "zip": "x"}}, "to.lines"),
        ({"to": "hunter2"}, "to"),
        ({"to": {"lines": []}}, "to.zip"),
    ):
        with pytest.raises(shapes.Unrepresentable) as fault:
            context(words, arguments)  # type: ignore[arg-type]
        assert fault.value.argument == path
        assert "hunter2" not in str(fault.value)


# The facts


def test_the_context_carries_what_the_gate_knows() -> None:
    words = vocabulary.Vocabulary([tool()])
    request = vocabulary.Request(
        AGENT, "refund", {}, subject=frozenset({"b", "a"}), owners=frozenset({"a"}), calls=3, writes=2, hour=7, weekday=6, day=20261121
    )
    assert words.context(request, approvals=1) == {
        "approvals": 1, "subject": ["a", "b"], "owners": ["a"], "unknown_objects": False, "calls": 3, "writes": 2,
        "hour": 7, "weekday": 6, "day": 20261121, "stage": "GATED", "args": {},
    }  # fmt: skip
    assert words.context(dataclasses.replace(request, stage="NARROW"))["stage"] == "NARROW"


def test_a_model_call_shows_its_token_limit_and_its_length() -> None:
    words = vocabulary.Vocabulary([], [vocabulary.ModelFacts("gpt", "openai")])
    request = vocabulary.Request(AGENT, "model", {"max_output_tokens": 100, "messages": 2}, model="openai/gpt")
    assert words.knows(request)
    assert not words.knows(dataclasses.replace(request, model="gpt"))
    assert words.context(request)["args"] == {"max_output_tokens": 100, "messages": 2}
    assert words.entities(agent=AGENT, action="model", model="openai/gpt")[1]["uid"] == {"type": "Model", "id": "openai/gpt"}


def test_the_digest_changes_with_any_fact_and_with_nothing_else() -> None:
    one, two = tool(properties={"a": TEXT}), tool("wire")
    digest = vocabulary.Vocabulary([one, two]).digest
    assert vocabulary.Vocabulary([two, one]).digest == digest
    for changed in (
        dataclasses.replace(one, risk="low"),
        dataclasses.replace(one, reversible=True),
        dataclasses.replace(one, is_write=False),
        dataclasses.replace(one, connector_class="E4"),
        dataclasses.replace(one, input_schema={"properties": {"a": {"type": "integer"}}}),
    ):
        assert vocabulary.Vocabulary([changed, two]).digest != digest
    assert vocabulary.Vocabulary([one, two], [vocabulary.ModelFacts("m", "p")]).digest != digest
    assert json.loads(vocabulary.Vocabulary([one]).schema_text) == vocabulary.Vocabulary([one]).schema


def test_the_clock_of_policies_is_utc_and_monday_is_one() -> None:
    sunday_night = datetime(2026, 11, 22, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert vocabulary.clock(sunday_night) == (4, 1, 20261123)
    assert vocabulary.clock(datetime(2026, 11, 22, 23, 30, tzinfo=UTC)) == (23, 7, 20261122)
    with pytest.raises(ValueError, match="time zone"):
        vocabulary.clock(datetime(2026, 11, 22))  # noqa: DTZ001
