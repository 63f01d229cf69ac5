-- What fills one workspace. Runs are numbered across the database from %(first)s; run n of a workspace is the (n - first)-th of %(runs)s,
-- the newest the last. Everything follows from n, so tables need not be joined and a second filling makes the same rows but for their times.

-- @name registry
INSERT INTO agents_connector (organisation_id, id, slug, kind, url, headers, document, timeout_ms, allow_private, workspace_id)
VALUES (%(org)s, 'CON-' || %(tag)s, lower(%(tag)s), 'http', 'http://127.0.0.1:9', '{}', '', 15000, true, %(ws)s);

INSERT INTO agents_tool (organisation_id, id, name, state, connector_id, workspace_id)
SELECT %(org)s, 'TL-' || %(tag)s || '-' || t, lower(%(tag)s) || '_tool_' || lpad(t::text, 3, '0'), 'ACTIVE', 'CON-' || %(tag)s, %(ws)s FROM generate_series(0, %(tools)s - 1) t;

INSERT INTO agents_toolversion (organisation_id, id, number, state, title, description, operation, detail, input_schema, output_schema, is_write, risk,
    is_reversible, data_domain, connector_class, subjects, redact, price_micros, digest, tool_id)
SELECT %(org)s, 'TV-' || %(tag)s || '-' || t, 1, 'ACTIVE', 'Tool ' || t, 'Does what the desk needs.', 'op', '{}',
    '{"additionalProperties":false,"properties":{"amount":{"maximum":100000,"minimum":0,"type":"integer"},"ticket":{"maxLength":40,"type":"string"}},"required":["ticket"],"type":"object"}',
    '', mod(t, 4) = 0, (ARRAY['high', 'low', 'medium', 'low'])[mod(t, 4) + 1], mod(t, 4) <> 0, 'desk', CASE WHEN mod(t, 4) = 0 THEN 'E1' ELSE 'E0' END,
    '{}', '[]', 0, md5(t::text), 'TL-' || %(tag)s || '-' || t
FROM generate_series(0, %(tools)s - 1) t;

INSERT INTO agents_agent (organisation_id, id, slug, name, category, stage, state, draft_only, owner_id, workspace_id)
SELECT %(org)s, 'AG-' || %(tag)s || '-' || a, lower(%(tag)s) || '-agent-' || lpad(a::text, 3, '0'), 'Agent ' || a, 'bounded', 'GATED', 'ACTIVE', false, %(owner)s, %(ws)s
FROM generate_series(0, %(agents)s - 1) a;

INSERT INTO agents_agentversion (organisation_id, id, number, purpose, never, output, prompt, model_names, digest, agent_id)
SELECT %(org)s, 'AV-' || %(tag)s || '-' || a, 1, 'Looks after tickets.', ARRAY['Never pay twice.'], 'A sentence.', 'You look after tickets.', ARRAY['scripted:idle'], md5(a::text),
    'AG-' || %(tag)s || '-' || a
FROM generate_series(0, %(agents)s - 1) a;

UPDATE agents_agent SET version_id = 'AV-' || substr(id, 4) WHERE organisation_id = %(org)s AND id LIKE 'AG-' || %(tag)s || '-%%';

INSERT INTO agents_pin (organisation_id, id, name, agent_version_id, tool_version_id)
SELECT %(org)s, 'PIN-' || %(tag)s || '-' || a || '-' || p, lower(%(tag)s) || '_tool_' || lpad(mod(a + p, %(tools)s)::text, 3, '0'), 'AV-' || %(tag)s || '-' || a,
    'TV-' || %(tag)s || '-' || mod(a + p, %(tools)s)
FROM generate_series(0, %(agents)s - 1) a, generate_series(0, least(5, %(tools)s) - 1) p;

-- @name numbers
CREATE TEMP TABLE IF NOT EXISTS numbers (n bigint, id text, hash bigint, agent int, read_tool int, write_tool int, at timestamptz, took interval, writes boolean, age int, state text, wrote text);
TRUNCATE numbers;
INSERT INTO numbers
SELECT n, 'R-' || upper(substr(md5('run ' || n), 1, 16)), h, a, mod(a + 1, %(tools)s), mod(mod(h, 6)::int * 4 + a, %(tools)s) / 4 * 4, at,
    make_interval(secs => 2 + mod(h / 7, 90)), mod(n, 5) = 0, age,
    CASE WHEN mod(n, 5) = 0 AND age < %(open)s THEN 'WAITING' WHEN age < 40 THEN 'RUNNING' WHEN r < 870 THEN 'SUCCEEDED' WHEN r < 930 THEN 'HANDED_OFF'
         WHEN r < 970 THEN 'FAILED' WHEN r < 985 THEN 'STOPPED' ELSE 'EXPIRED' END,
    CASE WHEN mod(n, 5) <> 0 THEN '' WHEN age < %(open)s THEN 'HELD' WHEN mod(h / 11, 100) < 80 THEN 'APPLIED' WHEN mod(h / 11, 100) < 91 THEN 'DENIED'
         WHEN mod(h / 11, 100) < 97 THEN 'EXPIRED' ELSE 'FAILED' END
FROM (
    SELECT n, h, mod(h, 1000) AS r, (sqrt(mod(h / 13, 10000)::float) / 100 * %(agents)s)::int %% %(agents)s AS a, (%(first)s + %(runs)s - 1 - n)::int AS age,
        now() - interval '180 days' * ((%(first)s + %(runs)s - 1 - n)::float / %(runs)s) AS at
    FROM (SELECT n, hashint8extended(n, 42) & 9223372036854775807 AS h FROM generate_series(%(first)s::bigint, %(first)s + %(runs)s - 1) n) numbered
) drawn;
ANALYZE numbers;

-- @name runs
INSERT INTO agents_run (organisation_id, id, state, is_hosted, reference, title, options, started_by_kind, started_by, starter_person, steps, tool_calls, writes, tokens, retries,
    max_steps, max_tool_calls, max_tokens, max_seconds, max_retries, max_micros, max_step_micros, repeats_flag, repeats_stop, progress, loop_flagged_at, waited_ms, summary,
    handed_to, started_at, finished_at, agent_id, agent_version_id, workspace_id)
SELECT %(org)s, id, state, true, 'TCK-' || (100000 + n), (ARRAY['Refund', 'Address change', 'Late delivery', 'Duplicate charge', 'Lost parcel', 'Invoice copy'])[mod(hash, 6) + 1]
        || ' for ' || (ARRAY['Kestrel Ltd', 'Harrow and Sons', 'Blue Fern', 'Osterby', 'Mill Lane Books', 'Quay Foods', 'Tern Supplies'])[mod(hash / 3, 7) + 1] || ' ' || mod(n, 9973),
    '{}', 'agent', 'AG-' || %(tag)s || '-' || agent, '', CASE WHEN writes THEN 3 ELSE 2 END, CASE WHEN writes THEN 2 ELSE 1 END, CASE WHEN wrote = 'APPLIED' THEN 1 ELSE 0 END,
    800 + mod(hash, 4000), 0, 60, 50, 500000, 3600, 20, 5000000, 1000000, 3, 6, 0, CASE WHEN mod(hash / 17, 500) = 0 THEN at END, CASE WHEN writes THEN 240000 ELSE 0 END,
    CASE WHEN state IN ('RUNNING', 'WAITING') THEN '' ELSE 'Answered the customer.' END, CASE WHEN state = 'HANDED_OFF' THEN %(owner)s ELSE '' END, at,
    CASE WHEN state NOT IN ('RUNNING', 'WAITING') THEN at + took + CASE WHEN writes THEN interval '4 minutes' ELSE interval '0' END END, 'AG-' || %(tag)s || '-' || agent, 'AV-' || %(tag)s || '-' || agent, %(ws)s
FROM numbers;

-- @name calls
INSERT INTO agents_call (organisation_id, id, key, kind, name, is_write, state, tier, number, progress, body_digest, fingerprint, arguments, sealed_arguments, decision, refusal, result,
    result_digest, reserved_micros, settled_micros, created_at, finished_at, run_id, tool_version_id)
SELECT %(org)s, 'C-' || substr(numbers.id, 3) || c, 'k' || c, CASE WHEN c = 0 THEN 'MODEL' ELSE 'TOOL' END,
    CASE c WHEN 0 THEN 'scripted:idle' ELSE lower(%(tag)s) || '_tool_' || lpad((CASE c WHEN 1 THEN read_tool ELSE write_tool END)::text, 3, '0') END, c = 2,
    CASE c WHEN 2 THEN wrote WHEN 1 THEN CASE WHEN mod(hash / 19, 100) < 3 THEN 'REFUSED' ELSE 'APPLIED' END ELSE 'APPLIED' END, CASE c WHEN 2 THEN 'ONE' ELSE 'AUTO' END,
    c, 0, md5(n::text), md5(n::text || c), '{"ticket":"TCK-' || (100000 + n) || '"}', CASE WHEN c = 2 AND wrote = 'HELD' THEN '\x00'::bytea END,
    '{"decision":{"errors":[],"policies":["reads"],"policy_set":"POL-1","reasons":[],"tier":"' || CASE c WHEN 2 THEN 'ONE' ELSE 'AUTO' END
        || '"},"request":{"action":"desk_tool","agent":{"category":"bounded","slug":"agent","stage":"GATED"},"calls":1,"hour":10,"weekday":2,"writes":0}}',
    CASE WHEN c = 1 AND mod(hash / 19, 100) < 3 THEN '{"code":"forbidden","current":"12","limit":"10","message":"A rule refuses this.","next":"Choose another way.","rule":"never-above","who":"whoever activates policies"}' ELSE '' END,
    CASE WHEN c = 2 AND wrote <> 'APPLIED' THEN '' ELSE '{"content":[{"text":"Ticket TCK-' || (100000 + n) || ' is open; the customer wrote twice.","type":"text"}]}' END,
    md5(n::text), CASE c WHEN 0 THEN 20000 ELSE 0 END, CASE c WHEN 0 THEN 2000 + mod(hash, 40000) ELSE 0 END, at + took * c / 3,
    CASE WHEN c = 2 AND wrote = 'HELD' THEN NULL ELSE at + took * (c + 1) / 3 + CASE c WHEN 2 THEN interval '4 minutes' ELSE interval '0' END END, numbers.id,
    CASE c WHEN 0 THEN NULL WHEN 1 THEN 'TV-' || %(tag)s || '-' || read_tool ELSE 'TV-' || %(tag)s || '-' || write_tool END
FROM numbers, generate_series(0, 2) c WHERE c < 2 OR writes;

-- @name steps
INSERT INTO agents_step (organisation_id, at, id, run_id, number, kind, call_id, content, input_tokens, output_tokens)
SELECT %(org)s, at + took * s / 5, 'ST-' || substr(id, 3) || s, id, s, (ARRAY['PROMPT', 'MODEL', 'TOOL', 'MODEL', 'HANDOFF'])[s + 1], CASE WHEN s IN (1, 2) THEN 'C-' || substr(id, 3) || (s - 1) ELSE '' END,
    CASE s WHEN 0 THEN '{"input":"Look at ticket TCK-' || (100000 + n) || '.","system":"You look after tickets.","tools":[]}' WHEN 2 THEN '{"result":{"content":[{"text":"The ticket is open.","type":"text"}]},"status":"applied","tool":"desk_tool"}'
           WHEN 4 THEN '{"summary":"Answered the customer."}' ELSE '{"calls":[],"text":"I read the ticket and answer it."}' END,
    CASE WHEN s IN (1, 3) THEN 400 ELSE 0 END, CASE WHEN s IN (1, 3) THEN 60 ELSE 0 END
FROM numbers, generate_series(0, 4) s;

-- @name requests
INSERT INTO approvals_plan (organisation_id, id, digest, body, entity, viewer, changes, unchanged, facts, before_digest, call_id)
SELECT %(org)s, 'PLN-' || substr(id, 3), md5(id), '{}', 'ticket/TCK-' || (100000 + n), 'arguments', '[]', '[]', '{}', '', 'C-' || substr(id, 3) || 2 FROM numbers WHERE writes;

INSERT INTO approvals_request (organisation_id, id, state, title, required, is_draft, policies, reasons, requesters, policy_set_id, tool_version_id, opened_at, expires_at, decided_at, note, call_id, plan_id, run_id, workspace_id)
SELECT %(org)s, 'APR-' || substr(id, 3), CASE wrote WHEN 'HELD' THEN 'OPEN' ELSE wrote END, 'Refund for ticket TCK-' || (100000 + n), 1 + (mod(hash, 10) = 0)::int, false, ARRAY['one-person'], ARRAY['A refund needs a person.'], ARRAY[]::text[], 'POL-1',
    'TV-' || %(tag)s || '-' || write_tool, at + took, CASE wrote WHEN 'HELD' THEN now() + make_interval(hours => 3, secs => age) ELSE at + interval '1 hour' END, CASE WHEN wrote <> 'HELD' THEN at + took + interval '3 minutes' END,
    CASE wrote WHEN 'DENIED' THEN 'Not this customer.' ELSE '' END, 'C-' || substr(id, 3) || 2, 'PLN-' || substr(id, 3), id, %(ws)s
FROM numbers WHERE writes;

INSERT INTO approvals_vote (organisation_id, id, person, verdict, plan_digest, reason, at, member_id, request_id)
SELECT %(org)s, 'V-' || substr(id, 3), 'approver', CASE wrote WHEN 'DENIED' THEN 'DENY' ELSE 'APPROVE' END, md5(id), '', at + took + interval '3 minutes', %(approver)s, 'APR-' || substr(id, 3)
FROM numbers WHERE writes AND wrote IN ('APPLIED', 'DENIED', 'FAILED');

INSERT INTO agents_effect (organisation_id, id, key, connector_class, state, plan_digest, outbound_digest, required, lease_until, fence, intended_at, finished_at, call_id)
SELECT %(org)s, 'EF-' || substr(id, 3), 'key-' || id, 'E1', wrote, md5(id), md5(id), 1, at + took, 1, at + took + interval '3 minutes', at + took + interval '4 minutes', 'C-' || substr(id, 3) || 2
FROM numbers WHERE wrote IN ('APPLIED', 'FAILED');

-- @name entries
INSERT INTO audit_entry (organisation_id, at, id, event, workspace_id, actor_kind, actor_id, subject, run_id, body, leaf)
SELECT %(org)s, at + took * e / 6, 'EV-' || substr(id, 3) || e, event, %(ws)s, CASE WHEN e IN (2, 3) THEN 'person' ELSE 'agent' END, CASE WHEN e IN (2, 3) THEN %(approver)s ELSE 'AG-' || %(tag)s || '-' || agent END,
    CASE WHEN e IN (0, 5) THEN id ELSE 'APR-' || substr(id, 3) END, id, '{"detail":{"state":"' || state || '"},"event":"' || event || '","id":"EV-' || substr(id, 3) || e || '","v":1}', decode(md5(id) || md5(event), 'hex')
FROM numbers, (VALUES (0, 'run.started'), (1, 'request.opened'), (2, 'request.voted'), (3, 'request.approved'), (5, 'run.finished')) events(e, event)
WHERE e IN (0, 5) OR (writes AND (e = 1 OR wrote = 'APPLIED'));

-- @name money
INSERT INTO budgets_window (organisation_id, id, level, target, starts_at, reserved, spent, overrun)
SELECT %(org)s, 'WIN-' || substr(id, 3), 'run', id, budget_window_start('total'), 0, 2000 + mod(hash, 40000), 0 FROM numbers;

INSERT INTO budgets_window (organisation_id, id, level, target, starts_at, reserved, spent, overrun)
SELECT %(org)s, 'WIN-' || %(tag)s || '-' || level || target || month, level, target, (date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC') - make_interval(months => month), 0, 1000000, 0
FROM (SELECT 'agent' AS level, 'AG-' || %(tag)s || '-' || a AS target FROM generate_series(0, %(agents)s - 1) a UNION ALL SELECT 'workspace', %(ws)s) levels, generate_series(0, 5) month;

-- the ledger of the last thirty days: a hold and a settlement for the run, its agent and its workspace
INSERT INTO budgets_ledgerentry (organisation_id, id, call_id, window_id, kind, debit, credit, amount, at)
SELECT %(org)s, 'LED-' || substr(id, 3) || level || kind, 'C-' || substr(id, 3) || 0,
    CASE level WHEN 0 THEN 'WIN-' || substr(id, 3) WHEN 1 THEN 'WIN-' || %(tag)s || '-agentAG-' || %(tag)s || '-' || agent || 0 ELSE 'WIN-' || %(tag)s || '-workspace' || %(ws)s || 0 END,
    kind, debit, credit, 2000 + mod(hash, 40000), at
FROM numbers, generate_series(0, 2) level, (VALUES ('hold', 'available', 'reserved'), ('settle', 'reserved', 'spent')) moves(kind, debit, credit)
WHERE at > now() - interval '30 days';

-- @name long
-- One run with %(long)s calls and as many steps, beside the others: the page that shows it must stay quick.
INSERT INTO agents_call (organisation_id, id, key, kind, name, is_write, state, tier, number, progress, body_digest, fingerprint, arguments, decision, refusal, result, result_digest,
    reserved_micros, settled_micros, created_at, finished_at, run_id, tool_version_id)
SELECT organisation_id, 'C-LONG' || c, 'long' || c, 'TOOL', name, false, 'APPLIED', 'AUTO', c, 0, 'x', 'x' || c, arguments, decision, '', result, 'x', 0, 0, created_at + make_interval(secs => c),
    created_at + make_interval(secs => c + 0.6), run_id, tool_version_id
FROM agents_call, generate_series(3, %(long)s - 1) c WHERE organisation_id = %(org)s AND id = 'C-' || substr(%(run)s, 3) || 1;

INSERT INTO agents_step (organisation_id, at, id, run_id, number, kind, call_id, content, input_tokens, output_tokens)
SELECT organisation_id, at + make_interval(secs => s), 'ST-LONG' || s, run_id, s, 'TOOL', 'C-LONG' || s, content, 0, 0
FROM agents_step, generate_series(5, %(long)s - 1) s WHERE organisation_id = %(org)s AND run_id = %(run)s AND number = 2;

UPDATE agents_run SET steps = %(long)s, tool_calls = %(long)s, max_steps = 2000, max_tool_calls = 2000, state = 'SUCCEEDED', finished_at = started_at + make_interval(secs => %(long)s)
WHERE organisation_id = %(org)s AND id = %(run)s;

-- @name own
-- Some agents are a builder's, who reads their own part of the log.
UPDATE agents_agent SET owner_id = (SELECT id FROM agents_member WHERE organisation_id = %(org)s AND name = 'bob')
WHERE organisation_id = %(org)s AND workspace_id = %(ws)s AND slug LIKE '%%-00_';

-- @name people
INSERT INTO auth_user (password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
SELECT '!', false, 'colleague' || p || %(tag)s, '', '', '', false, true, now() FROM generate_series(1, %(people)s) p;

INSERT INTO agents_member (organisation_id, id, person, name, is_active, user_id)
SELECT %(org)s, 'MEM-' || username, 'user-' || id, initcap(username), true, id FROM auth_user WHERE username LIKE 'colleague%%' || %(tag)s;

INSERT INTO agents_seat (organisation_id, id, role, member_id, workspace_id)
SELECT %(org)s, 'SEA-' || username, 'viewer', 'MEM-' || username, %(ws)s FROM auth_user WHERE username LIKE 'colleague%%' || %(tag)s;
