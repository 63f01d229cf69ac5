"""The demo's billing system: customers, invoices, refunds in parts, and a void that takes a refund back for a day."""

from typing import Any

from controlplane.connectors.builtin import operation
from controlplane.connectors.builtin.operation import Arguments, Cursor, Operation, Rejected, Row, Snapshot

UNDO_HOURS = 24
MONEY = {"kind": "money", "currency": "USD", "minor_units": 2}
STATUSES = ("open", "paid", "partially_refunded", "refunded")

REFUND = {
    "type": "object",
    "properties": {
        "refund_id": operation.TEXT,
        "amount_cents": operation.COUNT,
        "reason": operation.TEXT,
        "status": operation.choice("Issued or taken back.", "issued", "voided"),
        "issued_at": operation.WHEN,
        "undo_until": operation.WHEN,
    },
}
BRIEF = {
    "invoice_id": operation.TEXT,
    "customer_id": operation.TEXT,
    "description": operation.TEXT,
    "amount_cents": operation.COUNT,
    "refunded_cents": operation.COUNT,
    "currency": operation.TEXT,
    "status": operation.choice("Where the invoice stands.", *STATUSES),
    "issued_on": operation.DAY,
}
INVOICE_ID = operation.identifier("The invoice.", prefix="INV")
CUSTOMER_ID = operation.identifier("The customer.", prefix="CUS")
WHY = operation.text("Why, for the books and for the person who approves it.", longest=500)


def status_of(*, amount: int, refunded: int) -> str:
    if refunded == 0:
        return "paid"
    return "refunded" if refunded == amount else "partially_refunded"


def written(cents: int, currency: str) -> str:
    """An amount as people read it."""
    sign = {"USD": "$"}.get(currency, f"{currency} ")
    return f"{sign}{cents // 100:,}.{cents % 100:02d}"


def _locked(cursor: Cursor, invoice_id: str) -> Row:
    cursor.execute("SELECT * FROM billing.invoices WHERE id = %s FOR UPDATE", [invoice_id])
    found = cursor.fetchone()
    if found is None:
        raise Rejected("invoice_not_found", f"There is no invoice {invoice_id}.")
    return found


def _set_refunded(cursor: Cursor, invoice: Row, refunded: int) -> str:
    status = status_of(amount=invoice["amount_cents"], refunded=refunded)
    tags = [tag for tag in invoice["tags"] if tag != "refunded"] + (["refunded"] if refunded else [])
    cursor.execute(
        "UPDATE billing.invoices SET refunded_cents = %s, status = %s, tags = %s WHERE id = %s", [refunded, status, tags, invoice["id"]]
    )
    return status


def get_invoice(cursor: Cursor, arguments: Arguments, _reference: str) -> Row:
    cursor.execute(
        "SELECT i.id AS invoice_id, i.customer_id, c.name AS customer_name, i.description, i.amount_cents, i.refunded_cents,"
        " CASE WHEN i.status = 'open' THEN 0 ELSE i.amount_cents - i.refunded_cents END AS refundable_cents,"
        " i.currency, i.status, i.tags, i.issued_on, i.paid_on"
        " FROM billing.invoices i JOIN billing.customers c ON c.id = i.customer_id WHERE i.id = %s",
        [arguments["invoice_id"]],
    )
    invoice = cursor.fetchone()
    if invoice is None:
        raise Rejected("invoice_not_found", f"There is no invoice {arguments['invoice_id']}.")
    return invoice | {"refunds": _refunds(cursor, arguments["invoice_id"])}


def _refunds(cursor: Cursor, invoice_id: str) -> list[Row]:
    cursor.execute(
        "SELECT id AS refund_id, amount_cents, reason, status, issued_at, undo_until FROM billing.refunds"
        " WHERE invoice_id = %s ORDER BY issued_at, id",
        [invoice_id],
    )
    return cursor.fetchall()


def list_invoices(cursor: Cursor, arguments: Arguments, _reference: str) -> Row:
    wanted = [arguments.get("customer_id"), arguments.get("status")]
    cursor.execute(
        "SELECT id AS invoice_id, customer_id, description, amount_cents, refunded_cents, currency, status, issued_on,"
        " count(*) OVER () AS total"
        " FROM billing.invoices WHERE customer_id = coalesce(%s, customer_id) AND status = coalesce(%s, status)"
        " ORDER BY issued_on DESC, id DESC LIMIT %s",
        [*wanted, arguments.get("limit", 20)],
    )
    found = cursor.fetchall()
    total = found[0]["total"] if found else 0
    return {"invoices": [{name: value for name, value in row.items() if name != "total"} for row in found], "total": total}


def get_customer(cursor: Cursor, arguments: Arguments, _reference: str) -> Row:
    cursor.execute(
        "SELECT c.id AS customer_id, c.name, c.contact, c.email, c.plan, c.country, c.since, count(i.id) AS invoices,"
        " coalesce(sum(i.amount_cents - i.refunded_cents) FILTER (WHERE i.status <> 'open'), 0)::bigint AS paid_cents"
        " FROM billing.customers c LEFT JOIN billing.invoices i ON i.customer_id = c.id WHERE c.id = %s GROUP BY c.id",
        [arguments["customer_id"]],
    )
    customer = cursor.fetchone()
    if customer is None:
        raise Rejected("customer_not_found", f"There is no customer {arguments['customer_id']}.")
    return customer


def issue_refund(cursor: Cursor, arguments: Arguments, reference: str) -> Row:
    invoice = _locked(cursor, arguments["invoice_id"])
    amount, rest = arguments["amount_cents"], invoice["amount_cents"] - invoice["refunded_cents"]
    if invoice["status"] == "open":
        raise Rejected("invoice_not_paid", f"{invoice['id']} has not been paid, so there is nothing to refund.")
    if amount > rest:
        raise Rejected("refund_above_the_rest", f"{invoice['id']} has {rest} cents left to refund, not {amount}.", refundable_cents=rest)
    status = _set_refunded(cursor, invoice, invoice["refunded_cents"] + amount)
    cursor.execute(
        "INSERT INTO billing.refunds (id, invoice_id, amount_cents, reason, undo_until)"
        " VALUES (%s, %s, %s, %s, now() + make_interval(hours => %s)) RETURNING undo_until",
        [f"re_{reference}", invoice["id"], amount, arguments["reason"], UNDO_HOURS],
    )
    (made,) = cursor.fetchall()
    return {
        "refund_id": f"re_{reference}",
        "invoice_id": invoice["id"],
        "amount_cents": amount,
        "currency": invoice["currency"],
        "status": "issued",
        "invoice_status": status,
        "refundable_cents": rest - amount,
        "undo_until": made["undo_until"],
    }


def void_refund(cursor: Cursor, arguments: Arguments, _reference: str) -> Row:
    refund = _refund(cursor, arguments)
    invoice = _locked(cursor, refund["invoice_id"])
    # Read again under the invoice's lock: two voids may have been waiting for it.
    cursor.execute("SELECT *, undo_until < now() AS is_late FROM billing.refunds WHERE id = %s FOR UPDATE", [refund["id"]])
    (refund,) = cursor.fetchall()
    if refund["status"] == "voided":
        raise Rejected("refund_already_voided", f"{refund['id']} was taken back before.")
    if refund["is_late"]:
        raise Rejected("undo_is_over", f"{refund['id']} could be taken back until {refund['undo_until'].isoformat()}.")
    cursor.execute("UPDATE billing.refunds SET status = 'voided', voided_at = now() WHERE id = %s", [refund["id"]])
    status = _set_refunded(cursor, invoice, invoice["refunded_cents"] - refund["amount_cents"])
    return {
        "refund_id": refund["id"],
        "invoice_id": invoice["id"],
        "amount_cents": refund["amount_cents"],
        "currency": invoice["currency"],
        "status": "voided",
        "invoice_status": status,
    }


def _refund(cursor: Cursor, arguments: Arguments) -> Row:
    cursor.execute("SELECT * FROM billing.refunds WHERE id = %s", [arguments["refund_id"]])
    found = cursor.fetchone()
    if found is None:
        raise Rejected("refund_not_found", f"There is no refund {arguments['refund_id']}.")
    return found


def _state(cursor: Cursor, invoice_id: str) -> Row:
    cursor.execute(
        "SELECT i.status, i.refunded_cents, i.tags, i.amount_cents, i.currency, i.customer_id, c.name AS customer_name, i.description"
        " FROM billing.invoices i JOIN billing.customers c ON c.id = i.customer_id WHERE i.id = %s",
        [invoice_id],
    )
    found = cursor.fetchone()
    if found is None:
        raise Rejected("invoice_not_found", f"There is no invoice {invoice_id}.")
    return found


def invoice_snapshot(cursor: Cursor, arguments: Arguments, _reference: str) -> Snapshot:
    return Snapshot(f"invoice/{arguments['invoice_id']}", _state(cursor, arguments["invoice_id"]))


def refund_snapshot(cursor: Cursor, arguments: Arguments, _reference: str) -> Snapshot:
    refund = _refund(cursor, arguments)
    state = _state(cursor, refund["invoice_id"]) | {"refund_id": refund["id"], "refund_status": refund["status"]}
    return Snapshot(f"invoice/{refund['invoice_id']}", state)


def refund_facts(cursor: Cursor, arguments: Arguments, outcome: Row) -> Row:
    earlier = [refund for refund in _refunds(cursor, arguments["invoice_id"]) if refund["refund_id"] != outcome.get("refund_id")]
    state = _state(cursor, arguments["invoice_id"])
    return {
        "title": f"Refund {written(arguments['amount_cents'], state['currency'])} to {state['customer_name']}",
        "reach": {"records": 1, "people": 1, "money_cents": arguments["amount_cents"], "currency": state["currency"]},
        "customer": state["customer_name"],
        "undo": {"tool": "billing_void_refund", "hours": UNDO_HOURS},
        "earlier_refunds": earlier,
    }


def void_facts(cursor: Cursor, arguments: Arguments, _outcome: Row) -> Row:
    refund = _refund(cursor, arguments)
    return {"reach": {"records": 2, "people": 1, "money_cents": refund["amount_cents"], "currency": "USD"}, "undo": None}


DONE: dict[str, Any] = {
    "refund_id": operation.TEXT,
    "invoice_id": operation.TEXT,
    "amount_cents": operation.COUNT,
    "currency": operation.TEXT,
    "status": operation.choice("What the refund is now.", "issued", "voided"),
    "invoice_status": operation.choice("Where the invoice stands now.", *STATUSES),
}

OPERATIONS = (
    Operation(
        name="billing_get_customer",
        title="Get a customer",
        description="One customer with contact, plan and what they have paid.",
        input_schema=operation.schema({"customer_id": CUSTOMER_ID}),
        output_schema=operation.schema(
            {
                "customer_id": operation.TEXT,
                "name": operation.TEXT,
                "contact": operation.TEXT,
                "email": operation.TEXT,
                "plan": operation.TEXT,
                "country": operation.TEXT,
                "since": operation.DAY,
                "invoices": operation.COUNT,
                "paid_cents": operation.COUNT,
            }
        ),
        run=get_customer,
        hints={"data_domain": "customer", "subjects": {"customer_id": "customer"}, "formats": {"paid_cents": MONEY}},
    ),
    Operation(
        name="billing_get_invoice",
        title="Get an invoice",
        description="One invoice with its refunds and what can still be refunded. Amounts are in cents.",
        input_schema=operation.schema({"invoice_id": INVOICE_ID}),
        output_schema=operation.schema(
            BRIEF
            | {
                "customer_name": operation.TEXT,
                "refundable_cents": operation.COUNT,
                "tags": operation.TAGS,
                "paid_on": operation.DAY,
                "refunds": operation.listing("Refunds, the oldest first.", REFUND),
            }
        ),
        run=get_invoice,
        hints={
            "data_domain": "billing",
            "subjects": {"invoice_id": "invoice"},
            "formats": {"amount_cents": MONEY, "refunded_cents": MONEY, "refundable_cents": MONEY},
        },
    ),
    Operation(
        name="billing_list_invoices",
        title="List invoices",
        description="Invoices, the newest first, of one customer or in one state.",
        input_schema=operation.schema(
            {}, customer_id=CUSTOMER_ID, status=operation.choice("Only these.", *STATUSES), limit=operation.limit(most=100, usual=20)
        ),
        output_schema=operation.schema(
            {"invoices": operation.listing("The newest first.", {"type": "object", "properties": BRIEF}), "total": operation.COUNT}
        ),
        run=list_invoices,
        hints={"data_domain": "billing", "subjects": {"customer_id": "customer"}, "formats": {"amount_cents": MONEY}},
    ),
    Operation(
        name="billing_issue_refund",
        title="Refund an invoice",
        description="Pays back all or part of a paid invoice, never more than is left of it. Can be taken back for 24 hours.",
        input_schema=operation.schema(
            {
                "invoice_id": INVOICE_ID,
                "amount_cents": operation.cents("How much, in cents of the invoice's currency.", least=1),
                "reason": WHY,
            }
        ),
        output_schema=operation.schema(DONE | {"refundable_cents": operation.COUNT, "undo_until": operation.WHEN}),
        run=issue_refund,
        snapshot=invoice_snapshot,
        facts=refund_facts,
        hints={
            "risk": "high",
            "reversible": True,
            "data_domain": "billing",
            "subjects": {"invoice_id": "invoice"},
            "undo": {"tool": "billing_void_refund", "arguments": {"refund_id": "/refund_id"}, "hours": UNDO_HOURS},
            "formats": {"amount_cents": MONEY, "refunded_cents": MONEY},
            "narrowable": ["amount_cents"],
        },
    ),
    Operation(
        name="billing_void_refund",
        title="Take a refund back",
        description="Undoes a refund within 24 hours of issuing it.",
        input_schema=operation.schema({"refund_id": operation.text("The refund, as issue_refund named it.", longest=40)}, reason=WHY),
        output_schema=operation.schema(DONE),
        run=void_refund,
        snapshot=refund_snapshot,
        facts=void_facts,
        hints={
            "risk": "medium",
            "reversible": False,
            "data_domain": "billing",
            "subjects": {"refund_id": "refund"},
            "formats": {"amount_cents": MONEY, "refunded_cents": MONEY},
        },
    ),
)
