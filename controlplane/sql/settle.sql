-- gate_settle: what a call came to (T4). Compare-and-set on the call and its effect: the first result counts, a second changes nothing.
-- Money is returned or booked here, and stays held while a write is being sent or in doubt (I-05): what becomes of it then is said by an
-- `effect.*` event only, so whoever looked at the call before it was sent (expiry, recovery, a second worker) comes too late.
CREATE OR REPLACE FUNCTION gate_settle(p jsonb, p_sealed bytea) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_org text := set_config('app.organisation', p->>'organisation', true); v_origin text := set_config('app.origin', coalesce(p->>'origin', ''), true);
    v_state text := p->>'state'; v_run agents_run; v_call agents_call;
    v_error boolean := p->>'is_error'; v_quiet boolean := p->>'event' IN ('call.answered', 'call.failed') AND p->>'tokens' = '0'; v_done text;
BEGIN
    -- a read changes nothing of its run, so it neither waits for the run's row nor writes it
    IF v_quiet THEN SELECT * INTO v_run FROM agents_run WHERE organisation_id = v_org AND id = p->>'run';
    ELSE SELECT * INTO v_run FROM agents_run WHERE organisation_id = v_org AND id = p->>'run' FOR UPDATE; END IF;
    UPDATE agents_call SET state = v_state, result = p->>'result', sealed_result = p_sealed, result_digest = p->>'result_digest', refusal = coalesce(p->>'refusal', ''),
        settled_micros = (p->>'actual')::bigint,
        sealed_arguments = CASE WHEN v_state = 'IN_DOUBT' THEN sealed_arguments END,
        finished_at = CASE WHEN v_state = 'IN_DOUBT' THEN NULL ELSE moment() END
    WHERE organisation_id = v_org AND id = p->>'call' AND state <> v_state
      AND CASE WHEN p->>'event' LIKE 'effect.%' THEN state IN ('SENDING', 'IN_DOUBT')
               ELSE state = 'ADMITTED' OR (state IN ('APPROVED', 'HELD', 'DRAFTED') AND v_state IN ('VOID', 'DENIED', 'EXPIRED', 'FAILED')) END
    RETURNING * INTO v_call;
    IF NOT FOUND THEN RETURN jsonb_build_object('settled', false); END IF;
    IF v_call.is_write AND v_state = 'APPLIED' AND NOT v_error THEN v_run.progress := v_run.progress + 1; END IF;
    IF NOT v_quiet THEN
        UPDATE agents_run SET tokens = tokens + (p->>'tokens')::bigint, progress = v_run.progress,
            state = CASE WHEN v_run.state = 'WAITING' AND NOT EXISTS (SELECT FROM agents_call WHERE organisation_id = v_org AND run_id = v_run.id AND state IN ('HELD', 'APPROVED'))
                         THEN 'RUNNING' ELSE v_run.state END
        WHERE organisation_id = v_org AND id = v_run.id;
    END IF;
    IF v_call.is_write THEN
        PERFORM gate_finish_effect(v_org, v_call.id, v_state);
        UPDATE approvals_request SET state = CASE v_state WHEN 'APPLIED' THEN 'APPLIED' WHEN 'VOID' THEN 'VOID' WHEN 'DENIED' THEN 'DENIED' WHEN 'EXPIRED' THEN 'EXPIRED' ELSE 'FAILED' END,
            note = CASE WHEN v_state = 'APPLIED' THEN note ELSE left(coalesce(p->>'note', ''), 500) END, decided_at = coalesce(decided_at, moment())
        WHERE organisation_id = v_org AND call_id = v_call.id AND state IN ('OPEN', 'APPROVED') AND v_state <> 'IN_DOUBT';
        DELETE FROM agents_work WHERE organisation_id = v_org AND subject = v_call.id
            AND (kind = 'call.recover' OR (kind = 'effect.reconcile' AND v_state <> 'IN_DOUBT'));
        DELETE FROM agents_work WHERE organisation_id = v_org AND kind = 'request.expire' AND v_state <> 'IN_DOUBT'
            AND subject IN (SELECT id FROM approvals_request WHERE organisation_id = v_org AND call_id = v_call.id);
    ELSIF v_call.reserved_micros > 0 THEN
        DELETE FROM agents_work WHERE organisation_id = v_org AND kind = 'call.recover' AND subject = v_call.id;
    END IF;
    IF v_call.kind = 'TOOL' AND v_state <> 'IN_DOUBT' THEN
        -- a write that took effect is progress for every other call, and the state in which its own answer was seen
        v_done := gate_repeat(v_org, v_run, v_call.fingerprint, p->>'result_digest', v_call.progress, v_run.progress, v_error, v_run.agent_id);
    END IF;
    IF v_state <> 'IN_DOUBT' AND (v_call.reserved_micros > 0 OR (p->>'actual')::bigint > 0) THEN
        PERFORM budget_settle(v_org, v_call.id, (p->>'actual')::bigint, coalesce((p->>'is_estimated')::boolean, false));
    END IF;
    v_done := audit_append(v_org, v_run.workspace_id, p->>'event', p->>'actor_kind', p->>'actor_id', v_call.id, v_run.id, p->>'audit_text');
    IF v_run.is_hosted AND (p->>'wake')::boolean AND v_state <> 'IN_DOUBT' THEN
        PERFORM work_ring(v_org, 'run.advance', v_run.id);
    END IF;
    RETURN jsonb_build_object('settled', true, 'state', v_state);
END $$;

CREATE OR REPLACE FUNCTION gate_finish_effect(p_organisation text, p_call text, p_state text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    UPDATE agents_effect SET state = p_state, finished_at = CASE WHEN p_state = 'IN_DOUBT' THEN NULL ELSE moment() END
    WHERE organisation_id = p_organisation AND call_id = p_call AND state IN ('INTENT', 'IN_DOUBT') AND p_state IN ('APPLIED', 'FAILED', 'IN_DOUBT')
$$;
REVOKE ALL ON FUNCTION gate_finish_effect(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gate_finish_effect(text, text, text) TO remit_app;
