-- The only functions that move money. Windows are touched leaf to root (run, agent, workspace, organisation), the hot row last, so that
-- two callers never wait for each other in a circle. Amounts are integer micro-units.

-- When the period began that is under way, in the organisation's reporting zone; the first form is for callers who know the zone.
CREATE OR REPLACE FUNCTION budget_window_start(p_period text, p_zone text) RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT CASE p_period WHEN 'day' THEN date_trunc('day', moment() AT TIME ZONE p_zone) AT TIME ZONE p_zone
                         WHEN 'month' THEN date_trunc('month', moment() AT TIME ZONE p_zone) AT TIME ZONE p_zone
                         ELSE timestamptz 'epoch' END
$$;
CREATE OR REPLACE FUNCTION budget_zone(p_organisation text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT zone FROM agents_organisation WHERE organisation_id = p_organisation AND id = p_organisation), 'UTC')
$$;
CREATE OR REPLACE FUNCTION budget_window_start(p_period text) RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT budget_window_start(p_period, budget_zone(current_setting('app.organisation', true)))
$$;

-- budget_reserve: hold p_amount at every level, or at none. NULL when held; otherwise the level that refused, with its numbers.
CREATE OR REPLACE FUNCTION budget_reserve(
    p_organisation text, p_call text, p_run text, p_agent text, p_workspace text, p_run_cap bigint, p_amount bigint, p_price_version int
) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_level text; v_target text; v_cap bigint; v_period text; v_start timestamptz; v_window text; v_windows text[] := '{}'; v_refusal jsonb;
    v_zone text;
BEGIN
    IF p_amount <= 0 THEN RETURN NULL; END IF;
    v_zone := budget_zone(p_organisation);
    IF EXISTS (SELECT FROM budgets_reservation WHERE organisation_id = p_organisation AND id = p_call) THEN RETURN NULL; END IF;
    BEGIN
        FOR v_level, v_target IN SELECT * FROM (VALUES ('run', p_run), ('agent', p_agent), ('workspace', p_workspace), ('organisation', p_organisation)) l LOOP
            IF v_level = 'run' THEN v_cap := p_run_cap; v_period := 'total';
            ELSE
                SELECT cap_micros, period INTO v_cap, v_period FROM budgets_cap
                WHERE organisation_id = p_organisation AND level = v_level AND target = v_target;
                IF NOT FOUND THEN v_cap := NULL; v_period := 'month'; END IF;
            END IF;
            v_start := budget_window_start(v_period, v_zone);
            LOOP
                UPDATE budgets_window SET reserved = reserved + p_amount
                WHERE organisation_id = p_organisation AND level = v_level AND target = v_target AND starts_at = v_start
                  AND (v_cap IS NULL OR reserved + spent + p_amount <= v_cap)
                RETURNING id INTO v_window;
                EXIT WHEN FOUND;
                IF v_period <> 'total' AND v_zone <> budget_zone(p_organisation) THEN RAISE EXCEPTION 'moved' USING ERRCODE = 'RB002'; END IF;
                INSERT INTO budgets_window (organisation_id, id, level, target, starts_at, reserved, spent, overrun)
                VALUES (p_organisation, 'W-' || sayable(14), v_level, v_target, v_start, 0, 0, 0) ON CONFLICT DO NOTHING;
                IF NOT FOUND THEN  -- the window exists, so it is the cap that said no (or a racer made it just now: look once more)
                    SELECT jsonb_build_object('level', v_level, 'target', v_target, 'cap', v_cap, 'spent', spent, 'reserved', reserved, 'amount', p_amount, 'period', v_period)
                    INTO v_refusal FROM budgets_window
                    WHERE organisation_id = p_organisation AND level = v_level AND target = v_target AND starts_at = v_start
                      AND reserved + spent + p_amount > v_cap;
                    IF FOUND THEN RAISE EXCEPTION 'over' USING ERRCODE = 'RB001'; END IF;
                END IF;
            END LOOP;
            v_windows := v_windows || v_window;
        END LOOP;
        INSERT INTO budgets_reservation (organisation_id, id, state, amount, settled, windows, price_version, is_estimated, created_at)
        VALUES (p_organisation, p_call, 'HELD', p_amount, 0, to_jsonb(v_windows), p_price_version, false, moment());
        INSERT INTO budgets_ledgerentry (organisation_id, id, call_id, window_id, kind, debit, credit, amount, at)
        SELECT p_organisation, 'LED-' || sayable(14), p_call, w, 'hold', 'available', 'reserved', p_amount, moment() FROM unnest(v_windows) w;
    EXCEPTION WHEN SQLSTATE 'RB001' THEN
        RETURN v_refusal;  -- the block is rolled back: no level keeps a hold
    WHEN SQLSTATE 'RB002' THEN  -- the zone changed while this waited for a window, which begins elsewhere now: a second purse would be full again
        RETURN budget_reserve(p_organisation, p_call, p_run, p_agent, p_workspace, p_run_cap, p_amount, p_price_version);
    END;
    RETURN NULL;
END $$;

-- budget_settle: end a hold with what was really used (0 releases it). Only the first caller moves money; the answer says whether it was this one.
CREATE OR REPLACE FUNCTION budget_settle(p_organisation text, p_call text, p_actual bigint, p_is_estimated boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v budgets_reservation; v_window text;
BEGIN
    IF p_actual < 0 THEN RAISE EXCEPTION 'budget_settle: negative cost'; END IF;
    UPDATE budgets_reservation SET state = CASE WHEN p_actual > 0 THEN 'SETTLED' ELSE 'RELEASED' END, settled = p_actual, is_estimated = p_is_estimated,
           finished_at = moment()
    WHERE organisation_id = p_organisation AND id = p_call AND state = 'HELD' RETURNING * INTO v;
    IF NOT FOUND THEN RETURN false; END IF;
    FOR v_window IN SELECT jsonb_array_elements_text(v.windows) LOOP
        UPDATE budgets_window SET reserved = reserved - v.amount, spent = spent + p_actual, overrun = overrun + greatest(p_actual - v.amount, 0)
        WHERE organisation_id = p_organisation AND id = v_window;
        INSERT INTO budgets_ledgerentry (organisation_id, id, call_id, window_id, kind, debit, credit, amount, at)
        SELECT p_organisation, 'LED-' || sayable(14), p_call, v_window, m.kind, m.debit, m.credit, m.amount, moment()
        FROM (VALUES ('settle', 'reserved', 'spent', least(p_actual, v.amount)),
                     ('return', 'reserved', 'available', v.amount - p_actual),
                     ('overrun', 'overrun', 'spent', p_actual - v.amount)) m (kind, debit, credit, amount)
        WHERE m.amount > 0;
    END LOOP;
    IF p_actual > 0 THEN PERFORM budget_sum(p_organisation, p_call); END IF;
    RETURN true;
END $$;

-- budget_rezone: days and months end in another zone from now on. The windows under way keep their money and begin where the new zone says,
-- so that a change of zone never opens a second purse beside one that is half empty; those of past days and months begin on the same date in
-- the new zone, so that each stays in its month. Returns the zone that was. Locks in this order, as everybody does: the organisation's row,
-- windows from leaf to root, the sums.
CREATE OR REPLACE FUNCTION budget_rezone(p_organisation text, p_zone text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_was text; v_old timestamptz; v_new timestamptz; v_period text;
BEGIN
    SELECT zone INTO v_was FROM agents_organisation WHERE organisation_id = p_organisation AND id = p_organisation FOR UPDATE;
    IF NOT EXISTS (SELECT FROM pg_timezone_names WHERE name = p_zone) THEN RAISE EXCEPTION 'budget_rezone: no zone %', p_zone; END IF;
    IF p_zone = v_was THEN RETURN v_was; END IF;
    PERFORM FROM budgets_window WHERE organisation_id = p_organisation AND level <> 'run' AND starts_at > timestamptz 'epoch'
    ORDER BY array_position(ARRAY['agent', 'workspace', 'organisation'], level), id FOR UPDATE;
    UPDATE agents_organisation SET zone = p_zone WHERE organisation_id = p_organisation AND id = p_organisation;
    FOREACH v_period IN ARRAY ARRAY['day', 'month'] LOOP
        v_old := budget_window_start(v_period, v_was); v_new := budget_window_start(v_period, p_zone);
        UPDATE budgets_window w SET starts_at = v_new
        WHERE w.organisation_id = p_organisation AND w.starts_at = v_old AND v_old <> v_new AND w.level <> 'run'
          AND v_period = coalesce((SELECT c.period FROM budgets_cap c WHERE c.organisation_id = w.organisation_id AND c.level = w.level AND c.target = w.target), 'month')
          AND NOT EXISTS (SELECT FROM budgets_window t WHERE t.organisation_id = w.organisation_id AND t.level = w.level AND t.target = w.target AND t.starts_at = v_new);
    END LOOP;
    UPDATE budgets_window w SET starts_at = past.begins + past.taken * interval '1 microsecond'  -- beside the one under way, where that was before
    FROM (SELECT p.id, p.begins, EXISTS (SELECT FROM budgets_window t WHERE t.organisation_id = p_organisation AND t.level = p.level
                  AND t.target = p.target AND t.starts_at = p.begins AND t.id <> p.id)::int AS taken
          FROM (SELECT id, level, target, (starts_at AT TIME ZONE v_was) AT TIME ZONE p_zone AS begins FROM budgets_window
                WHERE organisation_id = p_organisation AND level <> 'run' AND starts_at > timestamptz 'epoch'
                  AND starts_at NOT IN (budget_window_start('day', p_zone), budget_window_start('month', p_zone))) p) past
    WHERE w.organisation_id = p_organisation AND w.id = past.id AND w.starts_at <> past.begins;
    PERFORM budget_sum_begin(p_organisation);
    RETURN v_was;
END $$;

REVOKE ALL ON FUNCTION budget_rezone(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION budget_rezone(text, text) TO remit_app;
REVOKE ALL ON FUNCTION budget_reserve(text, text, text, text, text, bigint, bigint, int), budget_settle(text, text, bigint, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION budget_reserve(text, text, text, text, text, bigint, bigint, int), budget_settle(text, text, bigint, boolean) TO remit_app;
