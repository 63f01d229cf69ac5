"""Finance sees what runs cost and none of what they were given, said and did (ui.md 3.3): on no page, not over REST, not by searching."""

import json

import pytest
from django.test import Client

from agents import identity, runs, sight
from agents.models import Call
from audit import log, tenancy
from budgets import limits
from tests.controlplane import api_knocking as knocking
from tests.controlplane import browsing
from tests.world import World

WORD = "canary"  # in everything that somebody wrote


@pytest.fixture
def spoken(world: World) -> dict[str, str]:
    """A run with a canary in each of its words: a read, a payment that people approve, a refusal, and its own words at the end."""
    run = world.start(reference=f"{WORD}-ref", title=f"{WORD} title", subject=["customer-a", f"customer-{WORD}"])
    run.call("get_account", {"account": f"{WORD}-read"}, f"{WORD}-key")
    run.call("pay", {"account": "a", "amount": 5, "note": WORD}, "k2")
    run.call("pay", {"account": "a", "amount": f"{WORD}-amount"}, "k3")
    with tenancy.within(world.organisation):
        call = runs.calls(run.reload()).filter(name="pay").first()
        assert call is not None
    runs.end(by=world.people["olga"], run=run.run, state="HANDED_OFF", summary=f"{WORD} summary", event="run.handed_off")
    return {"run": run.run.id, "call": call.id}


def pages(world: World, run: str, call: str) -> list[str]:
    tabs = ("policy", "input", "output", "refusal", "diff", "effect", "cost", "raw", "links")
    return [
        "overview",
        "runs",
        f"runs?q={run}",
        "runs?sort=-cost",
        f"agents/{world.agent.slug}",
        f"agents/{world.agent.slug}?tab=runs",
        "budgets",
        f"budgets/workspace/{world.workspace.id}",
        f"runs/{run}",
        f"runs/{run}?view=said",
        f"runs/{run}?view=effects",
        f"runs/{run}/report",
        f"runs/{run}/download",
        *(f"runs/{run}?call={call}&tab={tab}&full=1" for tab in tabs),
    ]


def test_no_page_shows_finance_a_word_of_a_run(world: World, spoken: dict[str, str]) -> None:
    def told(who: str) -> set[str]:
        shown = {page: browsing.visit(world, who, page) for page in pages(world, **spoken)}
        assert {answer.status_code for answer in shown.values()} == {200}
        return {page for page, answer in shown.items() if WORD in browsing.text(answer)}

    assert told("fiona") == set()
    assert len(told("olga")) > 10  # the canary is where the words are


def test_nor_does_rest(world: World, spoken: dict[str, str]) -> None:
    addresses = [
        f"/api/v1/runs?workspace={world.workspace.id}",
        f"/api/v1/runs/{spoken['run']}",
        f"/api/v1/runs/{spoken['run']}/calls",
        f"/api/v1/runs/{spoken['run']}/steps",
    ]
    told = {}
    for who in ("fiona", "olga"):
        token = identity.issue(by=world.people[who], member=world.members[who]).token
        client = Client(headers={"authorization": f"Bearer {token}"})
        told[who] = {address for address in addresses if WORD in client.get(address).content.decode()}
        assert all(client.get(address).status_code == 200 for address in addresses)
    assert told == {"fiona": set(), "olga": set(addresses[:3])}


def test_nor_does_the_log_whose_entries_about_money_they_read(world: World, spoken: dict[str, str]) -> None:
    """What a person or an agent says as they hand a run over is in the entry; of the gate's own there is only the cap."""
    limits.put(by=world.people["olga"], agent=world.agent, values={"tool_calls": 1})
    over = world.start()
    for key in ("one", "one too many"):
        over.call("get_account", {"account": key}, key)
    with tenancy.within(world.organisation):
        said, capped = (log.entries(event="run.handed_off", run=run).get().id for run in (spoken["run"], over.run.id))
    told = {}
    for who in ("fiona", "olga"):
        token = identity.issue(by=world.people[who], member=world.members[who]).token
        client = Client(headers={"authorization": f"Bearer {token}"})
        shown = [browsing.visit(world, who, page) for page in ("audit?event=run.handed_off", f"audit/{said}")]
        shown += [client.get(f"/api/v1/{page}") for page in (f"audit/{said}", f"audit?run={spoken['run']}")]
        told[who] = sum(WORD in browsing.text(each) for each in shown)
        told[who] += said in browsing.text(browsing.visit(world, who, f"audit?text={WORD}"))
        assert capped in browsing.text(shown[0])
        assert capped in client.get(f"/api/v1/audit/{capped}").content.decode()
    assert told == {"fiona": 0, "olga": 4}


def test_of_a_call_they_are_told_how_it_stands_and_no_more(world: World, spoken: dict[str, str]) -> None:
    run = world.start()
    refused, held = run.call("pay", {"account": "a", "amount": WORD}), run.call("pay", {"account": "a", "amount": 50, "note": WORD})
    token = identity.issue(by=world.people["fiona"], member=world.members["fiona"]).token
    for said, status in ((refused, "refused"), (held, "pending_approval")):
        found = knocking.ask("GET", f"{knocking.API}/calls/{said.call}", token).body
        assert found["status"] == status
        assert not {"detail", "faults", "code", "approval", "plan", "url", "result"} & found.keys()


def test_nor_can_they_find_a_run_by_its_words(world: World, spoken: dict[str, str]) -> None:
    for who, shown in (("fiona", False), ("olga", True)):
        page = browsing.text(browsing.visit(world, who, f"runs?q={WORD}"))
        assert ("runs_read" in page) is not shown
        found = browsing.signed_in(world, who).get(f"{browsing.root_of(world)}/go", {"q": f"{WORD} title"}, follow=True)
        assert (spoken["run"] in browsing.text(found)) is shown


def test_of_a_models_answer_the_tokens_stay_and_the_words_go() -> None:
    call = Call(kind=Call.Kind.MODEL, arguments=WORD, key=WORD, result='{"text":"canary","usage":{"input_tokens":7}}', settled_micros=3)
    sight.of_costs(call)
    assert (json.loads(call.result), call.settled_micros) == ({"usage": {"input_tokens": 7}}, 3)
    assert WORD not in call.arguments + call.key + call.refusal + call.decision
    odd = Call(kind=Call.Kind.MODEL, result=f"{WORD} cut off")
    assert sight.of_costs(odd).result == ""


def test_the_page_says_what_is_kept_from_them_and_shows_the_money(world: World, spoken: dict[str, str]) -> None:
    page = browsing.text(browsing.visit(world, "fiona", f"runs/{spoken['run']}"))
    assert "runs_read" in page
    assert "$0.01" in page
    assert "Input" not in page.partition('class="tabs"')[2].partition("</div>")[0]
