"""The demo's mail: an outbox nobody empties, so a person can read what would have left."""

from controlplane.connectors.builtin import operation
from controlplane.connectors.builtin.operation import Arguments, Cursor, Operation, Row, Snapshot

OWN_DOMAIN = "larkfield.example"
SENDER = f"support@{OWN_DOMAIN}"
ADDRESS = {"type": "string", "pattern": "^[^@\\s<>]{1,64}@[^@\\s<>]{1,190}$", "description": "One address, without a name."}
MESSAGE = {
    "type": "object",
    "properties": {
        "message_id": operation.TEXT,
        "sender": operation.TEXT,
        "to": operation.TAGS,
        "subject": operation.TEXT,
        "body": operation.TEXT,
        "sent_at": operation.WHEN,
    },
}


def send_mail(cursor: Cursor, arguments: Arguments, reference: str) -> Row:
    cursor.execute(
        "INSERT INTO mail.outbox (id, sender, recipients, subject, body) VALUES (%s, %s, %s, %s, %s)",
        [f"msg_{reference}", SENDER, arguments["to"], arguments["subject"], arguments["body"]],
    )
    return {"message_id": f"msg_{reference}", "to": arguments["to"], "status": "queued"}


def read_outbox(cursor: Cursor, arguments: Arguments, _reference: str) -> Row:
    cursor.execute(
        "SELECT id AS message_id, sender, recipients AS to, subject, body, sent_at FROM mail.outbox ORDER BY sent_at DESC, id LIMIT %s",
        [arguments.get("limit", 20)],
    )
    return {"messages": cursor.fetchall()}


def snapshot(cursor: Cursor, _arguments: Arguments, reference: str) -> Snapshot:
    """A mail changes nothing that was there: before is empty, after is the message itself."""
    cursor.execute("SELECT sender, recipients AS to, subject, body FROM mail.outbox WHERE id = %s", [f"msg_{reference}"])
    return Snapshot("mail/outbox", cursor.fetchone() or {})


def facts(cursor: Cursor, arguments: Arguments, outcome: Row) -> Row:
    domains = sorted({recipient.rsplit("@", 1)[1].lower() for recipient in arguments["to"]})
    outside = [recipient for recipient in arguments["to"] if recipient.rsplit("@", 1)[1].lower() != OWN_DOMAIN]
    cursor.execute(
        "SELECT count(*) AS earlier FROM mail.outbox WHERE recipients = %s::text[] AND subject = %s AND body = %s AND id <> %s",
        [arguments["to"], arguments["subject"], arguments["body"], outcome.get("message_id", "")],
    )
    (counted,) = cursor.fetchall()
    return {
        "reach": {"records": 1, "people": len(arguments["to"])},
        "recipients": len(arguments["to"]),
        "outside": len(outside),
        "domains": domains,
        "same_sent_before": counted["earlier"],
        "undo": None,
    }


OPERATIONS = (
    Operation(
        name="mail_send_mail",
        title="Send a mail",
        description="Sends a plain text mail from support. Cannot be called back.",
        input_schema=operation.schema(
            {
                "to": {
                    "type": "array",
                    "description": "Who gets it.",
                    "items": ADDRESS,
                    "minItems": 1,
                    "maxItems": 50,
                    "uniqueItems": True,
                },
                "subject": operation.text("The subject line.", longest=200),
                "body": operation.text("The text.", longest=20_000),
            }
        ),
        output_schema=operation.schema({"message_id": operation.TEXT, "to": operation.TAGS, "status": operation.TEXT}),
        run=send_mail,
        snapshot=snapshot,
        facts=facts,
        kind="text",
        hints={"risk": "high", "reversible": False, "data_domain": "mail", "formats": {"body": {"kind": "text"}}},
    ),
    Operation(
        name="mail_read_outbox",
        title="Read the outbox",
        description="Mails that were sent, the newest first.",
        input_schema=operation.schema({}, limit=operation.limit(most=100, usual=20)),
        output_schema=operation.schema({"messages": operation.listing("The newest first.", MESSAGE)}),
        run=read_outbox,
        hints={"data_domain": "mail"},
    ),
)
