-- gate_open: what a run's own key asks the gate for, in one round trip: the row behind the key, and what the gate reads before it decides.
-- Nothing of it is told before the key's secret was compared. Any other key is answered with its row alone.
CREATE OR REPLACE FUNCTION gate_open(p_organisation text, p_key text, p_call text, p_name text, p_fingerprint text, p_arguments jsonb) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE v_knock json := identity_knock(p_organisation, p_key);
BEGIN
    IF v_knock->>'kind' IS DISTINCT FROM 'run' THEN RETURN json_build_object('knock', v_knock); END IF;
    RETURN json_build_object('knock', v_knock, 'context',
        gate_context(p_organisation, v_knock->>'agent', v_knock->>'run', p_call, p_name, p_fingerprint, p_arguments));
END $$;
