"""The demo's own cards: steps ticked by facts, stories, and taking the demo away with its log kept and other organisations untouched."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.test import Client, override_settings
from pytest_django import Settings

from agents import organisations
from approvals import votes
from approvals.models import Request
from audit import log, tenancy
from controlplane.connectors import builtin
from controlplane.connectors.builtin import database
from controlplane.demo import border, building, clock, playing, removal, scene, seeding, stories
from controlplane.demo.scene import Scene
from tests.controlplane import builtin_world
from tests.controlplane.browsing import text
from tests.world import World


@pytest.fixture
def made(django_db_setup: None, monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path) -> Iterator[Scene]:
    """A demo of its own, built as `make run` builds it, found where the console looks for it."""
    with builtin_world.fresh_database() as dsn:
        monkeypatch.setenv("DEMO_DATABASE_URL", dsn)
        slug = f"demo-{secrets.token_hex(4)}"
        monkeypatch.setattr(scene, "SLUG", slug)
        settings.DATA_DIR, settings.DEMO, settings.DEMO_DATABASE_URL, settings.PUBLIC_URL = tmp_path, True, dsn, "http://127.0.0.1:8000"
        builtin.install(dsn)
        with clock.past():
            found = building.build(dsn, slug)
        yield found


def browser(made: Scene, name: str) -> Client:
    client = Client(REMOTE_ADDR="127.0.0.1")
    client.force_login(organisations.account(made.person(name)), backend="django.contrib.auth.backends.ModelBackend")
    return client


def root(made: Scene) -> str:
    return f"/{scene.SLUG}/{scene.DESK}"


def overview(made: Scene, name: str) -> str:
    answer = browser(made, name).get(f"{root(made)}/overview")
    assert answer.status_code == 200
    return text(answer)


def test_the_first_steps_are_ticked_by_what_happened_and_put_away_for_one_person(made: Scene) -> None:
    assert "0 of 5" in overview(made, "Dana")
    assert f'action="{root(made)}/demo/refund">' in overview(made, "Dana").partition("Deny one with a reason")[0][-300:]  # none waits
    run = stories.start(made, stories.BY_NAME["refund"](made, database.address()))
    (standing,) = playing.carry_on(made, [run.id])
    (request,) = standing.waiting
    assert f'<a href="{root(made)}/approvals">Deny one' in overview(made, "Dana")
    votes.cast(by=made.person("Dana"), request_id=request.id, verdict="DENY", plan_digest=request.plan.digest, reason="Not yet.")
    assert "1 of 5" in overview(made, "Dana")
    asked = browser(made, "Sam").post(f"{root(made)}/demo/ask")
    assert (asked.status_code, asked.headers["Location"]) == (302, f"{root(made)}/permissions/who?tool=billing_issue_refund")
    assert browser(made, "Ada").post(f"{root(made)}/audit/export", {"format": "csv"}).status_code == 200
    assert "3 of 5" in overview(made, "Priya")
    assert browser(made, "Dana").post(f"{root(made)}/demo/hide").status_code == 302
    assert "The first five minutes" not in overview(made, "Dana")
    assert "The first five minutes" in overview(made, "Priya")


def test_a_step_that_is_somebody_elses_takes_their_role_and_leads_there(made: Scene) -> None:
    page = overview(made, "Dana")
    for role, title, leads in (
        ("finance", "Set the cap", "budgets"),
        ("security", "Ask who", "overview"),
        ("auditor", "Export the audit", "audit"),
    ):
        form = page.partition(f"{title}")[0].rpartition("<form")[2]
        assert 'action="/demo/as"' in form
        assert f'name="next" value="{root(made)}/{leads}"' in form
        assert f'name="role" value="{role}"' in form
    assert f'<a href="{root(made)}/budgets">Set the cap' in overview(made, "Fiona")
    client = browser(made, "Dana")
    assert client.post("/demo/as", {"role": "finance", "next": f"{root(made)}/budgets"}, follow=True).status_code == 200


def test_each_story_is_a_button_that_starts_its_run_and_is_entered(made: Scene) -> None:
    page = overview(made, "Dana")
    for name in stories.BY_NAME:
        assert f'action="{root(made)}/demo/{name}"' in page
    answer = browser(made, "Dana").post(f"{root(made)}/demo/injection")
    (standing,) = playing.carry_on(made, [answer.headers["Location"].rpartition("/")[2]])
    assert standing.state == "HANDED_OFF"
    assert "another customer" in standing.summary
    with tenancy.within(made.organisation):
        assert log.entries(event="demo.triggered", run=standing.run).count() == 1
    assert browser(made, "Fiona").post(f"{root(made)}/demo/loop").status_code == 404  # she neither starts runs nor decides


def everything(organisation: str) -> dict[str, int]:
    """Table to rows of one organisation, as the owner counts them."""
    with clock.owner() as owner:
        owner.execute("select set_config('app.organisation', %s, false)", [organisation])
        tables = [name for (name,) in owner.execute(removal._TABLES, [""]).fetchall()]
        statement = psycopg.sql.SQL("SELECT count(*) FROM {} WHERE organisation_id = %s")
        counted = {name: owner.execute(statement.format(psycopg.sql.Identifier(name)), [organisation]).fetchone() for name in tables}
        return {name: row[0] for name, row in counted.items() if row}


def test_removing_the_demo_takes_every_row_but_its_log_and_nothing_of_anybody_else(made: Scene, world: World) -> None:
    world.start(title="Mine").call("pay", {"account": "a", "amount": 50})
    stories.start(made, stories.BY_NAME["refund"](made, database.address()))
    before, entries = everything(world.organisation), everything(made.organisation)["audit_entry"]
    client = browser(made, "Dana")
    asked = text(client.get(f"{root(made)}/demo/remove"))
    assert "audit log stays" in asked
    assert everything(made.organisation)["agents_run"] == 1  # asking changed nothing
    done = client.post(f"{root(made)}/demo/removed")
    assert done.status_code == 200
    assert "The demo is gone" in text(done)
    assert client.get(f"{root(made)}/overview").status_code == 302  # signed out
    left = {name: rows for name, rows in everything(made.organisation).items() if rows}
    assert left == {"audit_entry": entries + 1}
    with tenancy.within(made.organisation):
        last = log.entries()[0]
        assert (last.event, last.actor_kind, last.actor_id) == ("demo.removed", "person", made.members["Dana"].id)
    assert everything(world.organisation) == before
    assert seeding.seed(database.address(), scene.SLUG, patience_s=0).opened == ()  # it does not come back by itself
    assert scene.find() is None


def test_only_the_demo_can_be_removed_and_only_where_there_is_one(made: Scene, world: World) -> None:
    with pytest.raises(border.NotHere):
        removal.remove(by=world.people["olga"])
    with override_settings(DEMO=False):
        assert browser(made, "Dana").post(f"{root(made)}/demo/removed").status_code == 404
        with pytest.raises(border.NotHere):
            removal.remove(by=made.person("Dana"))
    through = browser(made, "Dana").post(f"{root(made)}/demo/removed", headers={"X-Forwarded-For": "10.0.0.9"})
    assert through.status_code == 404
    with tenancy.within(made.organisation):
        assert not Request.objects.exists()
        assert log.entries(event="demo.removed").count() == 0
    assert scene.find() is not None


def test_after_the_first_refund_the_page_says_how_to_undo_it_and_what_to_try_next(made: Scene) -> None:
    run = stories.start(made, stories.BY_NAME["refund"](made, database.address()))
    (standing,) = playing.carry_on(made, [run.id])
    (request,) = standing.waiting
    address = f"{root(made)}/approvals/{request.id}"
    before = text(browser(made, "Dana").get(address))
    assert "h by billing_void_refund" in before
    assert "What will change" in before
    assert "Make it misbehave" not in before
    votes.cast(by=made.person("Dana"), request_id=request.id, verdict="APPROVE", plan_digest=request.plan.digest)
    playing.carry_on(made, [run.id])
    after = text(browser(made, "Dana").get(address))
    for words in ("What changed", "Can be undone until <time", "by <code>billing_void_refund</code>", f'action="{root(made)}/demo/loop"'):
        assert words in after, words
    for words in ("Make it misbehave", "Try to overspend"):
        assert words in after, words
    assert "Pull the stop" in text(browser(made, "Sam").get(address))
    assert "Pull the stop" not in after, "Dana may not"
    with override_settings(DEMO=False):
        assert "Make it misbehave" not in text(browser(made, "Dana").get(address))
