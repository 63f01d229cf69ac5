-- identity_knock: the row behind a key as it is now. gate_admit looks at the key again, so an earlier one may be gone by (I-32).
CREATE OR REPLACE FUNCTION identity_knock(p_organisation text, p_key text) RETURNS json LANGUAGE plpgsql STABLE AS $$
DECLARE v_org text := set_config('app.organisation', p_organisation, true); v json;
BEGIN
    SELECT json_build_object(
        'id', k.id, 'kind', k.kind, 'digest', k.digest, 'run', k.run_id, 'agent', k.agent_id, 'member', k.member_id,
        'quiet', k.kind <> 'run' AND (k.last_used_at IS NULL OR k.last_used_at < clock_timestamp() - interval '5 minutes'),
        'revoked', k.revoked_at IS NOT NULL, 'expired', coalesce(k.expires_at <= clock_timestamp(), false),
        'workspace', a.workspace_id, 'agent_state', a.state, 'person', m.person, 'user', m.user_id, 'member_active', coalesce(m.is_active, true))
    INTO v
    FROM agents_key k LEFT JOIN agents_agent a ON a.organisation_id = k.organisation_id AND a.id = k.agent_id
                      LEFT JOIN agents_member m ON m.organisation_id = k.organisation_id AND m.id = k.member_id
    WHERE k.organisation_id = v_org AND k.id = p_key;
    RETURN v;
END $$;

-- owned_by: the directory's answer for the objects that a call's arguments name (p_subjects: argument -> kind of object): whose they are,
-- and whether it does not know one of them. Ids are text or whole numbers, one or a list of them.
CREATE OR REPLACE FUNCTION owned_by(p_organisation text, p_subjects jsonb, p_arguments jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $$
    WITH named AS (
        SELECT DISTINCT s.value || '/' || (each.item #>> '{}') AS id
        FROM jsonb_each_text(p_subjects) s,
             LATERAL (SELECT p_arguments -> s.key AS item WHERE jsonb_typeof(p_arguments -> s.key) IN ('string', 'number')
                      UNION ALL
                      SELECT e FROM jsonb_array_elements(CASE jsonb_typeof(p_arguments -> s.key) WHEN 'array' THEN p_arguments -> s.key ELSE '[]'::jsonb END) e
                      WHERE jsonb_typeof(e) IN ('string', 'number')) each
    )
    SELECT jsonb_build_object('owners', coalesce(jsonb_agg(DISTINCT o.owner) FILTER (WHERE o.owner IS NOT NULL), '[]'::jsonb),
                              'unknown', coalesce(bool_or(o.id IS NULL), false))
    FROM named n LEFT JOIN agents_owned o ON o.organisation_id = p_organisation AND o.id = n.id
$$;
