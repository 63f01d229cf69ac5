"""Several requests at one address: each is a vote of its own, and each answers for itself."""

from typing import Any

import pytest

from approvals.models import Vote
from audit import tenancy
from controlplane import gate
from tests.approvals.test_batches import asks, reversible
from tests.controlplane import api_knocking as knocking
from tests.controlplane.api_knocking import API, Reply, ask
from tests.world import World


def decide(world: World, *given: gate.Admission | tuple[str, str], name: str = "ann", key: str = "", **more: Any) -> Reply:
    pairs = [(one.approval, one.plan) if isinstance(one, gate.Admission) else one for one in given]
    body = {"verdict": "approve", "items": [{"id": identifier, "plan": plan} for identifier, plan in pairs], **more}
    headers: dict[str, str | None] = {"idempotency-key": key} if key else {}
    return ask("POST", f"{API}/approvals/decide", knocking.tokens(world)[name], body, headers=headers)


def told(reply: Reply) -> list[str]:
    """Each item's state, or the code of its problem."""
    assert reply.status == 200, reply
    assert all(set(item) in ({"id", "state"}, {"id", "problem"}) for item in reply.body["items"])
    return [item.get("state") or item["problem"]["code"] for item in reply.body["items"]]


def test_each_answers_for_itself_and_one_refusal_keeps_none_of_the_others(world: World, elsewhere: World) -> None:
    plain = asks(world)  # cannot be taken back: one by one it may be decided, so it may here
    reversible(world)
    good, stale, two, theirs = asks(world), asks(world, 51, "b"), asks(world, 600), asks(elsewhere)
    reply = decide(world, plain, (stale.approval, "0" * 64), two, theirs, ("APR-0000000000", "x"), good)
    assert told(reply) == ["APPROVED", "plan_changed", "conflict", "not_found", "not_found", "APPROVED"]
    foreign, unknown = (item["problem"] for item in reply.body["items"][3:5])
    assert foreign == unknown
    assert {world.request(said.approval).state for said in (stale, two)} == {"OPEN"}
    assert elsewhere.request(theirs.approval).state == "OPEN"
    problem = reply.body["items"][2]["problem"]
    assert (problem["status"], problem["limit"], problem["next"]) == (409, "one human", "Read it and decide it by itself.")
    assert all(problem[name] for name in ("type", "title", "detail", "rule", "current", "who"))


def test_a_denial_needs_a_reason_before_anything_is_decided(world: World) -> None:
    given = [asks(world), asks(world, 51, "b")]
    assert decide(world, *given, verdict="deny").code == "reason_needed"
    assert world.events("request.voted") == []
    assert told(decide(world, *given, verdict="deny", reason="No.")) == ["DENIED"] * 2
    assert told(decide(world, *given, name="ben")) == ["already_decided"] * 2


@pytest.mark.parametrize("many", [0, 26])
def test_one_to_twenty_five_are_taken(world: World, many: int) -> None:
    said = asks(world)
    reply = decide(world, *[said] * many)
    assert (reply.code, reply.pointer) == ("invalid_request", "/items")
    assert world.request(said.approval).state == "OPEN"


def test_what_is_no_ballot_is_refused_whole(world: World) -> None:
    said = asks(world)
    good = {"id": said.approval, "plan": said.plan}
    for items in ([good, {"id": said.approval}], [good, "x"], [{**good, "verdict": "deny"}], good, None):
        assert decide(world, items=items).code in {"invalid_request", "unknown_field"}, items
    assert decide(world, said, verdict="maybe").code == "invalid_request"
    assert decide(world, said, name="vera").code == "forbidden"
    assert ask("POST", f"{API}/approvals/decide", world.start().token, {"verdict": "approve", "items": [good]}).code == "forbidden"
    assert world.request(said.approval).state == "OPEN"


def test_a_repeat_under_its_key_decides_nothing_more_and_is_told_the_same(world: World) -> None:
    given = [asks(world), asks(world, 51, "b")]
    first, again = decide(world, *given, key="click-1"), decide(world, *given, key="click-1")
    assert told(first) == told(again) == ["APPROVED"] * 2
    assert again.headers["idempotent-replayed"] == "true"
    with tenancy.within(world.organisation):
        assert Vote.objects.count() == 2
    assert decide(world, given[0], key="click-1").code == "idempotency_conflict"
