-- gate_intend: the only way an effect comes to be (T3). Runs as the owner; the application has no INSERT on agents_effect, so "no write without
-- a decision" is a fact of the database. Everything is checked again here, in the transaction that writes the intent, and only then is
-- anything sent. Answer: {"verdict": "INTENDED", "effect": id, "key": ...} or {"verdict": "REFUSED"|"VOID", "refusal": {...}}.
CREATE OR REPLACE FUNCTION gate_intend(p jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_org text := p->>'organisation'; v_run agents_run; v_call agents_call; v_plan approvals_plan; v_request approvals_request; v_stop agents_stop;
    v_version agents_toolversion; v_count int; v_need text; v_effect text := 'EFF-' || sayable(14); v_why text; v_code text := 'void'; v_budget jsonb;
BEGIN
    PERFORM set_config('app.organisation', v_org, true), set_config('app.origin', coalesce(p->>'origin', ''), true);
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('stop:' || v_org, 0));
    SELECT * INTO v_call FROM agents_call WHERE organisation_id = v_org AND id = p->>'call';
    SELECT * INTO v_run FROM agents_run WHERE organisation_id = v_org AND id = v_call.run_id FOR UPDATE;
    SELECT * INTO v_call FROM agents_call WHERE organisation_id = v_org AND id = p->>'call' FOR UPDATE;
    SELECT * INTO v_plan FROM approvals_plan WHERE organisation_id = v_org AND call_id = v_call.id AND digest = p->>'plan_digest';
    SELECT * INTO v_version FROM agents_toolversion WHERE organisation_id = v_org AND id = v_call.tool_version_id;
    IF v_call.id IS NULL OR NOT v_call.is_write OR v_plan.id IS NULL THEN RAISE EXCEPTION 'gate_intend: no such plan'; END IF;
    IF EXISTS (SELECT FROM agents_effect WHERE organisation_id = v_org AND call_id = v_call.id) THEN
        RETURN jsonb_build_object('verdict', 'CONSUMED', 'refusal', jsonb_build_object('code', 'already_consumed', 'message', 'This plan was already used.'));
    END IF;

    SELECT * INTO v_request FROM approvals_request
        WHERE organisation_id = v_org AND call_id = v_call.id AND plan_id = v_plan.id AND state = 'APPROVED' FOR UPDATE;
    SELECT s.* INTO v_stop FROM agents_stop s WHERE s.organisation_id = v_org AND s.released_at IS NULL
        AND (s.scope, s.target) IN (SELECT e->>0, e->>1 FROM jsonb_array_elements(p->'scopes') e) LIMIT 1;
    IF FOUND THEN
        v_code := 'stopped'; v_why := 'Stopped by a person: ' || v_stop.reason;
    ELSIF v_run.state NOT IN ('QUEUED', 'RUNNING', 'WAITING') AND NOT coalesce(v_request.is_draft, false) THEN  -- a draft outlives its run
        v_code := 'run_over'; v_why := 'The run is over.';
    ELSIF NOT EXISTS (SELECT FROM agents_policyset WHERE organisation_id = v_org AND id = p->>'policy_set' AND state = 'ACTIVE') THEN
        v_why := 'The policy changed since the plan was made.';
    ELSIF v_version.state <> 'ACTIVE' OR NOT EXISTS (SELECT FROM agents_tool WHERE organisation_id = v_org AND id = v_version.tool_id AND state = 'ACTIVE') THEN
        v_why := 'The tool changed since the plan was made.';
    ELSIF v_run.capability_id IS NOT NULL AND EXISTS (SELECT FROM agents_capability c WHERE c.organisation_id = v_org AND c.id = v_run.capability_id
            AND (c.revoked_at IS NOT NULL OR (c.expires_at <= moment() AND NOT coalesce(v_request.is_draft, false)))) THEN
        v_code := 'out_of_scope'; v_why := 'The capability was revoked, or it expired.';
    ELSIF v_call.by_key <> '' AND EXISTS (SELECT FROM agents_key k WHERE k.organisation_id = v_org AND k.id = v_call.by_key AND k.revoked_at IS NOT NULL) THEN
        v_code := 'out_of_scope'; v_why := 'The key that proposed this was revoked.';
    ELSIF NOT EXISTS (SELECT FROM agents_agent a WHERE a.organisation_id = v_org AND a.id = v_run.agent_id AND a.state = 'ACTIVE'
            AND (a.stage = 'GATED' OR (a.stage <> 'READ_ONLY' AND v_call.tier <> 'AUTO'))) THEN
        v_code := 'out_of_scope'; v_why := 'The agent was paused, retired, or its stage was lowered.';
    ELSIF v_call.tier = 'AUTO' AND v_call.state = 'ADMITTED' THEN
        NULL;
    ELSIF v_call.state <> 'APPROVED' THEN
        v_why := 'The call is ' || v_call.state || ', not approved.';
    ELSE
        v_need := CASE WHEN v_request.required >= 2 THEN 'approvals_decide_two' ELSE 'approvals_decide' END;
        SELECT count(DISTINCT v.person) INTO v_count FROM approvals_vote v
            JOIN agents_member m ON m.organisation_id = v.organisation_id AND m.id = v.member_id AND m.is_active
            JOIN agents_workspacepermission g ON g.organisation_id = v.organisation_id AND g.user_id = m.user_id AND g.content_object_id = v_request.workspace_id
                AND (g.until IS NULL OR g.until > moment())
            JOIN auth_permission a ON a.id = g.permission_id AND a.codename = v_need
        WHERE v.organisation_id = v_org AND v.request_id = v_request.id AND v.verdict = 'APPROVE' AND v.plan_digest = v_plan.digest
          AND NOT (v.person = ANY (v_request.requesters));
        IF v_request.id IS NULL THEN v_why := 'Nobody approved this plan.';
        ELSIF v_request.expires_at <= moment() THEN v_why := 'The approval expired before it was used.';
        ELSIF v_request.policy_set_id <> p->>'policy_set' THEN v_why := 'The policy changed since people decided.';
        ELSIF v_request.tool_version_id <> v_call.tool_version_id THEN v_why := 'The tool changed since people decided.';
        ELSIF v_count < v_request.required OR v_request.required < (p->>'required')::int THEN
            v_why := v_count || ' of ' || greatest(v_request.required, (p->>'required')::int) || ' valid approvals.';
        ELSIF EXISTS (SELECT FROM approvals_vote WHERE organisation_id = v_org AND request_id = v_request.id AND verdict = 'DENY') THEN
            v_why := 'Somebody denied it.';
        END IF;
    END IF;
    IF v_why IS NULL AND v_call.reserved_micros = 0 AND (p->>'amount')::bigint > 0 THEN  -- a draft held no money while it waited
        v_budget := budget_reserve(v_org, v_call.id, v_run.id, v_run.agent_id, v_run.workspace_id, v_run.max_micros, (p->>'amount')::bigint, 0);
        IF v_budget IS NOT NULL THEN v_code := 'budget_exceeded'; v_why := 'The cap of this ' || (v_budget->>'level') || ' leaves too little.';
        ELSE UPDATE agents_call SET reserved_micros = (p->>'amount')::bigint WHERE organisation_id = v_org AND id = v_call.id; END IF;
    END IF;
    IF v_why IS NOT NULL THEN
        RETURN jsonb_build_object('verdict', 'VOID', 'refusal', jsonb_build_object('code', v_code, 'message', v_why, 'rule', 'checked again before sending',
            'current', v_call.state, 'limit', 'nothing may have changed', 'who', v_run.handed_to, 'next', 'Propose the call again; a new plan will be made.'));
    END IF;
    INSERT INTO agents_effect (organisation_id, id, call_id, key, connector_class, state, plan_digest, outbound_digest, required, lease_until, fence, intended_at)
    VALUES (v_org, v_effect, v_call.id, p->>'effect_key', v_version.connector_class, 'INTENT', v_plan.digest, p->>'outbound_digest',
            coalesce(v_request.required, 0), moment() + make_interval(secs => (p->>'lease_s')::double precision), 1, moment());
    UPDATE agents_call SET state = 'SENDING' WHERE organisation_id = v_org AND id = v_call.id;
    DELETE FROM agents_work WHERE organisation_id = v_org AND kind = 'call.recover' AND subject = v_call.id;
    INSERT INTO agents_work (organisation_id, id, kind, subject, due_at, fence, attempts, rings)
    VALUES (v_org, 'WRK-' || sayable(14), 'effect.reconcile', v_call.id, clock_timestamp() + make_interval(secs => (p->>'lease_s')::double precision), 0, 0, 1);
    PERFORM audit_append(v_org, v_run.workspace_id, 'effect.intended', 'agent', v_run.agent_id, v_call.id, v_run.id, canonical(jsonb_build_object(
        'effect', v_effect, 'key', p->>'effect_key', 'plan', v_plan.digest, 'outbound', p->>'outbound_digest', 'class', v_version.connector_class,
        'required', coalesce(v_request.required, 0), 'request', coalesce(v_request.id, ''))));
    RETURN jsonb_build_object('verdict', 'INTENDED', 'effect', v_effect, 'key', p->>'effect_key');
END $$;
REVOKE ALL ON FUNCTION gate_intend(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gate_intend(jsonb) TO remit_app;
