"""Identical requests on pages: folded in the inbox, read and decided side by side, and what became of each; all of it without a script."""

import re
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agents import identity, stops, tools
from approvals.models import Request
from audit import tenancy
from controlplane import gate, recovery
from tests.approvals.test_batches import asks, key, reversible
from tests.controlplane.browsing import root_of, signed_in, text, visit
from tests.controlplane.test_console_approvals import HOSTILE
from tests.world import World

TIMES = "\N{MULTIPLICATION SIGN}"


def shows(world: World, said: gate.Admission, query: str = "", name: str = "ann") -> str:
    """The page of what would be decided together with that."""
    answer = visit(world, name, f"approvals/together/{key(world, said)}{query}")
    assert answer.status_code == 200
    return text(answer)


def detail(page: str) -> str:
    return page.partition('id="detail"')[2]


def listed(page: str) -> str:
    return page.partition('id="list"')[2].partition('id="detail"')[0]


def post(world: World, given: list[gate.Admission], client: Client | None = None, **form: Any) -> Any:
    sent = {"plan": [f"{said.approval}~{said.plan}" for said in given], "chosen": [said.approval for said in given], **form}
    return (client or signed_in(world, "ann")).post(f"{root_of(world)}/approvals/together/{key(world, given[0])}/decide", sent)


def after(world: World, answer: Any, name: str = "ann") -> str:
    """What the page that follows tells of what was chosen."""
    assert answer.status_code == 302
    return text(signed_in(world, name).get(answer.headers["Location"])).partition('id="t0"')[2].partition("</section>")[0]


def ticked(page: str) -> set[str]:
    return set(re.findall(r'name="chosen" value="(APR-\w+)" form="together" checked', page))


# The list -------------------------------------------------------------------------------------------------------------


def test_identical_requests_are_one_row_that_opens_them_together(world: World) -> None:
    reversible(world)
    given = [asks(world, amount, account) for amount, account in ((50, "a"), (60, "b"), (70, "c"))]
    two = asks(world, 600)
    page = text(visit(world, "ann", "approvals?tab=mine"))
    rows = listed(page)
    assert f"3 {TIMES} teller: Pay" in rows
    assert f"/approvals/together/{key(world, given[0])}?" in rows
    assert f"/approvals/{two.approval}?" in rows
    assert not any(f"/approvals/{said.approval}?" in rows for said in given)
    assert 'data-waiting="4"' in page, "the number of requests, not of rows"
    one_by_one = listed(text(visit(world, "ann", "approvals?tab=mine&fold=0")))
    assert all(f"/approvals/{said.approval}?" in one_by_one for said in given)
    assert "fold=0" in rows
    assert TIMES not in one_by_one
    assert "fold=0" in one_by_one, "a row's own page keeps the list as it is"
    for tab in ("waiting", "own", "all"):
        assert TIMES not in listed(text(visit(world, "ann", f"approvals?tab={tab}"))), tab


def test_a_filter_narrows_the_row_and_the_page_behind_it_alike(world: World) -> None:
    reversible(world)
    given = [asks(world, 50, account) for account in "aabc"]
    with tenancy.within(world.organisation):
        Request.objects.filter(id__in=[said.approval for said in given[:2]]).update(title="A kestrel")
    client, root = signed_in(world, "ann"), root_of(world)
    assert f"2 {TIMES} teller" in listed(text(client.get(f"{root}/approvals?tab=mine&q=kestrel")))
    shown = detail(text(client.get(f"{root}/approvals/together/{key(world, given[0])}?tab=mine&q=kestrel")))
    assert shown.count('name="chosen"') == 2
    for query, found in {"agent=teller": True, "agent=nobody": False, "tool=pay": True, "tier=ONE": True, "tier=TWO": False}.items():
        assert (f"4 {TIMES} teller" in listed(text(client.get(f"{root}/approvals?tab=mine&{query}")))) is found, query


def test_pages_of_a_folded_list_show_every_row_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.console.request_list.SHOWN", 2)
    single = [asks(world, amount) for amount in (20, 21, 22)]  # not to be taken back
    reversible(world)
    given = [asks(world, 50, account) for account in "abcabc"]
    client, seen = signed_in(world, "ann"), list[str]()
    address = f"{root_of(world)}/approvals?tab=mine"
    for _ in range(6):
        page = listed(text(client.get(address)))
        seen += re.findall(r'class="item" href="[^"]*/approvals/((?:together/)?[\w-]+)\?', page)
        following = re.search(r'href="([^"]+)" rel="next"', page)
        if following is None:
            break
        address = following[1].replace("&amp;", "&")
    assert sorted(seen) == sorted([*(said.approval for said in single), f"together/{key(world, given[0])}"])


def test_a_folded_list_and_the_page_behind_it_cost_the_same_however_many_there_are(world: World) -> None:
    reversible(world)
    asked = [asks(world, 50, "a"), asks(world, 50, "b")]
    client, root, counts = signed_in(world, "ann"), root_of(world), []
    for _ in range(2):
        for path in ("?tab=mine", "?tab=mine&fold=0", f"/together/{key(world, asked[0])}"):
            client.get(f"{root}/approvals{path}")
            with CaptureQueriesContext(connection) as caught:
                assert client.get(f"{root}/approvals{path}").status_code == 200
            counts.append(len(caught))
        asked += [asks(world, amount, account) for amount in (51, 52) for account in "abc"]
    assert counts[:3] == counts[3:]
    assert counts[0] <= counts[1] + 1, "folding asks one question more"


def test_more_than_can_be_decided_at_once_are_said_to_be_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reversible(world)
    given = [asks(world, 50, account) for account in "abc"]
    monkeypatch.setattr("approvals.batches.MOST", 2)
    assert "the 2 most urgent first" in listed(text(visit(world, "ann", "approvals?tab=mine")))
    shown = detail(shows(world, given[0]))
    assert shown.count('name="chosen"') == 2
    assert "The others follow" in shown
    answer = post(world, given, verdict="APPROVE")
    assert answer.status_code == 422
    assert "you chose 3" in text(answer)
    assert world.events("request.voted") == []


# The page -------------------------------------------------------------------------------------------------------------


def test_what_is_the_same_is_said_once_and_what_differs_request_by_request(world: World) -> None:
    reversible(world)
    given = [asks(world, 50, "a"), asks(world, 50, "b"), asks(world, 60, "c")]
    shown = detail(shows(world, given[0]))
    assert f"3 {TIMES} teller: Pay" in shown
    assert "The same in all" not in shown
    assert all(f"/approvals/{said.approval}?" in shown for said in given)
    assert "$60" in shown
    alike = detail(shows(world, given[0], f"?q={given[0].approval}"))
    assert "The same in all" not in alike, "one alone is like nothing"
    assert alike.count('class="was"') == 1
    signed_in(world, "ann").post(f"{root_of(world)}/approvals/{given[2].approval}/snooze", {"length": "30 min"})
    shown = detail(shows(world, given[0]))
    once, _, each = shown.partition('name="chosen"')
    assert once.count('class="was"') == 1
    assert 'class="was"' not in each
    assert "Nothing but what all have." in each


def test_what_wants_a_look_is_not_ticked_and_says_why(world: World) -> None:
    reversible(world)
    for _ in range(3):
        early = asks(world, 20, "c")
        world.approve(early, "ben")
        assert recovery.resume(world.organisation, early.call).status == "applied"
    good, unusual, again, before = asks(world, 21, "a"), asks(world, 90, "b"), asks(world, 22, "a"), asks(world, 23, "c")
    with tenancy.within(world.organisation):
        for place, said in enumerate((good, unusual, again, before)):
            Request.objects.filter(id=said.approval).update(
                expires_at=F("opened_at") + (place + 1) * (F("expires_at") - F("opened_at")) / 5
            )
    shown = detail(shows(world, good))
    assert ticked(shown) == {good.approval}
    assert "4.5 x the usual amount, which is $20" in shown
    assert f"{good.approval} above is about the same target" in shown
    assert "account/c was changed by this tool before" in shown
    assert "Approve the chosen" in shown


def test_where_the_rules_changed_none_is_ticked(world: World) -> None:
    reversible(world)
    given = [asks(world, 50, account) for account in "ab"]
    with tenancy.within(world.organisation):
        Request.objects.update(policy_set_id="POL-OLD")
    shown = detail(shows(world, given[0]))
    assert "The rules changed since: it would be void." in shown
    assert ticked(shown) == set()


def test_a_change_too_long_for_this_page_is_read_on_its_own(world: World) -> None:
    reversible(world, preview=None)
    short, long = (
        world.start().call("pay", {"account": account, "amount": 50, "note": note}) for account, note in (("a", "x"), ("b", "y" * 3500))
    )
    shown = detail(shows(world, short))
    assert "too long for this page" in shown
    assert ticked(shown) == {short.approval}
    assert "yyyy" not in shown.partition("The agent says")[0]
    assert long.approval in shown


def test_hostile_text_stays_text(world: World) -> None:
    reversible(world, preview=None)
    for note in HOSTILE[:-1]:
        said = world.start(title=note).call("pay", {"account": "a", "amount": 50, "note": note})
    with tenancy.within(world.organisation):
        Request.objects.update(title=HOSTILE[0] + HOSTILE[2], reasons=[HOSTILE[0], HOSTILE[3]])
    key_of_it = identity.issue(by=world.people["olga"], agent=world.agent, label="x").key.id
    stops.engage(by=world.people["sam"], scope="key", target=key_of_it, reason=HOSTILE[0])
    page = shows(world, said) + text(visit(world, "ann", "approvals?tab=mine"))
    for raw in ("<script>alert", "<img src=x", 'onfocus="alert', "\u202e", "\u200b", "</textarea></title>"):
        assert raw not in page, raw
    assert "[U+202E]" in page


@pytest.mark.parametrize("name", ["olga", "ada", "vera", "fiona", ""])
def test_who_decides_nothing_here_finds_nothing(world: World, elsewhere: World, name: str) -> None:
    reversible(world)
    given, before = [asks(world, 50, account) for account in "ab"], len(world.events())
    path = f"{root_of(world)}/approvals/together/{key(world, given[0])}"
    client = signed_in(world, name)
    assert client.get(path).status_code == (404 if name else 302)
    assert client.post(f"{path}/decide", {"chosen": [given[0].approval]}).status_code == (404 if name else 302)
    foreign = signed_in(elsewhere, "ann")
    assert foreign.get(path).status_code == 404
    theirs = f"{root_of(elsewhere)}/approvals/together/"
    known, unknown = (text(foreign.get(theirs + one)) for one in (key(world, given[0]), "B-0000000000"))
    assert known.replace(key(world, given[0]), "B-0000000000").count("None of these waits") == unknown.count("None of these waits") == 1
    assert given[0].approval not in known
    assert foreign.get(theirs + "nothing").status_code == 404
    assert foreign.get(path + "/decide").status_code == 405
    assert len(world.events()) == before


# Deciding -------------------------------------------------------------------------------------------------------------


def test_several_are_approved_with_one_click_and_the_page_tells_what_became_of_each(world: World) -> None:
    reversible(world)
    given = [asks(world, 50, account) for account in "abc"]
    answer = post(world, given[:2], verdict="APPROVE")
    told = after(world, answer)
    assert told.count("Approved by you") == 2
    assert world.events("request.approved") == ["request.approved"] * 2
    assert ticked(detail(text(signed_in(world, "ann").get(answer.headers["Location"])))) == {given[2].approval}, "the rest waits below"
    for said in given[:2]:
        assert recovery.resume(world.organisation, said.call).status == "applied"
    assert after(world, answer).count("Done") == 2, "the page is the record, and stays true"


def test_each_that_was_not_decided_says_why_and_the_others_are(world: World) -> None:
    reversible(world)
    good, taken, moved, late, held, withdrawn = (asks(world, 50 + place, account) for place, account in enumerate("abcabb"))
    world.approve(taken, "ben")
    world.bank.accounts["c"]["balance"] += 1
    with tenancy.within(world.organisation):
        Request.objects.filter(id=late.approval).update(expires_at=F("opened_at"))
        run = Request.objects.get(id=held.approval).run_id
    stops.engage(by=world.people["sam"], scope="run", target=run, reason="drill")
    signed_in(world, "olga").post(f"{root_of(world)}/approvals/{withdrawn.approval}/withdraw", {"why": "Not needed."})
    told = after(world, post(world, [good, taken, moved, late, held, withdrawn], verdict="APPROVE"))
    for words in (
        "Approved by you",
        "ben approved it already",
        "its plan changed",
        "its time was over",
        "sam stopped the run",
        "it is withdrawn",
    ):
        assert told.count(words) == 1, words
    assert world.events("request.approved", subject=good.approval) == ["request.approved"]
    assert world.request(moved.approval).state == world.request(held.approval).state == "OPEN"


def test_a_denial_of_several_gives_its_one_reason_to_each(world: World) -> None:
    reversible(world)
    given = [asks(world, 50, account) for account in "ab"]
    empty = post(world, given[:1], verdict="DENY")
    assert empty.status_code == 422
    assert "A denial needs a reason" in text(empty)
    assert ticked(text(empty)) == {given[0].approval}, "what was chosen is not lost"
    none = post(world, given, verdict="APPROVE", chosen=[])
    assert none.status_code == 422
    assert "Choose at least one." in text(none)
    assert world.events("request.voted") == []
    told = after(world, post(world, given, verdict="DENY", chip="Duplicate", reason="Paid on Monday."))
    assert told.count("Denied by you") == 2
    for said in given:
        refusal = gate.standing(world.organisation, said.call).refusal
        assert refusal is not None
        assert refusal["reason"] == "Duplicate: Paid on Monday."


def test_what_is_approved_is_the_plan_that_the_page_showed(world: World) -> None:
    reversible(world)
    given = [asks(world, 50, account) for account in "ab"]
    shown = detail(shows(world, given[0]))
    assert all(f'name="plan" value="{said.approval}~{said.plan}"' in shown for said in given)
    told = after(
        world, post(world, given, verdict="APPROVE", plan=[f"{given[0].approval}~{'0' * 64}", f"{given[1].approval}~{given[1].plan}"])
    )
    assert told.count("its plan changed") == told.count("Approved by you") == 1
    assert world.request(given[0].approval).state == "OPEN"


def test_what_is_not_of_the_batch_cannot_be_slipped_in(world: World, elsewhere: World) -> None:
    plain = asks(world)
    reversible(world)
    reversible(elsewhere)
    one, two, theirs = asks(world), asks(world, 600), asks(elsewhere)
    told = after(world, post(world, [one, two, plain, theirs], verdict="APPROVE"))
    assert told.count("Approved by you") == 1
    assert told.count("it is no longer one of these") == 2
    assert told.count(f"{theirs.approval}</span> is not there") == 1
    assert {world.request(said.approval).state for said in (two, plain)} == {"OPEN"}
    assert elsewhere.request(theirs.approval).state == "OPEN"
    forged = text(
        signed_in(world, "ann").get(f"{root_of(world)}/approvals/together/{key(world, two)}?done=x~y.%00.APR-<b>~1.{theirs.approval}~")
    )
    assert "<b>~" not in forged


def test_live_parts_are_asked_for_by_themselves(world: World) -> None:
    reversible(world)
    said = asks(world)
    asks(world, 51, "b")
    client, path = signed_in(world, "ann"), f"{root_of(world)}/approvals/together/{key(world, said)}"
    for part, has in (("list", f"2 {TIMES} teller"), ("detail", 'name="chosen"')):
        answer = text(client.get(path, headers={"HX-Request": "true", "HX-Target": part}))
        assert has in answer
        assert "<html" not in answer


def test_the_tool_is_called_by_its_title_and_else_by_its_name(world: World) -> None:
    reversible(world)
    said = asks(world)
    with tenancy.within(world.organisation):
        row = next(row for row in tools.active(world.workspace.id) if row.tool.name == "pay")
    assert row.title == "Pay"
    assert ">teller: Pay<" in detail(shows(world, said))
