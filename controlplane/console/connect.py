"""Connect: an agent of one's own in a few minutes. A key, a snippet, and what arrived, with errors in words."""

import datetime
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agents import arrivals, contracts, identity, organisations, policies, seats, tools
from agents.models import Agent
from approvals import counts
from audit import outcomes, tenancy
from budgets import reservations
from controlplane.console import asked, first_steps, frame, lists, render
from controlplane.console.frame import Place

DOORS = {"mcp": "MCP (streamable HTTP)", "rest": "REST"}
DAY = datetime.timedelta(hours=24)
PATIENCE = datetime.timedelta(minutes=2)  # then something is wrong, and the page says what it may be
LIFE = datetime.timedelta(days=30)
SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
NEVER = "Change anything: it only reads."


@dataclass(frozen=True, slots=True)
class Watch:
    """Whose arrivals the page shows: everybody's of a day, or those of one agent since its key was made."""

    agent: Agent | None
    since: datetime.datetime
    waited: datetime.timedelta

    @property
    def is_late(self) -> bool:
        return self.waited >= PATIENCE

    @property
    def rest_s(self) -> int:
        return max(1, int((PATIENCE - self.waited).total_seconds()) + 1)

    @property
    def query(self) -> dict[str, str]:
        return {"agent": self.agent.slug, "from": f"{self.since:%Y-%m-%dT%H:%M:%SZ}"} if self.agent else {}


@require_safe
@frame.page("agents_manage", at="connect")
def show(request: HttpRequest, place: Place) -> HttpResponse:
    """What to paste, and what came of it. The list asks again by itself while the page is open."""
    return _show(request, place)


@require_POST
@frame.page("agents_manage", at="connect")
def issue(request: HttpRequest, place: Place) -> HttpResponse:
    """A fresh key: for an agent that is here, or for a new one that may only read. Shown in this answer and nowhere else."""
    slug = request.POST.get("agent", "").strip()
    new = request.POST.get("slug", "").strip().lower()
    try:
        with tenancy.within(place.organisation.id):
            organisations.require(place.principal, "agents_manage", place.workspace.id)
            agent = _registered(place, new) if new else contracts.get(slug, workspace=place.workspace)
            issued = identity.issue(by=place.principal, agent=agent, label="connect", expires_in=LIFE)
            return _show(request, place, issued=issued, agent=agent)
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id, read_only=True):
            return _show(request, place, refused=refused)


def _registered(place: Place, slug: str) -> Agent:
    """A read-only agent, pinned to every confirmed tool that reads."""
    if not SLUG.fullmatch(slug):
        raise organisations.Conflict(
            "This name cannot be used.",
            rule="agent_slug",
            current=slug[:80],
            limit="small letters, digits and hyphens",
            next_step="Correct it.",
        )
    owner = organisations.member(place.principal.id)
    agent = contracts.register(
        by=place.principal, workspace=place.workspace, slug=slug, name=slug.replace("-", " ").capitalize(), owner=owner
    )
    reads = [row.tool.name for row in tools.active(place.workspace.id) if not row.is_write]
    goal = contracts.Goal(purpose=contracts.UNSAID, never=[NEVER])
    contracts.publish(by=place.principal, agent=agent, goal=goal, pinning=contracts.Pinning(prompt="", tools=reads))
    return contracts.get(slug, workspace=place.workspace)


def _show(request: HttpRequest, place: Place, *, refused: outcomes.Refused | None = None, **fresh: Any) -> HttpResponse:
    door = asked.text(request, "door") or request.POST.get("door", "")
    door = door if door in DOORS else "mcp"
    now, base = timezone.now(), settings.PUBLIC_URL
    agents = list(contracts.in_use(place.workspace.id))
    watch = _watch(request, agents, now, fresh.get("agent"))
    came = arrivals.newest(place.workspace.id, since=watch.since, agent=watch.agent.id if watch.agent else "")
    token = fresh["issued"].token if "issued" in fresh else ""
    context: dict[str, Any] = {
        "door": door,
        "doors": [(name, words, f"{place.root}/connect?{urlencode({'door': name} | watch.query)}") for name, words in DOORS.items()],
        "base": base,
        "snippet": _snippet(door, base, token or "remit_…"),
        "check": f'curl -sS -H "Authorization: Bearer {token or "$REMIT_KEY"}" {base}/api/v1/tools',
        "agents": agents,
        "chosen": fresh["agent"].slug if "agent" in fresh else asked.text(request, "agent"),
        "arrivals": came,
        "watch": watch,
        "here": f"{place.root}/connect?{urlencode({'door': door} | watch.query)}",
        "demo_here": first_steps.is_demo(request, place),
        "now": now,
        "steps": _steps(place, came),
        "refused": refused.as_dict() if refused else None,
    }
    status = render.status_of(refused) if refused else 200
    return render.page(request, "connect/page.html", context | fresh, fragment="arrivals", status=status)


def _watch(request: HttpRequest, agents: list[Agent], now: datetime.datetime, fresh: Agent | None) -> Watch:
    """A key that was just made is watched; the address goes on saying so. Without a start in it, the page shows everybody."""
    start = now.replace(microsecond=0) if fresh else lists.moment(asked.text(request, "from"))
    slug = fresh.slug if fresh else asked.text(request, "agent")
    agent = next((each for each in agents if each.slug == slug), None)
    if agent is None or start is None or start > now:
        return Watch(None, now - DAY, datetime.timedelta())
    return Watch(agent, max(start, now - DAY), now - start)


def _snippet(door: str, base: str, token: str) -> str:
    if door == "mcp":
        return (
            '{\n  "mcpServers": {\n    "remit": {\n      "type": "http",\n'
            f'      "url": "{base}/mcp",\n      "headers": {{"Authorization": "Bearer {token}"}}\n    }}\n  }}\n}}'
        )
    return (
        f"export REMIT_KEY={token}\n"
        f'# what it may call\ncurl -sS {base}/api/v1/tools -H "Authorization: Bearer $REMIT_KEY"\n'
        "# a call of a tool; without a run of its own the agent's open one is used\n"
        f'curl -sS {base}/api/v1/calls -H "Authorization: Bearer $REMIT_KEY" -H "Content-Type: application/json" \\\n'
        '  -H "Idempotency-Key: first-1" -d \'{"tool": "NAME", "arguments": {}}\''
    )


def _steps(place: Place, came: list[arrivals.Arrival]) -> list[tuple[bool, str, str, str]]:
    """(done, what, the page where it is done, the permission that page needs)."""
    active, _ = policies.in_force(place.organisation.id, place.workspace.id)
    approvers = seats.holding("approvals_decide", place.workspace.id)
    found = [
        (any(not each.is_refused for each in came), "First call", "connect", "agents_manage"),
        (tools.active(place.workspace.id).exists(), "First tool confirmed", "tools", "tools_view"),
        (active is not None, "First rules in force", "policies", "policies_view"),
        (reservations.balance("workspace", place.workspace.id).cap is not None, "First cap", "budgets", "budgets_view"),
        (counts.any_approved(place.workspace.id), "First approval", "approvals", "approvals_view"),
        (len(approvers[:2]) > 1, "Two people who may approve", "members", "members_manage"),
    ]
    return [(done, words, page if place.may(permission) else "", permission) for done, words, page, permission in found]
