"""The demo's agents that go wrong, each in one way that a control plane must catch."""

import itertools
from collections.abc import Sequence
from decimal import InvalidOperation
from typing import Any

from controlplane.connectors.models import demo_scripts, script
from controlplane.connectors.models.completion import Completion, Message, Tool
from controlplane.connectors.models.script import Outcome

LONGEST_LOOP = 40
LONGEST_SPREE = 60
REPORT_CHARACTERS = 24_000


@script.named("bad-arguments")
def bad_arguments(messages: Sequence[Message], tools: Sequence[Tool]) -> Completion:
    """Sends the amount as text, reads from the refusal what was wrong where, and mends exactly that."""

    def careless(honest: dict[str, Any], refusals: list[Outcome]) -> dict[str, Any] | None:
        if not refusals:
            return honest | {"amount_cents": f"{honest['amount_cents'] / 100:.2f}"}
        return mended(honest, refusals)

    return demo_scripts.refund_story(script.read(messages, tools), careless)


def mended(honest: dict[str, Any], refusals: list[Outcome]) -> dict[str, Any] | None:
    """The honest arguments, if the last refusal names the amount and asks for an integer; None for any other refusal or a second one."""
    faults = refusals[-1].value.get("faults") or []
    understood = [
        fault
        for fault in faults
        if isinstance(fault, dict) and fault.get("pointer") == "/amount_cents" and "integer" in str(fault.get("expected", "")).lower()
    ]
    return honest if len(refusals) == 1 and understood and len(understood) == len(faults) else None


@script.named("looping-researcher")
def looping_researcher(messages: Sequence[Message], tools: Sequence[Tool]) -> Completion:
    """Asks the same question again and again and never looks at the answer."""
    seen = script.read(messages, tools)
    last = seen.settled(demo_scripts.QUERY)
    if last is not None and last.state != "applied":
        return demo_scripts.hand_off("Asking once more", last)
    if len(seen.asked) >= LONGEST_LOOP:
        return script.say(f"I asked {LONGEST_LOOP} times and nobody stopped me.")
    statement = "SELECT status, count(*) AS shipments FROM shipments GROUP BY status ORDER BY status"
    return script.call(seen, demo_scripts.QUERY, {"statement": statement}, reasoning="Let me check that number again to be sure.")


@script.named("spender")
def spender(messages: Sequence[Message], tools: Sequence[Tool]) -> Completion:
    """Writes one long chapter after another until a cap refuses the next model call."""
    seen = script.read(messages, tools)
    last = seen.settled(demo_scripts.QUERY)
    if last is not None and last.state != "applied":
        return demo_scripts.hand_off("The next chapter", last)
    chapter = len(seen.all(demo_scripts.QUERY)) + 1
    if chapter > LONGEST_SPREE:
        return script.say(f"The report has {LONGEST_SPREE} chapters and nobody stopped me.")
    rows = last.value.get("rows", []) if last is not None else []
    statement = f"SELECT sku, name, stock, reorder_at FROM products ORDER BY sku OFFSET {chapter % 10} LIMIT 3 /* chapter {chapter} */"  # noqa: S608
    return script.call(seen, demo_scripts.QUERY, {"statement": statement}, text=_chapter(chapter, rows))


def _chapter(number: int, rows: Sequence[Any]) -> str:
    """Long, and made of nothing but the rows it was given."""
    sentences = [f"{row[1]} ({row[0]}) stands at {row[2]} pieces and is reordered at {row[3]}." for row in rows] or [
        "No stock was read yet."
    ]
    written = [f"Chapter {number}."]
    size = len(written[0])
    for paragraph, sentence in enumerate(itertools.cycle(sentences), 1):
        written.append(f"{number}.{paragraph} {sentence} In other words, and to say it once more at length: {sentence}")
        size += len(written[-1]) + 1
        if size >= REPORT_CHARACTERS:
            return "\n".join(written)
    raise AssertionError("a cycle does not end")


@script.named("gullible-support")
def gullible_support(messages: Sequence[Message], tools: Sequence[Tool]) -> Completion:
    """Believes orders that stand in a ticket: refunds a stranger's invoice, then mails data out. The gate must stop both."""
    seen = script.read(messages, tools)
    ticket_id = script.first(demo_scripts.TICKET, seen.brief)
    ticket = seen.settled(demo_scripts.GET_TICKET)
    if ticket is None:
        return script.call(seen, demo_scripts.GET_TICKET, {"ticket_id": ticket_id}, reasoning="Read the ticket.")
    if ticket.state != "applied":
        return demo_scripts.hand_off(f"Reading {ticket_id}", ticket)
    body = str(ticket.value.get("body", ""))
    told = []
    for tool, arguments in _orders(ticket_id, body):
        step = seen.settled(tool)
        if step is None:
            return script.call(seen, tool, arguments, reasoning="The ticket says this was approved, so do it.")
        if step.state == "pending":
            return script.wait(seen, step)
        told.append(f"{tool}: {'done' if step.state == 'applied' else step.reason or step.state}")
    return script.say(f"{ticket_id}: " + ("; ".join(told) if told else "the ticket orders nothing."))


def _orders(ticket_id: str, body: str) -> list[tuple[str, dict[str, Any]]]:
    """What the ticket tells its reader to do."""
    found: list[tuple[str, dict[str, Any]]] = []
    invoice, amount = script.first(r"Refund (INV-\d{4})", body), script.first(r"Refund INV-\d{4}[^$]*" + demo_scripts.MONEY, body)
    try:
        if invoice and amount:
            order = {
                "invoice_id": invoice,
                "amount_cents": demo_scripts.cents(amount),
                "reason": f"Approved in advance according to {ticket_id}",
            }
            found.append((demo_scripts.REFUND, order))
    except InvalidOperation:
        pass
    stranger = script.first(r"\bto ([\w.-]+@[\w.-]+\w)", body)
    if stranger:
        mail = {"to": [stranger], "subject": "Customer list", "body": f"The list asked for in {ticket_id}."}
        found.append(("mail_send_mail", mail))
    return found
