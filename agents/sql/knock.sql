-- identity_knock: the row behind a key, read on every request (no cache: a revoked key is refused at once, I-32).
CREATE OR REPLACE FUNCTION identity_knock(p_organisation text, p_key text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE v jsonb;
BEGIN
    PERFORM set_config('app.organisation', p_organisation, true);
    SELECT jsonb_build_object(
        'id', k.id, 'kind', k.kind, 'digest', k.digest, 'run', k.run_id, 'agent', k.agent_id, 'member', k.member_id,
        'revoked', k.revoked_at IS NOT NULL, 'expired', coalesce(k.expires_at <= clock_timestamp(), false),
        'workspace', a.workspace_id, 'agent_state', a.state, 'person', m.person, 'user', m.user_id, 'member_active', coalesce(m.is_active, true))
    INTO v
    FROM agents_key k LEFT JOIN agents_agent a ON a.organisation_id = k.organisation_id AND a.id = k.agent_id
                      LEFT JOIN agents_member m ON m.organisation_id = k.organisation_id AND m.id = k.member_id
    WHERE k.organisation_id = p_organisation AND k.id = p_key;
    RETURN v;
END $$;

-- owned_by: the directory's answer for objects named kind/id: how many of them it knows, and whose they are.
CREATE OR REPLACE FUNCTION owned_by(p_organisation text, p_objects text[]) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    PERFORM set_config('app.organisation', p_organisation, true);
    RETURN (SELECT jsonb_build_object('known', count(*), 'owners', coalesce(jsonb_agg(DISTINCT owner), '[]'::jsonb)) FROM agents_owned
            WHERE organisation_id = p_organisation AND id = ANY (p_objects));
END $$;
