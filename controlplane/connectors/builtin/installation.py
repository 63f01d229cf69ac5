"""Puts the demo systems into their database and takes them out again; says who owns what, for the directory."""

import datetime
import importlib.resources
from typing import Any

import psycopg

from controlplane.connectors.builtin import database, seed

VERSION = 1
SCHEMAS = ("mail", "helpdesk", "warehouse", "billing", "remit_demo")
# Two starts at once: the second waits here and then finds everything done.
LOCK = 2041_0001

INSERTS = {
    "customers": "INSERT INTO billing.customers (id, name, contact, email, plan, country, since) VALUES (%s, %s, %s, %s, %s, %s, %s)",
    "invoices": "INSERT INTO billing.invoices (id, customer_id, description, amount_cents, status, issued_on, paid_on)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s)",
    "tickets": "INSERT INTO helpdesk.tickets (id, customer_id, requester, subject, body, status, priority, created_at)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
    "notes": "INSERT INTO helpdesk.notes (id, ticket_id, author, body, created_at) VALUES (%s, %s, %s, %s, %s)",
    "products": "INSERT INTO warehouse.products (sku, name, unit_cost_cents, stock, reorder_at) VALUES (%s, %s, %s, %s, %s)",
    "shipments": "INSERT INTO warehouse.shipments (id, invoice_id, sku, quantity, carrier, status, shipped_on)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s)",
}


def install(dsn: str, *, today: datetime.date | None = None) -> bool:
    """Makes the tables and the story once; later calls change nothing. True when this call did it."""
    day = today or datetime.datetime.now(tz=datetime.UTC).date()
    with psycopg.connect(dsn, connect_timeout=5) as connection, connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        cursor.execute(_sql("schema.sql"))
        cursor.execute("INSERT INTO remit_demo.installed (version) VALUES (%s) ON CONFLICT DO NOTHING RETURNING version", [VERSION])
        if cursor.fetchone() is None:
            return False
        cursor.execute(_sql("warehouse.sql"))
        content = seed.content(day)
        for table, insert in INSERTS.items():
            cursor.executemany(insert.encode(), getattr(content, table))
    return True


def wipe(dsn: str) -> None:
    """Removes the demo systems with everything in them. `install` brings them back as new."""
    database.close(dsn)
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        for name in SCHEMAS:
            connection.execute(psycopg.sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(psycopg.sql.Identifier(name)))


def directory(dsn: str) -> dict[str, dict[str, str]]:
    """Kind to {object: customer}, as POST /api/v1/directory takes it: which customer an invoice or a ticket belongs to."""
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        invoices = connection.execute("SELECT id, customer_id FROM billing.invoices ORDER BY id").fetchall()
        tickets = connection.execute("SELECT id, customer_id FROM helpdesk.tickets ORDER BY id").fetchall()
        customers = connection.execute("SELECT id, id FROM billing.customers ORDER BY id").fetchall()
    return {"invoice": dict(invoices), "ticket": dict(tickets), "customer": dict(customers)}


def claims() -> list[dict[str, Any]]:
    """Every ticket that asks for money, with the invoice and the amount its text names: material for history and drills."""
    return [dict(claim) for claim in seed.content(datetime.date(2000, 1, 1)).claims]


def _sql(name: str) -> bytes:
    return importlib.resources.files(__package__).joinpath(name).read_bytes()
