"""The overview's numbers: each is right, and leads to the rows it counts."""

import re

from agents import contracts
from agents.models import Agent, Call, Run
from audit import tenancy
from controlplane.console import numbers
from tests.controlplane.browsing import root_of, signed_in, text
from tests.world import World


def test_a_tile_leads_to_the_rows_it_counts(world: World) -> None:
    world.start().call("get_account", {"account": "a"})
    world.start().call("pay", {"account": "a", "amount": 901})
    twice, capped = world.start(), world.start()
    twice.call("nothing", {})
    twice.call("nothing", {"n": 1})
    hit = capped.call("get_account", {"account": "a"})
    with tenancy.within(world.organisation):
        Call.objects.filter(id=hit.call).update(refusal='{"code":"limit_reached"}')
    client, here = signed_in(world, "olga"), root_of(world)
    tiles = {tile.word: tile for tile in client.get(f"{here}/overview").context["tiles"]}
    wanted = {"Runs": ("4", "", 4), "Met a refusal": ("3", "of 4", 3), "Hit a cap": ("25 %", "1 of 4", 1)}
    for word, (value, told, rows) in wanted.items():
        assert (tiles[word].value, tiles[word].told_from) == (value, told)
        page = text(client.get(f"{here}/{tiles[word].address}"))
        assert len(set(re.findall(r"/runs/(R-\w+)", page))) == rows, word


def test_the_busiest_agents_come_first_and_the_others_are_in_their_list(world: World, monkeypatch) -> None:
    other = contracts.register(
        by=world.people["olga"], workspace=world.workspace, slug="busy", name="Busy", owner=world.members["olga"], stage=Agent.Stage.DRAFT
    )
    runs = [world.start().run for _ in range(3)]
    with tenancy.within(world.organisation):
        Run.objects.filter(id__in=[run.id for run in runs[:2]]).update(agent=other)
    client, here = signed_in(world, "olga"), root_of(world)
    shown = [(line["agent"].slug, line["runs"], sum(line["parts"])) for line in client.get(f"{here}/overview").context["agents_table"]]
    assert shown == [("busy", "2", 2), (world.agent.slug, "1", 1)]
    monkeypatch.setattr(numbers, "BUSIEST", 1)
    assert [line["agent"].slug for line in client.get(f"{here}/overview").context["agents_table"]] == ["busy"]
