-- Workers serve every organisation, so claiming work looks across them: the only function that does. It runs as a role that can
-- read and lease this one table (ids only) and nothing else. A lease that ran out is claimable again: that is how a killed worker's run
-- is picked up. Each claim raises the fence; every later write names it.
CREATE POLICY dispatch ON agents_work TO remit_dispatch USING (current_user = 'remit_dispatch') WITH CHECK (current_user = 'remit_dispatch');
GRANT SELECT, UPDATE ON agents_work TO remit_dispatch;

CREATE FUNCTION work_claim(p_lease_s double precision)
RETURNS TABLE (organisation_id text, id text, kind text, subject text, fence int, attempts int, rings int)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    -- Materialized: as a plain subquery a nested loop may run it once for each row, and lease every row to a caller who reads one.
    WITH due AS MATERIALIZED (
        SELECT c.organisation_id, c.id FROM public.agents_work c
        WHERE c.due_at <= clock_timestamp() AND (c.lease_until IS NULL OR c.lease_until < clock_timestamp())
        ORDER BY c.due_at LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    UPDATE public.agents_work w
    SET lease_until = clock_timestamp() + make_interval(secs => p_lease_s), fence = w.fence + 1, attempts = w.attempts + 1
    FROM due
    WHERE w.organisation_id = due.organisation_id AND w.id = due.id
    RETURNING w.organisation_id, w.id, w.kind, w.subject, w.fence, w.attempts, w.rings
$$;
CREATE FUNCTION work_waiting() RETURNS TABLE (due bigint, leased bigint, oldest_s double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT count(*) FILTER (WHERE due_at <= clock_timestamp() AND (lease_until IS NULL OR lease_until < clock_timestamp())),
           count(*) FILTER (WHERE lease_until >= clock_timestamp()),
           coalesce(extract(epoch FROM clock_timestamp() - min(due_at) FILTER (WHERE due_at <= clock_timestamp())), 0)::double precision
    FROM public.agents_work
$$;

GRANT CREATE ON SCHEMA public TO remit_dispatch;  -- PostgreSQL asks for it while a function changes hands
ALTER FUNCTION work_claim(double precision) OWNER TO remit_dispatch;
ALTER FUNCTION work_waiting() OWNER TO remit_dispatch;
REVOKE CREATE ON SCHEMA public FROM remit_dispatch;
REVOKE ALL ON FUNCTION work_claim(double precision), work_waiting() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION work_claim(double precision), work_waiting() TO remit_app;

-- work_ring: ask for work once; asking again while somebody is at it makes them look again.
CREATE FUNCTION work_ring(p_organisation text, p_kind text, p_subject text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO agents_work AS w (organisation_id, id, kind, subject, due_at, fence, attempts, rings)
    VALUES (p_organisation, 'WRK-' || sayable(14), p_kind, p_subject, clock_timestamp(), 0, 0, 1)
    ON CONFLICT (organisation_id, kind, subject) DO UPDATE SET rings = w.rings + 1, due_at = clock_timestamp()
$$;

-- A worker's bell: wakes listeners when work is due now. A hint; workers also look by themselves.
CREATE FUNCTION work_bell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.due_at <= clock_timestamp() AND NEW.lease_until IS NULL THEN PERFORM pg_notify('remit_work', ''); END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER bell AFTER INSERT OR UPDATE OF due_at, rings ON agents_work FOR EACH ROW EXECUTE FUNCTION work_bell();
