"""What agents did with their tools, counted over their newest runs: a page costs the same however long the history is.

`whole` says whether the runs looked at are all there were since then; if not, the numbers are those of the newest ones.
"""

import datetime
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import Min

from agents import run_lists
from agents.models import Agent, Pin

MOST_RUNS = 500  # of one agent
MOST_IN_ALL = 5_000  # of all agents of a workspace together: many agents share it
UNUSED = datetime.timedelta(days=60)  # a tool or a grant is unused when it is older than this and was not used for so long
MOST_BEATS = 50  # of one agent, where a list says in a word how it does
ENOUGH = 30  # runs that are over: under this a rate is not judged
# The newest runs of each agent, or of one, found by the index of their list. It stands before the three that follow.
_NEWEST = """
    WITH newest AS MATERIALIZED (
        SELECT a.id AS agent, a.slug, r.id AS run, r.started_at FROM agents_agent a
        CROSS JOIN LATERAL (SELECT id, started_at FROM agents_run r WHERE r.organisation_id = a.organisation_id AND r.agent_id = a.id
                            AND r.started_at >= %(since)s ORDER BY r.started_at DESC LIMIT %(most)s) r
        WHERE a.organisation_id = %(organisation)s AND a.workspace_id = %(workspace)s AND (%(agent)s = '' OR a.id = %(agent)s))"""
_PAIRS = """
    SELECT n.agent, c.name, count(*), count(*) FILTER (WHERE c.state = 'REFUSED'), max(c.created_at), NULL::bigint
    FROM newest n JOIN agents_call c ON c.organisation_id = %(organisation)s AND c.run_id = n.run AND c.kind = 'TOOL' GROUP BY 1, 2
    UNION ALL SELECT agent, NULL, NULL, NULL, NULL, count(*) FROM newest GROUP BY 1
"""
_DETAIL = """,
    cut AS (SELECT bool_or(runs >= %(most)s) AS reached FROM (SELECT count(*) AS runs FROM newest GROUP BY agent) each)
    SELECT c.name, n.started_at >= %(recent)s, n.slug, c.state,
           coalesce(CASE WHEN c.refusal <> '' THEN c.refusal::jsonb ->> 'code' END, ''), grouping(n.slug) = 1,
           count(*), max(c.created_at), (SELECT reached FROM cut),
           percentile_disc(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM c.finished_at - c.created_at))
               FILTER (WHERE c.state = 'APPLIED' AND c.finished_at IS NOT NULL AND c.tier NOT IN ('ONE', 'TWO'))
    FROM newest n JOIN agents_call c ON c.organisation_id = %(organisation)s AND c.run_id = n.run AND c.kind = 'TOOL'
    WHERE %(name)s = '' OR c.name = %(name)s GROUP BY GROUPING SETS ((1, 2, 3, 4, 5), (1, 2))
"""
_OUTCOMES = """
    SELECT grouping(state, code, slug), coalesce(state, code, slug), count(*), count(DISTINCT run)
    FROM (SELECT n.run, n.slug, c.state, coalesce(CASE WHEN c.refusal <> '' THEN c.refusal::jsonb ->> 'code' END, '') AS code
          FROM newest n JOIN agents_call c
          ON c.organisation_id = %(organisation)s AND c.run_id = n.run AND c.kind = 'TOOL' AND c.name = %(name)s) each
    GROUP BY GROUPING SETS ((), (state), (code), (slug))
"""
_GROUPED = {7: "", 3: "state", 5: "code", 6: "agent"}  # what `grouping()` says of each row of it
_FAULTS = """
    SELECT fault ->> 'pointer', count(*)
    FROM newest n JOIN agents_call c ON c.organisation_id = %(organisation)s AND c.run_id = n.run AND c.kind = 'TOOL' AND c.name = %(name)s,
         LATERAL jsonb_array_elements(CASE WHEN c.refusal <> '' AND jsonb_typeof(c.refusal::jsonb -> 'faults') = 'array'
                                           THEN c.refusal::jsonb -> 'faults' ELSE '[]'::jsonb END) fault
    GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 20
"""
_PAST = """
    WITH newest AS MATERIALIZED (
        SELECT id, agent_id FROM agents_run
        WHERE organisation_id = %(organisation)s AND workspace_id = %(workspace)s AND started_at >= %(since)s
        ORDER BY started_at DESC LIMIT %(most)s)
    SELECT c.id, c.run_id, a.slug, c.name, c.tool_version_id, c.state, c.tier, c.created_at, c.arguments, c.decision
    FROM newest n JOIN agents_call c ON c.organisation_id = %(organisation)s AND c.run_id = n.id
                  JOIN agents_agent a ON a.organisation_id = %(organisation)s AND a.id = n.agent_id
    WHERE c.kind = 'TOOL' AND c.decision <> '{}' AND c.tool_version_id IS NOT NULL
    ORDER BY c.created_at DESC LIMIT %(most)s
"""
_HEALTH = """
    WITH newest AS (
        SELECT state, extract(epoch FROM finished_at - started_at) - waited_ms / 1000.0 AS seconds, loop_flagged_at IS NOT NULL AS looped
        FROM agents_run WHERE organisation_id = %(organisation)s AND agent_id = %(agent)s AND started_at >= %(since)s
        ORDER BY started_at DESC LIMIT %(most)s)
    SELECT count(*), count(*) FILTER (WHERE state NOT IN ('QUEUED', 'RUNNING', 'WAITING')), count(*) FILTER (WHERE state = 'SUCCEEDED'),
           count(*) FILTER (WHERE state = 'HANDED_OFF'), count(*) FILTER (WHERE state = 'FAILED'), count(*) FILTER (WHERE looped),
           percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE state = 'SUCCEEDED')
    FROM newest
"""


_PULSE = """
    WITH newest AS MATERIALIZED (
        SELECT a.id AS agent, r.id AS run, r.seconds FROM agents_agent a CROSS JOIN LATERAL (
            SELECT id, CASE WHEN state = 'SUCCEEDED' THEN extract(epoch FROM finished_at - started_at) - waited_ms / 1000.0 END AS seconds
            FROM agents_run r WHERE r.organisation_id = a.organisation_id AND r.agent_id = a.id AND r.started_at >= %(since)s
            ORDER BY r.started_at DESC LIMIT %(most)s) r
        WHERE a.organisation_id = %(organisation)s AND a.workspace_id = %(workspace)s AND a.id = ANY(%(agents)s)),
    did AS (
        SELECT n.agent, count(DISTINCT n.run) FILTER (WHERE CASE WHEN c.refusal <> '' THEN c.refusal::jsonb ->> 'code' END = ANY(%(caps)s))
                   AS capped,
               count(*) FILTER (WHERE c.is_write AND c.state = 'APPLIED') AS writes,
               count(*) FILTER (WHERE c.is_write AND c.state = 'APPLIED' AND c.tier NOT IN ('ONE', 'TWO')) AS alone,
               count(*) FILTER (WHERE c.state = 'REFUSED') AS refused
        FROM newest n JOIN agents_call c ON c.organisation_id = %(organisation)s AND c.run_id = n.run
        WHERE c.is_write OR c.refusal <> '' GROUP BY 1)
    SELECT n.agent, count(*), percentile_disc(0.95) WITHIN GROUP (ORDER BY n.seconds),
           max(d.capped), max(d.writes), max(d.alone), max(d.refused)
    FROM newest n LEFT JOIN did d USING (agent) GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class Pulse:
    """One agent's newest runs in a row of a list: `capped` of them hit a cap, calls in them were `refused`, and of the writes that took
    effect `alone` did so without a person's agreement to each.
    """

    runs: int
    p95_s: float | None
    capped: int
    writes: int
    alone: int
    refused: int


@dataclass(frozen=True, slots=True)
class Health:
    """How an agent's newest runs went. `low` and `high` are the 95 % interval of the share of those that are over that succeeded."""

    runs: int
    over: int
    succeeded: int
    handed_off: int
    failed: int
    looped: int
    seconds: tuple[float, ...]  # half, 95 % and 99 % of the runs that succeeded took no longer, waiting for people left out

    @property
    def is_judged(self) -> bool:
        return self.over >= ENOUGH

    @property
    def interval(self) -> tuple[int, int]:
        """Wilson's interval in percent, rounded outwards."""
        if not self.over:
            return 0, 100
        share, n, z = self.succeeded / self.over, self.over, 1.96
        middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return math.floor(100 * (middle - half) / (1 + z * z / n)), math.ceil(100 * (middle + half) / (1 + z * z / n))


@dataclass(frozen=True, slots=True)
class Past:
    """A call on which rules decided: what they were asked and said, and its redacted arguments."""

    id: str
    run: str
    agent: str
    name: str
    tool_version: str
    state: str
    tier: str
    at: datetime.datetime
    arguments: str
    decision: str


@dataclass(frozen=True, slots=True)
class Pair:
    """One agent's use of one tool since then."""

    calls: int
    refused: int
    last: datetime.datetime


@dataclass(slots=True)
class Detail:
    """One tool's use: by state, by code of refusal, by agent; and how long calls took (ms). `last` may be from before what is counted."""

    calls: int = 0
    whole: bool = True
    last: datetime.datetime | None = None
    p95_ms: int | None = None
    states: dict[str, int] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    agents: dict[str, int] = field(default_factory=dict)

    @property
    def undone(self) -> int:
        """Refused, denied, expired, voided or failed."""
        return self.calls - sum(self.states.get(state, 0) for state in ("APPLIED", "HELD", "DRAFTED", "ADMITTED", "APPROVED", "SENDING"))

    @property
    def failed(self) -> int:
        return self.states.get("FAILED", 0) + self.states.get("IN_DOUBT", 0)


@dataclass(frozen=True, slots=True)
class Count:
    """So many calls, in so many runs: the runs are the rows that a list shows."""

    calls: int
    runs: int


def by_pair(organisation: str, workspace: str, *, since: datetime.datetime) -> tuple[dict[tuple[str, str], Pair], frozenset[str]]:
    """((agent, tool) -> use, the agents of whom only the newest runs were counted). Call inside `tenancy.within`."""
    found: dict[tuple[str, str], Pair] = {}
    cut: set[str] = set()
    most = _most_of_each(workspace)
    for agent, name, calls, refused, last, runs in _rows(_NEWEST + _PAIRS, organisation, workspace, since, most=most):
        if name is not None:
            found[agent, name] = Pair(calls, refused, last)
        elif runs >= most:
            cut.add(agent)
    return found, frozenset(cut)


def of_tools(
    organisation: str,
    workspace: str,
    *,
    since: datetime.datetime,
    name: str = "",
    agent: str = "",
    last_since: datetime.datetime | None = None,
) -> dict[str, Detail]:
    """tool -> its use; of one tool or one agent, or of all. A use before `since` only says when it was, back to `last_since`.

    Call inside `tenancy.within`.
    """
    found: dict[str, Detail] = {}
    most = MOST_RUNS if agent else _most_of_each(workspace)
    asked = {"name": name, "agent": agent, "most": most, "recent": since}
    rows = _rows(_NEWEST + _DETAIL, organisation, workspace, last_since or since, **asked)
    for tool, is_recent, slug, state, code, is_sum, calls, last, cut, seconds in rows:
        one = found.setdefault(tool, Detail(whole=not cut))
        one.last = last if one.last is None or last > one.last else one.last
        if not is_recent:
            continue
        if is_sum:
            one.calls, one.p95_ms = calls, None if seconds is None else round(seconds * 1000)
            continue
        one.states[state] = one.states.get(state, 0) + calls
        one.agents[slug] = one.agents.get(slug, 0) + calls
        if code:
            one.codes[code] = one.codes.get(code, 0) + calls
    return found


def outcomes(organisation: str, workspace: str, *, since: datetime.datetime, name: str) -> dict[str, dict[str, Count]]:
    """One tool's calls: all of them (under ""), by `state`, by `code` of refusal and by `agent`. Call inside `tenancy.within`."""
    found: dict[str, dict[str, Count]] = {by: {} for by in _GROUPED.values()}
    asked = {"name": name, "most": _most_of_each(workspace)}
    for grouping, value, calls, runs in _rows(_NEWEST + _OUTCOMES, organisation, workspace, since, **asked):
        found[_GROUPED[grouping]][value or ""] = Count(calls, runs)
    return found


def faults(organisation: str, workspace: str, *, since: datetime.datetime, name: str) -> dict[str, int]:
    """argument (as a pointer) -> how often a call of the tool was refused for it. Call inside `tenancy.within`."""
    most = _most_of_each(workspace)
    return {pointer or "": calls for pointer, calls in _rows(_NEWEST + _FAULTS, organisation, workspace, since, name=name, most=most)}


def health(organisation: str, agent: str, *, since: datetime.datetime) -> Health:
    """How the agent's newest runs went. Call inside `tenancy.within`."""
    runs, over, succeeded, handed_off, failed, looped, seconds = next(iter(_rows(_HEALTH, organisation, "", since, agent=agent)))
    return Health(runs, over, succeeded, handed_off, failed, looped, tuple(float(each) for each in seconds or ()))


def pulses(
    organisation: str, workspace: str, *, since: datetime.datetime, agents: Sequence[str], most: int = MOST_BEATS
) -> dict[str, Pulse]:
    """agent -> how its newest runs since then went, at most so many of each, of these agents. Call inside `tenancy.within`."""
    asked = {"most": min(most, _most_of_each(workspace)), "caps": list(run_lists.CAP_CODES), "agents": list(agents)}
    return {
        agent: Pulse(runs, None if seconds is None else float(seconds), capped or 0, writes or 0, alone or 0, refused or 0)
        for agent, runs, seconds, capped, writes, alone, refused in _rows(_PULSE, organisation, workspace, since, **asked)
    }


def past(organisation: str, workspace: str, *, since: datetime.datetime, most: int) -> list[Past]:
    """The newest calls on which rules decided, of at most so many runs. Call inside `tenancy.within`."""
    return [Past(*row) for row in _rows(_PAST, organisation, workspace, since, most=most)]


def pinned_since(workspace: str) -> dict[tuple[str, str], datetime.datetime]:
    """(agent, tool) -> when a version of the agent first named the tool. Call inside `tenancy.within`."""
    rows = Pin.objects.filter(agent_version__agent__workspace_id=workspace).order_by()
    first = rows.values("agent_version__agent_id", "name").annotate(first=Min("agent_version__created_at"))
    return {(row["agent_version__agent_id"], row["name"]): row["first"] for row in first}


def _most_of_each(workspace: str) -> int:
    agents = Agent.objects.filter(workspace_id=workspace).count()
    return max(20, min(MOST_RUNS, MOST_IN_ALL // max(agents, 1)))


def _rows(asked: str, organisation: str, workspace: str, since: datetime.datetime, **more: Any) -> Iterable[Any]:
    given = {"organisation": organisation, "workspace": workspace, "since": since, "most": MOST_RUNS, "agent": "", "name": "", **more}
    with connection.cursor() as cursor:
        cursor.execute(asked, given)
        return list(cursor.fetchall())
