"""Every page to every role: what opens, what is offered, that looking changes nothing, and that what is not yours is not there."""

import re

import pytest
from django.test import Client

from tests.console_contract import estate as estates
from tests.console_contract.estate import ACTS, PAGES, ROLES, Estate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]  # the first test makes the organisations


@pytest.fixture(scope="module")
def estate(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Estate:
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        return estates.furnish()


@pytest.fixture(scope="module")
def elsewhere(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Estate:
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        return estates.furnish()


def test_the_table_knows_every_address() -> None:
    assert set(estates.patterns()) == set(PAGES) | set(ACTS) | estates.FRAGMENTS


def test_each_page_opens_for_the_roles_of_the_table_and_is_not_there_for_others(estate: Estate) -> None:
    wrong, before = [], estates.digest(estate.world.organisation)
    for page, roles in PAGES.items():
        for role in ROLES:
            status = estate.clients[role].get(estate.path(page)).status_code
            if status != (200 if role in roles else 404):
                wrong.append((page, role, status))
        if estate.clients["owner"].head(estate.path(page)).status_code not in {200, 404, 405}:
            wrong.append((page, "owner, HEAD", 0))
        stranger = Client().get(estate.path(page))
        assert stranger.status_code == 302, page
        assert stranger.headers["Location"].startswith("/accounts/login/"), page
    assert not wrong
    assert estates.digest(estate.world.organisation) == before


@pytest.mark.parametrize("role", ROLES)
def test_no_link_leads_nowhere_no_form_is_offered_that_would_be_refused_and_looking_changes_nothing(estate: Estate, role: str) -> None:
    before = estates.digest(estate.world.organisation)
    forms, dead = set(), []
    for address, origin, found, status in estates.crawl(estate, role):
        if status not in {200, 302}:
            dead.append((address, f"linked from {origin}", status))
        forms |= {(action.partition("?")[0], address) for method, action in (found.forms if found else []) if method == "post"}
    assert not dead
    assert estates.digest(estate.world.organisation) == before
    offered = {(_act(estate, action or address.partition("?")[0]), address) for action, address in forms}
    assert not [(act, address) for act, address in offered if act in ACTS and role not in ACTS[act]]


def _act(estate: Estate, action: str) -> str:
    """The pattern that a form's address belongs to."""
    within = action.removeprefix(f"{estate.root}/")
    shapes = {pattern: re.sub(r"<\w+:\w+>", "[^/]+", pattern) for pattern in ACTS}
    return next(
        (pattern for pattern, shape in sorted(shapes.items(), key=lambda each: each[1].count("[^")) if re.fullmatch(shape, within)), ""
    )


def test_who_is_not_offered_a_form_cannot_post_it_either(estate: Estate) -> None:
    before = estates.digest(estate.world.organisation)
    for act, roles in ACTS.items():
        for role in ROLES:
            if role not in roles:
                status = estate.clients[role].post(estate.path(act), {"reason": "because", "verdict": "approve"}).status_code
                assert status in {403, 404, 405, 422}, (act, role, status)
    assert estates.digest(estate.world.organisation) == before


def test_what_only_posts_changes_nothing_when_it_is_looked_at(estate: Estate) -> None:
    before = estates.digest(estate.world.organisation)
    for act in ACTS.keys() - PAGES.keys():
        for role in ROLES:
            for ask in (estate.clients[role].get, estate.clients[role].head):
                assert ask(estate.path(act)).status_code in {404, 405}, (act, role)
    assert estates.digest(estate.world.organisation) == before


def test_foreign_ids_are_answered_like_unknown_ones_to_the_byte(estate: Estate, elsewhere: Estate) -> None:
    """Every pattern with an id: of the other organisation, and one that nobody has."""
    unknown = {name: _like(value) for name, value in elsewhere.ids.items()}
    for page in [page for page in PAGES if "<" in page]:
        noun = page.split("/")[0]
        foreign = {"<str:identifier>": elsewhere.ids.get(noun, ""), "<str:target>": elsewhere.ids["<str:target>"]}
        nobodys = {"<str:identifier>": unknown.get(noun, ""), "<str:target>": unknown["<str:target>"]}
        if "slug" in page or "name" in page:  # slugs and names are not secret ids: ask where they exist, as somebody else
            foreign, nobodys = {}, {"<str:slug>": "nobody", "<str:name>": "nothing"}
        for role in ("owner", "viewer"):
            client = estate.clients[role]
            asked_at = elsewhere if not foreign else estate
            answers = [client.get(asked_at.path(page, foreign)), client.get(asked_at.path(page, nobodys))]
            assert [each.status_code for each in answers] == [404, 404], page
            assert answers[0].content == answers[1].content, page


def test_another_organisation_looks_like_none(estate: Estate, elsewhere: Estate) -> None:
    there = estate.clients["owner"].get(f"{elsewhere.root}/overview")
    nowhere = estate.clients["owner"].get("/no-such-org/no-such-desk/overview")
    assert there.status_code == nowhere.status_code == 404
    assert there.content == nowhere.content


def _like(identifier: str) -> str:
    """An id of the same shape that nobody has."""
    return identifier[:-3] + ("ZZZ" if not identifier.endswith("ZZZ") else "YYY")
