-- Effects that lack a decision, an intent before them, or the approvals they needed: the answer must be no row.
-- Run with app.organisation set: row-level security is forced for every role.
WITH agreed AS (
    SELECT p.call_id, p.digest, count(DISTINCT v.person) FILTER (WHERE v.verdict = 'APPROVE' AND NOT v.person = ANY (r.requesters)) AS people,
           count(*) FILTER (WHERE v.verdict = 'DENY') AS denials, max(v.at) AS last_vote_at
    FROM approvals_plan p
    JOIN approvals_request r ON r.plan_id = p.id
    JOIN approvals_vote v ON v.request_id = r.id AND v.plan_digest = p.digest
    GROUP BY p.call_id, p.digest
)
SELECT e.id, 'no decision' AS fault
FROM agents_effect e JOIN agents_call c ON c.id = e.call_id
WHERE c.decision IN ('', '{}') OR c.state IN ('REFUSED', 'HELD', 'DRAFTED', 'DENIED', 'EXPIRED', 'VOID')
UNION ALL
SELECT e.id, 'no plan with this digest'
FROM agents_effect e
WHERE NOT EXISTS (SELECT FROM approvals_plan p WHERE p.call_id = e.call_id AND p.digest = e.plan_digest)
UNION ALL
SELECT e.id, 'fewer people agreed than the rules asked for'
FROM agents_effect e LEFT JOIN agreed a ON a.call_id = e.call_id AND a.digest = e.plan_digest
WHERE e.required > 0 AND (coalesce(a.people, 0) < e.required OR a.denials > 0 OR a.last_vote_at > e.intended_at)
UNION ALL
SELECT c.id, 'a write ended without an intent'
FROM agents_call c
WHERE c.is_write AND c.state IN ('SENDING', 'APPLIED', 'IN_DOUBT') AND NOT EXISTS (SELECT FROM agents_effect e WHERE e.call_id = c.id)
