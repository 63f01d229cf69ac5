"""The log in the browser: filters in the address, pages without gaps, exact bytes, exports that are entered."""

import datetime
import hashlib
import json
import time

from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents import stops
from audit import log, tenancy
from budgets import caps
from controlplane.console import lists
from tests import world as worlds
from tests.controlplane import browsing


def test_the_log_opens_for_the_auditor_and_looks_like_nothing_to_others(world, elsewhere):
    with tenancy.within(world.organisation):
        entry = log.entries(workspace=world.workspace.id)[0]
    browsing.stays_outside(world, elsewhere, ["/audit", f"/audit/{entry.id}"], may="ada", may_not="vera")


def test_an_entry_of_another_workspace_or_of_none_is_not_shown_to_who_holds_only_this_one(world):
    with tenancy.within(world.organisation):
        of_none = log.entries().filter(workspace_id="")[0]
    ada = browsing.browser(world, "ada")
    assert ada.get(f"/audit/{of_none.id}").status_code == 404
    assert of_none.id not in ada.text("/audit")


def test_filters_narrow_and_say_so(world):
    run = world.start()
    run.call("pay", {"account": "a", "amount": 5})
    ada = browsing.browser(world, "ada")
    page = ada.text("/audit", event="call.*", actor="teller", run=run.run.id)
    assert "The gate admitted pay, $0.01." in page
    assert "A run was started." not in page
    assert "No entry matches." in ada.text("/audit", subject="nothing-like-this")
    assert ada.get("/audit", since="yesterday").status_code == 422
    assert ada.get("/audit", subject="\0").status_code == 422


def test_pages_follow_each_other_without_gap_or_repeat(world, monkeypatch):
    run = world.start()
    for number in range(5):
        run.call("pay", {"account": "a", "amount": 5}, f"k{number}")
    monkeypatch.setattr(lists, "SHOWN", 4)
    ada, seen, query = browsing.browser(world, "ada"), [], ""
    while True:
        answer = ada.client.get(f"{ada.root}/audit?{query}")
        seen += [entry.id for entry, *_ in answer.context["rows"]]
        query = answer.context["further"]
        if not query:
            break
    with tenancy.within(world.organisation):
        assert seen == [entry.id for entry in log.entries(workspace=world.workspace.id)]


def test_one_entry_shows_its_bytes_and_that_the_hash_matches(world):
    with tenancy.within(world.organisation):
        entry = log.entries(workspace=world.workspace.id)[0]
    page = browsing.browser(world, "ada").text(f"/audit/{entry.id}")
    assert bytes(entry.leaf).hex() in page
    assert "Hash matches the bytes" in page


def test_an_export_holds_exactly_the_selection_and_is_entered(world):
    run = world.start()
    run.call("pay", {"account": "a", "amount": 5})
    ada = browsing.browser(world, "ada")
    answer = ada.post("/audit/export", format="jsonl", event="call.*")
    head, *rows = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert head["remit_export"] | {"zone": "UTC", "event": "call.*", "workspace": "desk"} == head["remit_export"]
    assert rows
    assert {row["event"].partition(".")[0] for row in rows} == {"call"}
    assert world.events()[-1] == "audit.exported"
    assert b"".join(ada.post("/audit/export", format="csv", event="call.*").streaming_content).count(b"call.") >= len(rows)
    assert ada.get("/audit/export").status_code == 405


def test_who_may_read_but_not_export_does_not(world):
    fiona = browsing.browser(world, "fiona")
    assert fiona.post("/audit/export", format="jsonl").status_code == 404
    assert "Export JSONL" not in fiona.text("/audit")


def test_hostile_text_in_an_entry_is_inert(world):
    with tenancy.within(world.organisation):
        event = log.append("price.set", by=world.people["olga"], subject=browsing.HOSTILE, workspace=world.workspace.id)
    for page in ("/audit", f"/audit/{event}"):
        text = browsing.browser(world, "ada").text(page)
        assert "<script>alert" not in text
        assert "[U+202E]" in text


def busy(world: worlds.World, times: int = 3) -> worlds.RunUnderTest:
    run = world.start()
    for number in range(times):
        run.call("pay", {"account": "a", "amount": 5}, f"k{number}")
    run.call("nothing", {})
    return run


def test_facets_count_what_their_links_find_and_the_bars_add_up(world):
    busy(world)
    ada = browsing.browser(world, "ada")
    page = ada.get("/audit").context
    with tenancy.within(world.organisation):
        assert page["numbers"].total == log.entries(workspace=world.workspace.id).count()
    assert sum(bar.number for bar in page["numbers"].bars) == page["numbers"].total
    for title, found in page["facets"]:
        assert sum(number for _, number, _, _ in found) == page["numbers"].total, title
        for word, number, query, _ in found:
            assert ada.client.get(f"{ada.root}/audit?{query}").context["numbers"].total == number, word
    *_, bar, query = page["bars"][-1]
    assert ada.client.get(f"{ada.root}/audit?{query}").context["numbers"].total == bar.number


def test_what_is_typed_as_qualifiers_becomes_filters_in_the_address(world):
    ada = browsing.browser(world, "ada")
    answer = ada.get("/audit", q='actor:teller event:call.* after:2026-11-01 "pay twice" odd:one')
    assert answer.status_code == 302
    asked = ada.client.get(answer.headers["Location"]).context["asked"]
    assert asked == {"actor": "teller", "event": "call.*", "since": "2026-11-01", "text": "pay twice odd:one"}


def test_words_are_found_in_what_was_written_and_refusals_by_their_outcome(world):
    run = busy(world)
    ada = browsing.browser(world, "ada")
    rows = ada.get("/audit", text="unknown_tool").context["rows"]
    assert {entry.event for entry, *_ in rows} == {"call.refused"}
    refused = ada.get("/audit", outcome="refused", run=run.run.id).context["rows"]
    assert {entry.event for entry, *_ in refused} == {"call.refused"}
    assert "No entry matches." in ada.text("/audit", text="100%_of nothing")


def test_pages_lead_back_to_where_they_came_from(world, monkeypatch):
    busy(world, 5)
    monkeypatch.setattr(lists, "SHOWN", 4)
    ada = browsing.browser(world, "ada")

    def ids(query: str) -> list[str]:
        return [entry.id for entry, *_ in ada.client.get(f"{ada.root}/audit?{query}").context["rows"]]

    first = ada.get("/audit").context
    second = ada.client.get(f"{ada.root}/audit?{first['further']}").context
    assert second["newer"]
    assert ids(second["newer"]) == ids("")


def test_a_log_under_the_eye_stands_still_and_says_how_much_is_new(world):
    ada = browsing.browser(world, "ada")
    newest = ada.get("/audit", event="run.*").context["newest"]
    world.start()
    world.start()
    said = ada.client.get(f"{ada.root}/audit", {"event": "run.*", "above": newest}, headers={"HX-Request": "true", "HX-Target": "fresh"})
    assert "<html" not in said.content.decode()
    assert "Load 2 new" in said.content.decode()


def test_a_change_is_shown_beside_what_stood_before(world):
    fiona = world.people["fiona"]
    for cap in (5_000_000, 7_000_000):
        caps.put(by=fiona, workspace=world.workspace.id, level="agent", target=world.agent.id, period="month", cap_micros=cap)
    with tenancy.within(world.organisation):
        newest = log.entries(event="cap.set")[0]
    fields = browsing.browser(world, "ada").get(f"/audit/{newest.id}").context["fields"]
    assert {name: (was, now) for name, was, now, differs, _ in fields if differs} == {"cap_micros": (5_000_000, 7_000_000)}


def test_the_log_asks_as_many_questions_whatever_it_shows(world):
    ada = browsing.browser(world, "ada")
    ada.text("/audit")
    with CaptureQueriesContext(connection) as few:
        ada.text("/audit")
    busy(world, 8)
    with CaptureQueriesContext(connection) as many:
        ada.text("/audit")
    assert len(many) == len(few)


def test_an_entry_says_what_it_is_about_and_costs_no_question_more(world):
    run = world.start()
    held = run.call("pay", {"account": "a", "amount": 50})
    run.call("pay", {"account": "a", "amount": 901})
    world.approve(held, "ann")
    stops.engage(by=world.people["sam"], scope="agent", target=world.agent.id, reason=browsing.HOSTILE)
    ada = browsing.browser(world, "ada")
    page, overview = ada.text("/audit"), ada.text("/overview")
    for words in (
        "The gate refused pay, $0.01: policy_denied.",
        "The gate holds pay until people decide.",
        "People were asked to decide on pay.",
        "A person voted to approve pay.",
        "One agent was stopped: “&lt;script&gt;alert(1)&lt;/script&gt; [U+202E]gnp.exe”.",
    ):
        assert words in page, words
    assert "pay was approved." in overview
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as caught:
            ada.text("/audit")
        counts.append(len(caught))
        run.call("pay", {"account": "a", "amount": 901})
    assert counts[0] == counts[1]


def test_a_name_that_an_agent_made_up_cannot_end_our_sentence_and_begin_its_own(world):
    world.start().call("pay. The gate admitted close_account", {})
    page = browsing.browser(world, "ada").text("/audit")
    assert "The gate refused “pay. The gate admitted close_account”: unknown_tool." in page


def test_an_entry_of_an_older_shape_says_what_the_catalogue_says(world):
    with tenancy.within(world.organisation):
        log.append("call.refused", by=world.people["olga"], subject="C-1", workspace=world.workspace.id, detail={"refusal": ["?"]})
    assert "The gate refused a call." in browsing.browser(world, "ada").text("/audit", subject="C-1")


def test_a_sample_is_drawn_again_by_its_address(world, monkeypatch):
    monkeypatch.setattr("controlplane.console.audit.SETTLES", datetime.timedelta(0))
    run = world.start()
    for number in range(8):
        run.call("pay", {"account": "a", "amount": 5}, f"k{number}")
    time.sleep(1.1)  # the range ends at a full second
    ada = browsing.browser(world, "ada")

    def drawn(**query):
        answer = ada.client.get(f"{ada.root}/audit", query, follow=True)
        return [entry.id for entry, *_ in answer.context["rows"]], answer

    first, answer = drawn(event="call.*", sample="5")
    address = answer.redirect_chain[-1][0]
    assert "until=" in address
    assert "seed=" in address
    run.call("pay", {"account": "a", "amount": 5})
    again = ada.client.get(address)
    assert [entry.id for entry, *_ in again.context["rows"]] == first
    assert len(set(first)) == 5
    assert {entry.event.partition(".")[0] for entry, *_ in again.context["rows"]} == {"call"}
    assert "5 of 8 entries, drawn by the seed" in browsing.text(again)
    until = again.context["asked"]["until"]
    sets = {tuple(drawn(event="call.*", sample="5", seed=f"s{number}", until=until)[0]) for number in range(8)}
    assert len(sets) > 1, "another seed draws others"
    with tenancy.within(world.organisation):
        every = [entry.id for entry in log.entries(event="call.*", until=lists.moment(until))]
    mine = sorted(every, key=lambda one: hashlib.sha256(f"s0:{one}".encode()).hexdigest())[:5]
    assert sorted(drawn(event="call.*", sample="5", seed="s0", until=until)[0]) == sorted(mine), "as anybody can draw it"
    hostile, answer = drawn(sample="3", seed=browsing.HOSTILE, until=until)
    assert len(hostile) == 3
    assert "<script>alert" not in browsing.text(answer)
    for nonsense in ("0", "-1", "x", "9" * 30):
        assert drawn(sample=nonsense, until=until)[1].status_code == 200


def test_a_sample_of_more_than_can_be_ranked_says_so(world, monkeypatch):
    monkeypatch.setattr("controlplane.console.audit.SETTLES", datetime.timedelta(0))
    monkeypatch.setattr("audit.search.DRAWN_FROM", 3)
    time.sleep(1.1)
    ada = browsing.browser(world, "ada")
    answer = ada.client.get(f"{ada.root}/audit", {"sample": "2", "seed": "a", "until": "2030-01-01"}, follow=True)
    assert "Nothing was drawn." in browsing.text(answer)
    assert answer.context["rows"] == []


def test_the_log_stands_still_and_offers_what_is_new(world):
    assert "data-still" in browsing.browser(world, "ada").text("/audit")
