-- Apart from schema.sql: agents may change these tables, so they are made once and never touched again by a later start.
CREATE TABLE warehouse.products (
    sku             text PRIMARY KEY,
    name            text NOT NULL,
    unit_cost_cents bigint NOT NULL CHECK (unit_cost_cents >= 0),
    stock           integer NOT NULL CHECK (stock >= 0),
    reorder_at      integer NOT NULL
);
CREATE TABLE warehouse.shipments (
    id         text PRIMARY KEY,
    invoice_id text NOT NULL,
    sku        text NOT NULL REFERENCES warehouse.products (sku),
    quantity   integer NOT NULL CHECK (quantity > 0),
    carrier    text NOT NULL,
    status     text NOT NULL CHECK (status IN ('packed', 'in_transit', 'delivered', 'returned')),
    shipped_on date NOT NULL
);
CREATE INDEX shipments_by_status ON warehouse.shipments (status, shipped_on);
