"""What every page stands in: search by permission, links that know no workspace, preferences, the call behind a page, the demo's roles."""

import datetime
import html
import re

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone

from agents import organisations, policies, stops
from audit import log, tenancy
from controlplane.console import cast, curl
from controlplane.demo import scene
from controlplane.templatetags import parts, ui
from tests.controlplane import browsing
from tests.controlplane.browsing import HOSTILE
from tests.world import World


def options(world: World, name: str, words: str) -> dict[str, str]:
    """What the palette is told: address -> name."""
    seen = browsing.browser(world, name)
    answer = seen.client.get(f"{seen.root}/go", {"q": words}, headers={"hx-request": "true", "hx-target": "options"})
    assert answer.status_code == 200, words
    found = re.findall(r'data-href="([^"]+)">.*?<span>([^<]*)', answer.content.decode())
    return {address.removeprefix(seen.root + "/").replace("&amp;", "&"): name for address, name in found}


def test_the_palette_finds_every_kind_and_offers_what_this_person_may_do(world):
    run = world.start(title="A payment for Kestrel", reference="TCK-77")
    held = run.call("pay", {"account": "a", "amount": 50})
    title = world.request(held.approval).title
    assert f"approvals/{held.approval}" in options(world, "ann", title)
    assert f"runs/{run.run.id}" in options(world, "ann", "kestrel")
    assert f"runs/{run.run.id}" in options(world, "ann", "tck-77")
    assert next(iter(options(world, "ann", run.run.id))) == f"runs/{run.run.id}"  # the best match comes first
    assert {"agents/teller"} <= set(options(world, "ann", "tell"))
    assert {"tools/pay"} <= set(options(world, "ann", "pay"))
    assert f"members/{world.members['sam'].id}" in options(world, "olga", "sam")
    assert f"stops?what=agent%2F{world.agent.id}" in options(world, "sam", "stop teller")
    assert f"stops?what=run%2F{run.run.id}" in options(world, "sam", f"stop {run.run.id}")
    assert "permissions/who?tool=pay&a.amount=501" in options(world, "sam", "who can call pay over 500")
    assert "permissions/who?tool=pay" in options(world, "sam", "who can pay?")
    assert f"budgets/cap?scope=agent%2F{world.agent.id}" in options(world, "fiona", "cap teller")
    assert f"budgets/agent/{world.agent.id}" in options(world, "ada", "cap teller")
    assert {"overview", "approvals", "runs"} <= set(options(world, "ann", ""))


def test_the_palette_offers_nobody_what_they_may_not_see_or_do(world, elsewhere):
    theirs = elsewhere.start(title="A secret payment")
    held = world.start(title="A payment").call("pay", {"account": "a", "amount": 50})
    title = world.request(held.approval).title
    assert options(world, "vera", "stop teller") == {}
    assert options(world, "fiona", "who can pay") == {}
    assert options(world, "ann", "cap teller") == {}
    assert f"approvals/{held.approval}" not in options(world, "vera", title)
    assert not any(address.startswith("members") for address in options(world, "ann", "sam"))
    assert not any("members" in address for address in options(world, "vera", ""))
    assert options(world, "olga", theirs.run.id) == options(world, "olga", "secret") == {}
    for words in ("%", "\x00", "R-", "' or 1=1", "stop ", "who can", HOSTILE):
        options(world, "olga", words)


def test_search_works_as_a_page_and_asks_no_more_for_more_rows(world, django_assert_max_num_queries):
    seen = browsing.browser(world, "olga")
    for number in range(3):
        world.start(title=f"A payment {number}")
    page = seen.text("/go", q="payment")
    assert "<h2" in page
    assert "Runs" in page
    assert "<script>alert" not in seen.text("/go", q=HOSTILE)
    with django_assert_max_num_queries(60) as few:
        seen.text("/go", q="payment")
    for number in range(3):
        world.start(title=f"A payment too {number}")
    with django_assert_max_num_queries(len(few)):
        seen.text("/go", q="payment")


def test_a_link_without_a_workspace_leads_to_it_and_a_foreign_one_nowhere(world, elsewhere):
    run, theirs = world.start(), elsewhere.start()
    seen = browsing.browser(world, "olga")
    assert seen.client.get(f"/go/{run.run.id}")["Location"] == f"{seen.root}/runs/{run.run.id}"
    for identifier in (theirs.run.id, "R-0000000000", "nonsense", "R-'", "x" * 300):
        assert seen.client.get(f"/go/{identifier}").status_code == 404, identifier
    before = Client().get(f"/go/{run.run.id}")
    assert before.status_code == 302
    assert f"to see run {run.run.id}" in Client().get(before["Location"]).content.decode()


def test_an_id_leads_to_a_page_that_opens(world):
    stop = stops.engage(by=world.people["sam"], scope="agent", target=world.agent.id, reason="Look.")
    stops.release(by=world.people["olga"], stop=stop)
    with tenancy.within(world.organisation):
        rules = policies.listed(world.workspace.id)[0].id
        of_none = log.entries().filter(workspace_id="")[0].id
    seen, ada = browsing.browser(world, "sam"), browsing.browser(world, "ada")
    for identifier, page in ((stop.id, f"/stops/{stop.id}"), (rules, f"/policies/{rules}"), (world.agent.id, "/agents/teller")):
        assert seen.get("/go", q=identifier)["Location"] == seen.root + page
        assert seen.client.get(f"/go/{identifier}")["Location"] == seen.root + page
        assert seen.get(page).status_code == 200
    assert ada.get("/go", q=of_none).status_code == 200, "what belongs to no workspace takes every workspace"
    assert ada.client.get(f"/go/{of_none}").status_code == 404
    world.seat("ada", "auditor", workspace=world.other)
    assert ada.get("/go", q=of_none)["Location"] == f"{ada.root}/audit/{of_none}"
    assert ada.get(f"/audit/{of_none}").status_code == 200


def test_what_no_row_can_hold_is_a_bad_request_at_every_form(world):
    held = world.start().call("pay", {"account": "a", "amount": 50})
    forms = {
        "/stops/engage": ("sam", {"what": f"agent/{world.agent.id}", "reason": "a\0b"}),
        "/budgets/prices": ("fiona", {"item": "openai:gpt", "input": "1", "output": "1", "source": "a\0b"}),
        "/connect/key": ("olga", {"agent": "a\0b"}),
        "/members/a%00b/role": ("olga", {"role": "viewer", "act": "grant"}),
        "/views/a%00b/remove": ("ann", {}),
        f"/approvals/{held.approval}/vote": ("ann", {"verdict": "DENY", "plan": held.plan, "reason": "a\0b"}),
        f"/approvals/{held.approval}/lift": ("ann", {"denial": "a\0b"}),
    }
    before = world.events()
    assert {page: browsing.browser(world, name).post(page, **form).status_code for page, (name, form) in forms.items()} == dict.fromkeys(
        forms, 400
    )
    assert browsing.browser(world, "vera").post("/stops/engage", reason="a\0b").status_code == 400
    assert browsing.browser(world, "vera").post("/connect/key", agent="a\0b").status_code == 404
    assert world.events() == before
    assert browsing.browser(world, "ann").get(f"/approvals/{held.approval}", seen="a\0b").status_code == 200


def test_sign_in_says_where_it_leads_in_its_own_words_only(world):
    assert parts.destination("/shop/desk/approvals/APR-7F3K2QW9MX") == "to review APR-7F3K2QW9MX"
    assert parts.destination("/shop/desk/approvals/APR-7F3K2QW9MX?tab=mine") == "to review APR-7F3K2QW9MX"
    assert parts.destination("/shop/desk/audit?event=stop.*") == "to the audit log"
    for strange in ("", "//evil.example/x", "https://evil.example/a/b/c", "/a/b/<script>", "/shop/desk/approvals/APR-x\nSet"):
        assert parts.destination(strange) == "", strange
    page = Client().get("/accounts/login/", {"next": "/x/<b>your password has expired"}).content.decode()
    assert "expired" not in page.replace('value="/x/&lt;b&gt;your password has expired"', "")


def test_a_part_of_a_page_asked_for_after_sign_out_is_no_form_to_sign_in(world):
    root = browsing.root_of(world)
    assert Client().get(f"{root}/runs", headers={"hx-request": "true"}).status_code == 401
    assert Client().get(f"{root}/runs").status_code == 302


def test_preferences_are_cookies_that_a_post_sets_and_pages_obey(world):
    seen = browsing.browser(world, "ann")
    assert 'data-keys="on"' in seen.text("/runs")
    assert seen.client.get("/keys").status_code == 405
    assert seen.client.post("/keys", {"keys": "off"}, headers={"referer": "http://evil.example/"})["Location"] == "/"
    assert 'data-keys="off"' in seen.text("/runs")
    seen.client.post("/keys", {"keys": "on"})
    assert 'data-keys="on"' in seen.text("/runs")
    seen.client.post("/theme", {"theme": "dark"})
    assert 'data-theme="dark"' in seen.text("/runs")
    seen.client.post("/theme", {"theme": '"><script>'})
    assert "data-theme" not in seen.text("/runs")


def test_the_call_behind_a_page_is_one_that_the_api_answers_and_holds_no_token(world, rf):
    run = world.start()
    held = run.call("pay", {"account": "a", "amount": 50})
    seen = browsing.browser(world, "olga")
    behind = {
        f"/runs/{run.run.id}": f"/api/v1/runs/{run.run.id}",
        "/runs?state=WAITING&q=x": "/api/v1/runs?workspace=desk&state=WAITING",
        f"/approvals/{held.approval}": f"/api/v1/approvals/{held.approval}",
        "/agents/teller": "/api/v1/agents/teller?workspace=desk",
        "/audit?event=stop.*": "/api/v1/audit?workspace=desk&event=stop.%2A",
    }
    for page, call in behind.items():
        request = rf.get(seen.root + page)
        said = curl.behind(request, seen.root, "desk")
        assert said in (f'curl -H "Authorization: Bearer $REMIT_TOKEN" {quote}http://testserver{call}{quote}' for quote in ("", "'"))
        assert seen.client.get(call).status_code == 200, call
    quoted = curl.behind(rf.get(seen.root + "/runs", {"state": "'; rm -rf ~ #"}), seen.root, "desk")
    assert "rm -rf" not in quoted
    assert curl.behind(rf.get(seen.root + "/overview"), seen.root, "desk") == ""


def test_the_one_banner_names_what_is_stopped_here_and_nothing_that_is_elsewhere(world):
    stops.engage(by=world.people["sam"], scope="tool", target="pay", reason=HOSTILE)
    system = organisations.system(world.organisation, "tests")
    stops.engage(by=system, scope="workspace", target=world.other.id, reason="not yours")
    page = browsing.browser(world, "ann").text("/runs")
    assert page.count('class="banner') == 1
    assert "<b>Tool pay stopped by sam</b>" in page
    assert "not yours" not in page
    assert "<script>alert" not in page
    assert "[U+202E]" in page


@pytest.mark.parametrize("reason", ["duplicate refunds", "duplicate refunds."])
def test_the_banner_says_who_stopped_what_when_and_why_in_whole_sentences(world, reason):
    stops.engage(by=world.people["sam"], scope="agent", target=world.agent.id, reason=reason)
    seen = browsing.browser(world, "ann")
    said = re.sub(r"<[^>]+>", "", seen.text("/runs").split('class="banner', 1)[1].partition(">")[2].split("</div>")[0])
    assert re.match(r"Agent teller stopped by sam at \d\d \w{3} \d\d:\d\d UTC: duplicate refunds\. New calls are refused\.", said), said
    stops.engage(by=world.people["sam"], scope="tool", target="pay", reason="x")
    assert "Stopped: tool pay, agent teller.</b> New calls are refused." in seen.text("/runs")


def test_the_frames_parts_are_asked_for_alone(world):
    seen = browsing.browser(world, "ann")
    world.start().call("pay", {"account": "a", "amount": 50})
    here = {"hx-request": "true", "hx-target": "nav", "hx-current-url": f"http://testserver{seen.root}/runs?x=1"}
    nav = seen.client.get(f"{seen.root}/frame", headers=here).content.decode()
    assert "<html" not in nav
    assert 'data-waiting="1"' in nav
    assert re.search(r'href="[^"]+/runs"[^>]*aria-current="page"', nav)
    assert seen.get("/frame").status_code == 404


def test_green_is_for_what_succeeded_and_not_for_a_stage():
    assert "ok-b" not in ui.badge("GATED")
    assert "ok-b" in ui.badge("SUCCEEDED")


@pytest.fixture
def demo(world, monkeypatch):
    """The test's own organisation in the part of the demo: its people have the demo's names."""
    monkeypatch.setattr(settings, "DEMO", True)
    members = {"Dana": world.members["ann"], "Sam": world.members["sam"], "Fiona": world.members["fiona"], "Ada": world.members["ada"]}
    monkeypatch.setattr(scene, "find", lambda slug="": scene.Scene(world.organisation, world.workspace, members))
    monkeypatch.setattr(cast, "is_demo", lambda organisation: organisation == world.organisation)
    return world


def test_in_the_demo_one_looks_as_another_role_by_a_post_that_is_entered(demo):
    seen = browsing.browser(demo, "ann")
    assert 'action="/demo/as"' in seen.text("/runs")
    assert 'action="/demo/as"' in Client().get("/accounts/login/").content.decode()
    before = demo.events()
    assert seen.client.get("/demo/as", {"role": "security"}).status_code == 405
    assert demo.events() == before
    assert seen.client.post("/demo/as", {"role": "security", "next": "//evil.example"})["Location"] == "/"
    assert "Account of sam" in seen.text("/runs")
    assert demo.events("session.*") == ["session.signed_in"]
    assert Client().post("/demo/as", {"role": "admin"}).status_code == 404
    forgery = Client(enforce_csrf_checks=True)
    assert forgery.post("/demo/as", {"role": "security"}).status_code == 403


@pytest.mark.parametrize(
    "how", [{"REMOTE_ADDR": "10.0.0.9"}, {"HTTP_X_FORWARDED_FOR": "127.0.0.1"}, {"HTTP_FORWARDED": "for=127.0.0.1"}, {"REMOTE_ADDR": ""}]
)
def test_from_another_machine_the_demos_roles_are_not_there(demo, how):
    assert Client().post("/demo/as", {"role": "security"}, **how).status_code == 404
    assert "/demo/as" not in Client().get("/accounts/login/", **how).content.decode()


def test_outside_the_demo_there_are_no_roles_to_take(world, demo, elsewhere, monkeypatch):
    assert "/demo/as" in browsing.browser(world, "ann").text("/runs")
    assert "/demo/as" not in browsing.browser(elsewhere, "ann").text("/runs")
    monkeypatch.setattr(settings, "DEMO", False)
    assert "/demo/as" not in browsing.browser(world, "ann").text("/runs")
    assert "/demo/as" not in Client().get("/accounts/login/").content.decode()
    assert Client().post("/demo/as", {"role": "security"}).status_code == 404
    with tenancy.within(world.organisation):
        assert world.events("session.*") == []


def stale(world, name):
    """That person without a password, their session begun ten minutes ago."""
    seen = browsing.browser(world, name)
    user = get_user_model().objects.get(pk=world.people[name].user)
    user.set_unusable_password()
    user.save()
    seen.client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    get_user_model().objects.filter(pk=user.pk).update(last_login=timezone.now() - datetime.timedelta(minutes=10))
    return seen


def test_a_person_of_the_demo_confirms_by_a_button_and_then_signs_for_two(demo):
    run = demo.start()
    held = run.call("pay", {"account": "a", "amount": 600})
    seen = stale(demo, "ann")
    page = seen.text(f"/approvals/{held.approval}")
    [link] = re.findall(r'href="(/accounts/again/[^"]+)"[^>]*data-key="a"', page)
    ours = seen.client.get(html.unescape(link)).content.decode()
    assert "It is me" in ours
    [target] = re.findall(r'name="next" value="([^"]+)"', ours)
    [role] = re.findall(r'name="role" value="([^"]+)"', ours)
    answer = seen.client.post("/demo/as", {"role": role, "next": target})
    assert answer["Location"] == f"{seen.root}/approvals/{held.approval}"
    assert seen.post(f"/approvals/{held.approval}/vote", verdict="APPROVE", plan=held.plan).status_code == 302
    with tenancy.within(demo.organisation):
        assert demo.request(held.approval).votes.count() == 1


def test_whoever_has_no_password_signs_in_anew_and_whoever_has_one_gives_it(world, elsewhere):
    seen = stale(elsewhere, "ben")
    page = seen.client.get("/accounts/again/", {"next": "/somewhere"}).content.decode()
    assert 'action="/accounts/logout/"' in page
    gone = seen.client.post("/accounts/logout/", {"next": re.findall(r'name="next" value="([^"]+)"', page)[0]})
    assert gone["Location"] == "/accounts/login/?next=%2Fsomewhere"
    own = browsing.browser(world, "ben").client
    assert own.get("/accounts/again/", {"next": "/x"})["Location"] == "/accounts/reauthenticate/?next=%2Fx"
    assert own.get("/accounts/again/", {"next": "//evil.example"})["Location"] == "/accounts/reauthenticate/?next=%2F"
    assert Client().get("/accounts/again/", {"next": "/x"})["Location"] == "/accounts/login/?next=%2Fx"
