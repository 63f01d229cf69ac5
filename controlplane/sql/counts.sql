-- installation_counts: how much is unfinished in the whole installation, for /metrics. Numbers only: it runs as the role that dispatches work,
-- which may read the states of these tables and no other column, so nothing of a tenant can leave through it.
CREATE POLICY dispatch ON agents_call FOR SELECT TO remit_dispatch USING (true);
CREATE POLICY dispatch ON agents_run FOR SELECT TO remit_dispatch USING (true);
CREATE POLICY dispatch ON agents_effect FOR SELECT TO remit_dispatch USING (true);
CREATE POLICY dispatch ON approvals_request FOR SELECT TO remit_dispatch USING (true);
GRANT SELECT (state, kind) ON agents_call TO remit_dispatch;
GRANT SELECT (state) ON agents_run, agents_effect, approvals_request TO remit_dispatch;

CREATE INDEX run_unfinished ON agents_run (organisation_id, started_at) WHERE state IN ('QUEUED', 'RUNNING', 'WAITING');

CREATE FUNCTION installation_counts() RETURNS TABLE (what text, state text, kind text, number bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT 'call', c.state, c.kind, count(*) FROM public.agents_call c WHERE c.state IN ('ADMITTED', 'SENDING', 'APPROVED') GROUP BY 2, 3
    UNION ALL
    SELECT 'run', r.state, '', count(*) FROM public.agents_run r WHERE r.state IN ('QUEUED', 'RUNNING', 'WAITING') GROUP BY 2
    UNION ALL
    SELECT 'request', q.state, '', count(*) FROM public.approvals_request q WHERE q.state = 'OPEN' GROUP BY 2
    UNION ALL
    SELECT 'effect', e.state, '', count(*) FROM public.agents_effect e WHERE e.state IN ('INTENT', 'IN_DOUBT') GROUP BY 2
$$;
GRANT CREATE ON SCHEMA public TO remit_dispatch;  -- PostgreSQL asks for it while a function changes hands
ALTER FUNCTION installation_counts() OWNER TO remit_dispatch;
REVOKE CREATE ON SCHEMA public FROM remit_dispatch;
REVOKE ALL ON FUNCTION installation_counts() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION installation_counts() TO remit_app;
