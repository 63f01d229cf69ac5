-- What was spent, added up beside the ledger: by day, agent and what for, and by run, in the month in which it counts. Always the sum of the
-- ledger's own rows (`budgets_booked`), in the transaction that books them, so that a page need not read a month of movements.

-- Each movement into `spent` of a workspace, with what it was for. A call counts in the month that it was admitted in, in the organisation's
-- zone; under a purse without end, when money moved.
CREATE OR REPLACE VIEW budgets_booked AS
SELECT l.organisation_id, l.call_id, w.target AS workspace,
       date_trunc('month', (CASE WHEN w.starts_at = timestamptz 'epoch' THEN l.at ELSE w.starts_at END) AT TIME ZONE o.zone)::date AS month,
       (l.at AT TIME ZONE o.zone)::date AS day, coalesce(r.agent_id, '') AS agent, coalesce(r.id, '') AS run, coalesce(c.kind, '') AS kind,
       coalesce(c.name, '') AS name, l.amount, (l.kind = 'settle')::int AS calls
FROM budgets_ledgerentry l
    JOIN budgets_window w ON w.organisation_id = l.organisation_id AND w.id = l.window_id AND w.level = 'workspace'
    JOIN agents_organisation o ON o.organisation_id = l.organisation_id AND o.id = l.organisation_id
    LEFT JOIN agents_call c ON c.organisation_id = l.organisation_id AND c.id = l.call_id
    LEFT JOIN agents_run r ON r.organisation_id = c.organisation_id AND r.id = c.run_id
WHERE l.credit = 'spent';
REVOKE ALL ON budgets_booked FROM PUBLIC, remit_app;

-- budget_sum: add these calls, which were booked just now. After the windows in the order of locks.
CREATE OR REPLACE FUNCTION budget_sum(p_organisation text, p_calls text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('sums:' || p_organisation, 0));
    INSERT INTO budgets_dayspending AS s (organisation_id, id, workspace, month, day, agent, kind, name, amount, calls)
    SELECT p_organisation, concat_ws('/', workspace, month, day, agent, kind, name), workspace, month, day, agent, kind, name, sum(amount), sum(calls)
    FROM budgets_booked WHERE organisation_id = p_organisation AND call_id = ANY (p_calls) GROUP BY workspace, month, day, agent, kind, name
    ON CONFLICT (organisation_id, id) DO UPDATE SET amount = s.amount + EXCLUDED.amount, calls = s.calls + EXCLUDED.calls;
    INSERT INTO budgets_runspending AS s (organisation_id, id, workspace, month, run, amount, calls)
    SELECT p_organisation, concat_ws('/', workspace, month, run), workspace, month, run, sum(amount), sum(calls)
    FROM budgets_booked WHERE organisation_id = p_organisation AND call_id = ANY (p_calls) GROUP BY workspace, month, run
    ON CONFLICT (organisation_id, id) DO UPDATE SET amount = s.amount + EXCLUDED.amount, calls = s.calls + EXCLUDED.calls;
END $$;

-- budget_sum_again: all of it from the ledger, a few thousand calls at a time: after a change of zone, when days end elsewhere.
CREATE OR REPLACE FUNCTION budget_sum_again(p_organisation text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_calls text[];
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('sums:' || p_organisation, 0));  -- nobody books meanwhile: it would count twice
    DELETE FROM budgets_dayspending WHERE organisation_id = p_organisation;
    DELETE FROM budgets_runspending WHERE organisation_id = p_organisation;
    FOR v_calls IN SELECT array_agg(call_id) FROM (
        SELECT call_id, (row_number() OVER (ORDER BY call_id)) / 5000 AS piece
        FROM (SELECT DISTINCT call_id FROM budgets_ledgerentry WHERE organisation_id = p_organisation AND credit = 'spent') calls
    ) numbered GROUP BY piece LOOP
        PERFORM budget_sum(p_organisation, v_calls);
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION budget_sum(text, text[]), budget_sum_again(text) FROM PUBLIC;
