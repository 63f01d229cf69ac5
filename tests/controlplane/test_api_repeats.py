"""Idempotency keys at every door that changes something: done once, answered as often as it is asked."""

import threading
from typing import Any

import pytest
from django.db import connection, connections

from agents import answers
from agents.models import Answer, Run
from audit import tenancy
from controlplane import runner
from tests.controlplane import api_knocking as knocking
from tests.controlplane.api_knocking import API, Reply, ask
from tests.world import World


def start(world: World, token: str, key: str = "order-1", **changes: Any) -> Reply:
    return ask("POST", f"{API}/runs", token, {"workspace": "desk", "agent": world.agent.slug, **changes}, headers={"idempotency-key": key})


def runs_of(world: World) -> int:
    with tenancy.within(world.organisation):
        return Run.objects.count()


def test_a_repeat_starts_no_second_run_and_is_told_the_same_with_the_same_token(world: World) -> None:
    token = knocking.tokens(world)["olga"]
    first, again = start(world, token), start(world, token)
    assert (first.status, again.status, again.body) == (first.status, first.status, first.body)
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert runs_of(world) == 1
    with tenancy.within(world.organisation):
        assert first.body["token"].encode() not in bytes(Answer.objects.get().sealed or b""), "sealed at rest"


def test_another_request_under_the_key_is_a_conflict_and_does_nothing(world: World) -> None:
    token = knocking.tokens(world)["olga"]
    start(world, token)
    assert start(world, token, title="Another").code == "idempotency_conflict"
    stop = ask("POST", f"{API}/stops", token, {"scope": "organisation", "reason": "x"}, headers={"idempotency-key": "order-1"})
    assert stop.code == "idempotency_conflict"
    assert runs_of(world) == 1


def test_a_key_belongs_to_whoever_sent_it(world: World, elsewhere: World) -> None:
    mine = knocking.tokens(world)
    theirs = knocking.tokens(elsewhere)["olga"]
    replies = [start(world, mine["olga"]), start(elsewhere, theirs)]
    assert len({reply.body["id"] for reply in replies}) == 2
    assert (runs_of(world), runs_of(elsewhere)) == (1, 1)


def test_a_refusal_is_not_kept_and_the_key_stays_free(world: World) -> None:
    token = knocking.tokens(world)["olga"]
    assert start(world, token, agent="nobody").code == "not_found"
    assert start(world, token).status < 300


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "schlüssel"])
def test_a_key_that_is_none_is_refused_before_anything_is_done(world: World, key: str) -> None:
    assert start(world, knocking.tokens(world)["olga"], key=key).code == "invalid_idempotency_key"
    assert runs_of(world) == 0


def test_a_request_that_was_cut_off_is_not_done_a_second_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    token = knocking.tokens(world)["olga"]

    def lost(**_: Any) -> None:
        raise RuntimeError("the process died here")

    with monkeypatch.context() as broken:
        broken.setattr(runner, "start", lost)
        assert start(world, token).status == 500
    assert start(world, token).code == "idempotency_in_progress"
    assert runs_of(world) == 0


def test_of_many_at_once_one_is_served(world: World) -> None:
    by, digest = world.people["olga"], "0" * 64
    went: list[str] = []

    def knock() -> None:
        try:
            went.append("ahead" if answers.claim(by=by, key="k", body_digest=digest) is None else "kept")
        except answers.InProgress:
            went.append("wait")
        finally:
            connections.close_all()

    hands = [threading.Thread(target=knock) for _ in range(8)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    assert sorted(went) == ["ahead", *["wait"] * 7]


def test_a_key_is_forgotten_after_a_week(world: World) -> None:
    token = knocking.tokens(world)["olga"]
    start(world, token)
    with tenancy.within(world.organisation), connection.cursor() as cursor:
        cursor.execute("update agents_answer set at = at - interval '8 days'")
    assert "idempotent-replayed" not in start(world, token).headers
    assert runs_of(world) == 2
