"""How runs went over a stretch of time, in numbers: what an overview draws. An index answers each question, or it is bounded."""

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

NEWEST = 1_000  # runs that are opened one by one: how long they took, and what each agent did lately
_STATES = """
    SELECT width_bucket(started_at, %(edges)s) - 1, state, count(*)
    FROM agents_run WHERE workspace_id = %(workspace)s AND started_at >= %(since)s AND started_at < %(until)s GROUP BY 1, 2
"""
_TOOK = """
    SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - started_at) - waited_ms / 1000.0)::float8, count(*)
    FROM (SELECT started_at, finished_at, waited_ms FROM agents_run
          WHERE workspace_id = %(workspace)s AND started_at >= %(since)s AND started_at < %(until)s AND finished_at IS NOT NULL
          ORDER BY started_at DESC LIMIT %(most)s) newest
"""
_AGENTS = """
    SELECT agent, json_agg(json_build_array(part, state, number)) FROM (
        SELECT a.id AS agent, a.slug, width_bucket(r.started_at, %(edges)s) - 1 AS part, r.state, count(*) AS number
        FROM agents_agent a CROSS JOIN LATERAL (
            SELECT started_at, state FROM agents_run WHERE organisation_id = a.organisation_id AND agent_id = a.id
            AND started_at >= %(since)s ORDER BY started_at DESC LIMIT %(most)s) r
        WHERE a.workspace_id = %(workspace)s GROUP BY 1, 2, 3, 4) counted
    GROUP BY 1, slug ORDER BY sum(number) DESC, slug LIMIT %(busiest)s
"""
_LAST = """
    SELECT a.id, (SELECT max(started_at) FROM agents_run r WHERE r.organisation_id = a.organisation_id AND r.agent_id = a.id)
    FROM agents_agent a WHERE a.workspace_id = %(workspace)s
"""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the time asked about, and its runs by state."""

    start: datetime.datetime
    end: datetime.datetime
    states: Mapping[str, int]

    @property
    def runs(self) -> int:
        return sum(self.states.values())


@dataclass(slots=True)
class Line:
    """One agent's newest runs: by state, and how many in each part of the time."""

    states: Counter[str] = field(default_factory=Counter)
    parts: list[int] = field(default_factory=list)

    @property
    def runs(self) -> int:
        return sum(self.states.values())

    @property
    def is_cut(self) -> bool:
        return self.runs >= NEWEST


def over(workspace: str, *, since: datetime.datetime, until: datetime.datetime, parts: int) -> list[Stretch]:
    """The runs of a workspace that started then, by state, in equal parts. Call inside `tenancy.within`."""
    width = (until - since) / parts
    counts: list[Counter[str]] = [Counter() for _ in range(parts)]
    asked = {"workspace": workspace, "since": since, "until": until, "edges": _edges(since, width, parts)}
    for part, state, number in _rows(_STATES, asked):
        counts[part][state] += number
    return [Stretch(since + width * place, since + width * (place + 1), states) for place, states in enumerate(counts)]


def took(workspace: str, *, since: datetime.datetime, until: datetime.datetime) -> tuple[float | None, int]:
    """(seconds of work that 19 of 20 runs stayed under, how many runs that is told from). Call inside `tenancy.within`."""
    ((seconds, number),) = _rows(_TOOK, {"workspace": workspace, "since": since, "until": until, "most": NEWEST})
    return seconds, number


def by_agent(workspace: str, *, since: datetime.datetime, until: datetime.datetime, parts: int, busiest: int) -> dict[str, Line]:
    """The newest runs since then of those agents that ran most, busiest first. Call inside `tenancy.within`."""
    found: dict[str, Line] = {}
    edges = _edges(since, (until - since) / parts, parts)
    asked = {"workspace": workspace, "since": since, "edges": edges, "most": NEWEST, "busiest": busiest}
    for agent, counted in _rows(_AGENTS, asked):
        line = found[agent] = Line(parts=[0] * parts)
        for part, state, number in counted:
            line.states[state] += number
            line.parts[part] += number
    return found


def _edges(since: datetime.datetime, width: datetime.timedelta, parts: int) -> list[datetime.datetime]:
    """Where each part begins."""
    return [since + width * place for place in range(parts)]


def last_run(workspace: str) -> dict[str, datetime.datetime | None]:
    """When each agent last ran; None for one that never did. Call inside `tenancy.within`."""
    return dict(_rows(_LAST, {"workspace": workspace}))


def _rows(statement: str, asked: Mapping[str, Any]) -> Sequence[tuple]:  # type: ignore[type-arg]
    with connection.cursor() as cursor:
        cursor.execute(statement, asked)
        return list(cursor.fetchall())
