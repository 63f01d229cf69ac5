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

-- Sums have a generation, and pages read the one that the organisation shows. After a change of zone days end elsewhere, so the next one is
-- made beside it, a piece at a time, by call: whoever books a call of a piece that is in it already adds it to both. Nobody waits longer than
-- for one piece, and a page shows whole sums throughout.
CREATE OR REPLACE FUNCTION budget_sum_into(p_organisation text, p_generation int, p_calls text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO budgets_dayspending AS s (organisation_id, id, generation, workspace, month, day, agent, kind, name, amount, calls)
    SELECT p_organisation, concat_ws('/', p_generation, workspace, month, day, agent, kind, name), p_generation, workspace, month, day, agent, kind, name,
           sum(amount), sum(calls)
    FROM budgets_booked WHERE organisation_id = p_organisation AND call_id = ANY (p_calls) GROUP BY workspace, month, day, agent, kind, name
    ON CONFLICT (organisation_id, id) DO UPDATE SET amount = s.amount + EXCLUDED.amount, calls = s.calls + EXCLUDED.calls;
    INSERT INTO budgets_runspending AS s (organisation_id, id, generation, workspace, month, run, amount, calls)
    SELECT p_organisation, concat_ws('/', p_generation, workspace, month, run), p_generation, workspace, month, run, sum(amount), sum(calls)
    FROM budgets_booked WHERE organisation_id = p_organisation AND call_id = ANY (p_calls) GROUP BY workspace, month, run
    ON CONFLICT (organisation_id, id) DO UPDATE SET amount = s.amount + EXCLUDED.amount, calls = s.calls + EXCLUDED.calls;
END $$;

-- budget_sum: add this call, which was booked just now. After the windows in the order of locks.
CREATE OR REPLACE FUNCTION budget_sum(p_organisation text, p_call text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_generation int; v_made text;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('sums:' || p_organisation, 0));
    SELECT sums, sums_made INTO v_generation, v_made FROM agents_organisation WHERE organisation_id = p_organisation AND id = p_organisation;
    PERFORM budget_sum_into(p_organisation, v_generation, ARRAY[p_call]);
    IF p_call <= v_made THEN PERFORM budget_sum_into(p_organisation, v_generation + 1, ARRAY[p_call]); END IF;
END $$;

-- Whoever changes what the organisation's row says of its sums takes that row first, like budget_rezone, and then the lock of the sums. Bookings
-- only read the row, once they share the lock: whoever changes it holds the lock alone until that change is seen.

-- budget_sum_begin: from now on a next generation is made; what was made of one before goes before its first piece.
CREATE OR REPLACE FUNCTION budget_sum_begin(p_organisation text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM FROM agents_organisation WHERE organisation_id = p_organisation AND id = p_organisation FOR NO KEY UPDATE;
    PERFORM pg_advisory_xact_lock(hashtextextended('sums:' || p_organisation, 0));
    UPDATE agents_organisation SET sums_made = '' WHERE organisation_id = p_organisation AND id = p_organisation;
END $$;

-- budget_sum_sweep: at most p_rows of either table go that are of no generation shown; whether any did. Only while nobody writes to one.
-- Ordered, so that they are found by an index whatever else there is.
CREATE OR REPLACE FUNCTION budget_sum_sweep(p_organisation text, p_shown int, p_rows int) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_days bigint; v_runs bigint;
BEGIN
    DELETE FROM budgets_dayspending WHERE organisation_id = p_organisation AND id = ANY (ARRAY(
        (SELECT id FROM budgets_dayspending WHERE organisation_id = p_organisation AND generation < p_shown ORDER BY generation LIMIT p_rows) UNION ALL
        (SELECT id FROM budgets_dayspending WHERE organisation_id = p_organisation AND generation > p_shown ORDER BY generation LIMIT p_rows) LIMIT p_rows));
    GET DIAGNOSTICS v_days = ROW_COUNT;
    DELETE FROM budgets_runspending WHERE organisation_id = p_organisation AND id = ANY (ARRAY(
        (SELECT id FROM budgets_runspending WHERE organisation_id = p_organisation AND generation < p_shown ORDER BY generation LIMIT p_rows) UNION ALL
        (SELECT id FROM budgets_runspending WHERE organisation_id = p_organisation AND generation > p_shown ORDER BY generation LIMIT p_rows) LIMIT p_rows));
    GET DIAGNOSTICS v_runs = ROW_COUNT;
    RETURN v_days + v_runs > 0;
END $$;

-- budget_sum_more: one piece more of the next generation, at most p_calls of them; after the last one it is the one that pages show, and what is
-- older goes, as many rows a piece. Answers whether there is more to do.
CREATE OR REPLACE FUNCTION budget_sum_more(p_organisation text, p_calls int) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_generation int; v_made text; v_piece text[];
BEGIN
    SELECT sums, sums_made INTO v_generation, v_made FROM agents_organisation
    WHERE organisation_id = p_organisation AND id = p_organisation FOR NO KEY UPDATE;
    IF coalesce(v_made, '') = '' THEN  -- no call is in a next generation, so bookings write to the one that is shown: they need not wait
        IF budget_sum_sweep(p_organisation, v_generation, p_calls) THEN RETURN true; END IF;
        IF v_made IS NULL THEN RETURN false; END IF;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('sums:' || p_organisation, 0));  -- nobody books meanwhile: it would count twice, or not at all
    SELECT array_agg(call_id) INTO v_piece FROM (SELECT call_id FROM budgets_ledgerentry
        WHERE organisation_id = p_organisation AND call_id > v_made GROUP BY call_id ORDER BY call_id LIMIT p_calls) piece;
    IF v_piece IS NULL THEN
        UPDATE agents_organisation SET sums = v_generation + 1, sums_made = NULL WHERE organisation_id = p_organisation AND id = p_organisation;
        RETURN true;
    END IF;
    PERFORM budget_sum_into(p_organisation, v_generation + 1, v_piece);
    UPDATE agents_organisation SET sums_made = v_piece[array_upper(v_piece, 1)] WHERE organisation_id = p_organisation AND id = p_organisation;
    RETURN true;
END $$;

-- budget_sum_again: all of it from the ledger at once: for whoever changes the ledger as the owner of its tables.
CREATE OR REPLACE FUNCTION budget_sum_again(p_organisation text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM budget_sum_begin(p_organisation);
    WHILE budget_sum_more(p_organisation, 5000) LOOP END LOOP;
END $$;
REVOKE ALL ON FUNCTION budget_sum_into(text, int, text[]), budget_sum(text, text), budget_sum_begin(text), budget_sum_again(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION budget_sum_more(text, int), budget_sum_sweep(text, int, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION budget_sum_more(text, int) TO remit_app;
