"""The log in the browser: filters in the address, pages without gaps, exact bytes, exports that are entered."""

import json

from audit import log, tenancy
from controlplane.console import lists
from tests.controlplane import browsing


def test_the_log_opens_for_the_auditor_and_looks_like_nothing_to_others(world, elsewhere):
    with tenancy.within(world.organisation):
        entry = log.entries(workspace=world.workspace.id)[0]
    browsing.stays_outside(world, elsewhere, ["/audit", f"/audit/{entry.id}"], may="ada", may_not="ann")


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
        seen += [entry.id for entry, _, _ in answer.context["rows"]]
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
    rows = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
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
