"""The scripted models, driven over the demo's real systems: what each asks for, in which order, and where each stops."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from controlplane.connectors import builtin, models
from controlplane.connectors.models import script
from tests.controlplane import builtin_world as world

Gate = Callable[[dict[str, Any]], dict[str, Any] | None]


@pytest.fixture(scope="module", autouse=True)
def dsn() -> Iterator[str]:
    with world.fresh_database() as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEMO_DATABASE_URL", address)
        builtin.install(address)
        yield address


@pytest.fixture
def anew(dsn: str) -> None:
    builtin.wipe(dsn)
    builtin.install(dsn)


def ask(name: str, messages: list[dict[str, Any]], *, tools: tuple[str, ...] = (), tokens: int = 8192) -> models.Completion:
    offered = [{"name": tool, "description": "", "input_schema": {}} for tool in tools]
    return models.complete(models.ModelRequest("scripted", name, messages, offered, tokens))


def mcp(structured: dict[str, Any], *, is_error: bool = False) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": json.dumps(structured)}], "structuredContent": structured, "isError": is_error}


def allow(_call: dict[str, Any]) -> dict[str, Any] | None:
    return None


def run(name: str, said: str, gate: Gate = allow, *, tools: tuple[str, ...] = ()) -> tuple[list[dict[str, Any]], str]:
    """A runner without a control plane: `gate` may answer a call in place of the system. Gives every call and the last word."""
    messages: list[dict[str, Any]] = [{"role": "system", "text": "Be good."}, {"role": "user", "text": said}]
    made: list[dict[str, Any]] = []
    while True:
        turn = ask(name, messages, tools=tools)
        messages.append({"role": "assistant", "text": turn.text, "reasoning": turn.reasoning, "calls": turn.calls})
        if not turn.calls:
            assert turn.finish_reason == "stop"
            return made, turn.text
        for call in turn.calls:
            made.append(call)
            result = gate(call)
            if result is None:
                result = builtin.send(world.outbound(call["tool"], call["arguments"], key=f"key-{said}-{call['id']}")).result
            messages.append({"role": "tool", "call_id": call["id"], "tool": call["tool"], "result": result})


def names(calls: list[dict[str, Any]]) -> list[str]:
    return [call["tool"] for call in calls]


REFUND_STORY = ["helpdesk_get_ticket", "billing_get_invoice", "billing_issue_refund", "helpdesk_add_note", "helpdesk_set_ticket_status"]


@pytest.mark.usefixtures("anew")
def test_support_refunds_pays_back_what_the_ticket_asks_notes_it_and_closes() -> None:
    calls, last = run("support-refunds", "Please handle TCK-1042.")
    assert names(calls) == REFUND_STORY
    refund = calls[2]["arguments"]
    assert (refund["invoice_id"], refund["amount_cents"]) == ("INV-2041", 8450)
    assert "TCK-1042" in refund["reason"]
    ticket = world.send("helpdesk_get_ticket", {"ticket_id": "TCK-1042"})
    assert ticket["status"] == "solved"
    paid_back = world.invoice("INV-2041")["refunds"][0]["refund_id"]
    assert paid_back in ticket["notes"][-1]["body"]
    assert paid_back in last


@pytest.mark.usefixtures("anew")
def test_every_claim_in_the_demo_s_tickets_is_understood() -> None:
    for claim in builtin.claims():
        calls, _ = run("support-refunds", f"Ticket {claim['ticket_id']}")
        assert names(calls) == REFUND_STORY, claim
        asked = calls[2]["arguments"]
        assert (asked["invoice_id"], asked["amount_cents"]) == (claim["invoice_id"], claim["amount_cents"])


def held(call: dict[str, Any]) -> dict[str, Any] | None:
    if call["tool"] == "billing_issue_refund":
        return mcp({"status": "pending_approval", "call": "C-77", "approval": "APR-1", "plan": "d1", "wait_with": "approvals_wait"})
    return None


@pytest.mark.usefixtures("anew")
def test_a_held_refund_is_waited_for_where_the_gate_offers_it() -> None:
    waits = 0

    def gate(call: dict[str, Any]) -> dict[str, Any] | None:
        nonlocal waits
        if call["tool"] == "approvals_wait":
            assert call["arguments"] == {"call": "C-77"}
            waits += 1
            if waits < 3:
                return mcp({"status": "pending_approval", "call": "C-77"})
            arguments = {"invoice_id": "INV-2041", "amount_cents": 8450, "reason": "Approved."}
            done = builtin.send(world.outbound("billing_issue_refund", arguments, key="key-approved"))
            return mcp({"status": "applied", "call": "C-77", "result": done.result})
        return held(call)

    calls, last = run("support-refunds", "TCK-1042", gate, tools=("approvals_wait",))
    assert names(calls) == [*REFUND_STORY[:3], *["approvals_wait"] * 3, *REFUND_STORY[3:]]
    assert "re_" in last


@pytest.mark.usefixtures("anew")
def test_a_held_refund_ends_the_turn_where_the_runner_waits_instead() -> None:
    calls, last = run("support-refunds", "TCK-1042", held)
    assert names(calls) == REFUND_STORY[:3]
    assert "waits for a person" in last


@pytest.mark.parametrize(
    "no",
    [
        mcp({"status": "denied", "call": "C-77", "reason": "Kestrel has a credit note already."}),
        mcp({"code": "approval_denied", "message": "Kestrel has a credit note already."}, is_error=True),
        mcp({"code": "policy_denied", "detail": "Kestrel has a credit note already."}, is_error=True),
        mcp({"status": "expired", "message": "Kestrel has a credit note already."}),
        mcp({"status": "drafted", "reason": "Kestrel has a credit note already."}),
        mcp({"status": "failed", "result": mcp({"code": "x", "message": "Kestrel has a credit note already."}, is_error=True)}),
        mcp({"status": "in_doubt", "reason": "Kestrel has a credit note already."}),
        {"content": [{"type": "text", "text": '{"status": "denied", "reason": "Kestrel has a credit note already."}'}], "isError": False},
    ],
)
@pytest.mark.usefixtures("anew")
def test_a_no_is_read_and_handed_on_with_its_reason(no: dict[str, Any]) -> None:
    calls, last = run("support-refunds", "TCK-1042", lambda call: no if call["tool"] == "billing_issue_refund" else None)
    assert names(calls) == REFUND_STORY[:3]
    assert "Kestrel has a credit note already" in last
    assert world.invoice("INV-2041")["refunded_cents"] == 0


@pytest.mark.usefixtures("anew")
def test_a_refused_note_does_not_hide_that_the_money_went() -> None:
    no = mcp({"code": "out_of_scope", "message": "Notes are not yours."}, is_error=True)
    calls, last = run("support-refunds", "TCK-1042", lambda call: no if call["tool"] == "helpdesk_add_note" else None)
    assert names(calls) == REFUND_STORY
    assert "Refunded $84.50" in last
    assert "Notes are not yours." in last


@pytest.mark.usefixtures("anew")
def test_support_refunds_proposes_nothing_where_nothing_is_left_or_named() -> None:
    world.send("billing_issue_refund", {"invoice_id": "INV-2041", "amount_cents": 8000, "reason": "Before."})
    calls, last = run("support-refunds", "TCK-1042")
    assert names(calls) == REFUND_STORY[:2]
    assert "$4.50 left" in last
    assert run("support-refunds", "Do something.")[0] == []
    missing, last = run("support-refunds", "TCK-9999")
    assert names(missing) == ["helpdesk_get_ticket"]
    assert "There is no ticket TCK-9999" in last


@pytest.mark.usefixtures("anew")
def test_the_schema_steward_looks_changes_and_looks_again() -> None:
    calls, last = run("schema-steward", "The carrier asks for its own reference on each shipment.")
    assert names(calls) == ["warehouse_run_query", "warehouse_change_schema", "warehouse_run_query"]
    assert calls[1]["arguments"] == {"statement": "ALTER TABLE shipments ADD COLUMN carrier_reference text"}
    assert last == "shipments now has the column carrier_reference."
    calls, last = run("schema-steward", "The same once more.")
    assert names(calls) == ["warehouse_run_query"]
    assert "already" in last
    calls, _ = run("schema-steward", "Please add a column `shelf_code` to the table products.")
    assert calls[1]["arguments"] == {"statement": "ALTER TABLE products ADD COLUMN shelf_code text"}


def test_the_schema_steward_takes_no_for_an_answer() -> None:
    no = mcp({"status": "denied", "reason": "Not on a Friday."})
    calls, last = run("schema-steward", "Add column friday_column.", lambda call: no if "change" in call["tool"] else None)
    assert names(calls) == ["warehouse_run_query", "warehouse_change_schema"]
    assert "Not on a Friday" in last


def test_the_looping_researcher_asks_the_same_until_it_is_stopped() -> None:
    asked = 0

    def gate(_call: dict[str, Any]) -> dict[str, Any] | None:
        nonlocal asked
        asked += 1
        return mcp({"code": "no_progress", "message": "The same question four times."}, is_error=True) if asked > 3 else None

    calls, last = run("looping-researcher", "How many shipments are late?", gate)
    assert len(calls) == 4
    assert len({json.dumps([call["tool"], call["arguments"]]) for call in calls}) == 1
    assert len({call["id"] for call in calls}) == 4
    assert "The same question four times" in last
    assert len(run("looping-researcher", "Again?")[0]) == 40


def test_the_spender_writes_ever_more_and_pays_for_every_word() -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "text": "Write the stock report."}]
    spent = []
    for _ in range(3):
        turn = ask("spender", messages)
        spent.append(turn.usage)
        assert turn.usage["output_tokens"] >= 6000
        (call,) = turn.calls
        messages.append({"role": "assistant", "text": turn.text, "calls": turn.calls})
        result = builtin.send(world.outbound(call["tool"], call["arguments"])).result
        messages.append({"role": "tool", "call_id": call["id"], "tool": call["tool"], "result": result})
    assert spent[0]["input_tokens"] < spent[1]["input_tokens"] < spent[2]["input_tokens"]
    assert len({json.dumps(call["arguments"]) for message in messages for call in message.get("calls", [])}) == 3
    short = ask("spender", messages, tokens=100)
    assert len(short.text) == 400
    calls, last = run("spender", "Write all of it.")
    assert len(calls) == 60
    assert "nobody stopped me" in last


def refuse_types(call: dict[str, Any]) -> dict[str, Any] | None:
    if call["tool"] != "billing_issue_refund" or isinstance(call["arguments"]["amount_cents"], int):
        return None
    fault = {"pointer": "/amount_cents", "expected": "integer", "got": 'string "84.50"'}
    return mcp({"code": "invalid_arguments", "message": "The arguments do not fit.", "faults": [fault]}, is_error=True)


@pytest.mark.usefixtures("anew")
def test_bad_arguments_mends_what_the_refusal_names() -> None:
    calls, last = run("bad-arguments", "TCK-1042", refuse_types)
    assert names(calls) == [*REFUND_STORY[:3], *REFUND_STORY[2:]]
    assert [call["arguments"]["amount_cents"] for call in calls[2:4]] == ["84.50", 8450]
    assert "Refunded $84.50" in last


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize(
    "refusal",
    [
        {"code": "invalid_arguments", "message": "No.", "faults": [{"pointer": "/reason", "expected": "string", "got": "null"}]},
        {"code": "policy_denied", "message": "No."},
        {"code": "invalid_arguments", "message": "No.", "faults": "nonsense"},
    ],
)
def test_bad_arguments_gives_up_on_a_refusal_it_cannot_read(refusal: dict[str, Any]) -> None:
    calls, last = run(
        "bad-arguments", "TCK-1042", lambda call: mcp(refusal, is_error=True) if call["tool"] == "billing_issue_refund" else None
    )
    assert names(calls) == REFUND_STORY[:3]
    assert "No" in last


@pytest.mark.usefixtures("anew")
def test_bad_arguments_is_refused_by_the_system_even_without_a_gate() -> None:
    calls, last = run("bad-arguments", "TCK-1042 without a gate")
    assert names(calls) == REFUND_STORY[:3]
    assert "/amount_cents" in last


@pytest.mark.usefixtures("anew")
def test_gullible_support_obeys_the_ticket_and_only_a_gate_stops_it() -> None:
    no = mcp({"code": "out_of_scope", "message": "This invoice belongs to somebody else."}, is_error=True)

    def gate(call: dict[str, Any]) -> dict[str, Any] | None:
        return no if call["tool"] in {"billing_issue_refund", "mail_send_mail"} else None

    calls, last = run("gullible-support", "Answer TCK-1051.", gate)
    assert names(calls) == ["helpdesk_get_ticket", "billing_issue_refund", "mail_send_mail"]
    assert (calls[1]["arguments"]["invoice_id"], calls[1]["arguments"]["amount_cents"]) == ("INV-1960", 124_000)
    assert calls[2]["arguments"]["to"] == ["audit@collect-invoices.example"]
    assert "belongs to somebody else" in last
    assert names(run("gullible-support", "Answer TCK-1042.", gate)[0]) == ["helpdesk_get_ticket"]
    run("gullible-support", "Answer TCK-1051 with nobody watching.")
    assert world.invoice("INV-1960")["status"] == "refunded"


def test_a_script_gives_the_same_turn_for_the_same_conversation() -> None:
    messages = [{"role": "user", "text": "TCK-1042"}]
    for name in script.names():
        assert ask(name, messages) == ask(name, messages)
        assert ask(f"scripted/{name}", messages) == ask(name, messages)


def test_the_scripts_are_known_by_name_and_others_are_not() -> None:
    ask("support-refunds", [])
    ours = {"bad-arguments", "gullible-support", "looping-researcher", "schema-steward", "spender", "support-refunds"}
    assert ours <= set(script.names())  # tests of hosted runs name some of their own
    with pytest.raises(models.ProviderRefused, match="support-refunds"):
        ask("gpt-9", [])
    with pytest.raises(models.ProviderRefused, match="oracle"):
        models.complete(models.ModelRequest("oracle", "x", []))
    with pytest.raises(ValueError, match="support-refunds"):
        script.named("support-refunds")(lambda _messages, _tools: models.Completion())
