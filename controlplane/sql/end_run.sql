-- gate_end_run: the only way a run ends. What it still had waiting is withdrawn and its money goes back; a terminal state is never left
-- (I-15). Drafts stay: a person may apply a proposal after its run.
CREATE OR REPLACE FUNCTION gate_end_run(
    p_organisation text, p_run text, p_state text, p_summary text, p_handed_to text, p_event text, p_actor_kind text, p_actor_id text, p_detail jsonb
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE v_run agents_run; v_call record; v_request text;
BEGIN
    PERFORM set_config('app.organisation', p_organisation, true);
    UPDATE agents_run SET state = p_state, summary = p_summary, handed_to = coalesce(p_handed_to, ''), finished_at = moment()
    WHERE organisation_id = p_organisation AND id = p_run AND state IN ('QUEUED', 'RUNNING', 'WAITING') RETURNING * INTO v_run;
    IF NOT FOUND THEN RETURN false; END IF;
    FOR v_call IN SELECT c.id FROM agents_call c WHERE c.organisation_id = p_organisation AND c.run_id = p_run AND c.state IN ('HELD', 'APPROVED')
            AND NOT EXISTS (SELECT FROM approvals_request r WHERE r.organisation_id = p_organisation AND r.call_id = c.id AND r.is_draft)
            ORDER BY c.id FOR UPDATE LOOP
        UPDATE agents_call SET state = 'VOID', sealed_arguments = NULL, finished_at = moment(), result_digest = 'void:run_over',
            refusal = jsonb_build_object('code', 'run_over', 'message', 'The run ended before this was decided.', 'rule', 'run state', 'current', p_state,
                'limit', 'RUNNING', 'who', '', 'next', 'Work goes on in a new run.')::text
        WHERE organisation_id = p_organisation AND id = v_call.id;
        UPDATE approvals_request SET state = 'WITHDRAWN', decided_at = moment(), note = 'The run ended: ' || p_summary
        WHERE organisation_id = p_organisation AND call_id = v_call.id AND state IN ('OPEN', 'APPROVED') RETURNING id INTO v_request;
        DELETE FROM agents_work WHERE organisation_id = p_organisation AND kind = 'request.expire' AND subject = v_request;
        PERFORM budget_settle(p_organisation, v_call.id, 0, false);
        PERFORM audit_append(p_organisation, v_run.workspace_id, 'call.voided', p_actor_kind, p_actor_id, v_call.id, p_run, '{"why":"the run ended"}');
        IF v_request IS NOT NULL THEN
            PERFORM audit_append(p_organisation, v_run.workspace_id, 'request.withdrawn', p_actor_kind, p_actor_id, v_request, p_run,
                canonical(jsonb_build_object('call', v_call.id)));
        END IF;
    END LOOP;
    -- A read whose process died leaves nothing that anybody waits for, but the record should not say for ever that it is under way (gate.RECOVER_S).
    INSERT INTO agents_work (organisation_id, id, kind, subject, due_at, fence, attempts, rings)
    SELECT p_organisation, 'WRK-' || sayable(14), 'call.recover', c.id, clock_timestamp() + interval '150 seconds', 0, 0, 1 FROM agents_call c
    WHERE c.organisation_id = p_organisation AND c.run_id = p_run AND c.state = 'ADMITTED' AND NOT c.is_write
    ON CONFLICT (organisation_id, kind, subject) DO NOTHING;
    PERFORM audit_append(p_organisation, v_run.workspace_id, p_event, p_actor_kind, p_actor_id, p_run, p_run, canonical(p_detail));
    RETURN true;
END $$;
