"""What a few words find in a workspace, by kind, and what may be done in words: only what this person may see or do."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.utils import timezone

from agents import contracts, organisations, runs, tools
from agents.models import Agent
from approvals import requests
from controlplane.console import whocan
from controlplane.console.frame import NAVIGATION, Place

MOST = 6  # of a kind
NEWEST = 1000  # runs and requests are searched among so many; their own pages search all of them

Said = re.compile(
    r"(?:(?P<stop>stop|kill|pause)|(?P<who>who\s+(?:can|may)(?:\s+(?:call|use|do))?)|(?P<cap>cap|limit|budget))\s+(?P<what>.+)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Found:
    """One line: where it leads, below the workspace's root, and what it says."""

    address: str
    name: str
    about: str
    icon: str = "arrow"


def grouped(place: Place, words: str) -> list[tuple[str, list[Found]]]:
    """(kind, what was found), kinds without anything left out. Without words: the pages."""
    if not words:
        return [("Pages", pages(place, ""))]
    kinds: Sequence[tuple[str, str, Callable[[Place, str], list[Found]]]] = (
        ("Do", "", verbs),
        ("Pages", "", pages),
        ("Requests", "approvals_view", _requests),
        ("Runs", "runs_view", _runs),
        ("Agents", "agents_view", _agents),
        ("Tools", "tools_view", _tools),
        ("People", "members_manage", _people),
    )
    sought = [(kind, seek(place, words)) for kind, permission, seek in kinds if place.may(permission)]
    return [(kind, found) for kind, found in sought if found]


def pages(place: Place, words: str) -> list[Found]:
    """The pages of the navigation, and the stops, which every page leads to."""
    found = [Found(item.slug, item.label, f"page · g {item.key}", item.icon) for item in NAVIGATION if place.may(item.permission)]
    if place.may("agents_view"):
        found.append(Found("stops", "Stops", "page", "stop"))
    return [each for each in found if _holds(each.name, words)]


def verbs(place: Place, words: str) -> list[Found]:
    """What the words ask for, as "stop support-refunds", "who can issue_refund", "cap finance-ops". Each leads to a page that asks."""
    said = Said.fullmatch(words)
    if said is None:
        return []
    what = said["what"].strip()
    if said["stop"] and (place.may("agents_stop") or place.may("runs_stop")):
        return _to_stop(place, what)
    if said["who"] and place.may("access_view"):
        return _to_who(place, what)
    return _to_cap(place, what) if said["cap"] and place.may("budgets_view") else []


def _to_who(place: Place, what: str) -> list[Found]:
    """The answer's own address, with the amount that was asked about."""
    name = re.split(r"\s+(?:over|above|more\s+than|for|with|of)\s+", what.rstrip("? "))[0]
    versions = dict(tools.active(place.workspace.id).values_list("tool__name", "id"))
    meant = [tools.version(place.organisation.id, versions[each]) for each in _named(name, versions)]
    asked = [(tool.name, whocan.question(what, tool)) for tool in meant]
    return [
        Found(
            f"permissions/who?{urlencode(question)}",
            f"Who can call {tool}{''.join(f' with {key[2:]} {value}' for key, value in question.items() if key != 'tool')}?",
            "agents, conditions, and who approves",
            "grid",
        )
        for tool, question in asked
    ]


def _to_stop(place: Place, what: str) -> list[Found]:
    """Stops show first what they would hold."""
    targets: list[tuple[str, str]] = []
    if place.may("runs_stop") and re.fullmatch(r"R-\w+", what, re.IGNORECASE):
        targets.append((f"run/{what.upper()}", f"run {what.upper()}"))
    if place.may("agents_stop"):
        agents = [each for each in contracts.in_workspace(place.workspace.id) if _holds(f"{each.slug} {each.name}", what)]
        targets += [(f"agent/{each.id}", f"agent {each.slug}") for each in agents]
        targets += [(f"tool/{key}", f"tool {name}") for key, name in tools.names(place.workspace.id).items() if _holds(name, what)]
        if _holds(f"workspace everything all {place.workspace.name}", what):
            targets.append((f"workspace/{place.workspace.id}", f"the whole workspace {place.workspace.name}"))
    return [
        Found(f"stops?{urlencode({'what': key})}", f"Stop {label}…", "shows first what it would hold", "stop")
        for key, label in targets[:MOST]
    ]


def _to_cap(place: Place, what: str) -> list[Found]:
    targets = [
        (f"agent/{each.id}", each.slug) for each in contracts.in_workspace(place.workspace.id) if _holds(f"{each.slug} {each.name}", what)
    ]
    if _holds(f"workspace {place.workspace.name}", what):
        targets.append((f"workspace/{place.workspace.id}", place.workspace.name))
    if not place.may("budgets_set"):
        return [
            Found(f"budgets/{key}", f"Budget of {label}", "what it spent, holds and has left", "money") for key, label in targets[:MOST]
        ]
    about = "with a look at what it would have stopped"
    return [Found(f"budgets/cap?{urlencode({'scope': key})}", f"Set a cap for {label}…", about, "money") for key, label in targets[:MOST]]


def _requests(place: Place, words: str) -> list[Found]:
    everything = requests.waiting_for(by=place.principal, workspace=place.workspace.id, state="")
    newest = everything.filter(id__in=everything.order_by("-opened_at", "-id").values("id")[:NEWEST])
    found = newest.filter(title__icontains=words) | newest.filter(id__startswith=words.upper())
    rows = found.prefetch_related(None).order_by("-opened_at", "-id")[:MOST]
    return [
        Found(f"approvals/{row.id}", row.title, f"{row.id} · {row.get_state_display().lower()} · {row.run.agent.slug}", "inbox")
        for row in rows
    ]


def _runs(place: Place, words: str) -> list[Found]:
    everything = runs.visible(by=place.principal, workspace=place.workspace.id)
    newest = everything.filter(id__in=everything.order_by("-started_at", "-id").values("id")[:NEWEST])
    sought = runs.narrowed(newest, text=words) if place.may("runs_read") else newest.filter(id__startswith=words.upper())
    rows = list(sought[:MOST])
    found = [Found(f"runs/{run.id}", run.title or run.agent.slug, f"{run.id} {run.reference} · {run.agent.slug}", "runs") for run in rows]
    more = [Found(f"runs?{urlencode({'q': words})}", f"All runs with “{words}”", "the list of runs", "runs")]
    return found + more if found else []


def _agents(place: Place, words: str) -> list[Found]:
    return [Found(f"agents/{each.slug}", each.name, f"agent {each.slug}", "agent") for each in _agents_named(place, words)[:MOST]]


def _agents_named(place: Place, words: str) -> list[Agent]:
    return [each for each in contracts.in_workspace(place.workspace.id) if _holds(f"{each.slug} {each.name}", words)]


def _tools(place: Place, words: str) -> list[Found]:
    rows = {row.tool.name: row.title for row in tools.all_versions(place.workspace.id) if _holds(f"{row.tool.name} {row.title}", words)}
    return [Found(f"tools/{name}", name, title or "tool", "tool") for name, title in list(rows.items())[:MOST]]


def _people(place: Place, words: str) -> list[Found]:
    rows, now = organisations.members(place.workspace), timezone.now()
    for word in words.split():
        rows = rows.filter(name__icontains=word)
    roles = {row: sorted({seat.role for seat in row.seats.all() if not seat.is_over(now)}) for row in rows[:MOST]}
    return [Found(f"members/{row.id}", row.name, ", ".join(held), "person") for row, held in roles.items()]


def _holds(name: str, words: str) -> bool:
    """Whether each of the words is in the name."""
    lower = name.lower()
    return all(word in lower for word in words.lower().split())


def _named(words: str, names: Iterable[str]) -> list[str]:
    """The names that hold the words; the one that is exactly that first."""
    hits = sorted({name for name in names if _holds(name, words)}, key=lambda name: (name.rpartition(".")[2] != words, name))
    return hits[:MOST]
