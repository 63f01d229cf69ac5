-- installation_counts: how much is unfinished in the whole installation, for /metrics. Numbers only: it runs as the role that dispatches work,
-- which may read the states of these tables and no other column, so nothing of a tenant can leave through it.
-- The owner inherits from remit_dispatch, so the policies also say who is really asking: a view or function of the owner's sees no more.
CREATE POLICY dispatch ON agents_run FOR SELECT TO remit_dispatch USING (current_user = 'remit_dispatch');
CREATE POLICY dispatch ON agents_effect FOR SELECT TO remit_dispatch USING (current_user = 'remit_dispatch');
CREATE POLICY dispatch ON approvals_request FOR SELECT TO remit_dispatch USING (current_user = 'remit_dispatch');
GRANT SELECT (state) ON agents_run, agents_effect, approvals_request TO remit_dispatch;

CREATE INDEX run_unfinished ON agents_run (organisation_id, started_at) WHERE state IN ('QUEUED', 'RUNNING', 'WAITING');

CREATE FUNCTION installation_counts() RETURNS TABLE (what text, state text, kind text, number bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    -- calls under way, by the work that waits for them: an index on their states would be rewritten by every call
    SELECT 'call', CASE w.kind WHEN 'call.recover' THEN 'ADMITTED' WHEN 'call.resume' THEN 'APPROVED' ELSE 'SENDING' END, '', count(*)
    FROM public.agents_work w WHERE w.kind IN ('call.recover', 'call.resume', 'effect.reconcile') GROUP BY 2
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
