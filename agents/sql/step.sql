-- What hosted runs did, one partition a month. Written under the run's lease, so (run, number) needs no index across months.
CREATE TABLE agents_step (
    organisation_id text NOT NULL DEFAULT (nullif(current_setting('app.organisation', true), '')),
    at timestamptz NOT NULL DEFAULT moment(),
    id text NOT NULL,
    run_id text NOT NULL,
    number integer NOT NULL CHECK (number >= 0),
    kind text NOT NULL CHECK (kind IN ('PROMPT', 'MODEL', 'TOOL', 'HANDOFF')),
    call_id text NOT NULL DEFAULT '',
    content text NOT NULL,
    input_tokens integer NOT NULL DEFAULT 0,
    output_tokens integer NOT NULL DEFAULT 0,
    CONSTRAINT agents_step_pkey PRIMARY KEY (organisation_id, at, id),
    CONSTRAINT agents_step_run_fk FOREIGN KEY (organisation_id, run_id) REFERENCES agents_run (organisation_id, id)
) PARTITION BY RANGE (at);
CREATE INDEX agents_step_run ON agents_step (organisation_id, run_id, number);
CREATE TABLE agents_step_default PARTITION OF agents_step DEFAULT;
ALTER TABLE agents_step ENABLE ROW LEVEL SECURITY;
ALTER TABLE agents_step FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON agents_step
    USING (organisation_id = nullif(current_setting('app.organisation', true), ''))
    WITH CHECK (organisation_id = nullif(current_setting('app.organisation', true), ''));
REVOKE ALL ON agents_step, agents_step_default FROM remit_app;
GRANT SELECT, INSERT ON agents_step TO remit_app;
SELECT partition_months('agents_step', 3);
