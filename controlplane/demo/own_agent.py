"""A visitor's own agent in the demo: registered once, in the read-only stage, with a new key each time it is asked for."""

import json
from dataclasses import dataclass
from datetime import timedelta

from agents import contracts, identity, organisations
from agents.models import Agent
from audit import tenancy
from controlplane.demo import crew
from controlplane.demo.scene import Scene

SLUG = "my-agent"
LASTS = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Connected:
    """The agent's key, shown once, and whether the agent was registered just now."""

    key: str
    is_new: bool


def connect(made: Scene) -> Connected:
    """Ben registers the agent and issues its key."""
    ben = made.person("Ben")
    with tenancy.within(made.organisation):
        try:
            agent, is_new = contracts.get(SLUG, workspace=made.workspace), False
        except organisations.NotFound:
            agent, is_new = _hire(made), True
        organisations.require(ben, "agents_manage", made.workspace.id)
        issued = identity.issue(by=ben, agent=agent, label="make connect", expires_in=LASTS)
    return Connected(issued.token, is_new)


def _hire(made: Scene) -> Agent:
    ben = made.person("Ben")
    agent = contracts.register(
        by=ben, workspace=made.workspace, slug=SLUG, name="My agent", owner=made.members["Ben"], stage=Agent.Stage.READ_ONLY
    )
    contracts.publish(
        by=ben,
        agent=agent,
        goal=contracts.Goal(purpose="Whatever its visitor tries.", never=("Write, until somebody raises its stage.",)),
        pinning=contracts.Pinning(prompt="", tools=(*crew.REFUND_DESK, "warehouse_run_query")),
    )
    return agent


def snippets(url: str, key: str) -> list[str]:
    """What to paste: an MCP client's configuration, and a first call by hand."""
    server = {"type": "http", "url": f"{url}/mcp", "headers": {"Authorization": f"Bearer {key}"}}
    return [
        "MCP client (any that speaks streamable HTTP):",
        json.dumps({"mcpServers": {"remit": server}}, indent=2),
        "",
        "Or by hand:",
        f"curl -s {url}/api/v1/calls \\",
        f"  -H 'Authorization: Bearer {key}' -H 'Idempotency-Key: first' -H 'Content-Type: application/json' \\",
        """  -d '{"tool": "helpdesk_list_tickets", "arguments": {}}'""",
    ]
