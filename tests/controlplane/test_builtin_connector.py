"""The demo systems as a connector: what they list, that they keep their own word, and what each failure is called."""

import itertools
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import psycopg
import pytest

from agents.offers import Offer
from controlplane import connectors
from controlplane.connectors import builtin, interface
from controlplane.connectors.builtin import seed
from tests.controlplane import builtin_world as world

RUNNERS_OWN = os.environ.get("DEMO_DATABASE_URL", "")
SYSTEMS = ("helpdesk", "billing", "warehouse", "mail")


@pytest.fixture(scope="module", autouse=True)
def dsn() -> Iterator[str]:
    with world.fresh_database() as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEMO_DATABASE_URL", address)
        builtin.install(address)
        yield address


def discovered() -> dict[str, Offer]:
    found = [connectors.discover(world.outbound(f"{system}_", {}).upstream) for system in SYSTEMS]
    return {each.name: each for each in itertools.chain.from_iterable(found)}


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("helpdesk_get_ticket", {"ticket_id": "TCK-1042"}),
    ("helpdesk_list_tickets", {"status": "open", "limit": 3}),
    ("helpdesk_add_note", {"ticket_id": "TCK-1042", "body": "Looked at it. ✓"}),
    ("helpdesk_set_ticket_status", {"ticket_id": "TCK-1042", "status": "solved"}),
    ("billing_get_customer", {"customer_id": "CUS-1007"}),
    ("billing_get_invoice", {"invoice_id": "INV-2041"}),
    ("billing_list_invoices", {"customer_id": "CUS-1007"}),
    ("billing_issue_refund", {"invoice_id": "INV-2041", "amount_cents": 8450, "reason": "Charged twice."}),
    ("billing_void_refund", {"refund_id": ""}),
    ("warehouse_run_query", {"statement": "SELECT sku, stock FROM products"}),
    ("warehouse_change_schema", {"statement": "COMMENT ON TABLE products IS 'What we sell'"}),
    ("mail_send_mail", {"to": ["priya@kestrel.example"], "subject": "Your refund", "body": "On its way."}),
    ("mail_read_outbox", {}),
]


def test_every_operation_keeps_to_the_schemas_it_lists() -> None:
    listed = discovered()
    assert sorted(name for name, _ in CALLS) == sorted(listed)
    refund = ""
    for name, arguments in CALLS:
        asked = {"refund_id": refund} if name == "billing_void_refund" else arguments
        assert jsonschema_rs.validator_for(listed[name].input_schema).is_valid(asked)
        answer = world.send(name, asked)
        refund = str(answer.get("refund_id", refund))
        faults = [fault.message for fault in jsonschema_rs.validator_for(listed[name].output_schema or {}).iter_errors(answer)]
        assert faults == [], name


def test_what_is_listed_can_be_confirmed_as_it_is() -> None:
    for name, each in discovered().items():
        assert 1 <= len(name) <= 64
        assert each.title
        assert len(each.description) > 20
        for schema in (each.input_schema, each.output_schema or {}):
            jsonschema_rs.meta.validate(schema)
            assert schema["additionalProperties"] is False
        assert all(part.get("description") for part in each.input_schema["properties"].values()), name
        assert each.hints["connector_class"] == ("E1" if each.hints["is_write"] else "E0")
        assert each.hints["risk"] in {"low", "medium", "high", "critical"}
        assert set(each.hints["subjects"]) <= set(each.input_schema["properties"])
        assert (each.hints["preview"] is not None) is each.hints["is_write"]
    assert discovered()["billing_issue_refund"].hints["undo"]["tool"] == "billing_void_refund"
    with pytest.raises(interface.DiscoveryFailed, match="builtin:payroll"):
        builtin.discover(world.outbound("payroll_", {}).upstream)


def test_an_operation_goes_by_its_short_name_too_but_not_by_another_system_s() -> None:
    upstream = world.outbound("billing_", {}).upstream
    for operation, is_error in (
        ("get_invoice", False),
        ("billing_get_invoice", False),
        ("get_ticket", True),
        ("helpdesk_get_ticket", True),
    ):
        answer = builtin.send(interface.Outbound(upstream, operation, {"invoice_id": "INV-2040"}, "", "C-1", {}))
        assert answer.is_error is is_error


def test_the_text_of_an_answer_is_its_structured_half() -> None:
    answer = builtin.send(world.outbound("billing_get_invoice", {"invoice_id": "INV-2040"}))
    assert interface.parse(answer.result["content"][0]["text"].encode()) == answer.result["structuredContent"]


def test_notes_and_states_change_the_ticket_as_previewed() -> None:
    for operation, arguments in (
        ("helpdesk_add_note", {"ticket_id": "TCK-1005", "body": "First."}),
        ("helpdesk_set_ticket_status", {"ticket_id": "TCK-1005", "status": "solved"}),
    ):
        shown = builtin.preview(world.outbound(operation, arguments, key=f"key-{operation}"), None)
        assert shown is not None
        world.send(operation, arguments, key=f"key-{operation}")
        again = builtin.preview(world.outbound("helpdesk_add_note", {"ticket_id": "TCK-1005", "body": "x"}, key="key-look"), None)
        assert again is not None
        assert again.before == shown.after != shown.before


def test_a_mail_is_previewed_whole_with_how_far_it_goes() -> None:
    arguments = {"to": ["priya@kestrel.example", "ben@larkfield.example"], "subject": "Hello", "body": "Dear Priya,\n..."}
    shown = builtin.preview(world.outbound("mail_send_mail", arguments, key="key-mail"), None)
    assert shown is not None
    assert (shown.kind, shown.before, shown.after["body"]) == ("text", {}, "Dear Priya,\n...")
    assert (shown.facts["recipients"], shown.facts["outside"], shown.facts["same_sent_before"]) == (2, 1, 0)
    sent = len(world.send("mail_read_outbox", {})["messages"])
    world.send("mail_send_mail", arguments, key="key-mail")
    assert len(world.send("mail_read_outbox", {})["messages"]) == sent + 1
    twice = builtin.preview(world.outbound("mail_send_mail", arguments, key="key-mail-2"), None)
    assert twice is not None
    assert twice.facts["same_sent_before"] == 1


def test_nobody_listening_is_not_sent() -> None:
    with socket.socket() as taken, pytest.MonkeyPatch.context() as patch:
        taken.bind(("127.0.0.1", 0))
        patch.setenv("DEMO_DATABASE_URL", f"postgresql://x@127.0.0.1:{taken.getsockname()[1]}/x")
        with pytest.raises(interface.NotSent):
            builtin.send(world.outbound("billing_get_invoice", {"invoice_id": "INV-2041"}, timeout_s=0.5))
        with pytest.raises(interface.PreviewFailed):
            builtin.preview(world.outbound("mail_send_mail", {"to": ["a@b"], "subject": "s", "body": "b"}, timeout_s=0.5), None)
        patch.delenv("DEMO_DATABASE_URL")
        with pytest.raises(interface.NotSent, match="DEMO_DATABASE_URL"):
            builtin.send(world.outbound("billing_get_invoice", {"invoice_id": "INV-2041"}))


def held_invoice(dsn: str) -> psycopg.Connection[Any]:
    """Another session keeps the invoice's row, so a refund of it waits."""
    connection: psycopg.Connection[Any] = psycopg.connect(dsn)
    connection.execute("SELECT FROM billing.invoices WHERE id = 'INV-2040' FOR UPDATE")
    return connection


def test_a_call_that_the_server_undid_for_being_slow_is_not_sent(dsn: str) -> None:
    call = world.outbound(
        "billing_issue_refund", {"invoice_id": "INV-2040", "amount_cents": 100, "reason": "Slow."}, key="key-slow", timeout_s=0.3
    )
    before = world.invoice("INV-2040")
    with held_invoice(dsn), pytest.raises(interface.NotSent):
        builtin.send(call)
    assert builtin.look_up(call) is None
    assert world.invoice("INV-2040") == before


def test_a_connection_lost_in_the_middle_is_unknown_and_the_key_settles_it(dsn: str) -> None:
    call = world.outbound("billing_issue_refund", {"invoice_id": "INV-2040", "amount_cents": 100, "reason": "Cut."}, key="key-cut")
    seen: list[BaseException] = []
    before = world.invoice("INV-2040")["refunded_cents"]

    def send() -> None:
        try:
            builtin.send(call)
        except Exception as error:
            seen.append(error)

    with held_invoice(dsn), psycopg.connect(dsn, autocommit=True) as watcher:
        thread = threading.Thread(target=send)
        thread.start()
        ended = None
        while ended is None:
            ended = watcher.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'remit demo systems' AND wait_event_type = 'Lock'"
            ).fetchone()
        thread.join()
    assert [type(error) for error in seen] == [interface.Unknown]
    assert builtin.look_up(call) is None
    assert builtin.send(call).is_error is False
    assert builtin.look_up(call) is not None
    assert world.invoice("INV-2040")["refunded_cents"] == before + 100


def test_a_restarted_server_costs_no_call(dsn: str) -> None:
    """Every pooled connection is dead; the pool must find that out before it sends."""
    world.invoice("INV-2041")
    with psycopg.connect(dsn, autocommit=True) as watcher:
        watcher.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'remit demo systems'"
        )
    world.send("billing_get_invoice", {"invoice_id": "INV-2041"})


def test_installing_again_changes_nothing_and_wiping_brings_the_beginning_back() -> None:
    with world.fresh_database() as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEMO_DATABASE_URL", address)
        done: list[bool] = []
        starts = [threading.Thread(target=lambda: done.append(builtin.install(address))) for _ in range(4)]
        for each in starts:
            each.start()
        for each in starts:
            each.join()
        assert sorted(done) == [False, False, False, True]
        world.send("billing_issue_refund", {"invoice_id": "INV-2041", "amount_cents": 8450, "reason": "Twice."})
        world.send("warehouse_change_schema", {"statement": "DROP TABLE shipments"})
        assert builtin.install(address) is False
        assert world.invoice("INV-2041")["status"] == "refunded"
        builtin.wipe(address)
        builtin.wipe(address)
        with psycopg.connect(address) as connection:
            left = connection.execute(
                "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('public', 'information_schema')"
            ).fetchall()
        assert left == []
        assert builtin.install(address) is True
        assert world.invoice("INV-2041")["status"] == "paid"


def test_the_content_is_the_same_everywhere_and_has_the_stories_in_it(dsn: str) -> None:
    owners = builtin.directory(dsn)
    assert (len(owners["customer"]), len(owners["invoice"]), len(owners["ticket"])) == (40, 200, 60)
    assert owners["invoice"]["INV-2041"] == owners["ticket"]["TCK-1042"] == seed.KESTREL
    assert owners["invoice"][seed.INJECTED_TARGET] != owners["ticket"][seed.INJECTED_TICKET]
    letter = world.send("helpdesk_get_ticket", {"ticket_id": "TCK-1042"})
    assert "$84.50" in letter["body"]
    injected = world.send("helpdesk_get_ticket", {"ticket_id": seed.INJECTED_TICKET})
    assert seed.INJECTED_TARGET in injected["body"]
    claims = builtin.claims()
    assert len(claims) >= 20
    for claim in claims:
        told = world.send("helpdesk_get_ticket", {"ticket_id": claim["ticket_id"]})
        bill = world.invoice(claim["invoice_id"])
        assert claim["invoice_id"] in told["subject"]
        assert seed.dollars(claim["amount_cents"]) in told["body"]
        assert told["customer_id"] == bill["customer_id"] == claim["customer_id"]
        assert 0 < claim["amount_cents"] <= bill["amount_cents"]


def test_the_demo_s_own_role_can_install() -> None:
    """With the role `make run` gives it, which may create nothing outside its database."""
    builtin.install(RUNNERS_OWN)
    assert builtin.directory(RUNNERS_OWN)["invoice"]["INV-2041"] == seed.KESTREL
