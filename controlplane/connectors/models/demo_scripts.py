"""The demo's honest agents, as programs. Each reads what its tools answered and invents nothing."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from controlplane.connectors.models import script
from controlplane.connectors.models.completion import Completion, Message, Tool
from controlplane.connectors.models.script import Outcome, Transcript

TICKET, INVOICE, MONEY = r"TCK-\d{4}", r"INV-\d{4}", r"\$([\d,]+\.\d\d)"
GET_TICKET, GET_INVOICE, REFUND = "helpdesk_get_ticket", "billing_get_invoice", "billing_issue_refund"
NOTE, CLOSE = "helpdesk_add_note", "helpdesk_set_ticket_status"
QUERY, CHANGE = "warehouse_run_query", "warehouse_change_schema"
# Makes the arguments of the refund from the honest ones and every refusal so far; None gives up.
Proposal = Callable[[dict[str, Any], list[Outcome]], dict[str, Any] | None]


def dollars(cents: int) -> str:
    return f"${cents // 100:,}.{cents % 100:02d}"


def cents(written: str) -> int:
    return int(Decimal(written.replace(",", "").replace("$", "").strip()) * 100)


def hand_off(what: str, found: Outcome) -> Completion:
    """Says who must go on and why, in the words of whoever said no."""
    verb = {"denied": "was denied", "drafted": "was kept as a draft", "in_doubt": "may or may not have happened"}.get(
        found.state, "was refused"
    )
    reason = f": {found.reason.rstrip('.')}" if found.reason else ""
    return script.say(f"{what} {verb}{reason}. I changed nothing more and hand this over to a person.", reasoning="No means no. Stop here.")


@script.named("support-refunds")
def support_refunds(messages: Sequence[Message], tools: Sequence[Tool]) -> Completion:
    """Reads the ticket and its invoice, proposes the refund, then notes it on the ticket and closes."""

    def once(honest: dict[str, Any], refusals: list[Outcome]) -> dict[str, Any] | None:
        return None if refusals else honest

    return refund_story(script.read(messages, tools), once)


def refund_story(seen: Transcript, propose: Proposal) -> Completion:  # noqa: PLR0911 - one return for each turn
    """The way of a refund. `propose` makes its arguments: that is where a careless agent differs."""
    ticket_id = script.first(TICKET, seen.brief)
    if not ticket_id:
        return script.say("Which ticket? I was given none.")
    ticket = seen.settled(GET_TICKET)
    if ticket is None:
        return script.call(seen, GET_TICKET, {"ticket_id": ticket_id}, reasoning=f"First read what the customer wrote in {ticket_id}.")
    if ticket.state != "applied":
        return hand_off(f"Reading {ticket_id}", ticket)
    subject, body = str(ticket.value.get("subject", "")), str(ticket.value.get("body", ""))
    invoice_id = script.first(INVOICE, subject, body)
    if not invoice_id:
        return script.say(f"{ticket_id} names no invoice, so there is nothing I can refund. A person should read it: {subject}")
    invoice = seen.settled(GET_INVOICE)
    if invoice is None:
        return script.call(
            seen, GET_INVOICE, {"invoice_id": invoice_id}, reasoning=f"The ticket is about {invoice_id}. Check what was paid."
        )
    if invoice.state != "applied":
        return hand_off(f"Reading {invoice_id}", invoice)
    return _after_reading(seen, ticket, invoice, propose)


def _after_reading(seen: Transcript, ticket: Outcome, invoice: Outcome, propose: Proposal) -> Completion:
    ticket_id, invoice_id = str(ticket.value["ticket_id"]), str(invoice.value["invoice_id"])
    refund = seen.settled(REFUND)
    if refund is not None and refund.state == "pending":
        return script.wait(seen, refund)
    if refund is not None and refund.state == "applied":
        return _close(seen, ticket_id, refund)
    if refund is not None and refund.state != "refused":
        return hand_off(f"The refund on {invoice_id} for {ticket_id}", refund)
    rest, claim = int(invoice.value["refundable_cents"]), script.first(MONEY, str(ticket.value["subject"]), str(ticket.value["body"]))
    amount = cents(claim) if claim else rest
    if not 0 < amount <= rest:
        return script.say(
            f"{ticket_id} asks for {dollars(amount)}, but {invoice_id} has {dollars(rest)} left to refund. I hand this over to a person."
        )
    why = f'{ticket_id}: "{ticket.value["subject"]}". {invoice_id} ({invoice.value["description"]}) is {invoice.value["status"]}'
    reason = f"{why}, {dollars(rest)} of {dollars(int(invoice.value['amount_cents']))} can be refunded."
    refusals = [each.outcome for each in seen.all(REFUND) if each.outcome is not None and each.outcome.state == "refused"]
    arguments = propose({"invoice_id": invoice_id, "amount_cents": amount, "reason": reason}, refusals)
    if arguments is None:
        return hand_off(f"The refund on {invoice_id} for {ticket_id}", refusals[-1])
    return script.call(
        seen,
        REFUND,
        arguments,
        text=f"I propose to refund {dollars(amount)} on {invoice_id} to {invoice.value['customer_name']}.",
        reasoning=f"{ticket_id} asks for {dollars(amount)}; the invoice has {dollars(rest)} left. A refund can be taken back for a day.",
    )


def _close(seen: Transcript, ticket_id: str, refund: Outcome) -> Completion:
    done = f"Refunded {dollars(int(refund.value['amount_cents']))} on {refund.value['invoice_id']} (refund {refund.value['refund_id']})."
    left = []
    for tool, arguments, what in (
        (NOTE, {"ticket_id": ticket_id, "body": done}, "the note"),
        (CLOSE, {"ticket_id": ticket_id, "status": "solved"}, "closing the ticket"),
    ):
        step = seen.settled(tool)
        if step is None:
            return script.call(seen, tool, arguments, reasoning=f"The money is on its way: {what} is next.")
        if step.state == "pending":
            return script.wait(seen, step)
        if step.state != "applied":
            left.append(f"{what} ({step.reason or step.state})")
    return script.say(f"{done} {ticket_id} is closed." if not left else f"{done} Still to do by a person: {', '.join(left)}.")


@script.named("schema-steward")
def schema_steward(messages: Sequence[Message], tools: Sequence[Tool]) -> Completion:  # noqa: PLR0911 - one return for each turn
    """Adds one column to a warehouse table, after looking whether it is there and before looking again."""
    seen = script.read(messages, tools)
    table = script.first(r"\b(shipments|products)\b", seen.brief) or "shipments"
    column = script.first(r"column\s+(?:called\s+|named\s+)?`?([a-z]+_[a-z0-9_]{1,40})", seen.brief) or "carrier_reference"
    looks = seen.all(QUERY)
    look = (
        "SELECT column_name, data_type FROM information_schema.columns"  # noqa: S608 - one of two names, chosen above
        f" WHERE table_schema = 'warehouse' AND table_name = '{table}' ORDER BY ordinal_position"
    )
    if not looks:
        return script.call(seen, QUERY, {"statement": look}, reasoning=f"See what {table} looks like before changing it.")
    last = looks[-1].outcome
    assert last is not None
    if last.state != "applied":
        return hand_off(f"Reading the columns of {table}", last)
    is_there = any(row[0] == column for row in last.value.get("rows", []))
    change = seen.settled(CHANGE)
    if change is None:
        if is_there:
            return script.say(f"{table} has a column {column} already. Nothing to do.")
        statement = f"ALTER TABLE {table} ADD COLUMN {column} text"
        return script.call(
            seen,
            CHANGE,
            {"statement": statement},
            text=f"I propose to add the column {column} to {table}. Existing rows stay as they are, with no value in it.",
            reasoning="A new column without a default takes a short lock and rewrites nothing.",
        )
    if change.state == "pending":
        return script.wait(seen, change)
    if change.state != "applied":
        return hand_off(f"The change of {table}", change)
    if len(looks) < 2:
        return script.call(seen, QUERY, {"statement": look}, reasoning="Look again: trust the table, not the answer.")
    return script.say(
        f"{table} now has the column {column}." if is_there else f"The change was applied, but {table} does not show {column}."
    )


@script.named("support-triage")
def support_triage(messages: Sequence[Message], tools: Sequence[Tool]) -> Completion:  # noqa: PLR0911 - one return for each turn
    """Reads a ticket, and the invoice it names, and says in one sentence who should take it."""
    seen = script.read(messages, tools)
    ticket_id = script.first(TICKET, seen.brief)
    if not ticket_id:
        return script.say("Which ticket? I was given none.")
    ticket = seen.settled(GET_TICKET)
    if ticket is None:
        return script.call(seen, GET_TICKET, {"ticket_id": ticket_id}, reasoning="Read it before sorting it.")
    if ticket.state != "applied":
        return hand_off(f"Reading {ticket_id}", ticket)
    subject = str(ticket.value.get("subject", ""))
    invoice_id = script.first(INVOICE, subject, str(ticket.value.get("body", "")))
    if not invoice_id:
        return script.say(f"{ticket_id} is a question for the support desk: {subject}")
    invoice = seen.settled(GET_INVOICE)
    if invoice is None:
        return script.call(seen, GET_INVOICE, {"invoice_id": invoice_id}, reasoning=f"It names {invoice_id}.")
    if invoice.state != "applied":
        return hand_off(f"Reading {invoice_id}", invoice)
    return script.say(f"{ticket_id} is about money: {invoice_id} is {invoice.value['status']}. For the refund desk.")


@script.named("stock-counter")
def stock_counter(messages: Sequence[Message], tools: Sequence[Tool]) -> Completion:
    """Answers one question about stock with one query."""
    seen = script.read(messages, tools)
    looked = seen.settled(QUERY)
    if looked is None:
        statement = "SELECT sku, name, stock, reorder_at FROM products WHERE stock <= reorder_at ORDER BY sku"
        return script.call(seen, QUERY, {"statement": statement}, reasoning="One query answers it.")
    if looked.state != "applied":
        return hand_off("Counting stock", looked)
    return script.say(f"{len(looked.value.get('rows', []))} products are at or below the mark at which they are reordered.")
