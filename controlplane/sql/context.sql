-- gate_context: everything the gate reads before it decides, in one round trip. What is immutable (tool versions, policy text) is named
-- by id and kept by the caller; what may change (stops, states, the run, the record of this key) is read each time.
CREATE OR REPLACE FUNCTION gate_context(p_organisation text, p_agent text, p_run text, p_key text, p_name text, p_fingerprint text, p_arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE v_agent record; v_run agents_run; v_pin record;  v_capability jsonb; v_policy record; v_call jsonb; v_twin text; v_stops jsonb; v_registry int;
BEGIN
    PERFORM set_config('app.organisation', p_organisation, true);
    SELECT a.*, m.person AS owner_person, m.name AS owner_name INTO v_agent
    FROM agents_agent a JOIN agents_member m ON m.organisation_id = a.organisation_id AND m.id = a.owner_id
    WHERE a.organisation_id = p_organisation AND a.id = p_agent;
    SELECT * INTO v_run FROM agents_run WHERE organisation_id = p_organisation AND id = p_run AND agent_id = p_agent;
    IF v_agent.id IS NULL OR v_run.id IS NULL THEN RETURN NULL; END IF;
    SELECT jsonb_build_object('id', c.id, 'state', c.state, 'body_digest', c.body_digest) INTO v_call
    FROM agents_call c WHERE c.organisation_id = p_organisation AND c.run_id = p_run AND c.key = p_key;
    SELECT c.id INTO v_twin FROM agents_call c
    WHERE c.organisation_id = p_organisation AND c.run_id = p_run AND c.fingerprint = p_fingerprint AND c.sealed_arguments IS NOT NULL AND c.state IN ('HELD', 'DRAFTED') LIMIT 1;
    SELECT p.tool_version_id, v.subjects, t.id AS tool_id, t.state AS tool_state, v.state AS version_state,
           jsonb_build_object('id', c.id, 'kind', c.kind, 'slug', c.slug, 'url', c.url, 'headers', c.headers, 'timeout_ms', c.timeout_ms, 'allow_private', c.allow_private,
               'document', c.document, 'sealed', encode(c.sealed_secrets, 'hex')) AS connector INTO v_pin
    FROM agents_pin p JOIN agents_toolversion v ON v.organisation_id = p.organisation_id AND v.id = p.tool_version_id
                      JOIN agents_tool t ON t.organisation_id = p.organisation_id AND t.id = v.tool_id
                      JOIN agents_connector c ON c.organisation_id = t.organisation_id AND c.id = t.connector_id
    WHERE p.organisation_id = p_organisation AND p.agent_version_id = v_run.agent_version_id AND p.name = p_name;
    IF v_run.capability_id IS NOT NULL THEN
        SELECT jsonb_build_object('id', c.id, 'subject', c.subject, 'tools', c.tools, 'bindings', c.bindings,
                                  'over', c.revoked_at IS NOT NULL OR c.expires_at <= moment(), 'expires_at', c.expires_at) INTO v_capability
        FROM agents_capability c WHERE c.organisation_id = p_organisation AND c.id = v_run.capability_id;
    END IF;
    SELECT registry INTO v_registry FROM agents_workspace WHERE organisation_id = p_organisation AND id = v_agent.workspace_id;
    SELECT id, digest, number INTO v_policy FROM agents_policyset
    WHERE organisation_id = p_organisation AND workspace_id = v_agent.workspace_id AND state = 'ACTIVE';
    SELECT jsonb_agg(jsonb_build_object('id', s.id, 'scope', s.scope, 'target', s.target, 'reason', s.reason, 'by', s.engaged_by, 'at', s.engaged_at)) INTO v_stops
    FROM agents_stop s WHERE s.organisation_id = p_organisation AND s.released_at IS NULL;
    RETURN jsonb_build_object(
        'agent', jsonb_build_object('id', v_agent.id, 'slug', v_agent.slug, 'category', v_agent.category, 'stage', v_agent.stage, 'state', v_agent.state,
            'draft_only', v_agent.draft_only, 'owner', v_agent.owner_id, 'owner_person', v_agent.owner_person, 'owner_name', v_agent.owner_name,
            'workspace', v_agent.workspace_id),
        'run', jsonb_build_object('id', v_run.id, 'state', v_run.state, 'version', v_run.agent_version_id, 'reference', v_run.reference, 'title', v_run.title,
            'tool_calls', v_run.tool_calls, 'writes', v_run.writes, 'starter_person', v_run.starter_person, 'started_by', v_run.started_by, 'models', (SELECT to_jsonb(model_names) FROM agents_agentversion av WHERE av.organisation_id = p_organisation AND av.id = v_run.agent_version_id), 'summary', v_run.summary,
            'max_micros', v_run.max_micros, 'is_hosted', v_run.is_hosted, 'max_tokens', v_run.max_tokens, 'tokens', v_run.tokens),
        'pin', CASE WHEN v_pin.tool_version_id IS NULL THEN NULL ELSE jsonb_build_object('version', v_pin.tool_version_id, 'tool', v_pin.tool_id,
            'active', v_pin.tool_state = 'ACTIVE' AND v_pin.version_state = 'ACTIVE', 'connector', v_pin.connector) END,
        'owned', CASE WHEN v_pin.subjects IS NULL OR v_pin.subjects = '{}'::jsonb OR jsonb_typeof(p_arguments) <> 'object' THEN NULL
                      ELSE owned_by(p_organisation, v_pin.subjects, p_arguments) END,
        'capability', v_capability,
        'policy', CASE WHEN v_policy.id IS NULL THEN NULL ELSE jsonb_build_object('id', v_policy.id, 'digest', v_policy.digest, 'number', v_policy.number) END,
        'registry', v_registry, 'stops', coalesce(v_stops, '[]'::jsonb), 'call', v_call, 'twin', v_twin,
        'hour', extract(hour FROM moment() AT TIME ZONE 'UTC')::int, 'weekday', extract(isodow FROM moment() AT TIME ZONE 'UTC')::int);
END $$;
