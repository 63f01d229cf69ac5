-- The clock of everything that is recorded: UTC, from the database, and from nowhere else. The application's role cannot replace it.
-- Leases, due work and the life of keys go by clock_timestamp() itself: they are about processes, not about the record.
-- VOLATILE like what it stands for, so PostgreSQL inlines it: no plan calls a function for it.
CREATE OR REPLACE FUNCTION moment() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$ SELECT clock_timestamp() $$;
