import concurrent.futures
import json
import pathlib

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import schemas
from audit import canonical

INPUTS = pathlib.Path(__file__).resolve().parents[3] / "shared" / "inputs"
recorded = pytest.mark.skipif(not INPUTS.exists(), reason="../shared/inputs is not here")


def judge(schema, arguments):
    return schemas.faults(canonical.text(schema), arguments, digest=canonical.digest(schema))


def refused(schema):
    with pytest.raises(schemas.SchemaRejected) as caught:
        schemas.lint(schema)
    json.dumps(caught.value.as_dict())
    return caught.value


# --- the verdict is JSON Schema's ---

names = st.sampled_from(["a", "b", "c"])
scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from([0.5, 1.0, "", "a", "ab", "b1", "é", "\U0001f600"])
json_values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=8)
kinds = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object"])
keywords = {
    "type": kinds | st.lists(kinds, min_size=1, max_size=2, unique=True),
    "enum": st.lists(scalars, min_size=1, max_size=3, unique_by=repr),
    "const": scalars,
    "minimum": st.integers(-3, 3),
    "exclusiveMaximum": st.integers(-3, 3),
    "multipleOf": st.integers(1, 3),
    "minLength": st.integers(0, 2),
    "maxLength": st.integers(0, 2),
    "pattern": st.sampled_from(["^a", "b", "[0-9]", "^$"]),
    "minItems": st.integers(0, 2),
    "maxItems": st.integers(0, 2),
    "uniqueItems": st.booleans(),
    "minProperties": st.integers(0, 2),
    "maxProperties": st.integers(0, 2),
    "required": st.lists(names, max_size=2, unique=True),
    "dependentRequired": st.dictionaries(names, st.lists(names, max_size=2, unique=True), max_size=1),
    "format": st.sampled_from(["email", "date", "nonsense"]),
    "title": st.just("said"),
}
shapes = st.booleans() | st.fixed_dictionaries({}, optional=keywords)


def deeper(inner):
    few = st.lists(inner, min_size=1, max_size=2)
    return st.fixed_dictionaries(
        {},
        optional={
            **{key: keywords[key] for key in ("type", "required", "minLength")},
            "properties": st.dictionaries(names, inner, max_size=2),
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=1),
            "additionalProperties": inner,
            "propertyNames": inner,
            "items": inner,
            "prefixItems": few,
            "contains": inner,
            "allOf": few,
            "anyOf": few,
            "oneOf": few,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "dependentSchemas": st.dictionaries(names, inner, max_size=1),
            "unevaluatedProperties": inner,
            "unevaluatedItems": inner,
        },
    )


any_schema = st.recursive(shapes, deeper, max_leaves=6)
object_schemas = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.dictionaries(names, any_schema, max_size=3)},
    optional={"required": keywords["required"], "anyOf": st.lists(any_schema, min_size=1, max_size=2), "additionalProperties": any_schema},
)


@given(object_schemas, json_values)
@settings(max_examples=250, deadline=None)
def test_the_verdict_is_the_one_of_json_schema_2020_12(schema, value):
    schemas.lint(schema)
    expected = isinstance(value, dict) and jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (judge(schema, value) == []) == expected


@given(object_schemas, st.dictionaries(names | st.just("unnamed"), json_values, max_size=4))
@settings(max_examples=150, deadline=None)
def test_closing_a_schema_refuses_unnamed_arguments_and_nothing_else(schema, value):
    schema = {key: rule for key, rule in schema.items() if key not in ("additionalProperties", "anyOf")}
    closed = schemas.closed(schema)
    schemas.lint(closed)
    assert schemas.closed(closed) == closed
    unnamed = set(value) - set(schema["properties"]) - set(schema.get("required", ()))
    assert (judge(closed, value) == []) == (judge(schema, value) == [] and not unnamed)


def test_a_format_is_an_annotation_as_2020_12_has_it():
    schema = {"type": "object", "properties": {"at": {"type": "string", "format": "date"}}}
    assert judge(schema, {"at": "tomorrow"}) == []


# --- recorded tools ---


def tool_schemas(*paths):
    return {tool["name"]: tool["inputSchema"] for path in paths for tool in json.loads((INPUTS / path).read_text())}


@recorded
@pytest.mark.parametrize(
    ("folder", "tools", "refusals", "same"),
    [
        ("retail", ["retail/tools_v1.json", "retail/tools.json"], 4793, 169),
        ("agentdojo/banking", ["agentdojo/banking/tools.json"], 245, 11),
    ],
)
def test_every_recorded_variant_gets_the_verdict_it_must_have(folder, tools, refusals, same):
    known = {name: schemas.closed(schema) for name, schema in tool_schemas(*tools).items()}
    for schema in known.values():
        schemas.lint(schema)
    counted = {"refuse": 0, "same": 0}
    for line in (INPUTS / folder / "variants.jsonl").read_text().splitlines():
        variant = json.loads(line)
        fits = variant["tool"] in known and judge(known[variant["tool"]], variant["args"]) == []
        assert fits == (variant["must"] == "same"), variant
        counted[variant["must"]] += 1
    assert counted == {"refuse": refusals, "same": same}


@recorded
def test_schemas_of_public_servers_are_accepted():
    offered = [tool for server in json.loads((INPUTS / "mcp/tool_lists.json").read_text()).values() for tool in server["tools"]]
    assert len(offered) == 50
    for tool in offered:
        schemas.lint(tool["inputSchema"])
        schemas.lint(schemas.closed(tool["inputSchema"]))


# --- closing ---


def test_a_schema_that_says_what_happens_to_unnamed_arguments_keeps_its_word():
    for open_ in ({"additionalProperties": True}, {"additionalProperties": {"type": "string"}}, {"unevaluatedProperties": True}):
        schema = {"type": "object", "properties": {"a": {}}, **open_}
        assert schemas.closed(schema) == schema
    assert schemas.closed({"type": "object", "allOf": [{"additionalProperties": True}]}) == {
        "type": "object",
        "allOf": [{"additionalProperties": True}],
    }


@pytest.mark.parametrize("dialect", sorted(schemas.DIALECTS))
def test_names_in_branches_and_behind_references_are_names(dialect):
    schema = {
        "$schema": dialect,
        "$ref": "#/definitions/base",
        "definitions": {
            "base": {"properties": {"a": {"type": "string"}}, "required": ["a"], "allOf": [{"$ref": "#/definitions/more"}]},
            "more": {"properties": {"d": {}}},
        },
        "anyOf": [{"properties": {"b": {"type": "string"}}}, {"patternProperties": {"^x-": {}}}],
    }
    before = json.dumps(schema)
    closed = schemas.closed(schema)
    assert json.dumps(schema) == before
    schemas.lint(closed)
    assert judge(closed, {"a": "1", "b": "2", "d": 3, "x-y": 4}) == []
    assert [fault.pointer for fault in judge(closed, {"a": "1", "force": True})] == ["/force"]
    assert judge(closed, {"a": 1}) != []


def test_a_required_argument_is_named_even_without_a_description():
    closed = schemas.closed({"type": "object", "required": ["a"]})
    assert judge(closed, {"a": 1}) == []


# --- faults ---


@pytest.mark.parametrize("arguments", [[], ["x"], "{}", None, 1, True])
def test_arguments_that_are_not_an_object_are_one_fault_at_the_root(arguments):
    found = judge({"type": "object"}, arguments)
    assert [(fault.pointer, fault.expected) for fault in found] == [("", "an object")]


def test_a_fault_says_where_what_was_expected_and_what_came():
    schema = schemas.closed(
        {
            "type": "object",
            "required": ["q"],
            "properties": {"q": {}, "n": {"type": ["integer", "null"]}, "a/b": {"items": {"enum": ["x", "y"]}}, "m": {"minimum": 3}},
        }
    )
    found = judge(schema, {"n": "seven", "a/b": ["x", "z"], "m": 2, "force": True})
    assert set(found) == {
        ("/q", "a value", "nothing"),
        ("/n", "integer or null", 'string "seven"'),
        ("/a~1b/1", 'one of "x", "y"', 'string "z"'),
        ("/m", "at least 3", "integer 2"),
        ("/force", "no field of this name", "boolean true"),
    }


def test_what_came_is_never_shown_when_it_is_a_secret_and_never_long():
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    schema = schemas.closed(
        {"type": "object", "properties": {"password": {"type": "integer"}, "b": {"type": "integer"}, "c": {"type": "integer"}}}
    )
    shown = str(judge(schema, {"password": "hunter2", "b": f"use {token}", "c": "long " * 1000, "api_key": "abc123", token: 1}))
    assert "hunter2" not in shown
    assert "a1B2c3D4" not in shown.replace(f"/{token}", "")
    assert "abc123" not in shown
    assert len(shown) < 900


def test_a_value_where_there_may_be_none_is_a_fault_that_says_so():
    schema = {"type": "object", "properties": {"a": False, "b": {"additionalProperties": False}}}
    assert set(judge(schema, {"a": 1, "b": {"c": 2}})) == {("/a", "nothing", "integer 1"), ("/b", "no field", "a field")}


def test_at_most_ten_faults_are_listed():
    assert len(judge(schemas.closed({"type": "object"}), {f"x{n}": n for n in range(50)})) == 10
    assert len(judge({"type": "object", "required": [f"x{n}" for n in range(50)]}, {})) == 10


@pytest.mark.parametrize(
    "arguments", [{"a": "\ud800"}, {"a": object()}, {1: 2}, {"a": {2}}, {"b": 2**53}], ids=lambda value: str(value)[:6]
)
def test_what_is_not_json_is_a_fault_and_not_a_crash(arguments):
    assert judge({"type": "object", "properties": {"a": {"type": "string"}}}, arguments) != []


def test_a_wrong_digest_never_borrows_another_schemas_verdict():
    text = canonical.text({"type": "object", "required": ["a"]})
    assert schemas.faults(canonical.text({"type": "object"}), {}, digest="same") == []
    assert schemas.faults(text, {}, digest="same") != []


def test_many_threads_may_ask_at_once():
    todo = [({"type": "object", "required": [f"k{n % 7}"]}, {"k3": 1}) for n in range(400)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda one: judge(*one) == [], todo))
    assert verdicts == [n % 7 == 3 for n in range(400)]


# --- lint ---


def labelled(value):
    return value if isinstance(value, str) else ""


def doubling(times):
    out: dict[str, object] = {"type": "string"}
    definitions = {}
    for n in range(times):
        definitions[f"d{n}"] = out
        out = {"allOf": [{"$ref": f"#/$defs/d{n}"}] * 3}
    return {"type": "object", "$defs": definitions, "properties": {"a": out}}


def nested(depth):
    schema: dict[str, object] = {}
    for _ in range(depth):
        schema = {"items": schema}
    return {"type": "object", "properties": {"a": schema}}


def chain(length):
    links = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(length)}
    return {"type": "object", "$defs": {**links, f"d{length}": {}}, "properties": {"a": {"$ref": "#/$defs/d0"}}}


def in_property(schema):
    return {"type": "object", "properties": {"a": schema}}


TEXT_OR_LIST = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/$defs/n"}}]}
REJECTED = {
    "not an object": [{"type": "string"}, [], True, None, "object", {"type": ["object", "null"]}],
    "size": [in_property({"description": "x" * 70_000})],
    "depth": [nested(20), nested(5000)],
    "nodes": [{"type": "object", "properties": {f"p{n}": {} for n in range(1001)}}],
    "expansion": [doubling(14), chain(400)],
    "$ref": [
        in_property({"$ref": "http://169.254.169.254/latest"}),
        in_property({"$ref": "file:///etc/passwd"}),
        in_property({"$ref": "other.json#/a"}),
        in_property({"$ref": "#/nowhere"}),
        in_property({"$ref": "#anchor"}),
        in_property({"$ref": "#/properties/a/enum/0", "enum": [1]}),
        in_property({"$ref": 7}),
    ],
    "recursion": [
        {"type": "object", "allOf": [{"$ref": "#"}]},
        {"type": "object", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"type": "object", "anyOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "patternProperties": {"^a": {"$ref": "#"}}},
        {"type": "object", "$defs": {"t": {"items": {"anyOf": [{"$ref": "#/$defs/t"}, {"$ref": "#/$defs/t"}]}}}},
    ],
    "$dynamicRef": [in_property({"$dynamicRef": "#x"})],
    "$id": [in_property({"$id": "https://example.com/other"})],
    "$schema": [{"type": "object", "$schema": "https://evil.example/meta"}],
    "JSON Schema": [
        in_property({"type": "strin"}),
        in_property({"minLength": -1}),
        in_property({"pattern": "(?=look)ahead"}),
        in_property({"pattern": r"(a)\1"}),
        in_property({"pattern": "("}),
        in_property({"pattern": "((a{1,100}){1,100}){1,100}"}),
        {"type": "object", "patternProperties": {"(?!x)": {}}},
        {"type": "object", "required": "a"},
        {"type": "object", "properties": [1]},
    ],
    "canonical JSON": [
        in_property({"maximum": 2**63}),
        in_property({"const": float("nan")}),
        in_property({"const": "\ud800"}),
        in_property({1: 2}),
    ],
}  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("rule", "schema"), [(rule, schema) for rule, all_ in REJECTED.items() for schema in all_], ids=labelled)
def test_a_schema_that_could_hurt_is_rejected_by_the_rule_it_broke(rule, schema):
    assert refused(schema).rule in (rule, "type" if rule == "not an object" else rule)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": "object", "$id": "https://example.com/tool", "$schema": "http://json-schema.org/draft-07/schema#"},
        {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}},
        {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}},
        {"type": "object", "$defs": {"n": TEXT_OR_LIST}, "properties": {"a": {"$ref": "#/$defs/n"}, "b": {"$ref": "#/$defs/n"}}},
        {"type": "object", "properties": {"$ref": {"type": "string"}, "a": {"enum": [{"$ref": "http://x"}], "default": {"$id": 1}}}},
        {"type": "object", "properties": {"a": {"pattern": r"^\d{3}-[\w.]+\/$"}, "b": {"pattern": "(a+)+$"}}},
        doubling(5),
        chain(15),
    ],
    ids=labelled,
)  # fmt: skip
def test_an_honest_schema_is_accepted(schema):
    schemas.lint(schema)
    schemas.lint(schemas.closed(schema))


@pytest.mark.timeout(5)
def test_a_pattern_that_ruins_backtracking_engines_is_judged_at_once():
    schema = in_property({"pattern": "^(a+)+$"})
    schemas.lint(schema)
    assert judge(schema, {"a": "a" * 200_000 + "!"}) != []


@pytest.mark.timeout(10)
def test_a_recursive_schema_is_judged_at_once_however_deep_the_arguments():
    schema = {"type": "object", "$defs": {"n": TEXT_OR_LIST}, "properties": {"a": {"$ref": "#/$defs/n"}}}
    schemas.lint(schema)
    value: object = 1
    for _ in range(500):
        value = [value]
    assert judge(schema, {"a": value}) != []
