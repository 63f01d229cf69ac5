"""Registers the recorded systems over REST as a person would: connectors, tools, who owns what, the rules, the agents and their limits."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.real import doors, recordings

POLICIES = Path(__file__).parent / "policies"
HEADERS = {"x-tape-run": "{run.reference}"}
SUBJECTS = {"order_id": "order", "user_id": "customer"}
BULK = 500
# Far above what any recording needs: the caps are not what is scored here, the repeats are left as the product ships them.
LIMITS = {"tool_calls": 10_000, "steps": 10_000, "tokens": 1_000_000_000, "seconds": 3600, "micros": 1_000_000_000, "retries": 10_000}


class Desk:
    """One workspace, as its owner sees it."""

    def __init__(self, *, rest: doors.Doors, owner: str, approvers: Iterable[str], workspace: str = "desk") -> None:
        self.rest, self.owner, self.approvers, self.workspace = rest, owner, tuple(approvers), workspace

    def connect(self, slug: str, url: str, named: Mapping[str, Mapping[str, Any]]) -> None:
        """The connector, its discovered tools, each confirmed by what the recording says it is."""
        connector: dict[str, Any] = {"workspace": self.workspace, "slug": slug, "kind": "mcp", "url": url}
        connector |= {"headers": HEADERS, "timeout_s": 30, "allow_private": True}
        self.rest.ask("POST", "/api/v1/connectors", self.owner, connector)
        found = self.rest.ask("POST", f"/api/v1/connectors/{slug}/discover", self.owner, {})["tools"]
        names = {tool["name"] if isinstance(tool, dict) else tool for tool in found}
        if names != set(named):
            raise doors.DoorAnswered(f"discover {slug}: {sorted(names ^ set(named))}")
        for name, tool in named.items():
            self.rest.ask("POST", f"/api/v1/tools/{name}/confirm", self.owner, confirmation(tool, domain=slug))

    def record_owners(self, kind: str, owners: Mapping[str, str]) -> None:
        items = list(owners.items())
        for start in range(0, len(items), BULK):
            self.rest.ask("POST", "/api/v1/directory", self.owner, {"kind": kind, "owners": dict(items[start : start + BULK])})

    def rule(self, cedar: str) -> None:
        published = self.rest.ask("POST", "/api/v1/policies", self.owner, {"workspace": self.workspace, "cedar": cedar})
        self.rest.ask("POST", f"/api/v1/policies/{published['id']}/activate", self.owner, {})

    def employ(self, slug: str, tools: Iterable[str]) -> None:
        agent = {"workspace": self.workspace, "slug": slug, "name": slug.capitalize(), "category": "open", "stage": "GATED"}
        contract = {"purpose": f"Replays recorded {slug} runs.", "never": ["Act for anybody but the run's customer."], "output": "text"}
        self.rest.ask("POST", "/api/v1/agents", self.owner, agent | contract)
        version = {"prompt": "", "tools": sorted(tools), "models": []}
        self.rest.ask("POST", f"/api/v1/agents/{slug}/versions", self.owner, version)
        self.rest.ask("PUT", f"/api/v1/agents/{slug}/limits", self.owner, LIMITS)


def confirmation(tool: Mapping[str, Any], *, domain: str) -> dict[str, Any]:
    """Everything that is not a write counts as a read. The tape keeps no key and cannot be looked up, so its writes are E4."""
    is_write = tool["kind"] == "write"
    arguments = tool["inputSchema"].get("properties", {})
    return {
        "is_write": is_write,
        "risk": "medium" if is_write else "low",
        "reversible": False,
        "data_domain": domain,
        "connector_class": "E4" if is_write else "E0",
        "price_micros": 0,
        "subjects": {name: kind for name, kind in SUBJECTS.items() if name in arguments} if domain == "retail" else {},
        "preview": None,
        "redact": [],
    }


def rules(domains: Iterable[str]) -> str:
    return "\n".join((POLICIES / f"{domain}.cedar").read_text() for domain in domains)


def furnish(desk: Desk, *, tapes: Mapping[str, str]) -> Iterator[str]:
    """`tapes`: retail and/or banking -> address. Yields what was done, for the report."""
    named = {"retail": recordings.tools(recordings.RETAIL_TOOLS), "banking": recordings.tools(recordings.BANKING_TOOLS)}
    for domain, url in tapes.items():
        desk.connect(domain, url, named[domain])
        yield f"{domain}: {len(named[domain])} tools confirmed"
    if "retail" in tapes:
        shop = recordings.Shop()
        desk.record_owners("order", shop.orders)
        desk.record_owners("customer", shop.customers)
        yield f"directory: {len(shop.orders)} orders, {len(shop.customers)} customers"
    desk.rule(rules(tapes))
    for domain in tapes:
        desk.employ(domain, named[domain])
    yield "rules active, agents employed"
