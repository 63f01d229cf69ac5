import json
import pathlib
import subprocess
import sys

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approvals.diffs import arguments, fields, hidden, json_patch, sql
from audit import canonical

INPUTS = pathlib.Path(__file__).resolve().parents[3] / "shared" / "inputs"
recorded = pytest.mark.skipif(not INPUTS.exists(), reason="../shared/inputs is not here")

names = st.sampled_from(["a", "b", "c~d", "e/f", "", "0", "é"])
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "x", "y", ""])
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=15)
documents = st.dictionaries(names, values, max_size=4)


def near(value):
    """A document that shares most of its parts with `value`: what a real write leaves behind."""
    return st.builds(lambda own, keep: {**{key: item for key, item in value.items() if key in keep}, **own}, documents, st.sets(names))


pairs = documents.flatmap(lambda before: st.tuples(st.just(before), documents | near(before)))


# --- RFC 6902 ---


@given(pairs)
@settings(max_examples=200, deadline=None)
def test_a_patch_turns_before_into_after_and_says_what_was_there(pair):
    before, after = pair
    found = json_patch.changes("e", before, after)
    assert canonical.encode(jsonpatch.JsonPatch(json_patch.patch(found)).apply(before)) == canonical.encode(after)
    document = before
    for change in found:
        assert change["op"] in ("add", "remove", "replace")
        if change["op"] != "add":
            assert canonical.encode(jsonpatch.JsonPointer(change["pointer"]).resolve(document)) == canonical.encode(change["before"])
        document = jsonpatch.JsonPatch(json_patch.patch([change])).apply(document)
    assert (found == []) == (canonical.encode(before) == canonical.encode(after)) or json.dumps(before) != json.dumps(after)


@given(pairs)
@settings(max_examples=100, deadline=None)
def test_the_same_two_states_always_give_the_same_changes_and_are_left_alone(pair):
    kept = json.dumps(pair)
    assert canonical.encode(json_patch.changes("e", *pair)) == canonical.encode(json_patch.changes("e", *json.loads(kept)))
    assert json.dumps(pair) == kept


@recorded
def test_recorded_writes_come_out_as_the_patch_that_was_recorded():
    database = json.loads((INPUTS / "retail" / "db.json").read_text())
    compared = 0
    with (INPUTS / "retail" / "runs.jsonl").open() as runs:
        for line in runs:
            seen = set()
            for step in json.loads(line)["steps"]:
                for effect in step.get("effect") or ():
                    table, _, key = effect["entity"].partition("/")
                    if effect["entity"] in seen or key not in database.get(table, ()):
                        continue
                    seen.add(effect["entity"])
                    before = database[table][key]
                    after = jsonpatch.JsonPatch(effect["patch"]).apply(before)
                    found = json_patch.changes(effect["entity"], before, after)
                    assert sorted(map(canonical.text, json_patch.patch(found))) == sorted(map(canonical.text, effect["patch"]))
                    compared += 1
    assert compared > 300


@recorded
@pytest.mark.parametrize("name", ["tests.json", "spec_tests.json"])
def test_every_published_case_with_an_outcome_is_reproduced(name):
    cases = [case for case in json.loads((INPUTS / "jsonpatch" / name).read_text()) if "expected" in case and not case.get("disabled")]
    assert cases
    for case in cases:
        found = json_patch.changes("e", case["doc"], case["expected"])
        assert jsonpatch.JsonPatch(json_patch.patch(found)).apply(case["doc"]) == case["expected"]


# --- fields ---


@given(pairs)
@settings(max_examples=150, deadline=None)
def test_each_changed_leaf_is_listed_once_and_what_is_not_listed_did_not_change(pair):
    before, after = pair
    found = fields.changes("e", before, after)
    assert len({change["pointer"] for change in found}) == len(found)
    assert (found == []) == (canonical.encode(before) == canonical.encode(after))
    for change in found:
        for side, document in (("before", before), ("after", after)):
            value = jsonpatch.JsonPointer(change["pointer"]).resolve(document, None)
            assert canonical.encode(value) == canonical.encode(change[side])


def test_changes_are_said_in_the_words_of_the_schema_or_in_plain_ones():
    schema = {"properties": {"zip": {"title": "Post code"}, "items": {"items": {"properties": {"unitPrice": {"title": "Price each"}}}}}}
    before = {"zip": "1", "items": [{"unitPrice": 5, "options": {"size": "s"}}], "tags": ["a"], "status": "open", "gone": None}
    after = {"zip": "2", "items": [{"unitPrice": 6, "options": {"size": "m"}}], "tags": ["a", "b"], "status": "open", "refundIssuedAt": 1}
    said = [
        (change["label"], change["op"], change["before"], change["after"]) for change in fields.changes("order 7", before, after, schema)
    ]
    assert said == [
        ("Post code", "replace", "1", "2"),
        ("Items 1 / Price each", "replace", 5, 6),
        ("Items 1 / Options / Size", "replace", "s", "m"),
        ("Tags", "replace", ["a"], ["a", "b"]),
        ("Gone", "remove", None, None),
        ("Refund issued at", "add", None, 1),
    ]
    assert fields.changes("e", {"a": 1}, {"a": 1.0}) == []
    assert len(fields.changes("e", {"a": 1}, {"a": True})) == 1
    assert fields.humanised("new_payment_methodID") == "New payment method ID"
    assert fields.humanised("größe_2") == "Größe 2"


# --- arguments ---


def test_arguments_are_read_in_the_order_of_the_schema_and_with_its_titles():
    schema = {"properties": {"order_id": {"title": "Order"}, "item_ids": {}, "address": {"properties": {"zip": {"title": "Post code"}}}}}
    found = arguments.changes(schema, {"zz": {}, "address": {"zip": "1"}, "item_ids": ["1", "2"], "order_id": "#W1"})
    assert [(change["pointer"], change["label"], change["after"]) for change in found] == [
        ("/order_id", "Order", "#W1"),
        ("/item_ids", "Item ids", ["1", "2"]),
        ("/address/zip", "Address / Post code", "1"),
        ("/zz", "Zz", {}),
    ]
    assert {change["op"] for change in found} == {"argument"}
    assert arguments.changes(None, {"b": 1, "a": [{"c": 2}]})[0]["pointer"] == "/a/0/c"
    assert arguments.changes({}, {}) == []


# --- hidden ---


def test_a_stored_change_shows_neither_secrets_nor_configured_fields():
    before = {
        "email": "sofia@example.com",
        "wallet": {"card_8154": {"last": "8902"}},
        "password": "old-one",
        "note": "for sofia@example.com",
        "n": 1,
    }
    after = {
        "email": "li@example.com",
        "wallet": {},
        "password": "hunter22",
        "note": "token=ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
        "n": 2,
    }
    for found in (fields.changes("user 1", before, after), json_patch.changes("user 1", before, after), arguments.changes({}, after)):
        shown = hidden.changes(found, {"email", "Wallet"})
        text = json.dumps(shown, ensure_ascii=False)
        for secret in ("sofia", "li@example", "8154", "8902", "old-one", "hunter22", "a1B2c3D4"):
            assert secret not in text
        assert [change for change in shown if change["label"] == "N"] == [change for change in found if change["label"] == "N"]
        assert next(change["after"] for change in shown if change["pointer"] == "/email") == "[redacted:email]"
    assert hidden.changes(fields.changes("e", {}, {"a": 1})) == fields.changes("e", {}, {"a": 1})


# --- SQL ---


@pytest.mark.parametrize(
    ("statement", "verb", "writes", "has_where", "said"),
    [
        ("SELECT * FROM orders WHERE id = 1", "SELECT", [], True, ""),
        ("update orders set x = 1 where id = 2", "UPDATE", ["orders"], True, ""),
        ("update sales.orders set x = 1", "UPDATE", ["sales.orders"], False, "without WHERE"),
        ("delete from t where 1 = 1", "DELETE", ["t"], False, "always true"),
        ("delete from t where id = 3 or true", "DELETE", ["t"], False, "always true"),
        ("delete from t where (x = x)", "DELETE", ["t"], False, "always true"),
        ("with d as (delete from t returning *) select * from d where id = 1", "DELETE", ["t"], False, "hidden inside"),
        ("select 1; drop table t", "DROP", ["t"], False, "2 statements"),
        ("truncate a, b", "TRUNCATE", ["a", "b"], False, "not undone"),
        ("insert into t select * from u", "INSERT", ["t"], False, ""),
        ("select * into n from t", "CREATE", ["n"], False, ""),
        ("merge into a using b on a.id = b.id when matched then update set x = 1", "MERGE", ["a"], False, ""),
        ("grant all on t to bob", "GRANT", ["t"], False, "not undone"),
        ("call pay_everyone()", "OTHER", [], False, "cannot be read"),
        ("do $$ begin delete from t; end $$", "OTHER", [], False, "cannot be read"),
        ("explain analyze delete from t", "OTHER", [], False, "cannot be read"),
        ("select pay_everyone() from t", "SELECT", [], False, "Calls pay_everyone()"),
        ("select count(*), lower(a) from t", "SELECT", [], False, ""),
        ("/* nothing */", "NOTHING", [], False, ""),
        ("select (((", "UNREADABLE", [], False, "Could not be read"),
        ("(" * 5000, "UNREADABLE", [], False, "Could not be read"),
        ("select '" + "x" * 70_000 + "'", "UNREADABLE", [], False, "Longer than"),
    ],
)  # fmt: skip
def test_a_statement_is_read_for_what_it_would_do(statement, verb, writes, has_where, said):
    found = sql.facts(statement)
    assert (found["verb"], found["writes"], found["has_where"]) == (verb, writes, has_where)
    if said:
        assert any(said in warning for warning in found["warnings"])
    else:
        assert found["warnings"] == []
    canonical.encode(found)


def test_tables_are_named_with_their_schema_and_without_the_names_a_with_gives():
    found = sql.facts("with recent as (select * from sales.orders) select * from recent join users on true")
    assert found["tables"] == ["sales.orders", "users"]
    assert found["statements"] == 1


WORDS = ["select", "delete", "update", "from", "where", "with", "as", "set", "or", "t", "1", "=", "(", ")", ",", ";", "'", '"', "--", "$$"]


@given(st.text(max_size=80) | st.lists(st.sampled_from(WORDS), max_size=15).map(" ".join))
@settings(max_examples=100, deadline=None)
def test_no_statement_is_an_error(statement):
    assert sql.facts(statement)["verb"]


def test_sqlglot_is_not_loaded_before_a_statement_is_read():
    code = (
        "import sys; from approvals.diffs import sql; assert 'sqlglot' not in sys.modules; sql.facts('x'); assert 'sqlglot' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=pathlib.Path(__file__).resolve().parents[2])
