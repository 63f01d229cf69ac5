-- gate_context: everything the gate reads before it decides, in one round trip. What is immutable (tool versions, policy text) is named
-- by id and kept by the caller; what may change (stops, states, the run, the record of this key) is read here, and stands for as long as the
-- organisation's epoch does.
-- NULL when the run is not this agent's. A few small statements: one large join costs as much to start and far more to plan.
CREATE OR REPLACE FUNCTION gate_context(p_organisation text, p_agent text, p_run text, p_key text, p_name text, p_fingerprint text, p_arguments jsonb) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_org text := set_config('app.organisation', p_organisation, true); v_workspace text; v_version text; v_holds text; v_subjects jsonb; v_twin text; v_registry int; v_expires timestamptz;
    v_agent json; v_run json; v_pin json; v_owned json; v_capability json; v_policy json; v_call json; v_stops json;
BEGIN
    SELECT a.workspace_id, r.agent_version_id, r.capability_id, w.registry,
        json_build_object('id', a.id, 'slug', a.slug, 'category', a.category, 'stage', a.stage, 'state', a.state, 'draft_only', a.draft_only,
            'owner', a.owner_id, 'owner_person', m.person, 'owner_name', m.name, 'workspace', a.workspace_id),
        json_build_object('id', r.id, 'state', r.state, 'version', r.agent_version_id, 'reference', r.reference, 'title', r.title,
            'tool_calls', r.tool_calls, 'writes', r.writes, 'starter_person', r.starter_person, 'started_by', r.started_by, 'models', v.model_names,
            'summary', r.summary, 'max_micros', r.max_micros, 'is_hosted', r.is_hosted, 'max_tokens', r.max_tokens, 'tokens', r.tokens)
    INTO v_workspace, v_version, v_holds, v_registry, v_agent, v_run
    FROM agents_run r JOIN agents_agent a ON a.organisation_id = v_org AND a.id = r.agent_id
                      JOIN agents_member m ON m.organisation_id = v_org AND m.id = a.owner_id
                      JOIN agents_workspace w ON w.organisation_id = v_org AND w.id = a.workspace_id
                      JOIN agents_agentversion v ON v.organisation_id = v_org AND v.id = r.agent_version_id
    WHERE r.organisation_id = v_org AND r.id = p_run AND r.agent_id = p_agent;
    IF NOT FOUND THEN RETURN NULL; END IF;
    SELECT json_build_object('id', c.id, 'state', c.state, 'body_digest', c.body_digest) INTO v_call
    FROM agents_call c WHERE c.organisation_id = v_org AND c.run_id = p_run AND c.key = p_key;
    SELECT c.id INTO v_twin FROM agents_call c
    WHERE c.organisation_id = v_org AND c.run_id = p_run AND c.fingerprint = p_fingerprint AND c.sealed_arguments IS NOT NULL AND c.state IN ('HELD', 'DRAFTED') LIMIT 1;
    SELECT v.subjects, json_build_object('version', v.id, 'tool', t.id, 'active', t.state = 'ACTIVE' AND v.state = 'ACTIVE',
            'connector', json_build_object('id', c.id, 'kind', c.kind, 'slug', c.slug, 'url', c.url, 'headers', c.headers, 'timeout_ms', c.timeout_ms,
                'allow_private', c.allow_private, 'document', c.document, 'sealed', encode(c.sealed_secrets, 'hex'))) INTO v_subjects, v_pin
    FROM agents_pin p JOIN agents_toolversion v ON v.organisation_id = v_org AND v.id = p.tool_version_id
                      JOIN agents_tool t ON t.organisation_id = v_org AND t.id = v.tool_id
                      JOIN agents_connector c ON c.organisation_id = v_org AND c.id = t.connector_id
    WHERE p.organisation_id = v_org AND p.agent_version_id = v_version AND p.name = p_name;
    IF v_subjects <> '{}'::jsonb AND jsonb_typeof(p_arguments) = 'object' THEN v_owned := owned_by(v_org, v_subjects, p_arguments); END IF;
    IF v_holds IS NOT NULL THEN
        SELECT json_build_object('id', c.id, 'subject', c.subject, 'tools', c.tools, 'bindings', c.bindings,
                                 'over', c.revoked_at IS NOT NULL OR c.expires_at <= moment(), 'expires_at', c.expires_at), c.expires_at INTO v_capability, v_expires
        FROM agents_capability c WHERE c.organisation_id = v_org AND c.id = v_holds;
    END IF;
    SELECT json_build_object('id', s.id, 'digest', s.digest, 'number', s.number) INTO v_policy
    FROM agents_policyset s WHERE s.organisation_id = v_org AND s.workspace_id = v_workspace AND s.state = 'ACTIVE';
    SELECT json_agg(json_build_object('id', s.id, 'scope', s.scope, 'target', s.target, 'reason', s.reason, 'by', s.engaged_by, 'at', s.engaged_at)) INTO v_stops
    FROM agents_stop s WHERE s.organisation_id = v_org AND s.released_at IS NULL;
    RETURN json_build_object('agent', v_agent, 'run', v_run, 'pin', v_pin, 'owned', v_owned, 'capability', v_capability, 'policy', v_policy,
        -- by these two gate_admit knows whether all of this still stands
        'epoch', (SELECT e.number FROM agents_epoch e WHERE e.organisation_id = v_org AND e.id = v_org),
        'until', least(v_expires, date_trunc('hour', moment(), 'UTC') + interval '1 hour'),
        'registry', v_registry, 'stops', coalesce(v_stops, '[]'::json), 'call', v_call, 'twin', v_twin,
        'hour', extract(hour FROM moment() AT TIME ZONE 'UTC')::int, 'weekday', extract(isodow FROM moment() AT TIME ZONE 'UTC')::int,
        'day', to_char(moment() AT TIME ZONE 'UTC', 'YYYYMMDD')::int);
END $$;
