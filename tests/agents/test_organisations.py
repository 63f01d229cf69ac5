"""Organisations and the names that people give."""

import pytest
from django.urls import URLPattern, get_resolver

from agents import contracts, organisations
from controlplane.demo import scene
from tests.world import World


@pytest.mark.parametrize("name", ["", "  ", "x" * 121, "Des\u202ek", "De\u200bsk", "De\nsk", "\ufeffDesk", "De\x00sk"])
def test_nothing_hides_in_a_name(world: World, name: str) -> None:
    system = organisations.system(world.organisation, "tests")
    with pytest.raises(organisations.Conflict):
        organisations.create_workspace(by=system, slug="third", name=name)
    with pytest.raises(organisations.Conflict):
        contracts.register(by=world.people["olga"], workspace=world.workspace, slug="third", name=name, owner=world.members["olga"])
    assert organisations.create_workspace(by=system, slug="third", name=" Żółć 東京 🙂 ").name == "Żółć 東京 🙂"


@pytest.mark.parametrize("slug", ["", "Upper", "-desk", "a/b", "x" * 64, "docs", "api", "start"])
def test_a_slug_that_could_not_be_an_address_is_refused(slug: str) -> None:
    with pytest.raises(organisations.Conflict, match="address"):
        organisations.create(slug=slug, name="Somebody")


def test_every_address_of_ours_is_kept_free_of_organisations() -> None:
    ours = {str(each.pattern).strip("^$?").split("/")[0] for each in get_resolver().url_patterns}
    ours.discard(scene.SLUG)  # the demo's own organisation: beside its pages there is /demo/as
    assert {first for first in ours if first and not first.startswith("<")} <= organisations.RESERVED
    assert any(isinstance(each, URLPattern) for each in get_resolver().url_patterns)
