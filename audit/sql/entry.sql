-- The append-only log, one partition a month. The default partition means that an entry can never fail for want of a partition.
CREATE TABLE audit_entry (
    organisation_id text NOT NULL CHECK (organisation_id <> ''),
    at timestamptz NOT NULL,
    id text NOT NULL,
    event text NOT NULL,
    workspace_id text NOT NULL DEFAULT '',
    actor_kind text NOT NULL CHECK (actor_kind IN ('agent', 'person', 'system')),
    actor_id text NOT NULL,
    subject text NOT NULL DEFAULT '',
    run_id text NOT NULL DEFAULT '',
    body text NOT NULL CHECK (octet_length(body) <= 65536),
    leaf bytea NOT NULL CHECK (octet_length(leaf) = 32),
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),  -- commit order for the sealer
    CONSTRAINT audit_entry_pkey PRIMARY KEY (organisation_id, at, id)
) PARTITION BY RANGE (at);
CREATE INDEX audit_entry_subject ON audit_entry (organisation_id, subject, at);
-- Not the two that every call writes: they are so many that the newest of them are found by time.
CREATE INDEX audit_entry_event ON audit_entry (organisation_id, event, at DESC) WHERE event NOT IN ('call.admitted', 'call.answered');
CREATE INDEX audit_entry_run ON audit_entry (organisation_id, run_id, at) WHERE run_id <> '';
CREATE INDEX audit_entry_id ON audit_entry (organisation_id, id);
CREATE TABLE audit_entry_default PARTITION OF audit_entry DEFAULT;

ALTER TABLE audit_entry ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_entry FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON audit_entry
    USING (organisation_id = nullif(current_setting('app.organisation', true), ''))
    WITH CHECK (organisation_id = nullif(current_setting('app.organisation', true), ''));
REVOKE ALL ON audit_entry, audit_entry_default FROM remit_app;
GRANT SELECT, INSERT ON audit_entry TO remit_app;  -- partitions are reached through the parent only

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The audit log is append-only: % refused.', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_entry FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON audit_entry FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
