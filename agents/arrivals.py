"""Who knocked at a workspace lately and what became of it: the newest entries of agents' requests, refused ones too, in words."""

import datetime
import json
from dataclasses import dataclass

from agents.models import Agent, Key
from audit import log
from audit.models import Entry

MOST = 12
_OF_WORKSPACE = ("call.admitted", "call.refused", "run.started", "input.refused")
_WORDS = {
    "call.admitted": "let through by the gate",
    "run.started": "a run was started",
    "unknown_tool": "the tool is not registered, not confirmed, or not pinned by the agent's version",
    "invalid_arguments": "the arguments do not fit the tool's schema",
    "out_of_scope": "the agent's stage, state or capability does not allow it; a new agent is read-only",
    "policy_denied": "a rule does not allow it",
    "stopped": "a stop switch is on",
    "unpriced": "the tool has no price yet",
    "budget_exceeded": "a cap is reached",
    "limit_reached": "a limit of the run is reached",
    "run_over": "the run is over; start another",
    "malformed_json": "the body is no JSON",
    "not_published": "the agent has no published version",
}


@dataclass(frozen=True, slots=True)
class Arrival:
    at: datetime.datetime
    entry: str
    agent: str
    what: str
    words: str
    is_refused: bool
    run: str


def newest(workspace: str, *, since: datetime.datetime, agent: str = "") -> list[Arrival]:
    """The newest arrivals, of one agent or of all, newest first. An unknown key leaves no entry: there is nobody to write it for.

    Call inside `tenancy.within`.
    """
    here = Agent.objects.filter(workspace_id=workspace, **({"id": agent} if agent else {}))
    slugs = dict(here.values_list("id", "slug"))
    keys = set(Key.objects.filter(agent__workspace_id=workspace, kind=Key.Kind.AGENT).values_list("id", flat=True))
    theirs = {"actor_kind": "agent", "actor_id__in": slugs}
    rows: list[Entry] = []
    for event in _OF_WORKSPACE:
        rows += log.entries(event=event, workspace=workspace, since=since).filter(**theirs)[:MOST]
    rows += log.entries(event="key.refused", since=since).filter(**theirs, subject__in=keys)[:MOST]
    rows.sort(key=lambda row: (row.at, row.id), reverse=True)
    return [_arrival(row, slugs[row.actor_id]) for row in rows[:MOST]]


def _arrival(row: Entry, slug: str) -> Arrival:
    detail = json.loads(row.body).get("detail") or {}
    refused = row.event.endswith(".refused")
    code = str((detail.get("refusal") or {}).get("code") or detail.get("code") or "")
    words = _WORDS.get(code or row.event, code.replace("_", " "))
    if row.event == "key.refused":
        words = f"401: the key is {detail.get('why', 'not valid')}"
    unsaid = {"run.started": "a run", "key.refused": "any request"}.get(row.event, "a model")
    what = str(detail.get("tool") or detail.get("model") or detail.get("path") or unsaid)
    return Arrival(row.at, row.id, slug, what, words, refused, row.run_id)
