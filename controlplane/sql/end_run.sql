-- gate_end_run: the only way a run ends. What it still had waiting is withdrawn and its money goes back; a terminal state is never left (I-15).
CREATE OR REPLACE FUNCTION gate_end_run(
    p_organisation text, p_run text, p_state text, p_summary text, p_handed_to text, p_event text, p_actor_kind text, p_actor_id text, p_detail jsonb
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE v_run agents_run; v_call record;
BEGIN
    PERFORM set_config('app.organisation', p_organisation, true);
    UPDATE agents_run SET state = p_state, summary = p_summary, handed_to = coalesce(p_handed_to, ''), finished_at = clock_timestamp()
    WHERE organisation_id = p_organisation AND id = p_run AND state IN ('QUEUED', 'RUNNING', 'WAITING') RETURNING * INTO v_run;
    IF NOT FOUND THEN RETURN false; END IF;
    FOR v_call IN SELECT id FROM agents_call WHERE organisation_id = p_organisation AND run_id = p_run AND state IN ('HELD', 'APPROVED') ORDER BY id FOR UPDATE LOOP
        UPDATE agents_call SET state = 'VOID', sealed_arguments = NULL, finished_at = clock_timestamp() WHERE organisation_id = p_organisation AND id = v_call.id;
        UPDATE approvals_request SET state = 'WITHDRAWN', decided_at = clock_timestamp(), note = 'The run ended: ' || p_summary
        WHERE organisation_id = p_organisation AND call_id = v_call.id AND state IN ('OPEN', 'APPROVED');
        PERFORM budget_settle(p_organisation, v_call.id, 0, false);
    END LOOP;
    PERFORM audit_append(p_organisation, v_run.workspace_id, p_event, p_actor_kind, p_actor_id, p_run, p_run, canonical(p_detail));
    RETURN true;
END $$;
