-- The words of a run's title and reference, for the search box. Computed by the database when either changes, so never by an update of counters.
-- Under row-level security an index answers only operators that cannot leak: @@ is marked so by deploy/sql/roles.sql; without that mark
-- the search is right but slow.
ALTER TABLE agents_run ADD COLUMN words tsvector
    GENERATED ALWAYS AS (to_tsvector('simple'::regconfig, regexp_replace(title || ' ' || reference, '[^[:alnum:]]+', ' ', 'g'))) STORED;
CREATE INDEX run_words ON agents_run USING gin (words);
