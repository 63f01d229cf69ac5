"""What each tab of an agent's page shows: passport, health, access, versions, keys, runs, history; and what may be changed."""

import datetime
import difflib
import json
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from agents import contracts, identity, organisations, runs, sight, tools, usage
from agents.models import Agent, AgentVersion
from approvals import counts
from audit import events, log
from budgets import limits, reservations
from controlplane.console import asked, cells, waterfall
from controlplane.console.frame import Place

TABS = {
    "passport": "Passport",
    "health": "Health",
    "access": "Access",
    "versions": "Versions",
    "keys": "Keys",
    "runs": "Runs",
    "history": "History",
    "change": "Change",
}
LIMITS = (
    ("steps", "Steps", ""),
    ("tool_calls", "Tool calls", ""),
    ("tokens", "Tokens", ""),
    ("micros", "Money", "money"),
    ("step_micros", "Money for one call", "money"),
    ("seconds", "Working time", "time"),
    ("retries", "Retries", ""),
    ("repeats_flag", "Repeats until flagged", ""),
    ("repeats_stop", "Repeats until handed over", ""),
)
MONTH = datetime.timedelta(days=30)
RECENT = 20
ENTRIES = 50
Context = dict[str, Any]


def open_to(place: Place, agent: Agent) -> dict[str, str]:
    """The tabs that this person has; there is nothing to change for whoever does not manage agents, nor about a retired one."""
    may_change = place.may("agents_manage") and agent.state != Agent.State.RETIRED
    return {name: word for name, word in TABS.items() if name != "change" or may_change}


def passport(_request: HttpRequest, place: Place, agent: Agent, shown: Context) -> Context:
    """One page that prints: what it is for, what never, what it may, how far, whose it is."""
    version, capped = shown["version"], limits.of(agent)
    pins = list(tools.pins(version.id)) if version else []
    outcomes = {cell.tool.name: cell.access for cell in _cells(place, agent)} if place.may("access_view") else {}
    return {
        "pins": [(pin, outcomes.get(pin.name)) for pin in pins],
        "domains": sorted({pin.tool_version.data_domain for pin in pins if pin.tool_version.data_domain}),
        "limits": [(word, getattr(capped, name), unit) for name, word, unit in LIMITS],
        "purse": reservations.balance("agent", agent.id) if place.may("budgets_view") else None,
        "has_owner": agent.owner.is_active,
    }


def health(_request: HttpRequest, place: Place, agent: Agent, shown: Context) -> Context:
    """How it did in 30 days, and whether that is enough to judge by."""
    since = (shown["now"] - MONTH).replace(second=0, microsecond=0)
    used = usage.of_tools(place.organisation.id, place.workspace.id, since=since, agent=agent.id)
    codes: dict[str, int] = {}
    for one in used.values():
        for code, number in one.codes.items():
            codes[code] = codes.get(code, 0) + number
    calls = sum(one.calls for one in used.values())
    writes = counts.ends_of_agent(agent.id, since=since) if place.may("approvals_all") else None
    return {
        "health": usage.health(place.organisation.id, agent.id, since=since),
        "calls": calls,
        "codes": sorted(codes.items(), key=lambda pair: -pair[1]),
        "used": sorted(used.items(), key=lambda pair: -pair[1].calls),
        "decided": writes,
        "since": f"{since:%Y-%m-%dT%H:%M}",
        "enough": usage.ENOUGH,
        "most": usage.MOST_RUNS,
        "purse": reservations.balance("agent", agent.id) if place.may("budgets_view") else None,
    }


def access(_request: HttpRequest, place: Place, agent: Agent, _shown: Context) -> Context:
    """Its row of the matrix."""
    if not place.may("access_view"):
        return {"cells": None}
    return {"cells": [cell for cell in _cells(place, agent) if cell.access.word != "NOT_PINNED"]}


def versions(request: HttpRequest, _place: Place, _agent: Agent, shown: Context) -> Context:
    """Every version, and what changed between two of them."""
    by_number = {str(each.number): each for each in shown["versions"]}
    new = by_number.get(asked.text(request, "to")) or next(iter(shown["versions"]), None)
    older = str(new.number - 1) if new else ""
    old = by_number.get(asked.text(request, "from")) or by_number.get(older)
    return {"old": old, "new": new, "changes": _changes(old, new) if old and new else []}


def keys(_request: HttpRequest, place: Place, agent: Agent, shown: Context) -> Context:
    """Its own keys by their beginning; a secret is shown once, when it is made."""
    if not place.may("agents_manage"):
        return {"keys": None}
    now = shown["now"]
    return {
        "keys": [
            (key, f"remit_{key.organisation_id[4:]}_{key.id[4:]}_…", key.expires_at is not None and key.expires_at <= now)
            for key in identity.keys(agent)[:100]
        ],
        "lives": LIVES,
    }


LIVES = {"": "Does not expire", "1": "1 day", "30": "30 days", "90": "90 days", "365": "1 year"}


def recent(_request: HttpRequest, place: Place, agent: Agent, shown: Context) -> Context:
    """Its newest runs."""
    rows = list(runs.visible(by=place.principal, workspace=place.workspace.id, agent=agent.slug)[:RECENT]) if place.may("runs_view") else []
    spent = reservations.of_runs([row.id for row in rows])
    return {"rows": [(row, spent.get(row.id, 0), waterfall.lasted(row, shown["now"])) for row in rows]}


def history(_request: HttpRequest, place: Place, agent: Agent, _shown: Context) -> Context:
    """Who changed it and when, from the log."""
    return {"entries": told(place, agent.id)}


def change(_request: HttpRequest, place: Place, agent: Agent, shown: Context) -> Context:
    """Its contract as a form for the next version, its owner, its end."""
    version, now = shown["version"], pinned_now(place, agent)
    named = [pin.name for pin in tools.pins(version.id)] if version else []
    contract = {"purpose": version.purpose, "never": "\n".join(version.never), "output": version.output} if version else {}
    return {
        "typed": contract if not shown["unsaid"] else contract | {"purpose": ""},
        "kept": now.tools,
        "dropped": [name for name in named if name not in now.tools],
        "people": [each for each in organisations.members(place.workspace) if each.is_active],
    }


def pinned_now(place: Place, agent: Agent) -> contracts.Pinning:
    """What the version in use pins, without tools that are no longer active. Call inside `tenancy.within`."""
    version = agent.version
    if version is None:
        return contracts.Pinning(prompt="", tools=())
    active = set(tools.names(place.workspace.id).values())
    kept = [pin.name for pin in tools.pins(version.id) if pin.name in active]
    return contracts.Pinning(prompt=version.prompt, tools=kept, models=version.model_names)


def told(place: Place, subject: str) -> list[dict[str, Any]] | None:
    """The log's entries about one thing in words, newest first; None for whoever may not read the log."""
    if not place.may("audit_view"):
        return None
    rows = list(log.entries(subject=subject).filter(sight.entries(place.principal, place.workspace.id))[:ENTRIES])
    names = organisations.names({row.actor_id for row in rows})
    return [
        {
            "entry": row,
            "by": names.get(row.actor_id, row.actor_id),
            "words": events.CATALOGUE.get(row.event, row.event),
            "detail": _said(row.body),
        }
        for row in rows
    ]


def _said(body: str) -> list[tuple[str, str]]:
    detail = json.loads(body).get("detail")
    pairs = detail.items() if isinstance(detail, dict) else ()
    return [(str(name), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) for name, value in pairs]


def _cells(place: Place, agent: Agent) -> list[cells.Cell]:
    columns = tools.facts_of_active(place.organisation.id, place.workspace.id)
    return cells.field(place, [agent], columns).cells


def _changes(old: AgentVersion, new: AgentVersion) -> list[dict[str, Any]]:
    """What differs, field by field; a prompt line by line."""
    then, now = (_facts(each) for each in (old, new))
    found: list[dict[str, Any]] = [{"name": name, "before": then[name], "after": now[name]} for name in then if then[name] != now[name]]
    pins = [{pin.name: pin.tool_version.number for pin in tools.pins(each.id)} for each in (old, new)]
    for name in sorted(set(pins[0]) | set(pins[1])):
        versions_ = [f"version {each[name]}" if name in each else "not pinned" for each in pins]
        if versions_[0] != versions_[1]:
            found.append({"name": f"Tool {name}", "before": versions_[0], "after": versions_[1]})
    if old.prompt != new.prompt:
        lines = difflib.unified_diff(old.prompt.splitlines(), new.prompt.splitlines(), "", "", lineterm="", n=2)
        found.append({"name": "Prompt", "lines": [line for line in lines if not line.startswith(("---", "+++"))][:400]})
    return found


def _facts(version: AgentVersion) -> dict[str, str]:
    return {
        "Purpose": version.purpose,
        "Never": "\n".join(version.never),
        "Hands over": version.output,
        "Models": ", ".join(version.model_names),
        "Policy set": f"number {version.policy_set.number}" if version.policy_set else "none",
    }


FILL: dict[str, Callable[[HttpRequest, Place, Agent, Context], Context]] = {
    "passport": passport,
    "health": health,
    "access": access,
    "versions": versions,
    "keys": keys,
    "runs": recent,
    "history": history,
    "change": change,
}
