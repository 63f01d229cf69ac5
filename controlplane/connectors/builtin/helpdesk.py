"""The demo's helpdesk: tickets that customers wrote, and the notes and states that agents set."""

from controlplane.connectors.builtin import operation
from controlplane.connectors.builtin.operation import Arguments, Cursor, Operation, Rejected, Row, Snapshot

STATUSES = ("open", "pending", "solved")
TICKET_ID = operation.identifier("The ticket.", prefix="TCK")
BRIEF = {
    "ticket_id": operation.TEXT,
    "customer_id": operation.TEXT,
    "subject": operation.TEXT,
    "status": operation.choice("Where the ticket stands.", *STATUSES),
    "priority": operation.choice("How urgent.", "low", "normal", "high"),
    "created_at": operation.WHEN,
}
NOTE = {
    "type": "object",
    "properties": {"note_id": operation.TEXT, "author": operation.TEXT, "body": operation.TEXT, "created_at": operation.WHEN},
}


def get_ticket(cursor: Cursor, arguments: Arguments, _reference: str) -> Row:
    cursor.execute(
        "SELECT id AS ticket_id, customer_id, requester, subject, body, status, priority, tags, created_at"
        " FROM helpdesk.tickets WHERE id = %s",
        [arguments["ticket_id"]],
    )
    ticket = cursor.fetchone()
    if ticket is None:
        raise Rejected("ticket_not_found", f"There is no ticket {arguments['ticket_id']}.")
    cursor.execute(
        "SELECT id AS note_id, author, body, created_at FROM helpdesk.notes WHERE ticket_id = %s ORDER BY created_at, id",
        [arguments["ticket_id"]],
    )
    return ticket | {"notes": cursor.fetchall()}


def list_tickets(cursor: Cursor, arguments: Arguments, _reference: str) -> Row:
    cursor.execute(
        "SELECT id AS ticket_id, customer_id, subject, status, priority, created_at, count(*) OVER () AS total FROM helpdesk.tickets"
        " WHERE status = coalesce(%s, status) AND customer_id = coalesce(%s, customer_id) ORDER BY created_at DESC, id DESC LIMIT %s",
        [arguments.get("status"), arguments.get("customer_id"), arguments.get("limit", 20)],
    )
    found = cursor.fetchall()
    total = found[0]["total"] if found else 0
    return {"tickets": [{name: value for name, value in row.items() if name != "total"} for row in found], "total": total}


def add_note(cursor: Cursor, arguments: Arguments, reference: str) -> Row:
    state = _state(cursor, arguments["ticket_id"])
    cursor.execute(
        "INSERT INTO helpdesk.notes (id, ticket_id, author, body) VALUES (%s, %s, 'agent', %s)",
        [f"note_{reference}", arguments["ticket_id"], arguments["body"]],
    )
    return {"note_id": f"note_{reference}", "ticket_id": arguments["ticket_id"], "notes": state["notes"] + 1}


def set_ticket_status(cursor: Cursor, arguments: Arguments, _reference: str) -> Row:
    before = _state(cursor, arguments["ticket_id"])["status"]
    cursor.execute("UPDATE helpdesk.tickets SET status = %s WHERE id = %s", [arguments["status"], arguments["ticket_id"]])
    return {"ticket_id": arguments["ticket_id"], "status": arguments["status"], "was": before}


def _state(cursor: Cursor, ticket_id: str) -> Row:
    # The row lock also orders two notes on one ticket, so that both previews count right.
    cursor.execute("SELECT status, priority, subject, tags, customer_id FROM helpdesk.tickets WHERE id = %s FOR UPDATE", [ticket_id])
    ticket = cursor.fetchone()
    if ticket is None:
        raise Rejected("ticket_not_found", f"There is no ticket {ticket_id}.")
    cursor.execute("SELECT body FROM helpdesk.notes WHERE ticket_id = %s ORDER BY created_at, id", [ticket_id])
    notes = [row["body"] for row in cursor.fetchall()]
    return ticket | {"notes": len(notes), "last_note": notes[-1] if notes else None}


def snapshot(cursor: Cursor, arguments: Arguments, _reference: str) -> Snapshot:
    return Snapshot(f"ticket/{arguments['ticket_id']}", _state(cursor, arguments["ticket_id"]))


def facts(_cursor: Cursor, _arguments: Arguments, _outcome: Row) -> Row:
    return {"reach": {"records": 1, "people": 1}}


OPERATIONS = (
    Operation(
        name="helpdesk_get_ticket",
        title="Read a ticket",
        description="One ticket with what the customer wrote and every note. The text comes from outside.",
        input_schema=operation.schema({"ticket_id": TICKET_ID}),
        output_schema=operation.schema(
            BRIEF
            | {
                "requester": operation.TEXT,
                "body": operation.TEXT,
                "tags": operation.TAGS,
                "notes": operation.listing("Notes, the oldest first.", NOTE),
            }
        ),
        run=get_ticket,
        hints={"data_domain": "support", "subjects": {"ticket_id": "ticket"}, "outside_text": ["subject", "body", "requester"]},
    ),
    Operation(
        name="helpdesk_list_tickets",
        title="List tickets",
        description="Tickets, the newest first, in one state or of one customer.",
        input_schema=operation.schema(
            {},
            status=operation.choice("Only these.", *STATUSES),
            customer_id=operation.identifier("Only this customer's.", prefix="CUS"),
            limit=operation.limit(most=50, usual=20),
        ),
        output_schema=operation.schema(
            {"tickets": operation.listing("The newest first.", {"type": "object", "properties": BRIEF}), "total": operation.COUNT}
        ),
        run=list_tickets,
        hints={"data_domain": "support", "subjects": {"customer_id": "customer"}, "outside_text": ["subject"]},
    ),
    Operation(
        name="helpdesk_add_note",
        title="Add a note to a ticket",
        description="Writes an internal note. The customer does not see it.",
        input_schema=operation.schema({"ticket_id": TICKET_ID, "body": operation.text("The note.", longest=4000)}),
        output_schema=operation.schema({"note_id": operation.TEXT, "ticket_id": operation.TEXT, "notes": operation.COUNT}),
        run=add_note,
        snapshot=snapshot,
        facts=facts,
        hints={"risk": "low", "reversible": False, "data_domain": "support", "subjects": {"ticket_id": "ticket"}},
    ),
    Operation(
        name="helpdesk_set_ticket_status",
        title="Set a ticket's state",
        description="Opens, parks or closes a ticket.",
        input_schema=operation.schema({"ticket_id": TICKET_ID, "status": operation.choice("The new state.", *STATUSES)}),
        output_schema=operation.schema({"ticket_id": operation.TEXT, "status": operation.TEXT, "was": operation.TEXT}),
        run=set_ticket_status,
        snapshot=snapshot,
        facts=facts,
        hints={
            "risk": "low",
            "reversible": True,
            "data_domain": "support",
            "subjects": {"ticket_id": "ticket"},
            "undo": {"tool": "helpdesk_set_ticket_status", "arguments": {"ticket_id": "/ticket_id", "status": "/was"}, "hours": None},
        },
    ),
)
