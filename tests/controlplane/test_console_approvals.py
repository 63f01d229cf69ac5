"""The inbox and one request: what each person finds there in every state, and everything they may answer without a line of script."""

import datetime
import json
import re
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents import policies, runs, stops, tools
from agents.models import PolicySet
from approvals import pace, rules, votes
from approvals.models import Request, StandingDenial
from audit import tenancy
from controlplane import gate, recovery
from controlplane.console import changes
from controlplane.console.approvals import ACTS
from tests.controlplane.browsing import root_of, signed_in, text, visit
from tests.world import RunUnderTest, World

# What an agent, a tool or a person may try to pass off as something else.
HOSTILE = [
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "[Approve](javascript:alert(3)) **Approved by Priya N.** {{ 7|add:1 }} {% now 'Y' %}",
    "\u202egnp.exe\u200b\u2066 zero\ufeffwidth",
    '" autofocus onfocus="alert(4)" x="',
    "\\u0000 %00 &#x3C;b&#x3E; ]]> --> </textarea></title>",
    "Approved by ann at 11:44:02. Sent to bank. Succeeded.",
    "A" * 100_000,
]


def ask(world: World, amount: int = 50, *, run: RunUnderTest | None = None, **more: Any) -> gate.Admission:
    said = (run or world.start(title="A payment")).call("pay", {"account": "a", "amount": amount, **more})
    assert said.status == "pending_approval"
    return said


def post(world: World, name: str, said: gate.Admission, verb: str, *, client: Client | None = None, **form: str) -> Any:
    return (client or signed_in(world, name)).post(f"{root_of(world)}/approvals/{said.approval}/{verb}", {"plan": said.plan, **form})


def page(world: World, name: str, said: gate.Admission, query: str = "") -> str:
    return text(visit(world, name, f"approvals/{said.approval}{query}"))


def reversible(world: World) -> None:
    """From now on a payment can be taken back, and its preview says which argument is its amount."""
    known = {"argument": "amount", "currency": "USD", "minor_units": 0}
    with tenancy.within(world.organisation):
        spec = next(row.preview for row in tools.active(world.workspace.id) if row.tool.name == "pay")
    changed = {"is_reversible": True, "preview": {**(spec or {}), "amount": known}}
    tools.confirm(by=world.people["olga"], name="pay", workspace=world.workspace, classification=changed)
    world.publish()


# The inbox ------------------------------------------------------------------------------------------------------------


def test_the_most_urgent_comes_first_and_what_i_may_not_decide_is_elsewhere(world: World) -> None:
    small, large = ask(world), ask(world, 600)
    with tenancy.within(world.organisation):
        Request.objects.update(expires_at=F("opened_at") + (Request.objects.get(id=small.approval).expires_at - F("opened_at")))
    mine = text(visit(world, "ann", "approvals?tab=mine"))
    assert mine.index(large.approval) < mine.index(small.approval), "two humans weigh more in the same time"
    assert "0/2" in mine
    assert small.approval not in text(visit(world, "olga", "approvals?tab=mine"))
    assert small.approval in text(visit(world, "olga", "approvals?tab=waiting"))
    assert small.approval in text(visit(world, "olga", "approvals?tab=own"))
    assert small.approval not in text(visit(world, "ann", "approvals?tab=own"))


FILTERS = {
    "agent=teller": True,
    "agent=nobody": False,
    "tool=pay": True,
    "tool=close_account": False,
    "tier=ONE": True,
    "tier=TWO": False,
    "q=apr-": True,
    "q=zebra": False,
    "q=%00": True,
    "below=x~y~z": True,
    "tier=%27": True,
}


def test_a_filter_is_in_the_address_and_can_be_taken_off(world: World) -> None:
    said, client = ask(world), signed_in(world, "ann")
    for query, found in FILTERS.items():
        shown = text(client.get(f"{root_of(world)}/approvals?tab=all&{query}"))
        assert (f"/approvals/{said.approval}?" in shown) is found, query
        if not found:
            assert "No requests match." in shown
            assert "1 without the filter" in shown
            assert 'aria-label="Remove the filter' in shown


def test_paging_shows_every_request_once_in_one_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.console.request_list.SHOWN", 2)
    run = world.start()
    made = {ask(world, amount, run=run).approval for amount in range(50, 55)}
    client = signed_in(world, "ann")
    for tab in ("mine", "all", "decided"):
        if tab == "decided":
            with tenancy.within(world.organisation):
                Request.objects.update(state="DENIED", decided_at=F("opened_at"))
        assert sorted(paged(client, f"{root_of(world)}/approvals?tab={tab}")) == sorted(made), tab


def paged(client: Client, address: str) -> list[str]:
    """The ids of a list, page after page."""
    seen: list[str] = []
    for _ in range(4):
        shown = text(client.get(address))
        seen += re.findall(r'class="item" href="[^"]*/approvals/(APR-\w+)\?', shown)
        after = re.search(r'href="([^"]+)" rel="next"', shown)
        if after is None:
            break
        address = after[1].replace("&amp;", "&")
    return seen


def test_an_inbox_of_any_length_costs_the_same_number_of_statements(world: World) -> None:
    client, counts = signed_in(world, "ann"), []
    for start in (50, 60):
        run = world.start()
        for amount in range(start, start + 3):
            post(world, "ben", ask(world, amount, run=run), "claim")
        with CaptureQueriesContext(connection) as caught:
            for tab in ("waiting", "mine", "all"):
                client.get(f"{root_of(world)}/approvals?tab={tab}")
        counts.append(len(caught))
    assert counts[0] == counts[1]


def test_an_empty_inbox_says_why_it_is_empty(world: World) -> None:
    assert "Nothing needs you." in text(visit(world, "ann", "approvals"))
    shown = text(visit(world, "ada", "approvals?tab=mine"))
    assert "You are in no approver group here." in shown
    assert "ann, ben, cleo" in shown
    said = ask(world)
    post(world, "ben", said, "vote", verdict="DENY", reason="No.")
    assert "by ben" in text(visit(world, "ann", "approvals"))


def test_the_strip_measures_deciding(world: World) -> None:
    for end in ("DENIED", "EXPIRED"):
        said = ask(world)
        with tenancy.within(world.organisation):
            Request.objects.filter(id=said.approval).update(state=end, decided_at=F("opened_at"))
    shown = text(visit(world, "ann", "approvals"))
    assert re.search(r"Expired</dt><dd class=\"num\">50 %", shown)
    assert re.search(r"under 3 s</dt><dd class=\"num\">100 %", shown)


def test_time_to_a_decision_counts_what_people_decided(world: World) -> None:
    for end, seconds in (("DENIED", 60), ("EXPIRED", 900), ("VOID", 900), ("WITHDRAWN", 900)):
        said = ask(world)
        with tenancy.within(world.organisation):
            Request.objects.filter(id=said.approval).update(state=end, decided_at=F("opened_at") + datetime.timedelta(seconds=seconds))
    now = timezone.now()
    with tenancy.within(world.organisation):
        found = pace.of(world.workspace.id, since=now - datetime.timedelta(days=1), until=now + datetime.timedelta(days=1))
    assert (found.median_s, found.ended, found.expired, found.decided) == (60, 4, 1, 1)


def test_what_was_decided_elsewhere_stays_in_its_place_greyed_with_the_name(world: World) -> None:
    said = ask(world)
    post(world, "ben", said, "vote", verdict="DENY", reason="No.")
    asked = {"HX-Request": "true", "HX-Target": "list"}
    shown = text(
        signed_in(world, "ann").get(f"{root_of(world)}/approvals?tab=mine&keep={said.approval}&keep=APR-X&keep=%00", headers=asked)
    )
    assert "item gone" in shown
    assert "<span>ben</span>" in shown
    assert said.approval not in text(signed_in(world, "ann").get(f"{root_of(world)}/approvals?tab=mine", headers=asked))


def test_a_live_list_stays_on_the_reader_s_page_and_forgets_what_left_when_they_move_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.console.request_list.SHOWN", 2)
    run, client, live = world.start(), signed_in(world, "ann"), {"HX-Request": "true", "HX-Target": "list"}
    said = {each.approval: each for each in (ask(world, amount, run=run) for amount in range(50, 55))}
    pages = [f"{root_of(world)}/approvals?tab=mine"]
    pages.append(following(text(client.get(pages[0]))))
    second = text(client.get(pages[1]))
    refresh = re.search(r'id="list"[^>]* (?:hx|data)-get="([^"]+)"', second)
    assert refresh is not None
    refreshed = text(client.get(refresh[1].replace("&amp;", "&"), headers=live))
    assert shown_in(refreshed) == shown_in(second), "not the first page's"
    left = shown_in(second)[-1]
    post(world, "ben", said[left], "vote", verdict="DENY", reason="No.")
    refreshed = text(client.get(refresh[1].replace("&amp;", "&"), headers=live))
    assert "item gone" in refreshed
    assert "keep=" not in "".join(re.findall(r'href="([^"]+)"', refreshed))
    first = f"{pages[0]}&keep={shown_in(second)[0]}&keep={shown_in(text(client.get(pages[0])))[0]}&keep={left}"
    assert "item gone" not in text(client.get(following(text(client.get(first, headers=live)))))


def shown_in(page: str) -> list[str]:
    """The ids of a list."""
    return re.findall(r'class="item(?: gone)?" href="[^"]*/approvals/(APR-\w+)\?', page)


def following(page: str) -> str:
    """The address of the next page."""
    after = re.search(r'href="([^"]+)" rel="next"', page)
    assert after is not None
    return after[1].replace("&amp;", "&")


def test_the_next_request_opens_after_a_decision_where_that_was_asked_for(world: World) -> None:
    one, other = ask(world), ask(world, 51)
    answer = signed_in(world, "ann").post(
        f"{root_of(world)}/approvals/{one.approval}/vote?on=next&tab=mine", {"plan": one.plan, "verdict": "DENY", "reason": "No."}
    )
    assert f"/approvals/{other.approval}?" in answer.headers["Location"]
    stays = post(world, "ann", other, "vote", verdict="DENY", reason="No.")
    assert stays.headers["Location"].endswith(f"/approvals/{other.approval}")


# One request ----------------------------------------------------------------------------------------------------------


def test_a_request_reads_in_the_order_of_deciding(world: World) -> None:
    run = world.start()
    run.call("get_account", {"account": "a"})
    said = ask(world, run=run, note="She was charged twice.")
    shown = page(world, "ann", said)
    heads = ["Nothing has been sent yet.", "What will change", "Why", "Systems touched", "Checks", "Who can approve", "Similar decisions"]
    at = [shown.index(f">{head}<") if head[0] != "N" else shown.index(head) for head in [*heads, "Timeline"]]
    assert at == sorted(at)
    for words in ("Written by the agent", "Text from bank, outside Remit", "unchanged fields", "ben", "is the first"):
        assert words in shown, words
    assert "Would have been automatic at amount 10 or less" in shown


def test_the_three_views_and_the_unchanged_fields_are_links(world: World) -> None:
    said = ask(world)
    assert "RFC 6902" in page(world, "ann", said, "?view=raw")
    assert "tree-p" in page(world, "ann", said, "?view=patch")
    assert 'class="diff"' in page(world, "ann", said, "?view=nonsense")
    assert "unchanged field" in page(world, "ann", said)
    assert "Stays" in page(world, "ann", said, "?unchanged=1")


def test_strangers_and_other_tenants_find_nothing(world: World, elsewhere: World) -> None:
    said, before = ask(world), len(world.events())
    foreign = signed_in(elsewhere, "ann")
    for verb in (*ACTS, "rule", "nonsense"):
        assert post(world, "vera", said, verb).status_code == 404, verb
        assert post(world, "ann", said, verb, client=foreign).status_code == 404, verb
        assert foreign.post(f"{root_of(elsewhere)}/approvals/{said.approval}/{verb}", {}).status_code == 404, verb
        if verb != "rule":
            assert signed_in(world, "ann").get(f"{root_of(world)}/approvals/{said.approval}/{verb}").status_code == 405, verb
    assert len(world.events()) == before


def test_every_answer_is_a_form_that_leaves_its_entry(world: World) -> None:
    said = ask(world)
    answers: list[tuple[str, str, dict[str, Any], str]] = [
        ("ann", "claim", {}, "request.claimed"),
        ("ann", "unclaim", {}, "request.unclaimed"),
        ("ann", "snooze", {"length": "30 min"}, "request.snoozed"),
        ("ann", "wake", {}, "request.woken"),
        ("ann", "extend", {}, "request.extended"),
        ("ann", "check", {}, "request.checked"),
        ("ada", "comment", {"text": "Looks odd."}, "request.commented"),
        ("olga", "withdraw", {"why": "Asked by mistake."}, "request.withdrawn"),
    ]
    for name, verb, form, event in answers:
        assert post(world, name, said, verb, **form).status_code == 302, verb
        assert world.events(event, subject=said.approval) == [event]
    shown = page(world, "ann", said)
    for words in ("Looks odd.", "took 30 min more", "Asked by mistake.", "Withdrawn"):
        assert words in shown, words


def test_everybody_sees_who_is_on_it_and_only_who_may_decide_takes_it(world: World) -> None:
    said = ask(world)
    assert "Take it <kbd>T</kbd>" in page(world, "ann", said)
    assert "Take it" not in page(world, "olga", said)
    post(world, "ann", said, "claim")
    assert "You are on it</b>, 0" in page(world, "ann", said)
    assert "Leave it to others <kbd>U</kbd>" in page(world, "ann", said)
    assert "you are on it" in text(visit(world, "ann", "approvals?tab=mine"))
    for name in ("ben", "olga"):
        assert "ann is on it</b>, 0" in page(world, name, said)
        assert "ann is on it" in text(visit(world, name, "approvals?tab=all"))
    assert "Take it over <kbd>T</kbd>" in page(world, "ben", said)
    assert 'value="APPROVE"' in page(world, "ben", said), "it bars nobody"
    assert post(world, "olga", said, "claim").status_code == 403
    assert post(world, "ben", said, "unclaim").status_code == 422
    post(world, "ann", said, "unclaim")
    assert "on it" not in page(world, "ben", said)


def test_what_i_snooze_needs_me_no_more_on_any_page_and_is_found_in_its_tab(world: World) -> None:
    said, client = ask(world), signed_in(world, "ann")

    def shows(path: str) -> str:
        return text(client.get(f"{root_of(world)}{path}"))

    assert 'data-waiting="1"' in shows("/approvals?tab=mine")
    assert "Snooze… <kbd>S</kbd>" in page(world, "ann", said)
    assert "snooze" not in page(world, "olga", said)
    assert post(world, "ann", said, "snooze", length="2 years").status_code == 422
    post(world, "ann", said, "snooze", length="until it changes")
    mine = shows("/approvals?tab=mine")
    assert "1 snoozed, <a" in mine
    for path in ("/approvals?tab=mine", "/approvals?tab=waiting", "/overview"):
        assert 'data-waiting="0"' in shows(path) or "data-waiting" not in shows(path), path
        assert said.approval not in shows(path), path
    for path in ("/approvals?tab=snoozed", "/approvals?tab=all"):
        assert said.approval in shows(path), path
    assert "Wake it <kbd>S</kbd>" in page(world, "ann", said)
    assert said.approval in text(visit(world, "ben", "approvals?tab=mine")), "only for oneself"
    post(world, "ben", said, "comment", text="Look again.")
    assert said.approval in shows("/approvals?tab=mine")
    assert said.approval in shows("/overview")


def test_a_denial_takes_reason_scope_and_end_from_the_form(world: World) -> None:
    run = world.start()
    said = ask(world, run=run)
    empty = post(world, "ann", said, "vote", verdict="DENY", scope="KIND")
    assert empty.status_code == 422
    assert "A denial needs a reason" in text(empty)
    assert 'value="KIND" checked' in text(empty), "what was chosen is not lost"
    post(world, "ann", said, "vote", verdict="DENY", chip="Wrong amount", reason="She paid 40.", scope="KIND", then="end")
    told = gate.standing(world.organisation, said.call).refusal
    assert told is not None
    assert told["reason"] == "Wrong amount: She paid 40."
    assert run.reload().state == "STOPPED"
    assert "also answers for" in page(world, "ben", said)
    with tenancy.within(world.organisation):
        denial = StandingDenial.objects.get()
    post(world, "ben", said, "lift", denial=denial.id)
    ask(world)


def test_a_plan_is_sent_back_and_the_next_one_supersedes_it(world: World) -> None:
    run = world.start()
    said = ask(world, run=run)
    assert post(world, "ann", said, "send-back", field="amount", expected="").status_code == 422
    assert post(world, "ann", said, "send-back", field="amount", expected="40 at most").status_code == 302
    following = ask(world, 40, run=run)
    shown = page(world, "ann", said)
    assert "Sent back, not decided: amount should be 40 at most" in shown
    assert f"/approvals/{following.approval}" in shown


def test_an_old_digest_is_412_and_shows_what_is_new(world: World) -> None:
    said = ask(world)
    world.bank.accounts["a"]["balance"] += 7
    answer = post(world, "ann", said, "vote", verdict="APPROVE")
    assert answer.status_code == 412
    shown = text(answer)
    assert "The plan changed while you looked." in shown
    assert 'class="new"' in shown or "No field of the target changes." in shown
    assert world.request(said.approval).plan.digest in shown
    again = signed_in(world, "ann").get(
        f"{root_of(world)}/approvals/{said.approval}?seen={said.plan}", headers={"HX-Request": "true", "HX-Target": "detail"}
    )
    assert "The plan changed while you looked." in text(again)


def test_two_humans_need_a_fresh_sign_in_and_one_does_not(world: World) -> None:
    said, small = ask(world, 600), ask(world)
    refused = post(world, "ann", said, "vote", verdict="APPROVE")
    assert refused.status_code == 403
    assert "Confirm it is you" in text(refused)
    assert world.events("request.voted") == []
    assert post(world, "ann", small, "vote", verdict="APPROVE").status_code == 302
    client = signed_in(world, "ann")
    client.post("/accounts/reauthenticate/", {"password": "a long password here"})
    assert post(world, "ann", said, "vote", client=client, verdict="APPROVE").status_code == 302
    assert post(world, "ben", said, "vote", verdict="DENY", reason="No.").status_code == 302, "a no needs no password"


ENDS = {
    "EXPIRED": "so it was denied; the agent was told",
    "VOID": "Void. Because. Nothing was sent",
    "WITHDRAWN": "Withdrawn",
    "FAILED": "Failed",
}


def test_every_end_says_what_happened(world: World) -> None:
    said, client = ask(world), signed_in(world, "ann")
    for state, words in ENDS.items():
        with tenancy.within(world.organisation):
            Request.objects.filter(id=said.approval).update(state=state, decided_at=F("opened_at"), note="Because.")
        shown = text(client.get(f"{root_of(world)}/approvals/{said.approval}"))
        assert words in shown, state
        assert 'name="verdict"' not in shown
        assert "What would have changed" in shown
    with tenancy.within(world.organisation):
        Request.objects.filter(id=said.approval).update(state="VOID", note="Stopped by a person: duplicate refunds")
    shown = text(client.get(f"{root_of(world)}/approvals/{said.approval}"))
    assert "Void. Stopped by a person: duplicate refunds. Nothing was sent" in shown


def test_what_was_approved_becomes_the_record(world: World) -> None:
    said = ask(world)
    assert post(world, "ann", said, "vote", verdict="APPROVE", comment="Checked with her.").status_code == 302
    recovery.resume(world.organisation, said.call)
    shown = page(world, "ann", said)
    for words in ("What just happened", "<b>You</b> approved", "Checked with her.", "Succeeded", "moved by $0.01", "The run goes on"):
        assert words in shown, words
    assert "What changed" in shown
    assert "Audit entry" not in shown
    assert "effect.applied" in page(world, "ada", said)
    late = post(world, "ben", said, "vote", verdict="APPROVE")
    assert late.status_code == 409
    assert "<b>ann</b> approved" in text(late)


def test_a_stopped_request_says_who_stopped_it_and_cannot_be_approved_until_it_goes_on(world: World) -> None:
    said, free = ask(world), ask(world, 51)
    stop = stops.engage(by=world.people["sam"], scope="run", target=world.request(said.approval).run_id, reason=f"Too fast {HOSTILE[0]}")
    shown = page(world, "ann", said)
    assert "sam stopped the run" in shown
    assert "Too fast &lt;script&gt;" in shown
    assert "olga can let it go on" in shown, "not sam, who stopped it"
    assert 'value="APPROVE"' not in shown
    assert "disabled aria-describedby" in shown
    assert 'value="DENY"' in shown, "a no needs no release"
    assert 'value="APPROVE"' in page(world, "ann", free)
    row = text(visit(world, "ann", "approvals?tab=mine&q=" + said.approval))
    assert "sam: Too fast" in row.partition('id="detail"')[0]
    refused = post(world, "ann", said, "vote", verdict="APPROVE")
    assert refused.status_code == 423
    assert "Nothing was decided." in text(refused)
    assert world.request(said.approval).state == "OPEN"
    assert world.events("request.voted") == world.events("request.checked") == []
    stops.release(by=world.people["olga"], stop=stop)
    assert post(world, "ann", said, "vote", verdict="APPROVE").status_code == 302
    assert recovery.resume(world.organisation, said.call).status == "applied"


@pytest.mark.parametrize("scope", ["organisation", "workspace", "agent", "tool", "connector"])
def test_a_switch_of_any_scope_holds_the_request_under_it(world: World, scope: str) -> None:
    said = ask(world)
    with tenancy.within(world.organisation):
        tool = tools.get("pay", workspace=world.workspace)
    target = {"workspace": world.workspace.id, "agent": world.agent.id, "tool": tool.id, "connector": tool.connector_id}
    stops.engage(by=world.people["sam"], scope=scope, target=target.get(scope, ""), reason="drill")
    assert post(world, "ann", said, "vote", verdict="APPROVE").status_code == 423
    assert post(world, "ann", said, "vote", verdict="DENY", reason="No.").status_code == 302


def test_an_approval_that_a_stop_overtook_says_that_a_person_stopped_it(world: World) -> None:
    said = ask(world)
    assert post(world, "ann", said, "vote", verdict="APPROVE").status_code == 302
    stop = stops.engage(by=world.people["sam"], scope="agent", target=world.agent.id, reason="Too fast.")
    told = recovery.resume(world.organisation, said.call).refusal or {}
    assert told["code"] == "stopped"
    shown = page(world, "ann", said)
    for words in ("Void: a person stopped it", "Too fast.", f"/stops/{stop.id}", f"Wait until a person releases {stop.id}."):
        assert words in shown, words
    for wrong in ("the world changed", "propose it again", "no longer as approved"):
        assert wrong not in shown, wrong
    run = text(visit(world, "ann", f"runs/{world.request(said.approval).run_id}"))
    assert "Void: a person stopped it" in run
    assert "Was held by a stop at pay." in run


def test_similar_decisions_say_what_is_usual_and_when_this_is_not(world: World) -> None:
    reversible(world)
    for amount in (20, 20, 22):
        said = ask(world, amount)
        with tenancy.within(world.organisation):
            Request.objects.filter(id=said.approval).update(state="APPLIED", decided_at=F("opened_at"))
    shown = page(world, "ann", ask(world, 62))
    assert "usually $20" in shown
    assert "3.1 x the usual amount" in shown
    assert "x the usual amount" not in page(world, "ann", ask(world, 21))


def test_an_amount_that_nobody_declared_is_not_guessed(world: World) -> None:
    said = ask(world, 20)
    with tenancy.within(world.organisation):
        Request.objects.filter(id=said.approval).update(state="APPLIED", decided_at=F("opened_at"))
    assert "the amount is not declared by this tool" in page(world, "ann", ask(world, 700))


def test_a_request_can_be_decided_where_only_the_beginning_of_a_payload_was_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reversible(world)
    run = world.start()
    with monkeypatch.context() as short:
        short.setattr(runs, "STORED", 20)
        run.call("get_account", {"account": "a"})
        said = ask(world, run=run)
    shown = page(world, "ann", said)
    assert "What will change" in shown
    assert "{&quot;content&quot;" in shown, "what was read begins like this"
    assert "propose a rule" not in shown, "it would be wider than what the person sees"
    assert "too long to be kept whole" in text(visit(world, "ann", f"approvals/{said.approval}/rule"))
    post(world, "ann", said, "vote", verdict="APPROVE")
    assert "What just happened" in page(world, "ann", said)
    assert "What will change" in page(world, "ann", ask(world, 51)), "though one of its like was long"
    assert text(visit(world, "ann", f"approvals/{ask(world, 52).approval}/rule"))


# A rule ---------------------------------------------------------------------------------------------------------------


def test_a_rule_is_proposed_as_narrow_as_the_request_and_somebody_else_activates_it(world: World) -> None:
    reversible(world)
    passed, denied = ask(world, 30), ask(world, 31)
    post(world, "ann", passed, "vote", verdict="APPROVE")
    post(world, "ann", denied, "vote", verdict="DENY", reason="No.")
    said = ask(world, 40)
    shown = text(visit(world, "ann", f"approvals/{said.approval}/rule"))
    assert "teller may call pay without asking while amount is 40 or less" in shown
    assert "<b>1 of the 1</b>" in shown
    assert "1 that people denied" in shown
    assert denied.approval in shown
    wider = signed_in(world, "ann").post(f"{root_of(world)}/approvals/{said.approval}/rule", {"plan": said.plan, "limit": "41"})
    assert "A rule reaches no further than this request" in text(wider)
    answer = signed_in(world, "ann").post(f"{root_of(world)}/approvals/{said.approval}/rule", {"plan": said.plan, "limit": "35"})
    assert answer.status_code == 302
    assert world.request(said.approval).state == "APPROVED"
    proposed = world.events("policy.proposed")
    assert len(proposed) == 2
    assert world.events("request.rule_proposed", subject=said.approval) == ["request.rule_proposed"]
    assert world.events("policy.activated") == ["policy.activated"], "nobody put it in force"
    ask(world, 34)


def test_the_rule_holds_once_activated_and_ends_on_its_day(world: World) -> None:
    reversible(world)
    said = ask(world, 40)
    rules.approve_and_propose(by=world.people["ann"], request_id=said.approval, plan_digest=said.plan, limit=None, until=None)
    with tenancy.within(world.organisation):
        drafted = policies.listed(world.workspace.id)[0]
    policies.activate(by=world.people["olga"], policy_set=drafted)
    assert world.start().call("pay", {"account": "a", "amount": 40}).status == "applied"
    ask(world, 41)
    over = re.sub(r"context\.day <= \d+", "context.day <= 20200101", drafted.cedar)
    policies.activate(by=world.people["olga"], policy_set=policies.propose(by=world.people["sam"], workspace=world.workspace, text=over))
    ask(world, 40)
    with tenancy.within(world.organisation):
        assert PolicySet.objects.filter(state="ACTIVE").count() == 1


def test_no_rule_is_offered_for_what_cannot_be_taken_back_or_takes_two(world: World) -> None:
    final = ask(world)
    assert "propose a rule" not in page(world, "ann", final)
    assert "cannot be taken back" in text(visit(world, "ann", f"approvals/{final.approval}/rule"))
    reversible(world)
    assert "propose a rule" in page(world, "ann", ask(world, 51))
    two = ask(world, 600)
    assert "propose a rule" not in page(world, "ann", two)
    answer = signed_in(world, "ann").post(f"{root_of(world)}/approvals/{two.approval}/rule", {"plan": two.plan})
    assert answer.status_code in {403, 409}
    assert world.request(two.approval).state == "OPEN"


# Text from elsewhere --------------------------------------------------------------------------------------------------


def test_hostile_text_is_inert_wherever_an_agent_a_tool_or_a_person_writes(world: World) -> None:
    client = signed_in(world, "ann")
    for hostile in HOSTILE:
        world.bank.accounts["a"]["owner"] = hostile[:5000]
        run = world.start(title=hostile[:200])
        run.call("get_account", {"account": "a"})
        said = ask(world, run=run, note=hostile[:60_000])
        client.post(f"{root_of(world)}/approvals/{said.approval}/comment", {"text": hostile})
        post(world, "ann", said, "send-back", client=client, field=hostile, expected=hostile, note=hostile)
        again = ask(world, 49, run=run, note=hostile[:60_000])
        post(world, "ann", again, "vote", client=client, verdict="DENY", chip=hostile, reason=hostile, scope="RUN")
        refused = post(world, "ann", again, "vote", client=client, verdict="DENY", reason=hostile, chip=hostile)
        pages = [f"approvals/{said.approval}?tab=all", f"approvals/{again.approval}?view=raw", f"approvals/{again.approval}?view=patch"]
        for shown in [text(refused), *(text(client.get(f"{root_of(world)}/{path}")) for path in pages)]:
            assert not re.search(r"<script>|<img src=x|</textarea></title>", shown), hostile[:40]
            assert not re.search(r'(?<!&quot;) onfocus="|href="javascript', shown), hostile[:40]
            assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\ufeff]", shown), hostile[:40]


# Marks ----------------------------------------------------------------------------------------------------------------


def change(op: str, before: Any, after: Any, pointer: str = "/x", label: str = "X") -> dict[str, Any]:
    return {"entity": "a", "pointer": pointer, "op": op, "before": before, "after": after, "label": label}


def test_words_lists_money_and_secrets_are_marked_as_what_they_are() -> None:
    words, items, cents, secret, empty = changes.rows(
        [
            change("replace", "paid on Monday by card", "paid on Friday by card"),
            change("replace", ["vip"], ["vip", "refunded"]),
            change("replace", 0, 8450, "/refunded_cents"),
            change("replace", "[redacted:token]", "[redacted:token]", "/token"),
            change("replace", None, ""),
        ]
    )
    assert [kind for kind, _ in words.before] == ["same", "del", "same"]
    assert words.after[1] == ("ins", "Friday")
    assert items.after == (("same", "vip"), ("ins", ", refunded"))
    assert (cents.before, cents.after) == ((("del", "$0.00"),), (("ins", "$84.50"),))
    assert secret.note == "the two differ"
    assert [kind for kind, _ in secret.before] == ["secret"]
    assert empty.after == (("empty", "empty"),)


def test_a_move_in_an_array_is_a_move_and_a_new_order_is_said() -> None:
    item = {"id": 1}
    (moved,) = changes.rows([change("remove", item, None, "/items/2"), change("add", None, item, "/items/0")])
    assert (moved.op, moved.pointer) == ("move", "/items/2 → /items/0")
    (ordered,) = changes.rows([change("replace", ["a", "b"], ["b", "a"])])
    assert ordered.note == "the same items in another order"
    hidden = changes.rows([change("remove", "[redacted:x]", None), change("add", None, "[redacted:x]")])
    assert [row.op for row in hidden] == ["remove", "add"], "two hidden values are not known to be one"


def test_the_tree_opens_changed_branches_only_and_names_each_once() -> None:
    found = changes.tree(
        changes.rows([change("replace", 1, 2, "/a/b/c"), change("add", None, 3, "/a/b/d"), change("remove", 4, None, "/e")])
    )
    assert [(line.depth, line.name, bool(line.row)) for line in found] == [
        (0, "a", False),
        (1, "a", False),
        (2, "b", False),
        (3, "c", True),
        (3, "d", True),
        (1, "e", True),
    ]


def test_what_is_new_since_somebody_looked_is_marked() -> None:
    before = [change("replace", 1, 2), change("replace", 5, 6, "/y")]
    rows = changes.rows([change("replace", 1, 2), change("replace", 5, 7, "/y")], before)
    assert [row.is_new for row in rows] == [False, True]
    assert not any(row.is_new for row in changes.rows(before))


def test_a_thousand_changes_and_a_long_text_stay_small() -> None:
    many = changes.rows([change("replace", index, index + 1, f"/{index}") for index in range(1000)])
    assert len(changes.tree(many)) == 1001
    (long,) = changes.rows([change("replace", "x" * 50_000, "y" * 50_000)])
    assert long.before[-1] == ("rest", "48,000 more characters")
    assert json.dumps(changes.patch([change("remove", 1, None)])) == '[{"op": "remove", "path": "/x"}]'


def test_who_has_voted_on_this_plan_is_not_asked_again(world: World) -> None:
    said = ask(world, 600)
    votes.cast(by=world.people["ann"], request_id=said.approval, verdict="APPROVE", plan_digest=said.plan)
    shown = page(world, "ann", said)
    assert "You have voted." in shown
    assert "1 of 2 approved" in shown


def test_managers_see_how_often_each_rule_only_costs_a_click(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "ENOUGH", 2)
    run = world.start()
    for amount in (50, 51):
        assert post(world, "ann", ask(world, amount, run=run), "vote", verdict="APPROVE").status_code == 302
    shown = text(visit(world, "olga", "approvals?rules=1"))
    assert '<code>one-person</code> <span class="num">100 %</span> of 2' in shown
    assert "Consider a rule" in shown
    assert post(world, "ann", ask(world, 52, run=run), "vote", verdict="DENY", reason="No.").status_code == 302
    shown = text(visit(world, "olga", "approvals?rules=1"))
    assert '<span class="num">66 %</span> of 3, 1 denied' in shown
    assert "Consider a rule" not in shown
    world.join("bo", "builder")
    assert "rule by rule" not in text(visit(world, "bo", "approvals?rules=1")), "who sees only their own is told nothing of the others"
