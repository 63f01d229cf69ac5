"""The log in the browser: filters in the address, pages without gaps, exact bytes, exports that are entered."""

import json

from django.db import connection
from django.test.utils import CaptureQueriesContext

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
    assert "The gate admitted a call." in page
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
