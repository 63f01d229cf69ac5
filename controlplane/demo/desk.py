"""What lies on the support desk: tickets that ask for money and have not been dealt with. When they run out, another customer writes."""

import datetime
import functools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from controlplane.connectors import builtin
from controlplane.connectors.builtin import seed
from controlplane.demo import building
from controlplane.demo.scene import Scene

ANY_DAY = datetime.date(2000, 1, 1)  # what letters say does not hang on it
LETTERS, DAYS = 352, 30  # of the month before
MOST_CENTS = 100_000  # an agent never refunds more
FOR_VISITORS = 8  # claims that the history leaves alone
OPEN = """
SELECT t.id FROM helpdesk.tickets t JOIN billing.invoices i ON i.id = %(invoice)s
WHERE t.id = %(ticket)s AND t.status <> 'solved' AND i.status <> 'open' AND i.amount_cents - i.refunded_cents >= %(cents)s
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A ticket that asks for an amount of an invoice."""

    ticket: str
    invoice: str
    customer: str
    cents: int


@functools.cache
def claims() -> tuple[Claim, ...]:
    """Those the demo starts with. Kestrel's is the first: it is the one a visitor meets."""
    found = [Claim(each["ticket_id"], each["invoice_id"], each["customer_id"], each["amount_cents"]) for each in builtin.claims()]
    return tuple(sorted(found, key=lambda claim: (claim.ticket != seed.KESTREL_TICKET, claim.ticket)))


def of_history() -> tuple[Claim, ...]:
    return claims()[1:-FOR_VISITORS]


def next_claim(made: Scene, dsn: str, busy: Collection[str]) -> Claim:
    """The first claim that nobody is at (`busy` names the tickets in hand) and that can still be paid."""
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        for claim in (claims()[0], *claims()[-FOR_VISITORS:], *of_history()):
            if claim.ticket not in busy and _is_open(connection, claim):
                return claim
        return _another_letter(made, connection)


def _is_open(connection: psycopg.Connection[Any], claim: Claim) -> bool:
    asked = {"ticket": claim.ticket, "invoice": claim.invoice, "cents": claim.cents}
    return connection.execute(OPEN, asked).fetchone() is not None


def _another_letter(made: Scene, connection: psycopg.Connection[Any]) -> Claim:
    """A customer writes as one did before, about an invoice of the same kind, and the directory learns of both."""
    with connection.transaction():
        connection.execute("LOCK TABLE helpdesk.tickets, billing.invoices IN SHARE ROW EXCLUSIVE MODE")
        number, ticket, invoice = _next_names(connection)
        old = claims()[number % len(claims())]
        connection.execute(
            "INSERT INTO billing.invoices (id, customer_id, description, amount_cents, status, issued_on, paid_on)"
            " SELECT %s, customer_id, description, amount_cents, 'paid', current_date - 5, current_date - 2"
            " FROM billing.invoices WHERE id = %s",
            [invoice, old.invoice],
        )
        connection.execute(
            "INSERT INTO helpdesk.tickets (id, customer_id, requester, subject, body, status, priority, created_at)"
            " SELECT %s, customer_id, requester, replace(subject, %s, %s), replace(body, %s, %s), 'open', priority, now()"
            " FROM helpdesk.tickets WHERE id = %s",
            [ticket, old.invoice, invoice, old.invoice, invoice, old.ticket],
        )
    building.learn(made, {"invoice": {invoice: old.customer}, "ticket": {ticket: old.customer}})
    return Claim(ticket, invoice, old.customer, old.cents)


def _next_names(connection: psycopg.Connection[Any]) -> tuple[int, str, str]:
    row = connection.execute(
        "SELECT (SELECT max(substr(id, 5)::int) FROM helpdesk.tickets), (SELECT max(substr(id, 5)::int) FROM billing.invoices)"
    ).fetchone()
    assert row is not None
    return row[0] + 1, f"TCK-{row[0] + 1}", f"INV-{row[1] + 1}"


def readings() -> tuple[tuple[str, str], ...]:
    """(ticket, customer) of every letter the demo starts with."""
    return tuple((ticket, customer) for ticket, customer, *_ in seed.content(ANY_DAY).tickets)


def letters() -> list[Claim]:
    """The claims of the month before: as many, of the same kinds, for a ticket and an invoice of their own. The newest first."""
    kinds = [claim for claim in claims() if claim.cents <= MOST_CENTS]
    return [
        Claim(f"TCK-{2001 + number}", f"INV-{3001 + number}", kinds[number % len(kinds)].customer, kinds[number % len(kinds)].cents)
        for number in range(LETTERS)
    ]


def deliver(dsn: str) -> None:
    """Puts those letters on the desk."""
    kinds = [claim for claim in claims() if claim.cents <= MOST_CENTS]
    came = [(letter, kinds[number % len(kinds)], DAYS * (number + 1) / LETTERS) for number, letter in enumerate(letters())]
    with psycopg.connect(dsn, connect_timeout=5) as connection, connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO billing.invoices (id, customer_id, description, amount_cents, status, issued_on, paid_on)"
            " SELECT %s, customer_id, description, amount_cents, 'paid', current_date - %s::int - 5, current_date - %s::int - 2"
            " FROM billing.invoices WHERE id = %s ON CONFLICT DO NOTHING",
            [(new.invoice, ago, ago, old.invoice) for new, old, ago in came],
        )
        cursor.executemany(
            "INSERT INTO helpdesk.tickets (id, customer_id, requester, subject, body, status, priority, created_at)"
            " SELECT %s, customer_id, requester, replace(subject, %s, %s), replace(body, %s, %s), 'open', priority,"
            " now() - %s * interval '1 day'"
            " FROM helpdesk.tickets WHERE id = %s ON CONFLICT DO NOTHING",
            [(new.ticket, old.invoice, new.invoice, old.invoice, new.invoice, ago, old.ticket) for new, old, ago in came],
        )


def questions() -> Iterator[tuple[str, str]]:
    """(ticket, customer) of every letter that names no invoice: a refund agent can only say so."""
    for ticket, customer, _, subject, body, *_ in seed.content(ANY_DAY).tickets:
        if "INV-" not in subject + body:
            yield ticket, customer
