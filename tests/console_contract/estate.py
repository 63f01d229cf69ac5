"""An organisation with one of everything that a page shows, its people of all eight roles, and a second organisation like it.

What each page and each form answers to each role stands here as one table, after ui.md 3.3.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

import psycopg
from django.test import Client

from agents import contracts, organisations, policies, stops, tools
from approvals import batches, requests
from audit import log, tenancy
from budgets import caps
from controlplane import urls
from tests import world as worlds
from tests.controlplane.browsing import HOSTILE, root_of, signed_in

ROLES = ("owner", "admin", "security", "approver", "finance", "auditor", "builder", "viewer")
EVERYBODY = frozenset(ROLES)
PEOPLE = dict(zip(("olga", "adam", "sam", "ann", "fiona", "ada", "bob", "vera"), ROLES, strict=True))


def but(*roles: str) -> frozenset[str]:
    return EVERYBODY - set(roles)


DECISIONS, MONEY, RULES = but("finance", "viewer"), but("approver", "viewer"), but("finance", "viewer")
DECIDERS = frozenset({"approver"})
ACCESS, WHOLE_LOG = but("approver", "finance", "viewer"), frozenset({"owner", "admin", "security", "auditor"})
# Pattern of an address -> the roles it opens for; for all others there is nothing.
# Runs open for finance with what they cost alone: tests/agents/test_reading.py.
PAGES: dict[str, frozenset[str]] = {
    "overview": EVERYBODY,
    "go": EVERYBODY,
    "approvals": DECISIONS,
    "approvals/together/<str:key>": DECIDERS,
    "approvals/onlookers": DECISIONS,
    "approvals/<str:identifier>": DECISIONS - {"builder"},  # the one of the estate is of somebody else's agent
    "runs": EVERYBODY,
    "runs/<str:identifier>": EVERYBODY,
    "runs/<str:identifier>/report": EVERYBODY,
    "runs/<str:identifier>/download": EVERYBODY,
    "agents": EVERYBODY,
    "agents/<str:slug>": EVERYBODY,
    "tools": but("finance"),
    "tools/<str:name>": but("finance"),
    "permissions": ACCESS,
    "permissions/who": ACCESS,
    "permissions/cell/<str:slug>/<str:name>": ACCESS,
    "policies": RULES,
    "policies/propose": but("finance", "viewer", "auditor"),
    "policies/<str:identifier>": RULES,
    "budgets": MONEY,
    "budgets/<str:level>/<str:target>": MONEY,
    "budgets/cap": frozenset({"owner", "finance"}),
    "budgets/prices": frozenset({"owner", "finance"}),
    "budgets/zone": frozenset({"owner", "finance"}),
    "budgets/two-people": frozenset({"owner", "finance"}),
    "members": frozenset({"owner", "admin"}),
    "members/<str:identifier>": frozenset({"owner", "admin"}),
    "members/<str:identifier>/role": frozenset({"owner", "admin"}),
    "connect": frozenset({"owner", "admin", "builder"}),
    "audit": but("viewer"),  # their own part of it
    "audit/<str:identifier>": WHOLE_LOG,
    "stops": EVERYBODY,
    "stops/<str:identifier>": EVERYBODY,
    "stops/form": EVERYBODY,
    "stops/preview": EVERYBODY,
    "health": WHOLE_LOG,
}
STOPPERS = frozenset({"owner", "admin", "security", "builder"})
# Pattern that a form posts to -> the roles that may be shown the form.
ACTS: dict[str, frozenset[str]] = {
    "approvals/<str:identifier>/<slug:verb>": DECISIONS,  # which verbs is a matter of the request and the person
    "approvals/together/<str:key>/decide": DECIDERS,
    "runs/export": EVERYBODY,
    "runs/<str:identifier>/stop": STOPPERS,
    "stops/engage": STOPPERS,
    "stops/<str:identifier>/release": STOPPERS,
    "agents/<str:slug>/change": frozenset({"owner", "admin", "builder"}),
    "register/export": EVERYBODY,
    "agents/<str:slug>/publish": frozenset({"owner", "admin", "builder"}),
    "agents/<str:slug>/owner": frozenset({"owner", "admin", "builder"}),
    "agents/<str:slug>/keys": frozenset({"owner", "admin", "builder"}),
    "agents/<str:slug>/keys/<str:identifier>/revoke": frozenset({"owner", "admin", "builder"}),
    "agents/<str:slug>/keys/<str:identifier>/roll": frozenset({"owner", "admin", "builder"}),
    "policies/propose": but("finance", "viewer", "auditor"),
    "policies/<str:identifier>/activate": frozenset({"owner", "security"}),
    "budgets/cap": frozenset({"owner", "finance"}),
    "budgets/prices": frozenset({"owner", "finance"}),
    "budgets/zone": frozenset({"owner", "finance"}),
    "budgets/two-people": frozenset({"owner", "finance"}),
    "budgets/raises/<str:identifier>/<slug:verb>": frozenset({"owner", "finance"}),
    "budgets/<str:level>/<str:target>/export": MONEY,
    "members/add": frozenset({"owner", "admin"}),
    "members/<str:identifier>/role": frozenset({"owner", "admin"}),
    "members/<str:identifier>/sessions": frozenset({"owner", "admin"}),
    "members/<str:identifier>/remove": frozenset({"owner", "admin"}),
    "audit/export": frozenset({"owner", "security", "auditor"}),
    "views/save": EVERYBODY,
    "views/<str:identifier>/remove": EVERYBODY,
    "tools/<str:name>/confirm": frozenset({"owner", "admin", "builder"}),
    "tools/<str:name>/retire": frozenset({"owner", "admin", "builder"}),
    "connect/key": frozenset({"owner", "admin", "builder"}),
    "demo/ask": ACCESS,
    "demo/hide": EVERYBODY,
    "demo/remove": frozenset(),
    "demo/removed": frozenset(),
    "demo/<str:story>": frozenset(),  # only at the demo's own desk
}


# What htmx asks for with a header of its own, and what opens only for some requests.
FRAGMENTS = {"frame", "approvals/<str:identifier>/rule"}


@dataclass
class Estate:
    """One organisation: what its addresses are made of, and a browser a role."""

    world: worlds.World
    root: str
    ids: dict[str, str]
    clients: dict[str, Client] = field(default_factory=dict)

    def path(self, pattern: str, ids: dict[str, str] | None = None) -> str:
        """The address of a pattern with the ids of this organisation, or with others."""
        noun, found = pattern.split("/", maxsplit=1)[0], f"{self.root}/{pattern}"
        for name, value in (self.ids | {"<str:identifier>": self.ids.get(noun, "")} | (ids or {})).items():
            found = found.replace(name, value) if name.startswith("<") else found
        return found


def furnish() -> Estate:
    """A fresh organisation with one of everything."""
    world = worlds.make()
    for name, role in (("adam", "admin"), ("bob", "builder")):
        world.join(name, role)
    over = world.start(title=HOSTILE, reference="TCK-1")  # a reference becomes a header of the upstream, so it is plain here
    over.call("get_account", {"account": "a"})
    over.call("pay", {"account": "a", "amount": 901})
    olga, sam = world.people["olga"], world.people["sam"]
    tools.confirm(by=olga, name="pay", workspace=world.workspace, classification={"is_reversible": True})
    world.publish()
    held = world.start(title="Pay Anna back", reference="TCK-2")
    asked = held.call("pay", {"account": "a", "amount": 50})
    world.start(title=HOSTILE).call("pay", {"account": "b", "amount": 50})  # and one like it
    world.approve(world.start().call("pay", {"account": "a", "amount": 60}), "ann")
    caps.put(by=olga, workspace=world.workspace.id, level="workspace", target=world.workspace.id, period="month", cap_micros=90_000_000)
    caps.put_threshold(by=organisations.system(world.organisation, "tests"), workspace=world.workspace.id, micros=0)
    fiona = world.people["fiona"]
    waits = caps.put(
        by=fiona, workspace=world.workspace.id, level="workspace", target=world.workspace.id, period="day", cap_micros=90_000_000
    )
    draft = policies.propose(by=sam, workspace=world.workspace, text=worlds.POLICIES + "\n// later")
    clerk = contracts.register(by=olga, workspace=world.workspace, slug="clerk", name="Clerk", owner=world.members["olga"])
    stop = stops.engage(by=sam, scope="agent", target=clerk.id, reason=HOSTILE)
    with tenancy.within(world.organisation):
        entry = next(iter(log.entries(workspace=world.workspace.id)))
        key = batches.key_of(requests.get(asked.approval, by=world.people["ann"]))
    ids = {
        "approvals": asked.approval,
        "<str:key>": key,
        "runs": held.run.id,
        "policies": draft.id,
        "budgets": waits.id,
        "members": world.members["vera"].id,
        "audit": entry.id,
        "stops": stop.id,
        "<str:slug>": world.agent.slug,
        "<str:name>": "pay",
        "<str:level>": "workspace",
        "<str:target>": world.workspace.id,
        "<str:story>": "refund",
    }
    estate = Estate(world, root_of(world), ids)
    for name, role in PEOPLE.items():
        estate.clients[role] = signed_in(world, name)
    return estate


def patterns() -> list[str]:
    """Every pattern below a workspace."""
    return [str(each.pattern) for each in urls.console]


def digest(organisation: str) -> dict[str, tuple[int, int]]:
    """table -> (rows, a sum over what each row holds and which transaction wrote it), of everything this organisation can have written.

    Left out, because looking may write them: sessions (their expiry) and `last_login` of a user.
    """
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:
        owner.execute("select set_config('app.organisation', %s, true)", [organisation])
        tables = owner.execute(
            "select oid::regclass::text from pg_class "
            "where relkind in ('r', 'p') and not relispartition and relnamespace = 'public'::regnamespace"
        ).fetchall()
        found = {}
        for (table,) in tables:
            if table not in {"agents_session", "auth_user"}:
                asked = f"select count(*), coalesce(sum(hashtext(t::text || t.xmin::text)::bigint), 0) from {table} t"
                if table in {"audit_entry", "agents_step"}:  # a partitioned table has no xmin of its own to read; it is append-only
                    asked = f"select count(*), coalesce(sum(hashtext(t::text)::bigint), 0) from {table} t"
                row = owner.execute(asked).fetchone()
                assert row is not None
                found[table] = (int(row[0]), int(row[1]))
        return found


class Links(HTMLParser):
    """The links and forms of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        had = {name: value or "" for name, value in attrs}
        if tag == "a" and had.get("href"):
            self.links.append(had["href"])
        if tag == "form":
            self.forms.append((had.get("method", "get").lower(), had.get("action", "")))


def crawl(estate: Estate, role: str, *, most: int = 400) -> Iterator[tuple[str, str, "Links | None", int]]:
    """(address, where it was found, its links, status) of everything this role can reach by links from the pages that open for it."""
    waiting = [(estate.path(page), "the table") for page, roles in PAGES.items() if role in roles and page in patterns()]
    waiting.append((f"{estate.root}/runs?q=has:refused&sort=-cost", "the table"))
    seen: set[str] = set()
    while waiting:
        address, origin = waiting.pop()
        plain = address.partition("#")[0]
        if plain.startswith("?"):
            plain = origin.partition("?")[0] + plain
        path, _, query = plain.partition("?")
        names = ",".join(sorted(part.partition("=")[0] for part in query.split("&")))
        shape = f"{re.sub(r'[A-Z]+-[0-9A-Z]+', '*', path)}?{names}"  # one of each combination of parameters
        outside = not plain.startswith("/") or plain.startswith(("/docs", "/static", "/api/", "/accounts/"))
        if outside or shape in seen:
            continue
        seen.add(shape)
        assert len(seen) < most, f"{role} walks in circles"
        answer = estate.clients[role].get(plain)
        is_page = answer.headers.get("Content-Type", "").startswith("text/html") and not answer.streaming
        found = Links(answer.content.decode()) if is_page else None
        yield plain, origin, found, answer.status_code
        if found is not None and answer.status_code == 200:
            waiting += [(link, plain) for link in found.links]
