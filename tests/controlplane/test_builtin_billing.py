"""The demo's billing: real rows, refunds that never pass the rest, and one effect for one key."""

import threading
from collections.abc import Iterator
from concurrent import futures

import psycopg
import pytest

from controlplane.connectors import builtin, interface
from tests.controlplane import builtin_world as world


@pytest.fixture(scope="module", autouse=True)
def dsn() -> Iterator[str]:
    with world.fresh_database() as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEMO_DATABASE_URL", address)
        builtin.install(address)
        yield address


@pytest.fixture
def paid(dsn: str) -> dict[str, object]:
    """A paid invoice of at least ten dollars that no other test has touched."""
    return next(each for each in world.paid_invoices() if each["amount_cents"] >= 1000 and each["invoice_id"] != "INV-2041")


def refund(invoice_id: object, cents: object, reason: str = "Because.") -> dict[str, object]:
    return {"invoice_id": invoice_id, "amount_cents": cents, "reason": reason}


def test_the_story_s_refund_empties_the_invoice_and_its_void_fills_it_again() -> None:
    before = world.invoice("INV-2041")
    assert (before["customer_name"], before["amount_cents"], before["status"]) == ("Kestrel Ltd", 8450, "paid")

    done = world.send("billing_issue_refund", refund("INV-2041", 8450))

    after = world.invoice("INV-2041")
    assert (after["status"], after["refunded_cents"], after["refundable_cents"], after["tags"]) == ("refunded", 8450, 0, ["refunded"])
    assert [each["refund_id"] for each in after["refunds"]] == [done["refund_id"]]
    world.send("billing_void_refund", {"refund_id": done["refund_id"], "reason": "Wrong invoice."})
    again = world.invoice("INV-2041")
    assert {**again, "refunds": []} == before
    assert world.refused("billing_void_refund", {"refund_id": done["refund_id"]}) == "refund_already_voided"


def test_parts_add_up_to_the_amount_and_never_above(paid: dict[str, int]) -> None:
    amount = paid["amount_cents"]
    world.send("billing_issue_refund", refund(paid["invoice_id"], 400))
    assert world.invoice(str(paid["invoice_id"]))["status"] == "partially_refunded"

    assert world.refused("billing_issue_refund", refund(paid["invoice_id"], amount - 399)) == "refund_above_the_rest"

    assert world.invoice(str(paid["invoice_id"]))["refunded_cents"] == 400
    assert world.send("billing_issue_refund", refund(paid["invoice_id"], amount - 400))["invoice_status"] == "refunded"
    assert world.refused("billing_issue_refund", refund(paid["invoice_id"], 1)) == "refund_above_the_rest"


def test_what_was_not_paid_is_not_refunded() -> None:
    unpaid = world.send("billing_list_invoices", {"status": "open"})["invoices"][0]
    assert world.refused("billing_issue_refund", refund(unpaid["invoice_id"], 100)) == "invoice_not_paid"


def test_a_refund_is_void_for_a_day_only(dsn: str, paid: dict[str, int]) -> None:
    done = world.send("billing_issue_refund", refund(paid["invoice_id"], 100))
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE billing.refunds SET undo_until = now() - interval '1 second' WHERE id = %s", [done["refund_id"]])
    assert world.refused("billing_void_refund", {"refund_id": done["refund_id"]}) == "undo_is_over"
    assert world.refused("billing_void_refund", {"refund_id": "re_nobody"}) == "refund_not_found"


def test_the_same_key_gives_the_same_answer_and_one_refund(paid: dict[str, int]) -> None:
    call = world.outbound("billing_issue_refund", refund(paid["invoice_id"], 200), key="key-same")
    assert builtin.look_up(call) is None
    first = builtin.send(call)
    assert builtin.send(call) == first
    assert builtin.look_up(call) == first
    assert len(world.invoice(str(paid["invoice_id"]))["refunds"]) == 1


def test_the_same_key_with_other_arguments_does_nothing(paid: dict[str, int]) -> None:
    world.send("billing_issue_refund", refund(paid["invoice_id"], 200), key="key-reused")
    assert world.refused("billing_issue_refund", refund(paid["invoice_id"], 201), key="key-reused") == "idempotency_key_reused"
    assert world.refused("helpdesk_add_note", {"ticket_id": "TCK-1001", "body": "x"}, key="key-reused") == "idempotency_key_reused"
    assert world.invoice(str(paid["invoice_id"]))["refunded_cents"] == 200


def test_a_no_is_kept_under_its_key_too(paid: dict[str, int]) -> None:
    amount = paid["amount_cents"]
    done = world.send("billing_issue_refund", refund(paid["invoice_id"], amount))
    asked = refund(paid["invoice_id"], 5)
    assert world.refused("billing_issue_refund", asked, key="key-no") == "refund_above_the_rest"
    world.send("billing_void_refund", {"refund_id": done["refund_id"]})
    assert world.refused("billing_issue_refund", asked, key="key-no") == "refund_above_the_rest"
    world.send("billing_issue_refund", asked, key="key-yes")


def test_a_write_without_a_key_is_refused(paid: dict[str, int]) -> None:
    answer = builtin.send(world.outbound("billing_issue_refund", refund(paid["invoice_id"], 5)))
    assert answer.result["structuredContent"]["code"] == "idempotency_key_missing"
    assert world.invoice(str(paid["invoice_id"]))["refunded_cents"] == 0


def test_eight_racing_sends_of_one_key_make_one_refund(paid: dict[str, int]) -> None:
    call = world.outbound("billing_issue_refund", refund(paid["invoice_id"], 300), key="key-race")
    start = threading.Barrier(8)

    def send(_number: int) -> interface.Answer:
        start.wait()
        return builtin.send(call)

    with futures.ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(send, range(8)))
    assert all(answer == answers[0] and not answer.is_error for answer in answers)
    assert world.invoice(str(paid["invoice_id"]))["refunded_cents"] == 300


def test_racing_refunds_with_different_keys_never_pass_the_rest(paid: dict[str, int]) -> None:
    half = paid["amount_cents"] // 2
    start = threading.Barrier(6)

    def send(number: int) -> bool:
        start.wait()
        return builtin.send(world.outbound("billing_issue_refund", refund(paid["invoice_id"], half), key=f"key-half-{number}")).is_error

    with futures.ThreadPoolExecutor(6) as threads:
        refusals = list(threads.map(send, range(6)))
    assert refusals.count(False) == 2
    assert world.invoice(str(paid["invoice_id"]))["refunded_cents"] == 2 * half


def test_the_preview_is_what_the_write_then_does(paid: dict[str, int]) -> None:
    call = world.outbound("billing_issue_refund", refund(paid["invoice_id"], 250), key="key-preview")
    untouched = world.invoice(str(paid["invoice_id"]))

    shown = builtin.preview(call, {"kind": "fields"})

    assert shown is not None
    assert world.invoice(str(paid["invoice_id"])) == untouched
    assert builtin.look_up(call) is None
    changed = {name: (shown.before[name], shown.after[name]) for name in shown.before if shown.before[name] != shown.after[name]}
    assert changed == {"status": ("paid", "partially_refunded"), "refunded_cents": (0, 250), "tags": ([], ["refunded"])}
    assert (shown.entity, shown.kind) == (f"invoice/{paid['invoice_id']}", "fields")
    assert shown.facts["reach"]["money_cents"] == 250
    assert shown.facts["earlier_refunds"] == []
    builtin.send(call)
    later = builtin.preview(world.outbound("billing_issue_refund", refund(paid["invoice_id"], 250), key="key-preview-2"), None)
    assert later is not None
    assert later.before == shown.after
    assert [each["amount_cents"] for each in later.facts["earlier_refunds"]] == [250]


def test_the_version_changes_when_the_target_does(paid: dict[str, int]) -> None:
    asked = refund(paid["invoice_id"], 250)
    versions = []
    for number in range(3):
        shown = builtin.preview(world.outbound("billing_issue_refund", asked, key=f"key-version-{number}"), None)
        assert shown is not None
        versions.append(shown.facts["version"])
        if number == 1:
            world.send("billing_issue_refund", refund(paid["invoice_id"], 1))
    assert versions[0] == versions[1] != versions[2]


def test_a_preview_of_what_would_fail_says_so_and_shows_no_change(paid: dict[str, int]) -> None:
    shown = builtin.preview(world.outbound("billing_issue_refund", refund(paid["invoice_id"], 90_000_000), key="key-fail"), None)
    assert shown is not None
    assert shown.before == shown.after
    assert shown.facts["would_fail"]["code"] == "refund_above_the_rest"


def test_a_target_that_is_not_there_cannot_be_previewed() -> None:
    with pytest.raises(interface.PreviewFailed, match="INV-9999"):
        builtin.preview(world.outbound("billing_issue_refund", refund("INV-9999", 1), key="key-nowhere"), None)
    assert builtin.preview(world.outbound("billing_get_invoice", {"invoice_id": "INV-2041"}), None) is None


def test_a_preview_after_the_fact_says_that_it_happened(paid: dict[str, int]) -> None:
    call = world.outbound("billing_issue_refund", refund(paid["invoice_id"], 10), key="key-after")
    builtin.send(call)
    shown = builtin.preview(call, None)
    assert shown is not None
    assert shown.facts["already_applied"] is True
    assert shown.before == shown.after


@pytest.mark.parametrize(
    ("arguments", "pointer"),
    [
        (refund("INV-2041", "84.50"), "/amount_cents"),
        (refund("INV-2041", 84.5), "/amount_cents"),
        (refund("INV-2041", 0), "/amount_cents"),
        (refund("INV-2041", True), "/amount_cents"),
        (refund("INV-2041'; --", 1), "/invoice_id"),
        ({"invoice_id": "INV-2041", "amount_cents": 1}, ""),
        (refund("INV-2041", 1) | {"currency": "EUR"}, ""),
    ],
)
def test_wrong_arguments_are_refused_by_the_system_itself(arguments: dict[str, object], pointer: str) -> None:
    answer = builtin.send(world.outbound("billing_issue_refund", arguments, key="key-wrong"))
    assert answer.result["structuredContent"]["code"] == "invalid_arguments"
    assert answer.result["structuredContent"]["pointer"] == pointer
    assert builtin.look_up(world.outbound("billing_issue_refund", {}, key="key-wrong")) is None
