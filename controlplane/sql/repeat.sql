-- gate_repeat: the loop guard's memory. A repeat is fruitless when the same call got the same answer and no write took effect in between.
-- Answers how often it has been so far.
CREATE OR REPLACE FUNCTION gate_repeat(
    p_organisation text, p_run agents_run, p_fingerprint text, p_result_digest text, p_progress_before int, p_progress_after int, p_is_error boolean, p_actor text
) RETURNS int LANGUAGE plpgsql AS $$
DECLARE v_fruitless int;
BEGIN
    INSERT INTO agents_repeat AS r (organisation_id, id, progress, result_digest, is_error, calls, fruitless)
    VALUES (p_organisation, p_run.id || '/' || p_fingerprint, p_progress_after, p_result_digest, p_is_error, 1, 0)
    ON CONFLICT (organisation_id, id) DO UPDATE SET
        calls = r.calls + 1, progress = EXCLUDED.progress, result_digest = EXCLUDED.result_digest, is_error = EXCLUDED.is_error,
        fruitless = r.fruitless + (r.progress = p_progress_before AND r.result_digest = EXCLUDED.result_digest)::int
    RETURNING fruitless INTO v_fruitless;
    IF p_run.loop_flagged_at IS NULL AND v_fruitless > 0 AND v_fruitless + 1 >= p_run.repeats_flag THEN
        UPDATE agents_run SET loop_flagged_at = moment() WHERE organisation_id = p_organisation AND id = p_run.id AND loop_flagged_at IS NULL;
        PERFORM audit_append(p_organisation, p_run.workspace_id, 'run.loop_flagged', 'system', 'gate', p_run.id, p_run.id,
            canonical(jsonb_build_object('fingerprint', p_fingerprint, 'fruitless', v_fruitless, 'flag_at', p_run.repeats_flag, 'stop_at', p_run.repeats_stop, 'agent', p_actor)));
    END IF;
    RETURN v_fruitless;
END $$;

-- gate_cycle: the names of the shortest cycle that ends the run's record (A-B-A-B gives A, B), for the person it is handed to.
CREATE OR REPLACE FUNCTION gate_cycle(p_organisation text, p_run text, p_next text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE v_prints text[]; v_names text[]; v_size int;
BEGIN
    SELECT array_agg(fingerprint ORDER BY number DESC), array_agg(name ORDER BY number DESC) INTO v_prints, v_names
    FROM (SELECT fingerprint, name, number FROM agents_call WHERE organisation_id = p_organisation AND run_id = p_run ORDER BY number DESC LIMIT 24) recent;
    FOR v_size IN 1..8 LOOP
        IF v_prints[1:v_size] = v_prints[v_size + 1:2 * v_size] THEN  -- in the order in which they were made
            RETURN (SELECT jsonb_agg(name ORDER BY place DESC) FROM unnest(v_names[1:v_size]) WITH ORDINALITY n (name, place));
        END IF;
    END LOOP;
    RETURN jsonb_build_array(p_next);
END $$;
