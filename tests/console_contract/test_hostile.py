"""Hostile text in every field that an agent, a tool or a person can write. Each field bears a mark of its own; every page that shows one
shows it as text: no element, attribute, address or hidden character of a page comes out of it.
"""

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from agents import contracts, directory, drafts, identity, offers, organisations, policies, runs, seats, stops, tools, views
from agents.models import Run, Step
from agents.organisations import Principal
from approvals import batches, denials, ends, remarks, requests, votes
from audit import tenancy
from controlplane import runner
from controlplane.console import agent_tabs, inspector, tool_tabs
from tests import world as worlds
from tests.console_contract import estate as estates
from tests.console_contract.estate import Estate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

CORPUS = (
    "</textarea></title></script><script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg/onload=alert(3)>"
    "{{71*7919}}{% now 'Y' %}[x](javascript:alert(4)) hx-get=/x \u202egnp.exe\u200b\u2066\ufeff&lt;b&gt;"
)
HIDDEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\x00-\x08\x0b-\x1f\x7f]")
MARK = re.compile(r"zq\d\dz")
EVALUATED = re.compile("562249")  # long enough not to be part of a random token


@dataclass
class Marks:
    """A mark for each field, and which field it stands for."""

    fields: dict[str, str] = field(default_factory=dict)

    def __call__(self, name: str) -> str:
        mark = f"zq{len(self.fields):02}z"
        self.fields[mark] = name
        return mark + CORPUS

    def seen(self, name: str) -> str:
        """For a name, which is refused with anything hidden in it."""
        return HIDDEN.sub("", self(name))[:120]


class Page(HTMLParser):
    """What of a page is not text: scripts with a body, handlers, addresses, and attributes of htmx that bear a mark."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(html)
        text = " ".join(self.words)
        self.marks = set(MARK.findall(text))
        self.faults += [f"hidden {text[max(0, found.start() - 250) : found.end()]!a}" for found in HIDDEN.finditer(text)]
        self.faults += [f"evaluated {found!r}" for found in EVALUATED.findall(text)]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag if dict(attrs).get("type") != "application/json" else ""
        for name, value in attrs:
            said = value or ""
            scheme = said.split(":", 1)[0].strip().lower()
            if name.startswith("on") or name in {"style", "srcdoc"}:
                self.faults.append(f"<{tag} {name}={said}>")
            if name in {"href", "src", "action", "formaction", "hx-get", "data-get"} and (
                scheme in {"javascript", "data", "vbscript"} or said.startswith("//")
            ):
                self.faults.append(f"<{tag} {name}={said}>")
            if name.startswith("hx-") and MARK.search(said) and "<" in said:
                self.faults.append(f"<{tag} {name}={said}>")
            if name in {"title", "aria-label", "value", "alt", "placeholder", "content"}:
                self.words.append(said if name != "value" else MARK.sub(" ", HIDDEN.sub(" ", said)))  # a form gives back what was typed
        if tag in {"svg", "img"} and dict(attrs).get("src") == "x":
            self.faults.append(f"<{tag}>")

    def handle_data(self, data: str) -> None:
        if self._inside == "script" and data.strip():
            self.faults.append(f"script {data[:60]!r}")
        self.words.append(HIDDEN.sub(" ", data) if self._inside == "textarea" else data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


@pytest.fixture(scope="module")
def poisoned(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> tuple[Estate, Marks]:
    """One of everything, and each text of it hostile."""
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        estate, marks = estates.furnish(), Marks()
        _poison(estate, marks)
        return estate, marks


def _poison(estate: Estate, mark: Marks) -> None:  # noqa: PLR0915 - a field each
    world = estate.world
    olga, ann, sam = (world.people[name] for name in ("olga", "ann", "sam"))
    system = organisations.system(world.organisation, "tests")
    lab = organisations.create_workspace(by=system, slug="odd", name=mark.seen("workspace"))
    user = get_user_model().objects.create_user(f"mal-{world.organisation[4:].lower()}", "mal@example.com", "a long password here")
    mallory = organisations.add_member(by=system, user=user, name=mark.seen("member"))
    for place in (world.workspace, lab):
        seats.grant(by=system, member=mallory, workspace=place, role="admin")
    seats.grant(by=system, member=world.members["olga"], workspace=lab, role="owner")
    acting = organisations.acting(mallory)
    _of_the_registry(estate, mark, acting)
    stops.release(by=olga, stop=_the_stop(estate))
    stops.engage(by=acting, scope="tool", target="slow_read", reason=mark("stop reason"))
    directory.load(by=acting, workspace=world.workspace, kind="account", owners={"odd": CORPUS})
    views.save(by=ann, workspace=world.workspace, page="approvals", name=mark("saved view")[:60], query="q=x", is_shared=True)
    text = (
        worlds.POLICIES
        + f'\n@id("hostile") @why({json.dumps(mark("reason of a rule"), ensure_ascii=False)})\n'
        + ('forbid (principal, action == Action::"pay", resource) when { context.args.amount == 77 };')
    )
    policies.activate(by=olga, policy_set=policies.propose(by=sam, workspace=world.workspace, text=text))
    run = world.start(title=mark("title of a run"))
    run.call("pay", {"account": "a", "amount": 77})  # refused by the rule above
    run.call("nothing-" + mark("name of a tool that is none")[:60], {"x": 1})
    run.call("get_account", {"account": mark("argument of a read")})
    run.call("pay", {"account": "a", "amount": "much", "note": mark("argument of a wrong shape")})
    run.call("pay", {"account": "a", "amount": 5, mark("name of an argument")[:60]: "x"})
    waiting = run.call("pay", {"account": "a", "amount": 50, "note": mark("argument of a write")})
    run.call("pay", {"account": "b", "amount": 50, "note": mark("argument of one like it")})
    remarks.comment(by=acting, request_id=waiting.approval, text=mark("comment"))
    with tenancy.within(world.organisation):
        key = batches.key_of(requests.get(waiting.approval, by=ann))
    estate.ids |= {"approvals": waiting.approval, "<str:key>": key, "runs": run.run.id}

    def decided(amount: int) -> Any:
        asked = run.call("pay", {"account": "b", "amount": amount})
        estate.ids[f"decided {amount}"] = asked.approval
        return asked

    denied = decided(61)
    votes.cast(
        by=ann,
        request_id=denied.approval,
        verdict="DENY",
        plan_digest=denied.plan,
        reason=mark("reason of a denial"),
        denial=denials.Scope("RUN"),
    )
    back = decided(62)
    ends.send_back(
        by=ann, request_id=back.approval, plan_digest=back.plan, hint=ends.Hint("amount", mark("what is expected"), mark("hint"))
    )
    ends.withdraw(by=olga, request_id=decided(63).approval, reason=mark("reason of a withdrawal"))
    world.bank.accounts["c"]["owner"] = mark("what an upstream answers")
    run.call("get_account", {"account": "c"})
    run.call("pay", {"account": "c", "amount": 3})
    order = runner.Order(agent=world.agent.slug, hosted=True, prompt="x")
    hosted = runner.start(by=olga, workspace=world.workspace, order=order)
    with tenancy.within(world.organisation):
        proposed = [{"tool": "pay", "arguments": {"note": mark("what a model proposes")}}]
        said = {"text": mark("what a model says"), "reasoning": mark("what a model thinks"), "calls": proposed}
        runs.add_step(
            run=hosted.run,
            kind=Step.Kind.PROMPT,
            content={"system": mark("system prompt"), "input": mark("what a run is told"), "tools": []},
        )
        runs.add_step(run=hosted.run, kind=Step.Kind.MODEL, content=said)
    runs.end(by=olga, run=hosted.run, state=Run.State.STOPPED, summary="", event="run.stopped")
    estate.ids["hosted"] = hosted.run.id
    over = world.start(title="Over")
    runs.end(
        by=olga,
        run=over.run,
        state=Run.State.HANDED_OFF,
        summary=mark("summary"),
        event="run.handed_off",
        handed_to=world.members["olga"].id,
    )
    estate.ids["over"] = over.run.id


def _of_the_registry(estate: Estate, mark: Marks, by: Principal) -> None:
    world = estate.world
    connector = tools.register_connector(
        by=by, workspace=world.workspace, slug="odd", kind="mcp", url="http://127.0.0.1:9/", headers={}, allow_private=True
    )
    schema = {
        "type": "object",
        "description": mark("description of a schema"),
        "properties": {"note": {"type": "string", "description": mark("description of an argument"), "enum": [mark("one of the values")]}},
    }
    given = offers.Offer("odd_tool", mark("title of a tool"), mark("description of a tool"), schema, None)
    drafts.record(by=by, connector=connector, offers=[given])
    agent = contracts.register(by=by, workspace=world.workspace, slug="odd", name=mark.seen("agent"), owner=world.members["olga"])
    goal = contracts.Goal(purpose=mark("purpose"), never=[mark("never")], output=mark("output"))
    pinning = contracts.Pinning(prompt=mark("prompt"), tools=["get_account"], models=["scripted:idle"])
    contracts.publish(by=by, agent=agent, goal=goal, pinning=pinning)
    identity.issue(by=by, agent=agent, label=mark("label of a key")[:80])


def _the_stop(estate: Estate) -> Any:
    with tenancy.within(estate.world.organisation):
        return stops.get(estate.ids["stops"])


def test_hostile_text_is_text_on_every_page(poisoned: tuple[Estate, Marks]) -> None:
    estate, marks = poisoned
    shown: set[str] = set()
    faults: dict[str, list[str]] = {}

    def look(address: str, client: Any) -> None:
        answer = client.get(address)
        assert answer.status_code in {200, 302, 404}, (address, answer.status_code)
        if answer.status_code == 200 and answer.headers.get("Content-Type", "").startswith("text/html") and not answer.streaming:
            page = Page(answer.content.decode())
            shown.update(page.marks)
            if page.faults:
                faults[address] = page.faults[:3]

    for page, roles in estates.PAGES.items():
        for role in {"owner", "approver"} & roles:
            look(estate.path(page), estate.clients[role])
    for address in _deep(estate):
        look(address, estate.clients["owner"])
    assert not faults
    assert not {name for mark, name in marks.fields.items() if mark not in shown}, (
        "fields that no page shows: then this shows nothing of them"
    )


def _deep(estate: Estate) -> list[str]:
    """Pages of the things that bear the texts, tab by tab, which a crawl of one of each kind need not meet."""
    with tenancy.within(estate.world.organisation):
        run = runs.get(estate.ids["runs"], by=estate.world.people["olga"])
        calls = [call.id for call in runs.calls(run)]
    found = [f"{estate.root}/runs/{run.id}?call={call}&tab={tab}" for call in calls for tab in inspector.TABS]
    found += [
        f"{estate.root}/runs/{each}{part}"
        for each in (run.id, estate.ids["over"], estate.ids["hosted"])
        for part in ("", "?view=said", "/report")
    ]
    found += [
        f"{estate.root}/approvals/{request}" for name, request in estate.ids.items() if name == "approvals" or name.startswith("decided")
    ]
    found += [f"{estate.root}/agents/odd?tab={tab}" for tab in agent_tabs.TABS]
    found += [f"{estate.root}/tools/odd_tool?tab={tab}" for tab in tool_tabs.TABS]
    return [*found, "/workspaces", estate.root.replace("/desk", "/odd/overview"), *(f"{estate.root}/go?q={word}" for word in ("odd", "zq"))]
