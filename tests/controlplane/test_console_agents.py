"""Agents in the browser: how each does, the register as a file, and what may be changed about one: its contract, its owner, its end."""

import csv
import re

import pytest

from agents import contracts, organisations, seats, tools
from agents.models import Call
from audit import log, outcomes, tenancy
from controlplane import recovery
from tests.controlplane.browsing import root_of, signed_in, text, visit
from tests.world import World


def test_the_list_says_how_each_agent_does_and_each_number_leads_to_its_runs(world: World) -> None:
    world.start().call("pay", {"account": "a", "amount": 5})
    asked = world.start().call("pay", {"account": "b", "amount": 50})
    world.approve(asked, "ann")
    recovery.resume(world.organisation, asked.call)
    world.start().call("pay", {"account": "a", "amount": 901})
    capped = world.start().call("get_account", {"account": "a"})
    waits = world.start().call("pay", {"account": "c", "amount": 60})
    assert waits.approval
    with tenancy.within(world.organisation):
        Call.objects.filter(id=capped.call).update(refusal='{"code":"limit_reached"}')
    client, here = signed_in(world, "olga"), root_of(world)
    page = client.get(f"{here}/agents")
    (row,) = page.context["rows"]
    assert (row["pulse"].runs, row["pulse"].capped, row["pulse"].writes, row["pulse"].alone) == (5, 1, 2, 1)
    assert (row["pulse"].refused, row["waiting"]) == (1, 1)
    assert '50 %</a><span class="sub">of 2</span>' in text(page)
    for query, rows in (("q=has%3Acap", 1), ("q=has%3Awrote+call%3Aapplied", 2), ("q=call%3Arefused", 1)):
        (address,) = (each for each in re.findall(r'href="([^"]+/runs[^"]+)"', text(page)) if each.endswith(query))
        assert len(set(re.findall(r"/runs/(R-\w+)", text(client.get(address.replace("&amp;", "&")))))) == rows, query
    assert "this month</span>" in text(page)
    overview = client.get(f"{here}/overview")
    (line,) = overview.context["agents_table"]
    assert (line["pulse"].runs, line["pulse"].capped) == (5, 1)
    (address,) = re.findall(r'href="([^"]+/runs\?agent=[^"]+has%3Acap)">20 %', text(overview))
    assert len(set(re.findall(r"/runs/(R-\w+)", text(client.get(address.replace("&amp;", "&")))))) == 1


@pytest.mark.parametrize("page", ["agents/teller?tab=history", "tools/pay?tab=history"])
def test_history_without_the_whole_log_says_that_it_shows_only_ones_own(world: World, page: str) -> None:
    world.join("bob", "builder")
    seen, withheld, none = (text(visit(world, name, page)) for name in ("olga", "bob", "vera"))
    assert "Entries of the audit log, newest first" in seen
    assert "Nothing that you may read is written about it." in withheld
    assert "Nothing is written about it yet." not in withheld
    assert "You may not read the audit log." in none


def test_the_register_is_exported_as_a_file_and_that_is_entered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.register._PIECE", 1)
    system = organisations.system(world.organisation, "tests")
    contracts.register(by=system, workspace=world.workspace, slug="idle", name="=cmd()", owner=world.members["vera"])
    contracts.register(by=system, workspace=world.other, slug="there", name="There", owner=world.members["vera"])
    client, address = signed_in(world, "ada"), f"{root_of(world)}/register/export"
    assert client.get(address).status_code == 405
    answer = client.post(address)
    lines = list(csv.reader(answer.getvalue().decode().splitlines()))
    assert [line[0] for line in lines if line and not line[0].startswith("#")] == ["agent", "idle", "teller"]
    of = {line[0]: line for line in lines if line}
    assert of["idle"][1] == "'=cmd()"
    assert "close_account get_account pay slow_read" in of["teller"]
    assert world.events()[-1] == "agents.exported"
    assert world.events("agents.exported") == ["agents.exported"]


def test_an_agent_is_stopped_from_its_page_and_retired_by_a_form(world: World) -> None:
    client, here = signed_in(world, "olga"), f"{root_of(world)}/agents/teller"
    page = text(client.get(here))
    (stop,) = re.findall(r'href="([^"]+/stops\?what=agent/[^"]+)"', page)
    assert f'value="agent/{world.agent.id}" selected' in text(client.get(stop))
    assert "Stop it…" not in text(visit(world, "vera", "agents/teller"))
    assert 'value="RETIRED"' in text(client.get(f"{here}?tab=change"))
    assert client.post(f"{here}/change", {"state": "RETIRED"}).status_code == 302
    assert world.events()[-1] == "agent.changed"
    after = text(client.get(f"{here}?tab=change"))
    assert "Retired" in after
    assert "Stop it…" not in after
    assert 'value="RETIRED"' not in after


def test_a_contract_is_said_by_a_form_that_publishes_the_next_version_with_the_same_tools(world: World) -> None:
    client, here = signed_in(world, "olga"), root_of(world)
    client.post(f"{here}/connect/key", {"slug": "scout"})
    assert "Nobody has said yet what it is for." in text(client.get(f"{here}/agents/scout"))
    assert "Nobody has said yet" not in text(visit(world, "vera", "agents/scout"))  # who cannot say it either
    form = text(client.get(f"{here}/agents/scout?tab=change"))
    assert "Being connected" not in form
    assert "Change anything: it only reads." in form
    wanted = {"purpose": "Look up accounts.", "never": "Change anything.\r\n\r\n  Guess.", "output": "An answer."}
    for refused in (wanted | {"never": " "}, wanted | {"purpose": "x" * 4001}, {}):
        answer = client.post(f"{here}/agents/scout/publish", refused)
        assert answer.status_code == 422
        assert refused.get("output", "") in text(answer)
    assert client.post(f"{here}/agents/scout/publish", wanted)["Location"].endswith("/agents/scout?tab=versions")
    with tenancy.within(world.organisation):
        agent = contracts.get("scout", workspace=world.workspace)
        assert agent.version is not None
        assert [pin.name for pin in tools.pins(agent.version.id)] == ["get_account", "slow_read"]
    assert (agent.version.number, agent.version.never, agent.version.output) == (2, ["Change anything.", "Guess."], "An answer.")
    assert world.events()[-1] == "agent.version_published"
    assert "Nobody has said yet" not in text(client.get(f"{here}/agents/scout"))
    with tenancy.within(world.organisation):
        before = contracts.get("teller", workspace=world.workspace).version
    tools.retire(by=world.people["olga"], name="slow_read", workspace=world.workspace)
    assert "Left out, because no version of it is active: slow_read." in text(client.get(f"{here}/agents/teller?tab=change"))
    assert client.post(f"{here}/agents/teller/publish", wanted).status_code == 302
    with tenancy.within(world.organisation):
        version = contracts.get("teller", workspace=world.workspace).version
    assert before is not None
    assert version is not None
    assert (version.prompt, version.model_names, version.purpose) == (before.prompt, before.model_names, "Look up accounts.")


def test_an_agent_gets_another_owner_who_then_decides_about_none_of_its_calls(world: World) -> None:
    client, here = signed_in(world, "olga"), f"{root_of(world)}/agents/teller"
    assert client.post(f"{here}/owner", {"owner": world.members["ann"].id}).status_code == 302
    with tenancy.within(world.organisation):
        (entry,) = log.entries(event="agent.owner_changed")
    assert (entry.actor_id, entry.subject) == (world.members["olga"].id, world.agent.id)
    assert '"name":"ann"' in entry.body
    assert "owner ann" in text(client.get(here))
    held = world.start().call("pay", {"account": "a", "amount": 50})
    assert signed_in(world, "ann").get(f"{root_of(world)}/approvals/{held.approval}").status_code == 200
    with pytest.raises(outcomes.Refused):
        world.approve(held, "ann")
    world.approve(held, "ben")


def test_whoever_could_decide_about_what_waits_does_not_become_its_owner(world: World) -> None:
    client, here = signed_in(world, "olga"), f"{root_of(world)}/agents/teller"
    held = world.start().call("pay", {"account": "a", "amount": 50})
    refused = client.post(f"{here}/owner", {"owner": world.members["ann"].id})
    assert refused.status_code == 422
    assert "could decide about 1 of its calls" in text(refused)
    assert client.post(f"{here}/owner", {"owner": world.members["vera"].id}).status_code == 302  # she approves nothing
    world.approve(held, "ben")


def test_an_agent_is_not_given_to_whoever_is_not_here_nor_away_by_an_owner_who_could_then_decide(world: World, elsewhere: World) -> None:
    here, system = f"{root_of(world)}/agents/teller", organisations.system(world.organisation, "tests")
    with tenancy.within(world.organisation):
        organisations.deactivate(by=system, member=world.members["vera"])
    olga = signed_in(world, "olga")
    for nobody in (world.members["vera"].id, elsewhere.members["ann"].id, "", "MEM-NOBODY"):
        assert olga.post(f"{here}/owner", {"owner": nobody}).status_code in {404, 422}
    assert signed_in(world, "sam").post(f"{here}/owner", {"owner": world.members["sam"].id}).status_code == 404
    seats.grant(by=system, member=world.members["olga"], workspace=world.workspace, role="approver")
    refused = olga.post(f"{here}/owner", {"owner": world.members["ann"].id})
    assert refused.status_code == 403
    assert "does not give their own agent away" in text(refused)
    world.join("adam", "admin")
    assert signed_in(world, "adam").post(f"{here}/owner", {"owner": world.members["ann"].id}).status_code == 302
    assert world.events("agent.owner_changed") == ["agent.owner_changed"]


def test_a_builder_does_not_take_somebody_elses_agent_and_so_see_its_requests(world: World) -> None:
    held = world.start().call("pay", {"account": "a", "amount": 50})
    world.join("bob", "builder")
    world.join("adam", "admin")
    bob, here = signed_in(world, "bob"), root_of(world)
    refused = bob.post(f"{here}/agents/teller/owner", {"owner": world.members["bob"].id})
    assert refused.status_code == 403
    assert "given away by its owner" in text(refused)
    assert bob.get(f"{here}/approvals/{held.approval}").status_code == 404
    with tenancy.within(world.organisation):
        contracts.change_owner(by=world.people["adam"], agent=world.agent, owner=world.members["bob"])
    assert bob.post(f"{here}/agents/teller/owner", {"owner": world.members["vera"].id}).status_code == 302  # his own he gives away


def test_what_a_contract_says_is_not_overwritten_by_a_form_opened_before(world: World) -> None:
    client, address = signed_in(world, "olga"), f"{root_of(world)}/agents/teller"
    form = text(client.get(f"{address}?tab=change"))
    seen = form.partition('name="seen" value="')[2].partition('"')[0]
    said = {"purpose": "Look up accounts.", "never": "Refund twice.", "output": "", "seen": seen}
    assert client.post(f"{address}/publish", said).status_code == 302
    refused = client.post(f"{address}/publish", said | {"purpose": "Look up acounts", "never": "Guess."})
    assert refused.status_code == 422
    assert "published another version since" in text(refused)
    assert "Look up acounts" in text(refused)
    with tenancy.within(world.organisation):
        version = contracts.get("teller", workspace=world.workspace).version
    assert version is not None
    assert version.never == ["Refund twice."]
