"""The runs pages: who may see them, what they say in every state, what hostile text can do there (nothing), and stopping a run."""

import csv
import datetime
import io
import json
import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agents import organisations, policies, runs, seats
from agents.models import Call, Run, Step
from approvals import requests
from audit import tenancy
from controlplane import gate
from controlplane.console import lanes, telling, waterfall
from tests.controlplane.browsing import root_of, signed_in, text, visit
from tests.world import POLICIES, RunUnderTest, World

HOSTILE = "<script>alert(1)</script>{{ 7|add:1 }}\u202e javascript:alert(1)"


def busy(world: World) -> RunUnderTest:
    """A run that read, was refused, and waits for a person."""
    run = world.start(reference="TCK-1", title="Pay Anna back")
    run.call("get_account", {"account": "a"})
    run.call("pay", {"account": "a", "amount": 901})
    run.call("pay", {"account": "a", "amount": 50})
    return run


@pytest.fixture
def run(world: World) -> RunUnderTest:
    return busy(world)


def test_the_list_shows_runs_newest_first_with_their_state(world: World, run: RunUnderTest) -> None:
    later = world.start(reference="TCK-2")
    page = text(visit(world, "vera", "runs"))
    assert page.index(later.run.id) < page.index(run.run.id)
    assert "Waiting for approval" in page
    assert "Pay Anna back" in page


FILTERS = (
    ("q=TCK-1", True),
    ("q=tck-9", False),
    ("q=anna", True),
    ("state=WAITING", True),
    ("state=FAILED", False),
    ("agent=teller", True),
    ("agent=nobody", False),
    ("with=refused", True),
    ("since=2000-01-01", True),
    ("since=2999-01-01", False),
    ("since=nonsense", True),
    ("q=%00", True),
    ("state=%00WAITING", True),
    ("q=status:waiting+agent:teller", True),
    ("q=status:expired", False),
    ("q=tool:get_account", True),
    ("q=tool:close_account", False),
    ("q=refused:never-above", True),
    ("q=refused:policy_denied", True),
    ("q=refused:one-person", False),
    ("q=has:refused+has:asked", True),
    ("q=has:loop", False),
    ("q=waiting:one", True),
    ("q=waiting:two", False),
    ("q=approver:ann", False),
    ("q=cost:%3E0.40", False),
    ("q=cost:%3C0.40", True),
    ("q=steps:%3E1", True),
    ("q=%22Pay+Anna%22+tck-1", True),
    ("q=%22Anna+Pay%22", False),
    ("q=cost:cheap", True),
    ("sort=-cost", True),
    ("sort=nonsense", True),
)


def test_a_filter_is_in_the_address(world: World, run: RunUnderTest) -> None:
    for query, found in FILTERS:
        page = visit(world, "vera", f"runs?{query}")
        assert page.status_code == 200, query
        assert (run.run.id in text(page)) is found, query


def test_an_id_finds_its_run(world: World, run: RunUnderTest) -> None:
    assert run.run.id in text(visit(world, "vera", f"runs?q={run.run.id[:6].lower()}"))


def test_an_empty_list_says_whether_a_filter_made_it_so(world: World) -> None:
    assert "No agent has run here yet." in text(visit(world, "vera", "runs"))
    world.start()
    page = text(visit(world, "vera", "runs?state=FAILED"))
    assert "No runs match." in page
    assert ">1</a> without <code>status:failed</code>" in page


def test_the_next_page_goes_on_after_the_last_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.console.lists.SHOWN", 2)
    made = [world.start().run.id for _ in range(5)][::-1]
    client, address, seen = signed_in(world, "vera"), f"{root_of(world)}/runs", []
    for _ in range(4):
        page = text(client.get(address))
        seen += re.findall(r'/runs/(R-\w+)"', page)
        after = re.search(r'href="([^"]+)" rel="next"', page)
        if after is None:
            break
        address = after[1].replace("&amp;", "&")
    assert seen == made
    assert made[0] in text(visit(world, "vera", "runs?after=R-NONE")), "what is no place is the beginning"


def test_a_list_of_any_length_costs_the_same_number_of_statements(world: World) -> None:
    counts = []
    client = signed_in(world, "vera")
    for _ in range(2):
        for _ in range(3):
            busy(world)
        with CaptureQueriesContext(connection) as caught:
            client.get(f"{root_of(world)}/runs")
        counts.append(len(caught))
    assert counts[0] == counts[1]


def test_a_run_says_in_one_sentence_what_it_did(world: World, run: RunUnderTest) -> None:
    page = text(visit(world, "vera", f"runs/{run.run.id}"))
    assert "Read with get_account, was refused pay and waits for one human on pay." in page
    assert "TCK-1" in page
    assert "of 50" in page
    assert page.count('<svg class="lane"') == 4  # three calls and one wait


@pytest.mark.parametrize("tab", ["policy", "input", "output", "refusal", "diff", "effect", "cost", "raw", "links", "nonsense"])
def test_every_side_of_every_call_can_be_read(world: World, run: RunUnderTest, tab: str) -> None:
    with tenancy.within(world.organisation):
        calls = list(runs.calls(run.run))
    for call in calls:
        page = visit(world, "olga", f"runs/{run.run.id}?call={call.id}&tab={tab}")
        assert page.status_code == 200
        assert 'id="call"' in text(page)


def test_the_policy_tab_names_rule_reason_and_what_was_asked(world: World, run: RunUnderTest) -> None:
    page = text(visit(world, "vera", f"runs/{run.run.id}"))
    assert "one-person" in page
    assert "A payment above 10 needs a person." in page
    assert "Calls before" in page


def test_a_refusal_says_rule_now_limit_who_and_next(world: World, run: RunUnderTest) -> None:
    with tenancy.within(world.organisation):
        refused = runs.calls(run.run).get(state=Call.State.REFUSED)
    page = text(visit(world, "vera", f"runs/{run.run.id}?call={refused.id}&tab=refusal"))
    for word in ("never-above", "policy_denied", "Who can change it", "What next", "An agent never pays more than 900."):
        assert word in page


def test_what_the_schema_refused_never_reached_the_rules(world: World, run: RunUnderTest) -> None:
    run.call("pay", {"account": "a", "amount": "much"})
    with tenancy.within(world.organisation):
        refused = runs.calls(run.run).order_by("-created_at")[0]
    page = text(visit(world, "vera", f"runs/{run.run.id}?call={refused.id}&tab=policy"))
    assert "The rules were not asked" in page
    assert "/amount" in text(visit(world, "vera", f"runs/{run.run.id}?call={refused.id}"))


def looped(run: RunUnderTest) -> list[gate.Admission]:
    """The same call again and again, until the gate ends it."""
    said: list[gate.Admission] = []
    while not said or said[-1].status == "applied":
        said.append(run.call("get_account", {"account": "a"}))
    assert (said[-1].refusal or {})["code"] == "no_progress"
    return said


def test_a_call_that_the_gate_refused_opens_on_its_refusal_and_the_rules_do_not_seem_to_have_let_it_pass(world: World) -> None:
    run = world.start()
    said = looped(run)
    page = text(visit(world, "vera", f"runs/{run.run.id}"))
    assert "<dt>Code</dt><dd><code>no_progress</code>" in page
    assert f"call={said[-1].call}&amp;tab" not in page.partition('id="call"')[0], "a click on a refused call opens it there, too"
    page = text(visit(world, "vera", f"runs/{run.run.id}?call={said[-1].call}&tab=policy"))
    assert "The rules allowed it, but the gate refused the call: <code>no_progress</code>" in page
    page = text(visit(world, "vera", f"runs/{run.run.id}?call={said[0].call}&tab=policy"))
    assert "the gate refused" not in page


def test_the_last_words_of_a_run_say_who_wrote_them(world: World) -> None:
    looping, lying, stopped, failed, claiming = (world.start() for _ in range(5))
    words = (looped(looping)[-1].refusal or {})["message"]
    with tenancy.within(world.organisation):
        Run.objects.filter(id__in=[failed.run.id, claiming.run.id]).update(is_hosted=True)
    runs.end(by=lying.principal, run=lying.run, state="HANDED_OFF", summary=words, event="run.handed_off", handed_to=world.agent.owner_id)
    runs.end(by=world.people["sam"], run=stopped.run, state="STOPPED", summary="Enough.", event="run.stopped")
    runner = organisations.system(world.organisation, "runner")
    runs.end(by=runner, run=failed.run, state="FAILED", summary="The model did not answer.", event="run.failed")
    runs.end(by=claiming.principal, run=claiming.run, state="FAILED", summary=words, event="run.failed")
    said = {run.run.id: text(visit(world, "vera", f"runs/{run.run.id}")) for run in (looping, lying, stopped, failed, claiming)}
    fact, claim = f'<p class="facts">{words}', f'<blockquote class="said">{words}'
    assert fact in said[looping.run.id]
    assert "Written by the gate as it ended the run." in said[looping.run.id]
    assert claim in said[lying.run.id], "an agent cannot pass for the gate"
    assert claim in said[claiming.run.id], "nor for what runs it"
    assert "Written by the agent at the end. Not checked." in said[lying.run.id]
    assert "The reason given by sam, who ended the run." in said[stopped.run.id]
    assert "Written by Remit as it ended the run." in said[failed.run.id]
    assert "Written by the gate as it ended the run." in text(visit(world, "vera", f"runs/{looping.run.id}/report"))


def test_an_effect_shows_its_key_and_state(world: World, run: RunUnderTest) -> None:
    done = run.call("pay", {"account": "a", "amount": 5})
    page = text(visit(world, "vera", f"runs/{run.run.id}?call={done.call}&tab=effect"))
    assert "E1" in page
    assert done.call in page
    assert "Humans needed" in page


CLOSED = {"op": "replace", "entity": "account/a", "pointer": "/status", "label": "Status", "before": "standing", "after": "shut"}


def test_what_changed_outside_is_in_order_with_its_key_and_for_approvers_with_before_and_after(
    world: World, run: RunUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("approvals.plans.changes", lambda **_: [CLOSED])
    nothing = text(visit(world, "olga", f"runs/{run.run.id}?view=effects"))
    assert "Nothing outside was changed." in nothing
    done = [run.call("pay", {"account": "a", "amount": amount}) for amount in (5, 6)]
    with tenancy.within(world.organisation):
        keys = [effect.key for effect in runs.effects(run.run)]
    for page in (f"runs/{run.run.id}?view=effects", f"runs/{run.run.id}/report"):
        may, may_not = (text(visit(world, name, page)) for name in ("olga", "vera"))
        assert may.index(keys[0]) < may.index(keys[1])
        assert may.count("<del>standing</del>") == may.count("<ins>shut</ins>") == 2
        assert "standing" not in may_not
        assert keys[0] in may_not
        assert "for people who may see approvals" in may_not
    diff = f"runs/{run.run.id}?call={done[0].call}&tab=diff"
    assert "<del>standing</del>" in text(visit(world, "olga", diff))
    assert "standing" not in text(visit(world, "vera", diff))


def test_the_record_is_whole_redacted_and_for_who_may_see_the_run(world: World, run: RunUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("approvals.plans.changes", lambda **_: [CLOSED])
    done = run.call("pay", {"account": "a", "amount": 5, "note": "Bearer sk-live-" + "a1B2" * 8})
    before = len(world.events())
    answer = visit(world, "olga", f"runs/{run.run.id}/download")
    assert f'filename="run-{run.run.id}.json"' in answer["Content-Disposition"]
    record = json.loads(text(answer))
    assert [each["state"] for each in record["calls"]] == ["APPLIED", "REFUSED", "HELD", "APPLIED"]
    assert record["calls"][1]["refusal"]["code"] == "policy_denied"
    assert [each["call"] for each in record["effects"]] == [done.call]
    assert record["effects"][0]["changes"] == [CLOSED]
    assert [(each["state"], each["votes"]) for each in record["requests"]] == [("OPEN", [])]
    assert "a1B2a1B2" not in text(answer)
    seen = json.loads(text(visit(world, "vera", f"runs/{run.run.id}/download")))
    assert seen["requests"] is None
    assert seen["effects"][0]["changes"] is None
    assert "never-above" in text(visit(world, "vera", f"runs/{run.run.id}/report"))
    assert len(world.events()) == before


def test_a_run_with_exactly_as_many_changes_as_are_shown_is_whole(world: World, run: RunUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.console.run_record.MOST_EFFECTS", 1)
    for is_whole in (True, False):
        run.call("pay", {"account": "a", "amount": 5})
        record = json.loads(text(visit(world, "olga", f"runs/{run.run.id}/download")))
        assert (record["is_whole"], len(record["effects"])) == (is_whole, 1)
        assert ("The first 1 are shown." in text(visit(world, "olga", f"runs/{run.run.id}/report"))) is not is_whole


def test_a_report_and_a_record_cost_the_same_statements_at_any_length(world: World, run: RunUnderTest) -> None:
    client, counts = signed_in(world, "olga"), []
    for amount in (5, 6):
        run.call("pay", {"account": "a", "amount": amount})
        with CaptureQueriesContext(connection) as caught:
            for page in ("/report", "/download", "?view=effects"):
                assert client.get(f"{root_of(world)}/runs/{run.run.id}{page}").status_code == 200
        counts.append(len(caught))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("page", ["report", "download"])
def test_a_strangers_report_is_not_there(world: World, elsewhere: World, run: RunUnderTest, page: str) -> None:
    for client, there in ((signed_in(elsewhere, "olga"), world), (signed_in(elsewhere, "olga"), elsewhere)):
        assert client.get(f"{root_of(there)}/runs/{run.run.id}/{page}").status_code == 404


def test_cost_and_raw_say_what_was_held_and_kept(world: World, run: RunUnderTest) -> None:
    done = run.call("pay", {"account": "a", "amount": 5})
    assert "Reserved" in text(visit(world, "vera", f"runs/{run.run.id}?call={done.call}&tab=cost"))
    raw = text(visit(world, "vera", f"runs/{run.run.id}?call={done.call}&tab=raw"))
    assert "result_digest" in raw
    assert "sealed" not in raw


def test_only_who_may_read_the_log_sees_a_calls_entries(world: World, run: RunUnderTest) -> None:
    with tenancy.within(world.organisation):
        call = runs.calls(run.run)[0].id
    page = f"runs/{run.run.id}?call={call}&tab=links"
    assert "call.admitted" in text(visit(world, "ada", page))
    assert "call.admitted" not in text(visit(world, "vera", page))
    assert "for people who may read the log" in text(visit(world, "vera", page))


def test_a_payload_is_cut_and_the_rest_asked_for(world: World) -> None:
    run = world.start()
    done = run.call("pay", {"account": "a", "amount": 5, "note": "begin " + "n" * 6000 + " THE-END"})
    address = f"runs/{run.run.id}?call={done.call}&tab=input"
    assert "THE-END" not in text(visit(world, "vera", address))
    assert "Show all 5.9\xa0KB" in text(visit(world, "vera", address))
    assert "THE-END" in text(visit(world, "vera", f"{address}&full=1"))


def test_hostile_text_is_inert_and_its_hidden_characters_show(world: World) -> None:
    run = world.start(reference=HOSTILE[:200], title=HOSTILE[:200])
    done = run.call("pay", {"account": "a", "amount": 5, "note": HOSTILE})
    for page in (
        "runs",
        f"runs/{run.run.id}?call={done.call}&tab=input",
        f"runs/{run.run.id}?call={done.call}&tab=output",
        "overview",
        "go?q=script",
    ):
        said = text(visit(world, "olga", page))
        assert "<script>alert" not in said, page
        assert "\u202e" not in said, page
        assert 'href="javascript' not in said, page
    assert "[U+202E]" in text(visit(world, "olga", "runs"))


def test_what_was_said_is_labelled_by_who_wrote_it(world: World, run: RunUnderTest) -> None:
    with tenancy.within(world.organisation):
        Run.objects.filter(id=run.run.id).update(is_hosted=True)
        said: list[tuple[str, dict[str, Any]]] = [
            (Step.Kind.PROMPT, {"system": "You look after accounts.", "input": "Pay Anna.", "tools": [{"name": "pay"}]}),
            (
                Step.Kind.MODEL,
                {"text": HOSTILE, "reasoning": "Anna asked.", "calls": [{"tool": "pay", "arguments": {"a": 1}}], "usage": {}},
            ),
            (
                Step.Kind.TOOL,
                {"tool": "pay", "status": "applied", "result": {"content": [{"type": "text", "text": "paid " + "x" * 5000 + " LAST"}]}},
            ),
            (Step.Kind.HANDOFF, {"summary": "Over to you."}),
        ]
        for kind, content in said:
            runs.add_step(run=run.run, kind=kind, content=content)
    page = text(visit(world, "vera", f"runs/{run.run.id}?view=said"))
    for label in ("Written by the model", "Written by the model: reasoning", "From the tool pay", "Written by whoever started the run"):
        assert label in page
    assert "<script>alert" not in page
    assert "LAST" not in page
    assert "more characters" in page


@pytest.mark.parametrize("name", ["olga", "ann", "fiona", "ada", "vera", "sam"])
def test_everybody_who_may_see_runs_sees_them(world: World, run: RunUnderTest, name: str) -> None:
    assert visit(world, name, f"runs/{run.run.id}").status_code == 200


def test_strangers_and_the_signed_out_learn_nothing(world: World, elsewhere: World, run: RunUnderTest) -> None:
    signed_out = visit(world, "", f"runs/{run.run.id}")
    assert signed_out.status_code == 302
    assert "/accounts/login/" in signed_out["Location"]
    client = signed_in(elsewhere, "olga")
    theirs = client.get(f"{root_of(world)}/runs/{run.run.id}")
    absent = client.get(f"{root_of(world)}/runs/R-NONE")
    through_mine = client.get(f"{root_of(elsewhere)}/runs/{run.run.id}")
    assert theirs.status_code == absent.status_code == through_mine.status_code == 404
    assert theirs.content == absent.content == through_mine.content


def test_a_run_of_another_workspace_is_not_here(world: World, run: RunUnderTest) -> None:
    seats.grant(by=organisations.system(world.organisation, "tests"), member=world.members["vera"], workspace=world.other, role="viewer")
    assert signed_in(world, "vera").get(f"{root_of(world, 'lab')}/runs/{run.run.id}").status_code == 404


def test_looking_changes_nothing(world: World, run: RunUnderTest) -> None:
    before = len(world.events())
    for page in (
        "overview",
        "runs",
        f"runs/{run.run.id}",
        f"runs/{run.run.id}?tab=links",
        "agents",
        "agents/teller",
        "tools",
        "tools/pay",
        "go?q=pay",
    ):
        assert visit(world, "olga", page).status_code in {200, 302}
    assert len(world.events()) == before
    assert signed_in(world, "olga").get(f"{root_of(world)}/runs/{run.run.id}/stop").status_code == 405


def test_stopping_ends_the_run_withdraws_what_waits_and_leaves_its_entry(world: World, run: RunUnderTest) -> None:
    answer = signed_in(world, "olga").post(f"{root_of(world)}/runs/{run.run.id}/stop", {"reason": "Wrong customer."})
    assert answer.status_code == 302
    assert answer["Location"].endswith(f"/runs/{run.run.id}")
    assert run.reload().state == Run.State.STOPPED
    assert world.events("run.stopped", run=run.run.id) == ["run.stopped"]
    assert world.events("request.withdrawn", run=run.run.id)
    with tenancy.within(world.organisation):
        assert [each.state for each in requests.of_run(run.run.id)] == ["WITHDRAWN"]
    page = text(visit(world, "vera", f"runs/{run.run.id}"))
    assert "Stopped by a person" in page
    assert "Wrong customer." in page
    assert "Stop run" not in page


def test_a_stop_needs_a_reason_and_stops_once(world: World, run: RunUnderTest) -> None:
    client, address = signed_in(world, "olga"), f"{root_of(world)}/runs/{run.run.id}/stop"
    empty = client.post(address, {"reason": "  "})
    assert empty.status_code == 422
    assert "needs a reason" in text(empty)
    assert run.reload().state == Run.State.WAITING
    assert f"{root_of(world)}/runs/{run.run.id}?" in text(empty)  # its links lead to the run, not to the form's address
    client.post(address, {"reason": "Enough."})
    again = client.post(address, {"reason": "Enough."})
    assert again.status_code == 409
    assert "over already" in text(again)
    assert world.events("run.stopped") == ["run.stopped"]


@pytest.mark.parametrize("name", ["ann", "vera", "fiona", "ada"])
def test_who_may_not_stop_is_not_offered_it_and_cannot(world: World, run: RunUnderTest, name: str) -> None:
    assert "Stop run" not in text(visit(world, name, f"runs/{run.run.id}"))
    answer = signed_in(world, name).post(f"{root_of(world)}/runs/{run.run.id}/stop", {"reason": "I may not."})
    assert answer.status_code == 404
    assert run.reload().state == Run.State.WAITING


def test_a_stop_from_another_site_is_refused(world: World, run: RunUnderTest) -> None:
    client = Client(enforce_csrf_checks=True)
    client.cookies = signed_in(world, "olga").cookies
    assert client.post(f"{root_of(world)}/runs/{run.run.id}/stop", {"reason": "Forged."}).status_code == 403
    assert run.reload().state == Run.State.WAITING


def test_a_long_wait_is_folded_and_bars_stay_in_their_lane() -> None:
    axis = lanes.axis([(0, 1), (3601, 3602)], [(1, 3601)], 3602)
    assert axis.is_folded
    assert axis.place(1) == pytest.approx(100 / 3.8)
    assert axis.place(3601) == pytest.approx(280 / 3.8)
    assert axis.place(-5) == 0
    assert axis.place(9999) == 100
    left, width = (float(part.rstrip("%")) for part in axis.bar(3602, 3602))
    assert left + width <= 100
    assert width > 0.5  # and can still be seen
    assert lanes.axis([], [], 0).bar(0, 0) == ("0.00%", "0.60%")


def test_nothing_yet_is_said_as_that() -> None:
    assert telling.sentence([]) == "No call yet."


def test_a_wait_that_goes_on_is_not_the_agents_time(world: World, run: RunUnderTest) -> None:
    with tenancy.within(world.organisation):
        (wait,) = requests.of_run(run.run.id)
    later = wait.opened_at + datetime.timedelta(minutes=5)
    assert waterfall.waited(run.reload(), [wait], later) == pytest.approx(300)


def exported(world: World, name: str, query: str = "") -> list[list[str]]:
    answer: Any = signed_in(world, name).post(f"{root_of(world)}/runs/export?{query}")
    assert answer.status_code == 200
    return list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode())))


def test_the_columns_of_the_list_are_in_its_address_and_stay_while_it_is_narrowed(world: World, run: RunUnderTest) -> None:
    usual, chosen = text(visit(world, "vera", "runs")), text(visit(world, "vera", "runs?cols=tokens,waited&cols=cost&cols=nonsense"))
    for word in ("Tokens", "Waited"):
        assert f'data-l="{word}"' not in usual
        assert f'data-l="{word}"' in chosen
    assert 'data-l="Steps"' in usual
    assert 'data-l="Steps"' not in chosen
    assert re.search(r'data-l="Waited">\d', chosen), "it waits, and that counts"
    links = re.findall(r'href="(/[^"]*/runs\?[^"]*)"', chosen.partition('id="rows"')[2])
    assert links
    assert all("cols=tokens%2Ccost%2Cwaited" in link for link in links if "/runs?q=" in link)
    assert 'data-l="Steps"' in text(visit(world, "vera", "runs?cols=nonsense"))


def test_an_export_holds_the_filtered_runs_and_is_entered_first(world: World, run: RunUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    other = world.start(reference="=1+1", title="Another")
    rows = exported(world, "vera", "q=TCK-1")
    (row,) = [dict(zip(one, rows[-1], strict=True)) for i, one in enumerate(rows) if one[0] == "id"]
    assert (row["id"], row["state"], row["title"]) == (run.run.id, "WAITING", "Pay Anna back")
    assert row["cost"].startswith("$")
    assert ["# filter", "TCK-1"] in rows
    assert world.events("runs.exported") == ["runs.exported"]
    assert any(row[0] == other.run.id and "'=1+1" in row for row in exported(world, "vera")), "no formula for a spreadsheet"
    monkeypatch.setattr("controlplane.console.run_export._PIECE", 1)
    assert [row[0] for row in exported(world, "vera") if row[0].startswith("R-")] == [other.run.id, run.run.id]
    monkeypatch.setattr("controlplane.console.run_export.MOST", 1)
    cut = exported(world, "vera")
    assert [row[0] for row in cut if row[0].startswith("R-")] == [other.run.id]
    assert "there are more" in cut[-1][0]
    assert signed_in(world, "vera").get(f"{root_of(world)}/runs/export").status_code in {404, 405}


def test_who_only_sees_what_runs_cost_takes_no_words_away(world: World, elsewhere: World, run: RunUnderTest) -> None:
    rows = exported(world, "fiona")
    assert any(row[0] == run.run.id for row in rows)
    assert not any("Pay Anna back" in cell or "TCK-1" in cell or cell in {"title", "reference"} for row in rows for cell in row)
    assert signed_in(world, "fiona").post(f"{root_of(world)}/runs/export?q=anna").status_code == 404, "nor finds them by words"
    assert signed_in(elsewhere, "vera").post(f"{root_of(world)}/runs/export").status_code == 404


def test_a_runs_head_says_what_it_was_pinned_to_and_what_changed_since(world: World, run: RunUnderTest) -> None:
    page = text(visit(world, "olga", f"runs/{run.run.id}"))
    assert "stage gated" in page
    assert "category bounded" in page
    assert "pinned to version 1, same as current" in page
    assert "still in force" in page
    world.publish(prompt="You do something else.", tools=["get_account"])
    policies.activate(
        by=world.people["olga"], policy_set=policies.propose(by=world.people["sam"], workspace=world.workspace, text=POLICIES)
    )
    page = text(visit(world, "olga", f"runs/{run.run.id}"))
    assert "changed since in version 2: prompt, 3 tools" in page
    assert ", changed since" in page
