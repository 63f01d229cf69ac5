-- The demo's four systems. They live in a database of their own, so "Remove demo data" is one DROP and nothing of Remit is near.
CREATE SCHEMA IF NOT EXISTS remit_demo;
CREATE SCHEMA IF NOT EXISTS billing;
CREATE SCHEMA IF NOT EXISTS helpdesk;
CREATE SCHEMA IF NOT EXISTS warehouse;
CREATE SCHEMA IF NOT EXISTS mail;

CREATE TABLE IF NOT EXISTS remit_demo.installed (
    version      integer PRIMARY KEY,
    installed_at timestamptz NOT NULL DEFAULT now()
);

-- json, not jsonb: a repeated key must give back the very bytes of the first answer.
CREATE TABLE IF NOT EXISTS remit_demo.keys (
    key        text PRIMARY KEY,
    operation  text NOT NULL,
    digest     text NOT NULL,
    answer     json,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS billing.customers (
    id      text PRIMARY KEY,
    name    text NOT NULL UNIQUE,
    contact text NOT NULL,
    email   text NOT NULL,
    plan    text NOT NULL,
    country text NOT NULL,
    since   date NOT NULL
);

CREATE TABLE IF NOT EXISTS billing.invoices (
    id             text PRIMARY KEY,
    customer_id    text NOT NULL REFERENCES billing.customers (id),
    description    text NOT NULL,
    amount_cents   bigint NOT NULL CONSTRAINT invoice_amount_is_positive CHECK (amount_cents > 0),
    refunded_cents bigint NOT NULL DEFAULT 0,
    currency       text NOT NULL DEFAULT 'USD',
    status         text NOT NULL CONSTRAINT invoice_status_is_known CHECK (status IN ('open', 'paid', 'partially_refunded', 'refunded')),
    tags           text[] NOT NULL DEFAULT '{}',
    issued_on      date NOT NULL,
    paid_on        date,
    CONSTRAINT refund_never_above_the_amount CHECK (refunded_cents BETWEEN 0 AND amount_cents)
);
CREATE INDEX IF NOT EXISTS invoices_of_customer ON billing.invoices (customer_id, issued_on DESC, id);

CREATE TABLE IF NOT EXISTS billing.refunds (
    id           text PRIMARY KEY,
    invoice_id   text NOT NULL REFERENCES billing.invoices (id),
    amount_cents bigint NOT NULL CONSTRAINT refund_amount_is_positive CHECK (amount_cents > 0),
    reason       text NOT NULL,
    status       text NOT NULL DEFAULT 'issued' CONSTRAINT refund_status_is_known CHECK (status IN ('issued', 'voided')),
    issued_at    timestamptz NOT NULL DEFAULT now(),
    undo_until   timestamptz NOT NULL,
    voided_at    timestamptz
);
CREATE INDEX IF NOT EXISTS refunds_of_invoice ON billing.refunds (invoice_id, issued_at, id);

CREATE TABLE IF NOT EXISTS helpdesk.tickets (
    id          text PRIMARY KEY,
    customer_id text NOT NULL REFERENCES billing.customers (id),
    requester   text NOT NULL,
    subject     text NOT NULL,
    body        text NOT NULL,
    status      text NOT NULL CONSTRAINT ticket_status_is_known CHECK (status IN ('open', 'pending', 'solved')),
    priority    text NOT NULL CONSTRAINT ticket_priority_is_known CHECK (priority IN ('low', 'normal', 'high')),
    tags        text[] NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS tickets_by_status ON helpdesk.tickets (status, id);

CREATE TABLE IF NOT EXISTS helpdesk.notes (
    id         text PRIMARY KEY,
    ticket_id  text NOT NULL REFERENCES helpdesk.tickets (id),
    author     text NOT NULL,
    body       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS notes_of_ticket ON helpdesk.notes (ticket_id, created_at, id);

CREATE TABLE IF NOT EXISTS mail.outbox (
    id         text PRIMARY KEY,
    sender     text NOT NULL,
    recipients text[] NOT NULL,
    subject    text NOT NULL,
    body       text NOT NULL,
    sent_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
