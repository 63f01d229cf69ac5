-- audit_append: the one way an entry comes to be. It runs in the transaction of the change it describes: no entry, no change.
-- p_detail is canonical JSON text (RFC 8785). The envelope around it is composed here, keys in order, so that the body is canonical too;
-- the time and the id come from the database. leaf = SHA-256(0x00 || body), RFC 6962.
CREATE OR REPLACE FUNCTION audit_append(
    p_organisation text, p_workspace text, p_event text, p_actor_kind text, p_actor_id text, p_subject text, p_run text, p_detail text
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_at timestamptz := moment();
    v_id text := 'EV-' || sayable(14);
    v_origin text := nullif(current_setting('app.origin', true), '');  -- how it came in, canonical already (audit/origin.py)
    v_body text;
BEGIN
    IF p_event !~ '^[a-z_]+\.[a-z_]+$' THEN RAISE EXCEPTION 'audit_append: % is no event name', p_event; END IF;
    v_body := '{"actor":{"id":' || to_json(p_actor_id)::text || ',"kind":' || to_json(p_actor_kind)::text
        || '},"at":"' || to_char(v_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || '","detail":' || p_detail
        || ',"event":"' || p_event
        || '","id":"' || v_id
        || '","organisation":' || to_json(p_organisation)::text
        || coalesce(',"origin":' || v_origin, '')
        || ',"run":' || to_json(coalesce(p_run, ''))::text
        || ',"subject":' || to_json(coalesce(p_subject, ''))::text
        || ',"v":1,"workspace":' || to_json(coalesce(p_workspace, ''))::text || '}';
    INSERT INTO audit_entry (organisation_id, at, id, event, workspace_id, actor_kind, actor_id, subject, run_id, body, leaf)
    VALUES (p_organisation, v_at, v_id, p_event, coalesce(p_workspace, ''), p_actor_kind, p_actor_id, coalesce(p_subject, ''), coalesce(p_run, ''),
            v_body, sha256('\x00'::bytea || convert_to(v_body, 'UTF8')));
    -- A signal for open pages: which topic, which object, never data. Not for each call: a notifying commit waits for every other one.
    IF p_workspace <> '' AND split_part(p_event, '.', 1) IN ('run', 'request', 'effect', 'stop', 'cap', 'agent', 'tool', 'policy') THEN
        PERFORM pg_notify('remit_live', p_organisation || '/' || p_workspace || '/' || split_part(p_event, '.', 1) || '/' || coalesce(p_subject, ''));
    END IF;
    RETURN v_id;
END $$;
