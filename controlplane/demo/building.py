"""Builds the demo's organisation: people, systems, rules, prices and agents, each by whoever would do it, in one transaction."""

import importlib.resources
from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from agents import contracts, directory, drafts, organisations, policies, roles, seats, stops, tools
from agents.models import Agent, Workspace
from agents.offers import Offer
from agents.organisations import Principal
from audit import tenancy
from budgets import caps, limits, prices
from controlplane import connectors
from controlplane.connectors import builtin, interface
from controlplane.demo import clock, crew, scene
from controlplane.demo.scene import Scene

SYSTEMS = ("helpdesk", "billing", "warehouse", "mail")
TIMEOUT_MS = 10_000
FOUNDED = timedelta(days=75)  # before the day it is built, where the clock of the record can be set back
PAUSED = "It asks the same question over and over since this afternoon. Off until Ben has looked."
# How the rules grew: days before today, and what was not yet among them.
RULES = ((75, ("refund-two-people", "refund-limit", "mail-one-person")), (52, ("refund-limit",)), (34, ()))


def build(dsn: str, slug: str = scene.SLUG) -> Scene:
    """Everything but what happened since. All of it or, when something stands in the way, nothing."""
    identifier = organisations.id_of(slug)
    with tenancy.within(identifier):
        clock.within_transaction(FOUNDED)
        organisation = organisations.create(slug=slug, name=scene.NAME, by_part="demo")
        system = organisations.system(organisation.id, "demo")
        workspace = organisations.create_workspace(by=system, slug=scene.DESK, name=scene.DESK_NAME)
        members = {}
        for name, role in scene.CAST.items():
            members[name] = organisations.add_member(by=system, user=_account(name.lower(), slug), name=name)
            until = timezone.now() + seats.USUAL if role in roles.FOR_A_TIME else None
            seats.grant(by=system, member=members[name], workspace=workspace, role=role, until=until)
        made = Scene(organisation.id, workspace, members)
        for name in SYSTEMS:
            _connect(made, name)
        learn(made, builtin.directory(dsn))
        _agree(made)
        clock.within_transaction(timedelta(days=33))
        for post in crew.POSTS:
            _hire(made, post)
        _pause(made)
        clock.within_transaction(timedelta(days=31))
        caps.put(
            by=made.person("Fiona"),
            workspace=workspace.id,
            level="workspace",
            target=workspace.id,
            period="month",
            cap_micros=crew.DESK_CAP_MICROS,
        )
        caps.put_threshold(by=made.person("Fiona"), workspace=workspace.id, micros=crew.TWO_PEOPLE_ABOVE)
    return made


def _account(name: str, slug: str) -> User:
    """Nobody signs in to it with a password. User names are unique on the installation: a second `dana` is `dana.demo`."""
    try:
        return organisations.new_user(username=name, email=f"{name}@larkfield.example")
    except organisations.Conflict:
        return organisations.new_user(username=f"{name}.{slug}", email=f"{name}@larkfield.example")


def _connect(made: Scene, system: str) -> None:
    """Ben registers a system and asks it what it offers; Olga reads the list and turns the tools on."""
    ben, url = made.person("Ben"), f"builtin:{system}"
    connector = tools.register_connector(by=ben, workspace=made.workspace, slug=system, kind="builtin", url=url, timeout_ms=TIMEOUT_MS)
    upstream = interface.Upstream(kind="builtin", slug=system, url=url, headers={}, timeout_s=TIMEOUT_MS / 1000, allow_private=False)
    found = connectors.discover(upstream)
    drafts.record(by=ben, connector=connector, offers=found)
    for each in found:
        _confirm(made.person("Olga"), made.workspace, each)


def _confirm(by: Principal, workspace: Workspace, found: Offer) -> None:
    said = found.hints
    classification = {
        "is_write": said["is_write"],
        "risk": said["risk"],
        "is_reversible": said["reversible"],
        "data_domain": said.get("data_domain", ""),
        "connector_class": said["connector_class"],
        "price_micros": said["price_micros"],
        "subjects": said["subjects"],
        "preview": said["preview"],
        "redact": said["redact"],
    }
    tools.confirm(by=by, name=found.name, workspace=workspace, classification=classification)


def learn(made: Scene, known: dict[str, dict[str, str]]) -> None:
    """Whose invoice and whose ticket is which, as the systems of record have it."""
    for kind, owners in known.items():
        directory.load(by=made.person("Ben"), workspace=made.workspace, kind=kind, owners=owners)


def _agree(made: Scene) -> None:
    """Ben proposes the rules, Sam puts them in force; each version adds what was missing."""
    rules = importlib.resources.files(__package__).joinpath("policies.cedar").read_text(encoding="utf-8")
    for days, missing in RULES:
        clock.within_transaction(timedelta(days=days))
        text = "\n\n".join(rule for rule in rules.strip().split("\n\n") if not any(f'@id("{name}")' in rule for name in missing))
        found = policies.propose(by=made.person("Ben"), workspace=made.workspace, text=text + "\n")
        policies.activate(by=made.person("Sam"), policy_set=found)


def _pause(made: Scene) -> None:
    """Six days ago, in the evening: Sam stopped an agent, and Olga let it go on."""
    evening = timedelta(days=5) + (timezone.now() - timezone.now().replace(hour=0, minute=0)) + timedelta(hours=3, minutes=55)
    agent = contracts.get("stock-researcher", workspace=made.workspace)
    clock.within_transaction(evening)
    stop = stops.engage(by=made.person("Sam"), scope="agent", target=agent.id, reason=PAUSED, workspace=made.workspace.id)
    clock.within_transaction(evening - timedelta(minutes=47))
    stops.release(by=made.person("Olga"), stop=stop, workspace=made.workspace.id)


def _hire(made: Scene, post: crew.Post) -> None:
    ben, fiona = made.person("Ben"), made.person("Fiona")
    prices.put(
        by=fiona,
        workspace=made.workspace.id,
        item=post.model,
        input_micros=crew.INPUT_MICROS,
        output_micros=crew.OUTPUT_MICROS,
        source="demo: what a mid-sized model costs",
    )
    agent = contracts.register(
        by=ben, workspace=made.workspace, slug=post.slug, name=post.name, owner=made.members["Ben"], stage=Agent.Stage.GATED
    )
    if post.limits:
        limits.put(by=ben, agent=agent, values=post.limits)
    limits.put(by=fiona, agent=agent, values={"micros": post.purse})
    contracts.publish(
        by=ben,
        agent=agent,
        goal=contracts.Goal(purpose=post.purpose, never=post.never, output=post.output),
        pinning=contracts.Pinning(prompt=post.prompt, tools=post.tools, models=[post.model]),
    )
