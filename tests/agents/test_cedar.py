"""The policy engine against the real Cedar: what is denied when in doubt, which tier a call gets, and who said so."""

import concurrent.futures
import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import cedar, policy_trees, statements, vocabulary

TEXT, NUMBER, COUNT = {"type": "string"}, {"type": "number"}, {"type": "integer"}


def tool(
    name: str, *, write: bool = False, risk: str = "low", required: tuple[str, ...] = (), **properties: object
) -> vocabulary.ToolFacts:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return vocabulary.ToolFacts(name, write, risk, not write, "orders", "shop", "E1", schema)


WORDS = vocabulary.Vocabulary(
    [
        tool("get_order", order_id=TEXT, amount=NUMBER, count=COUNT, required=("order_id",)),
        tool("refund", write=True, risk="medium", order_id=TEXT, amount=NUMBER, count=COUNT, note=TEXT, required=("order_id", "amount")),
        tool("wire", write=True, risk="high", amount=NUMBER, count=COUNT, required=("amount",)),
    ],
    [vocabulary.ModelFacts("small", "scripted")],
)
AGENT = vocabulary.AgentFacts("refunds", "bounded", "GATED", "acme", "otto")

HOUSE = """
@id("reads-are-free")
permit (principal, action in Action::"read", resource);

@id("writes")
permit (principal, action in Action::"write", resource);

// Every write waits for one person, a dangerous one for two.
@id("writes-need-one")
@why("Every write needs a person.")
forbid (principal, action in Action::"write", resource) unless { context.approvals >= 1 };

@id("high-risk-needs-two")
@why("High risk needs two people.")
forbid (principal, action in Action::"write", resource is Tool)
when { ["high", "critical"].contains(resource.risk) } unless { context.approvals >= 2 };

@id("own-objects-only")
@why("The customer does not own everything this call names.")
forbid (principal, action in Action::"call", resource) unless { context.subject.containsAll(context.owners) };

@id("small-refunds-only")
@why("Refunds above 500.00 are never made by an agent.")
forbid (principal, action == Action::"refund", resource) when { context.args.amount.greaterThan(decimal("500.0")) };

@id("models")
permit (principal, action == Action::"model", resource) when { context.args.max_output_tokens <= 4096 };
"""


def ask(action: str = "refund", arguments: dict[str, object] | None = None, **facts: object) -> vocabulary.Request:
    given = {"order_id": "#W1", "amount": 19.99} if arguments is None else arguments
    return vocabulary.Request(AGENT, action, given, **facts)  # type: ignore[arg-type]


def house() -> cedar.Compiled:
    return cedar.compile(HOUSE, WORDS)


def problems(text: str) -> list[dict[str, object]]:
    with pytest.raises(cedar.PolicyRejected) as refusal:
        cedar.compile(text, WORDS)
    found = refusal.value.details["problems"]
    assert isinstance(found, list)
    return found


def permit_and(*forbids: str) -> cedar.Compiled:
    return cedar.compile('@id("all") permit (principal, action, resource);' + "".join(forbids), WORDS)


# Tiers


def test_a_read_is_automatic_and_names_the_policy_that_permits_it() -> None:
    assert house().decide(ask("get_order", {"order_id": "#W1"})) == cedar.Decision("ALLOW", "AUTO", policies=("reads-are-free",))


def test_a_write_needs_one_person_and_says_why() -> None:
    decision = house().decide(ask())
    assert (decision.effect, decision.tier) == ("ALLOW", "ONE")
    assert decision.policies == ("writes-need-one", "writes")
    assert decision.reasons == ("Every write needs a person.",)


def test_a_dangerous_write_needs_two_people_and_gives_the_reason_that_one_is_not_enough() -> None:
    decision = house().decide(ask("wire", {"amount": 5}))
    assert (decision.effect, decision.tier) == ("ALLOW", "TWO")
    assert decision.reasons == ("High risk needs two people.",)


def test_what_no_number_of_approvals_lifts_is_refused_with_its_reason() -> None:
    decision = house().decide(ask(arguments={"order_id": "#W1", "amount": 500.01}))
    assert decision == cedar.Decision(
        "DENY", "REFUSED", policies=("small-refunds-only",), reasons=("Refunds above 500.00 are never made by an agent.",)
    )


def test_a_forbid_that_wants_three_people_refuses_and_is_the_one_that_is_named() -> None:
    rules = permit_and(
        '@id("one") @why("one") forbid (principal, action, resource) unless { context.approvals >= 1 };',
        '@id("three") @why("three") forbid (principal, action, resource) unless { context.approvals >= 3 };',
    )
    assert rules.decide(ask()) == cedar.Decision("DENY", "REFUSED", policies=("three",), reasons=("three",))
    assert rules.decide_with(ask(), approvals=3).allowed


def test_a_permit_that_waits_for_an_approval_makes_a_tier_without_any_forbid() -> None:
    rules = cedar.compile('@id("later") permit (principal, action, resource) when { context.approvals >= 1 };', WORDS)
    decision = rules.decide(ask())
    assert (decision.tier, decision.policies) == ("ONE", ("later",))
    assert decision.reasons == ("No policy permits this without another human approval.",)


def test_at_execution_the_same_question_is_asked_with_the_true_count() -> None:
    rules = house()
    assert not rules.decide_with(ask("wire", {"amount": 5}), approvals=1).allowed
    assert rules.decide_with(ask("wire", {"amount": 5}), approvals=2) == cedar.Decision("ALLOW", "TWO", policies=("writes",))
    assert rules.decide_with(ask("wire", {"amount": 5}), approvals=1).reasons == ("High risk needs two people.",)


# Default deny, forbid wins


def test_nothing_is_allowed_without_a_permit() -> None:
    decision = cedar.compile("", WORDS).decide(ask())
    assert decision == cedar.Decision("DENY", "REFUSED", reasons=('No policy permits the agent "refunds" to call "refund".',))


def test_a_forbid_wins_over_every_permit_and_without_a_sentence_its_id_is_given() -> None:
    decision = permit_and('@id("no") forbid (principal == Agent::"refunds", action, resource);').decide(ask())
    assert (decision.effect, decision.policies, decision.reasons) == ("DENY", ("no",), ("Policy no forbids it.",))


def test_an_unknown_tool_and_an_unknown_model_are_denied() -> None:
    rules = permit_and()
    assert rules.decide(ask("erase")).reasons == ('"erase" is not a tool that these policies know.',)
    assert not rules.decide_with(ask("erase"), approvals=2).allowed
    assert not rules.decide(ask("write")).allowed
    stranger = ask(vocabulary.MODEL, {"max_output_tokens": 1, "messages": 1}, model="elsewhere/small")
    assert rules.decide(stranger).tier == "REFUSED"


def test_a_model_call_is_decided_by_its_own_action() -> None:
    question = ask(vocabulary.MODEL, {"max_output_tokens": 4096, "messages": 3}, model="scripted/small")
    assert house().decide(question).policies == ("models",)
    more = dataclasses.replace(question, arguments={"max_output_tokens": 4097, "messages": 3})
    assert house().decide(more).reasons == ('No policy permits the agent "refunds" to use the model "scripted/small".',)


def test_an_agent_bound_to_one_customer_cannot_touch_what_another_owns() -> None:
    rules = house()
    mine = ask(subject=frozenset({"ann"}), owners=frozenset({"ann"}))
    assert rules.decide(mine).tier == "ONE"
    for owners in ({"bob"}, {"ann", "bob"}):
        decision = rules.decide(dataclasses.replace(mine, owners=frozenset(owners)))
        assert (decision.tier, decision.policies) == ("REFUSED", ("own-objects-only",))
    assert rules.decide(dataclasses.replace(mine, action="get_order", owners=frozenset({"bob"}))).tier == "REFUSED"


# Doubt is a denial

OVERFLOW = """@id("grows") forbid (principal, action == Action::"refund", resource)
when { context.args has count && context.args.count * 4611686018427387904 > 9 };"""


def test_a_forbid_that_errors_is_a_denial() -> None:
    rules = permit_and(OVERFLOW)
    question = ask(arguments={"order_id": "#W1", "amount": 1, "count": 2})
    skipped = cedarpy.is_authorized(  # Cedar itself skips the forbid and allows: this is what we stand against
        {"principal": 'Agent::"a"', "action": 'Action::"refund"', "resource": 'Tool::"refund"', "context": {"args": {"count": 2}}},
        "permit (principal, action, resource);" + OVERFLOW,
        [],
    )
    assert skipped.allowed
    for decision in (rules.decide(question), rules.decide_with(question, approvals=2)):
        assert (decision.effect, decision.tier, decision.policies) == ("DENY", "REFUSED", ("grows",))
        assert decision.reasons == ("Policy grows could not be evaluated, and a rule that cannot be evaluated denies.",)
        assert decision.errors == ("policy grows: integer overflow while attempting to multiply the values",)
    assert rules.decide(dataclasses.replace(question, arguments={"order_id": "#W1", "amount": 1, "count": 0})).allowed


def test_an_error_that_an_approval_would_silence_is_still_a_denial() -> None:
    permit = '@id("all") permit (principal, action, resource) when { context.approvals < 9 };'
    rules = cedar.compile(permit + OVERFLOW.replace("when {", "when { context.approvals < 1 &&"), WORDS)
    decision = rules.decide(ask(arguments={"order_id": "#W1", "amount": 1, "count": 2}))
    assert (decision.tier, decision.policies) == ("REFUSED", ("grows",))
    assert decision.errors


def test_errors_never_quote_an_arguments_value() -> None:
    decision = permit_and(OVERFLOW).decide(ask(arguments={"order_id": "#W1", "amount": 1, "count": 424242}))
    assert not decision.allowed
    assert "424242" not in repr(decision)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"order_id": 7, "amount": 1}, "order_id"),
        ({"order_id": "#W1", "amount": "1.5"}, "amount"),
        ({"order_id": "#W1", "amount": True}, "amount"),
        ({"order_id": "#W1", "amount": {"__extn": {"fn": "decimal", "arg": "1.0"}}}, "amount"),
        ({"order_id": {"__entity": {"type": "Agent", "id": "root"}}, "amount": 1}, "order_id"),
        ({"order_id": "#W1", "amount": 0.00001}, "amount"),
        ({"order_id": "#W1", "amount": 1e300}, "amount"),
        ({"order_id": "#W1", "amount": float("nan")}, "amount"),
        ({"order_id": "#W1", "amount": 1, "count": 2**63}, "count"),
        ({"order_id": "#W1", "amount": 1, "count": 1.5}, "count"),
        ({"order_id": "\ud800", "amount": 1}, "order_id"),
        ({"amount": 1}, "order_id"),
        ({"order_id": None, "amount": 1}, "order_id"),
    ],
)
def test_a_value_that_cedar_cannot_hold_denies_and_the_argument_is_named(arguments: dict[str, object], named: str) -> None:
    rules = permit_and()
    for decision in (rules.decide(ask(arguments=arguments)), rules.decide_with(ask(arguments=arguments), approvals=2)):
        assert (decision.effect, decision.tier) == ("DENY", "REFUSED")
        assert f'"{named}"' in decision.reasons[0]
        assert decision.errors


def test_a_fact_of_the_wrong_type_denies_instead_of_raising() -> None:
    rules = permit_and()
    for question in (
        ask(calls=2**70),
        ask(subject=frozenset({"\ud800"})),
        ask(hour="noon"),
        dataclasses.replace(ask(), agent=dataclasses.replace(AGENT, owner=5)),  # type: ignore[arg-type]
    ):
        decision = rules.decide(question)
        assert (decision.effect, decision.tier) == ("DENY", "REFUSED")
        assert decision.errors


# What a policy text must be


def test_a_typing_slip_in_an_attribute_is_found_when_the_text_is_saved() -> None:
    good, when = '@id("good") permit (principal, action, resource);', 'when { context.args.amuont.greaterThan(decimal("1.0")) };'
    text = f'{good}\n\n@id("slip")\nforbid (principal, action == Action::"refund", resource)\n{when}'
    (problem,) = problems(text)
    assert (problem["line"], problem["policy"]) == (3, "slip")
    assert "amuont" in str(problem["message"])
    assert "policy0" not in str(problem["message"])


def test_an_optional_attribute_may_not_be_read_before_it_is_known_to_be_there() -> None:
    (problem,) = problems('@id("n") forbid (principal, action == Action::"refund", resource) when { context.args.note like "*x*" };')
    assert "optional attribute `args.note`" in str(problem["message"])
    rules = permit_and(
        '@id("n") forbid (principal, action == Action::"refund", resource) when { context.args has note && context.args.note like "*x*" };'
    )
    assert rules.decide(ask()).allowed
    assert not rules.decide(ask(arguments={"order_id": "1", "amount": 1, "note": "axe"})).allowed


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("context.args has amuont && context.approvals < 1", "amuont"),  # Cedar lets this pass: it is merely never true
        ("context has aprovals", "aprovals"),
        ('resource.risk == "hgih"', "hgih"),
        ('"HIGH" != resource.risk', "HIGH"),
        ('["high", "critcal"].contains(resource.risk)', "critcal"),
        ('principal.stage == "gated"', "gated"),
        ('resource == Tool::"refnud"', "refnud"),
        ('principal.slug == 1', "not compatible"),
        ("context.args.amount > 5", "expected"),
    ],
)  # fmt: skip
def test_a_rule_that_could_never_hold_is_refused(condition: str, said: str) -> None:
    (problem,) = problems(f'@id("p") forbid (principal, action == Action::"refund", resource) when {{ {condition} }};')
    assert said in str(problem["message"])


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("permit (principal, action, resource);", 1, "@id"),
        ('@id("Big One") permit (principal, action, resource);', 1, "@id"),
        ('@id("a") permit (principal, action, resource);\n@id("a") forbid (principal, action, resource);', 2, "used on line 1"),
        ('@id("a") permit (principal, action, resource)', 1, "semicolon"),
        ('@id("a") permit (principal, action, resource) when { "x };', 1, "not closed"),
        ('// fine\n\n@id("a")\npermit (principal, action, resourc);', 3, "resourc"),
        ('@id("a") permit (principal == ?principal, action, resource);', 1, "templates"),
        ('@id("a") permit (principal, action == Action::"refnud", resource);', 1, "refnud"),
        ('@id("a") permit (principal, action == Action::"write", resource);', 1, "applicable action"),
        ('@id("a") @why("' + "x" * 301 + '") permit (principal, action, resource);', 1, "@why"),
        ('@id("a") permit (principal, action, resource) when { decimal("1.23456").lessThan(decimal("2.0")) };', 1, "decimal"),
        ("%%", 1, "semicolon"),
        ("x" * (256 * 1024 + 1), 1, "longer"),
        ("permit;" * 501, 1, "more than 500"),
    ],
)
def test_a_text_that_is_not_a_policy_set_is_refused_with_its_line(text: str, line: int, said: str) -> None:
    first = problems(text)[0]
    assert first["line"] == line
    assert said in str(first["message"])


def test_every_problem_is_listed_at_once_and_the_refusal_is_json_safe() -> None:
    found = problems('permit (principal, action, resource);\n@id("b") permit (principal, acton, resource);\n@id("b") permit ();')
    assert [problem["line"] for problem in found] == [1, 2, 3]
    assert [problem["policy"] for problem in found] == ["", "b", "b"]
    with pytest.raises(cedar.PolicyRejected) as refusal:
        cedar.compile("permit", WORDS)
    assert refusal.value.as_dict()["code"] == "policy_rejected"


def test_policies_bear_our_ids_and_never_the_engines() -> None:
    rules = house()
    assert tuple(rules.policies)[:3] == ("reads-are-free", "writes", "writes-need-one")
    assert rules.policies["writes-need-one"].line == 9
    decided = [rules.decide(question) for question in (ask(), ask("wire", {"amount": 1}), ask("get_order", {"order_id": "1"}))]
    assert all(not id.startswith("policy") for decision in decided for id in decision.policies)
    assert all(decision.policies for decision in decided)


def test_comments_and_strings_do_not_mislead_the_reader_of_statements() -> None:
    first = '@id("a") @why("a; b // c \\" ; ") permit (principal, action, resource) // ; "\n when { "//;" == ";" };'
    tricky = first + ' // the end ;\r@id("b") permit (principal, action, resource);'
    assert [part.line for part in statements.split(tricky)] == [1, 2]
    assert tuple(cedar.compile(tricky, WORDS).policies) == ("a", "b")


# A hostile text ends the whole process, not one request, unless it is stopped before the engine reads it.
HOSTILE = """
import threading
from agents import cedar, policy_trees, statements, vocabulary
threading.stack_size(2 * 1024 * 1024)
shapes = {
    "brackets": lambda n: "(" * n + "true" + ")" * n,
    "sets": lambda n: "[" * n + "1" + "]" * n + " == []",
    "and": lambda n: " && ".join(["true"] * n),
    "plus": lambda n: "1" + "+1" * n + " == 2",
    "if": lambda n: "if true then " * n + "true" + " else true" * n,
    "dots": lambda n: "context" + ".a" * n,
    "records": lambda n: "{a:" * n + "1" + "}" * n + " == {}",
    "mixed": lambda n: "(true && " * (n // 2) + "true" + ")" * (n // 2),
    "compared": lambda n: "(true == " * n + "true" + ")" * n,
    "not": lambda n: "!(" * n + "true" + ")" * n,
    "calls": lambda n: "[1].contains(" * n + "1" + ")" * n,
}
words = vocabulary.Vocabulary([])
def attack():
    for name, shape in shapes.items():
        for n in (40, 55, 70, 300, 5000, 100000):
            try:
                cedar.compile('@id("x") permit (principal, action, resource) when { %s };' % shape(n), words)
            except cedar.PolicyRejected:
                pass
    print("alive")
thread = threading.Thread(target=attack)
thread.start()
thread.join()
"""


def test_no_text_however_deep_ends_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", HOSTILE], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr[-500:]


def test_a_long_but_flat_text_is_not_mistaken_for_a_deep_one() -> None:
    many = ", ".join(f'"customer-{number}"' for number in range(500))
    conditions = " && ".join(f"context.calls != {number}" for number in range(40))
    rules = permit_and(
        f'@id("flat") forbid (principal, action, resource) when {{ [{many}].containsAny(context.owners) || ({conditions}) }};'
    )
    assert rules.decide(ask(owners=frozenset({"customer-499"}))).policies == ("flat",)


# Digests and the cache


def test_a_digest_names_the_text_the_schema_and_the_facts() -> None:
    riskier = vocabulary.Vocabulary([dataclasses.replace(WORDS.tools["refund"], risk="high")])
    same = vocabulary.Vocabulary([WORDS.tools["refund"]])
    assert same.schema_text == riskier.schema_text
    digests = {
        cedar.digest_of(HOUSE, WORDS),
        cedar.digest_of(HOUSE + " ", WORDS),
        cedar.digest_of(HOUSE, same),
        cedar.digest_of(HOUSE, riskier),
    }
    assert len(digests) == 4
    assert house().digest == cedar.digest_of(HOUSE, WORDS)


def test_a_compiled_set_is_remembered_by_its_digest_and_a_wrong_digest_is_an_error() -> None:
    digest = cedar.digest_of(HOUSE, WORDS)
    assert cedar.compiled(digest, HOUSE, WORDS) is cedar.compiled(digest, HOUSE, WORDS)
    with pytest.raises(ValueError, match="another policy text"):
        cedar.compiled("0" * 64, HOUSE, WORDS)


def test_many_threads_may_ask_one_set_at_once() -> None:
    rules = house()
    questions = [ask(), ask("wire", {"amount": 1}), ask("get_order", {"order_id": "1"}), ask(owners=frozenset({"bob"}))] * 50
    expected = [rules.decide(question) for question in questions]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(rules.decide, questions)) == expected


# Slices

SCOPES = ["action", 'action == Action::"refund"', 'action in [Action::"refund", Action::"get_order"]', 'action in Action::"read"']
SCOPES += ['action in Action::"write"', 'action in Action::"call"', 'action == Action::"wire"', 'action == Action::"model"']
CONDITIONS = ["true", "context.approvals >= 1", "context.approvals < 2", "context.calls > 3", "context.subject.containsAll(context.owners)"]
CONDITIONS += ['principal.stage == "GATED"', "context has approvals && context.approvals >= 2", "context.calls * 4611686018427387904 > 9"]


@st.composite
def policy_texts(draw: st.DrawFn) -> str:
    parts = draw(
        st.lists(st.tuples(st.sampled_from(["permit", "forbid"]), st.sampled_from(SCOPES), st.sampled_from(CONDITIONS)), max_size=7)
    )
    return "\n".join(
        f'@id("p-{n}") {effect} (principal, {scope}, resource) when {{ {test} }};' for n, (effect, scope, test) in enumerate(parts)
    )


def questions() -> Iterator[vocabulary.Request]:
    for calls, owners in ((0, {"ann"}), (1, {"bob"}), (5, {"ann"})):
        asked = [ask(), ask("wire", {"amount": 1}), ask("get_order", {"order_id": "1"})]
        asked.append(ask(vocabulary.MODEL, {"max_output_tokens": 1, "messages": 1}, model="scripted/small"))
        for question in asked:
            yield dataclasses.replace(question, calls=calls, subject=frozenset({"ann"}), owners=frozenset(owners))


@settings(max_examples=60, deadline=None)
@given(policy_texts())
def test_a_slice_never_drops_a_policy_that_matters(text: str) -> None:
    sliced, whole = cedar.compile(text, WORDS), cedar.compile(text, WORDS, sliced=False)
    for question in questions():
        assert sliced.decide(question) == whole.decide(question)
        counted = [whole.decide_with(question, approvals=n) for n in range(3)]
        assert [sliced.decide_with(question, approvals=n) for n in range(3)] == counted
        # And the tier is what asking one by one would find, whatever was skipped on the way to it.
        first = next((n for n, answer in enumerate(counted) if answer.allowed or answer.errors), None)
        expected = "REFUSED" if first is None or counted[first].errors else ("AUTO", "ONE", "TWO")[first]
        assert sliced.decide(question).tier == expected


def test_each_action_meets_only_the_policies_that_can_match_it() -> None:
    rules = house()
    assert rules.slice("get_order") == ("reads-are-free", "own-objects-only")
    assert rules.slice("wire") == ("writes", "writes-need-one", "high-risk-needs-two", "own-objects-only")
    assert rules.slice("refund") == (*rules.slice("wire"), "small-refunds-only")
    assert rules.slice(vocabulary.MODEL) == ("models",)
    order = list(rules.policies)
    assert all(order.index(a) < order.index(b) for a, b in pairwise(rules.slice("refund")))


def test_what_no_policy_looks_at_is_asked_of_the_engine_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    really = cedarpy.is_authorized

    def counted(*given: Any) -> Any:
        asked.append(given)
        return really(*given)

    monkeypatch.setattr(cedarpy, "is_authorized", counted)
    rules = cedar.compile(
        '@id("reads") permit (principal, action in Action::"read", resource);'
        '@id("own") forbid (principal, action in Action::"read", resource) unless { context.subject.containsAll(context.owners) };'
        '@id("other") forbid (principal, action in Action::"read", resource) when { principal.slug == "other" };'
        '@id("wires") permit (principal, action == Action::"wire", resource) when { context.args has count && context.args.count < 100 };',
        WORDS,
    )
    mine = dataclasses.replace(ask("get_order", {"order_id": "1"}), subject=frozenset({"ann"}), owners=frozenset({"ann"}))
    for question in (mine, dataclasses.replace(mine, arguments={"order_id": "2"}, calls=7, hour=3)):
        assert rules.decide(question).allowed
    assert len(asked) == 1
    assert not rules.decide(dataclasses.replace(mine, owners=frozenset({"bob"}))).allowed
    assert not rules.decide(dataclasses.replace(mine, agent=dataclasses.replace(mine.agent, slug="other"))).allowed
    unfit = dataclasses.replace(mine, arguments={"order_id": "1", "count": 2**70})
    assert rules.decide(unfit).errors  # what no policy can judge is still denied
    del asked[:]
    wires = [rules.decide(ask("wire", {"amount": 1, "count": count})).allowed for count in (1, 200, 1, 200)]
    assert (wires, len(asked)) == ([True, False, True, False], 4)  # arguments are anybody's: they are not kept
    monkeypatch.setattr(cedar, "_MOST_DECIDED", 3)
    for number in range(20):
        rules.decide(dataclasses.replace(mine, subject=frozenset({"ann", str(number)})))
    assert len(rules._decided) <= 3


@pytest.mark.parametrize(
    ("condition", "looks"),
    [
        ("true", frozenset()),
        ("context.approvals >= 1 && context.calls < 3", {"approvals", "calls"}),
        ('context has stage && principal.slug == "a"', {"stage"}),
        ('context.args.order_id == "1"', {"args"}),
        ("context == context", None),
        ("[context].contains(context)", None),
        ("context.subject.contains(context.stage) || context == context", None),
    ],
)
def test_what_a_policy_looks_at(condition: str, looks: set[str] | None) -> None:
    tree = cedarpy.policies_to_pst(f"permit (principal, action, resource) when {{ {condition} }};").static_policies["policy0"]
    assert policy_trees.looks(tree) == looks


PACES = [("context.writes > 3", True), ("context.hour > 3", False)]
PACES += [("context.args has count && context.args.count > context.calls", True)]


@pytest.mark.parametrize(("condition", "paced"), PACES)
def test_a_pace_is_noticed_wherever_it_is_named(condition: str, paced: bool) -> None:
    forbid = f'@id("b") forbid (principal, action == Action::"wire", resource) when {{ {condition} }};'
    rules = cedar.compile('@id("a") permit (principal, action, resource);' + forbid, WORDS)
    assert [rules.is_paced(action) for action in ("wire", "get_order")] == [paced, False]
