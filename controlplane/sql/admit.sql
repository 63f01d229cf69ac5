-- gate_admit: the gate's first transaction (T1). Records the call under its key, then checks in order whatever the database must decide
-- atomically: that what was decided upon still stands, the run, caps, loops, money. A refusal that Python
-- found earlier (unknown tool, schema, scope, policy) arrives in p->'refusal' and is recorded the same way.
-- Answer: {"verdict": "ADMITTED"|"REFUSED"|"REPLAY"|"DRAFT", "call": id, "refusal": {...}}; RG001 when something changed meanwhile.
-- Lock order everywhere: stop lock (shared), run, call, request, windows leaf to root, work.
CREATE OR REPLACE FUNCTION gate_admit(p jsonb, p_sealed bytea) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_org text := set_config('app.organisation', p->>'organisation', true);
    v_origin text := set_config('app.origin', coalesce(p->>'origin', ''), true);
    v_lock text := pg_advisory_xact_lock_shared(hashtextextended('stop:' || v_org, 0));
    v_run agents_run; v_call text := p->>'call'; v_refusal jsonb := nullif(p->'refusal', 'null'::jsonb);
    v_write boolean := p->>'is_write'; v_model boolean := p->>'kind' = 'MODEL'; v_draft boolean := p->>'draft';
    v_amount bigint := p->>'amount'; v_tokens bigint := p->>'tokens'; v_budget jsonb;
    v_stands boolean; v_retry boolean; v_fruitless int; v_seen int;  -- v_seen: the run's progress at the last repeat
    v_counted int := (v_refusal IS NULL)::int;  -- counted in advance as admitted, which most calls are; what was not is taken back below
    v_decision text; v_seconds bigint; v_end boolean := false; v_summary text; v_over jsonb; v_asked boolean; v_entry text;
BEGIN
    UPDATE agents_run SET steps = steps + 1, tool_calls = tool_calls + v_counted * (NOT v_model)::int, writes = writes + v_counted * v_write::int
    WHERE organisation_id = v_org AND id = p->>'run' RETURNING * INTO v_run;

    -- One look, under the locks above: whether all that was read for this decision still stands (stops, rules, stage, tool, capability: any change
    -- of one turns the epoch, agents/sql/epoch.sql), whether the key is good, and the loop guard's memory. What does not stand is decided again.
    SELECT e.number = (p->>'epoch')::bigint AND moment() < (p->>'until')::timestamptz
               AND (p->>'by_key' = '' OR (k.revoked_at IS NULL AND coalesce(k.expires_at > clock_timestamp(), k.id IS NOT NULL))),
           coalesce(r.is_error, false), r.fruitless, r.progress
    INTO v_stands, v_retry, v_fruitless, v_seen
    FROM agents_epoch e LEFT JOIN agents_key k ON k.organisation_id = v_org AND k.id = p->>'by_key'
                        LEFT JOIN agents_repeat r ON r.organisation_id = v_org AND r.id = v_run.id || '/' || (p->>'fingerprint')
    WHERE e.organisation_id = v_org AND e.id = v_org;
    IF v_refusal IS NULL AND v_stands IS NOT TRUE THEN RAISE EXCEPTION 'stale' USING ERRCODE = 'RG001'; END IF;

    -- Where the rules did not look at what the run did so far, nobody asked how much that was (recall.UNKNOWN): it is this.
    v_decision := replace(replace(p->>'decision', '"calls":-1,', '"calls":' || v_run.tool_calls - v_counted * (NOT v_model)::int || ','),
                          '"writes":-1}', '"writes":' || v_run.writes - v_counted * v_write::int || '}');
    INSERT INTO agents_call (organisation_id, id, run_id, key, by_key, kind, name, tool_version_id, is_write, state, tier, number, progress, body_digest, fingerprint,
        arguments, sealed_arguments, decision, refusal, result, result_digest, reserved_micros, settled_micros, created_at)
    VALUES (v_org, v_call, v_run.id, p->>'key', p->>'by_key', p->>'kind', p->>'name', p->>'tool_version', v_write, 'ADMITTED', p->>'tier', v_run.steps, v_run.progress,
        p->>'body_digest', p->>'fingerprint', p->>'arguments', p_sealed, v_decision, '', '', '', v_amount, 0, moment())
    ON CONFLICT (organisation_id, run_id, key) DO NOTHING;
    IF NOT FOUND THEN
        UPDATE agents_run SET steps = steps - 1, tool_calls = tool_calls - v_counted * (NOT v_model)::int, writes = writes - v_counted * v_write::int
        WHERE organisation_id = v_org AND id = v_run.id;
        RETURN (SELECT jsonb_build_object('verdict', 'REPLAY', 'call', c.id, 'body_digest', c.body_digest) FROM agents_call c
                WHERE c.organisation_id = v_org AND c.run_id = v_run.id AND c.key = p->>'key');
    END IF;

    IF v_run.state NOT IN ('QUEUED', 'RUNNING', 'WAITING') THEN  -- whatever else is wrong with it
        v_refusal := jsonb_build_object('code', 'run_over', 'message', 'This run is over: ' || v_run.state || '. ' || v_run.summary, 'rule', 'run state',
            'current', v_run.state, 'limit', 'RUNNING', 'who', p->>'owner_name', 'next', 'Stop here. Work goes on in a new run.');
    END IF;
    -- A call that is refused already costs a step and is a repeat like any other: an agent that hammers at a closed door is handed off too.
    v_asked := v_refusal IS NULL;
    IF v_asked OR (v_run.state IN ('QUEUED', 'RUNNING', 'WAITING') AND v_refusal->>'code' <> 'stopped') THEN
        v_seconds := floor(extract(epoch FROM moment() - v_run.started_at))::bigint - v_run.waited_ms / 1000;
        IF v_run.steps > v_run.max_steps OR v_run.tool_calls > v_run.max_tool_calls OR v_run.tokens + v_tokens > v_run.max_tokens OR v_seconds > v_run.max_seconds
                OR v_run.retries + v_retry::int > v_run.max_retries OR v_amount > v_run.max_step_micros THEN
            SELECT jsonb_build_object('code', 'limit_reached', 'message', 'The run reached its cap of ' || l.name || '.', 'rule', 'cap ' || l.name, 'current', l.current,
                       'limit', l.cap, 'who', p->>'owner_name', 'next', 'The run was handed to its owner. Stop here.', 'amount', l.amount) INTO v_over
            FROM (VALUES ('steps', v_run.steps - 1::bigint, v_run.max_steps::bigint, 1::bigint),
                         ('tool_calls', v_run.tool_calls - v_counted * (NOT v_model)::int, v_run.max_tool_calls, CASE WHEN v_asked AND NOT v_model THEN 1 ELSE 0 END),
                         ('tokens', v_run.tokens, v_run.max_tokens, CASE WHEN v_asked THEN v_tokens ELSE 0 END),
                         ('seconds', v_seconds, v_run.max_seconds, 0),
                         ('retries', v_run.retries, v_run.max_retries, v_retry::int),
                         ('step_micros', 0, v_run.max_step_micros, CASE WHEN v_asked THEN v_amount ELSE 0 END)) l (name, current, cap, amount)
            WHERE l.current + l.amount > l.cap LIMIT 1;
        END IF;
        IF v_over IS NULL AND v_fruitless >= v_run.repeats_stop - 1 AND v_seen = v_run.progress THEN
            v_over := jsonb_build_object('code', 'no_progress', 'message', 'The same call was repeated ' || v_fruitless || ' times, each with the answer of the time before and nothing changed in between.',
                'rule', 'loop guard', 'current', v_fruitless, 'limit', v_run.repeats_stop - 1, 'who', p->>'owner_name',
                'next', 'The run was handed to its owner. Stop here.', 'cycle', gate_cycle(v_org, v_run.id, p->>'name'));
        END IF;
        v_end := v_over IS NOT NULL;
        v_refusal := coalesce(v_over, v_refusal);
    END IF;
    IF v_refusal IS NULL AND NOT v_draft AND v_amount > 0 THEN
        v_budget := budget_reserve(v_org, v_call, v_run.id, v_run.agent_id, v_run.workspace_id, v_run.max_micros, v_amount, (p->>'price_version')::int);
        IF v_budget IS NOT NULL AND v_write AND (p->>'draft_only')::boolean THEN
            v_draft := true;  -- at its cap this agent goes on in draft mode: the write is kept as a proposal
        ELSIF v_budget IS NOT NULL THEN
            v_refusal := v_budget || jsonb_build_object('code', 'budget_exceeded', 'rule', 'cap ' || (v_budget->>'level') || ' ' || (v_budget->>'target'),
                'message', 'This call could cost $' || to_char(v_amount / 1e6, 'FM9999999999990.009999') || '; the cap of this ' || (v_budget->>'level')
                    || ' is $' || to_char((v_budget->>'cap')::bigint / 1e6, 'FM9999999999990.009999') || ' and leaves $'
                    || to_char(greatest((v_budget->>'cap')::bigint - (v_budget->>'spent')::bigint - (v_budget->>'reserved')::bigint, 0) / 1e6, 'FM9999999999990.009999') || '.',
                'current', (v_budget->>'spent')::bigint + (v_budget->>'reserved')::bigint, 'limit', (v_budget->>'cap')::bigint,
                'who', 'whoever holds budgets_set', 'next', 'The run was handed to its owner. Ask finance to raise the cap'
                    || CASE WHEN v_budget->>'period' = 'total' THEN '.' ELSE ', or wait for the next ' || (v_budget->>'period') || '.' END);
            v_end := true;
        END IF;
    END IF;

    v_counted := CASE WHEN v_refusal IS NOT NULL THEN v_counted ELSE 0 END;
    IF v_retry OR v_counted > 0 THEN
        UPDATE agents_run SET retries = retries + v_retry::int, tool_calls = tool_calls - v_counted * (NOT v_model)::int, writes = writes - v_counted * v_write::int
        WHERE organisation_id = v_org AND id = v_run.id RETURNING * INTO v_run;
    END IF;
    IF v_refusal IS NOT NULL THEN
        UPDATE agents_call SET state = 'REFUSED', refusal = v_refusal::text, sealed_arguments = NULL, reserved_micros = 0, finished_at = moment(),
            result_digest = 'refused:' || (v_refusal->>'code')
        WHERE organisation_id = v_org AND id = v_call;
        PERFORM gate_repeat(v_org, v_run, p->>'fingerprint', 'refused:' || (v_refusal->>'code'), v_run.progress, v_run.progress, true, p->>'actor_id');
        PERFORM audit_append(v_org, v_run.workspace_id, 'call.refused', 'agent', p->>'actor_id', v_call, v_run.id,
            canonical((p->>'audit_text')::jsonb || jsonb_build_object('refusal', jsonb_build_object('code', v_refusal->>'code', 'rule', v_refusal->>'rule'))));
        IF v_end THEN
            v_summary := (v_refusal->>'message') || ' ' || v_run.tool_calls || ' tool calls, ' || v_run.writes || ' writes so far. Last call: ' || (p->>'name') || '.';
            PERFORM gate_end_run(v_org, v_run.id, 'HANDED_OFF', v_summary, p->>'owner', 'run.handed_off', 'system', 'gate',
                jsonb_build_object('reason', v_refusal->>'code', 'rule', v_refusal->>'rule', 'owner', p->>'owner', 'call', v_call));
        END IF;
        RETURN jsonb_build_object('verdict', 'REFUSED', 'call', v_call, 'refusal', v_refusal);
    END IF;
    IF v_draft THEN  -- it holds no money while it waits; gate_intend reserves it
        UPDATE agents_call SET reserved_micros = 0 WHERE organisation_id = v_org AND id = v_call;
    END IF;
    IF v_write OR v_amount > 0 THEN  -- if this process dies before the next transaction, a worker gives the call and its money back
        INSERT INTO agents_work (organisation_id, id, kind, subject, due_at, fence, attempts, rings)
        VALUES (v_org, 'WRK-' || sayable(14), 'call.recover', v_call, clock_timestamp() + make_interval(secs => (p->>'recover_s')::double precision), 0, 0, 1);
    ELSIF current_setting('remit.async', true) IS DISTINCT FROM 'off' THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    v_entry := audit_append(v_org, v_run.workspace_id, 'call.admitted', 'agent', p->>'actor_id', v_call, v_run.id, p->>'audit_text');
    RETURN jsonb_build_object('verdict', CASE WHEN v_draft THEN 'DRAFT' ELSE 'ADMITTED' END, 'call', v_call);
END $$;
