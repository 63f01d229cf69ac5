"""Two workspaces, a cast with roles, one agent with pinned tools on a real upstream.

Built through the domain's own functions, so it cannot be illegal.
"""

import datetime
import os
import secrets
from dataclasses import dataclass
from typing import Any

import psycopg
from django.contrib.auth import get_user_model

from agents import contracts, directory, drafts, identity, organisations, policies, seats, tools
from agents.models import Agent, Member, Run, Seat, Workspace
from agents.organisations import Principal
from agents.roles import FOR_A_TIME
from approvals import requests, votes
from approvals.models import Request
from audit import log, tenancy
from controlplane import connectors, examination, gate, runner
from controlplane.connectors import interface
from tests import upstream

POLICIES = """
@id("reads") permit (principal, action in Action::"read", resource);
@id("writes") permit (principal, action in Action::"write", resource);
@id("models") permit (principal, action == Action::"model", resource);
@id("one-person") @why("A payment above 10 needs a person.")
forbid (principal, action == Action::"pay", resource) when { context.args.amount > 10 } unless { context.approvals >= 1 };
@id("two-people") @why("Closing an account and paying above 500 need two people.")
forbid (principal, action == Action::"pay", resource) when { context.args.amount > 500 } unless { context.approvals >= 2 };
@id("two-people-close") @why("Closing an account needs two people.")
forbid (principal, action == Action::"close_account", resource) unless { context.approvals >= 2 };
@id("never-above") @why("An agent never pays more than 900.")
forbid (principal, action == Action::"pay", resource) when { context.args.amount > 900 };
@id("own-customer") @why("This run is about another customer.")
forbid (principal, action in Action::"call", resource) unless { context.subject.isEmpty() || context.subject.containsAll(context.owners) };
"""
CLASSES: dict[str, dict[str, Any]] = {
    "get_account": {
        "is_write": False,
        "risk": "low",
        "is_reversible": True,
        "connector_class": "E0",
        "price_micros": 0,
        "subjects": {"account": "account"},
    },
    "slow_read": {"is_write": False, "risk": "low", "is_reversible": True, "connector_class": "E0", "price_micros": 0},
    "pay": {
        "is_write": True,
        "risk": "high",
        "is_reversible": False,
        "connector_class": "E1",
        "price_micros": 10_000,
        "subjects": {"account": "account"},
        "preview": {"tool": "get_account", "arguments": {"account": {"argument": "account"}}, "entity": "account/{account}", "set": {}},
    },
    "close_account": {
        "is_write": True,
        "risk": "critical",
        "is_reversible": False,
        "connector_class": "E4",
        "price_micros": 0,
        "subjects": {"account": "account"},
    },
}


@dataclass
class World:
    """Everything a test needs, and short ways to what tests do most."""

    organisation: str
    workspace: Workspace
    other: Workspace
    bank: upstream.Bank
    agent: Agent
    people: dict[str, Principal]
    members: dict[str, Member]

    def join(self, name: str, role: str) -> None:
        """One more person, with a role in the workspace."""
        self.members[name], self.people[name] = _person(self.organisation, self.workspace, name, role)

    def seat(self, name: str, role: str, *, until: datetime.datetime | None = None, workspace: Workspace | None = None) -> Seat:
        """Give one of them one more role; where it must end, in 90 days."""
        system = organisations.system(self.organisation, "tests")
        until = until or (soon() if role in FOR_A_TIME else None)
        return seats.grant(by=system, member=self.members[name], workspace=workspace or self.workspace, role=role, until=until)

    def days_pass(self, days: int) -> None:
        """As the owner of the tables: every end of a role here is so many days nearer. No worker comes by."""
        with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:
            owner.execute("select set_config('app.organisation', %s, true)", [self.organisation])
            for table in ("agents_seat", "agents_workspacepermission"):
                owner.execute(f"update {table} set until = until - make_interval(days => %s)", [days])
            owner.execute("update agents_work set due_at = due_at - make_interval(days => %s) where kind = 'seat.end'", [days])

    def start(self, **order: Any) -> "RunUnderTest":
        """A run started by Olga, with the principal of its own key."""
        started = runner.start(by=self.people["olga"], workspace=self.workspace, order=runner.Order(**{"agent": self.agent.slug, **order}))
        return RunUnderTest(self, started.run, identity.authenticate(started.token), started.token)

    def events(self, event: str = "", **filters: Any) -> list[str]:
        """Audit events of this organisation, oldest first."""
        with tenancy.within(self.organisation):
            return [entry.event for entry in log.entries(event=event, **filters)][::-1]

    def request(self, identifier: str) -> Request:
        with tenancy.within(self.organisation):
            return requests.get(identifier, by=self.people["ann"])

    def approve(self, admission: gate.Admission, *names: str) -> None:
        """These people approve the plan that is open."""
        for name in names:
            votes.cast(by=self.people[name], request_id=admission.approval, verdict="APPROVE", plan_digest=admission.plan)

    def publish(self, **changes: Any) -> None:
        """A new version of the agent, pinned to what is active now."""
        with tenancy.within(self.organisation):
            names = [row.tool.name for row in tools.active(self.workspace.id)]
        goal = contracts.Goal(purpose="Look after accounts.", never=["Never pay twice."], output="A sentence.")
        pinning = contracts.Pinning(**{"prompt": "You look after accounts.", "tools": names, "models": ["scripted:idle"], **changes})
        contracts.publish(by=self.people["olga"], agent=self.agent, goal=goal, pinning=pinning)


@dataclass
class RunUnderTest:
    """One run and what it may knock with."""

    world: World
    run: Run
    principal: Principal
    token: str

    def call(self, tool: str, arguments: Any, key: str = "") -> gate.Admission:
        return gate.admit(examination.Proposal(principal=self.principal, run=self.run.id, name=tool, arguments=arguments, key=key))

    def reload(self) -> Run:
        with tenancy.within(self.world.organisation):
            self.run.refresh_from_db()
        return self.run


def soon(days: int = 90) -> datetime.datetime:
    """An end so many days ahead."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(days=days)


def _person(organisation: str, workspace: Workspace, name: str, role: str) -> tuple[Member, Principal]:
    system, suffix = organisations.system(organisation, "tests"), secrets.token_hex(4)
    user = get_user_model().objects.create_user(f"{name}-{suffix}", f"{name}-{suffix}@example.com", "a long password here")
    member = organisations.add_member(by=system, user=user, name=name)
    seats.grant(by=system, member=member, workspace=workspace, role=role, until=soon() if role in FOR_A_TIME else None)
    return member, Principal(kind="person", id=member.id, organisation=organisation, person=member.person, user=user.pk, name=name)


def make() -> World:
    """A fresh organisation. `ann` and `ben` approve, `olga` owns, `fiona` holds the purse, `ada` audits, `vera` only looks."""
    suffix = secrets.token_hex(4)
    organisation = organisations.create(slug=f"org-{suffix}", name="Testers")
    system = organisations.system(organisation.id, "tests")
    workspace = organisations.create_workspace(by=system, slug="desk", name="Desk")
    other = organisations.create_workspace(by=system, slug="lab", name="Lab")
    people, members = {}, {}
    cast = {
        "olga": "owner",
        "ann": "approver",
        "ben": "approver",
        "cleo": "approver",
        "fiona": "finance",
        "ada": "auditor",
        "vera": "viewer",
        "sam": "security",
    }
    for name, role in cast.items():
        members[name], people[name] = _person(organisation.id, workspace, name, role)
    bank = upstream.serve()
    olga = people["olga"]
    connector = tools.register_connector(
        by=olga,
        workspace=workspace,
        slug="bank",
        kind="mcp",
        url=bank.url,
        headers={"x-run": "{run.reference}"},
        allow_private=True,
        timeout_ms=3000,
    )
    found = connectors.discover(interface.Upstream(kind="mcp", slug="bank", url=bank.url, headers={}, timeout_s=5, allow_private=True))
    drafts.record(by=olga, connector=connector, offers=found)
    for name, classification in CLASSES.items():
        tools.confirm(by=olga, name=name, workspace=workspace, classification=classification)
    directory.load(by=olga, workspace=workspace, kind="account", owners={name: f"customer-{name}" for name in "abc"})
    agent = contracts.register(by=olga, workspace=workspace, slug="teller", name="Teller", owner=members["olga"], stage=Agent.Stage.GATED)
    world = World(organisation=organisation.id, workspace=workspace, other=other, bank=bank, agent=agent, people=people, members=members)
    policies.activate(by=olga, policy_set=policies.propose(by=people["sam"], workspace=workspace, text=POLICIES))
    world.publish()
    return world
