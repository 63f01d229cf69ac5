"""What people may answer besides yes and no: a denial that lasts, a plan sent back, more time, a comment, a withdrawal."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F

from agents import contracts, organisations
from agents.models import Agent, Call, Run
from approvals import deadlines, denials, ends, remarks, requests, votes
from approvals.models import Remark, Request, StandingDenial
from audit import tenancy
from controlplane import deciding, gate, recovery
from tests.approvals.test_requests import held, reserved
from tests.world import RunUnderTest, World

PAY = {"account": "a", "amount": 50}


def deny(world: World, said: gate.Admission, scope: str, *, ends_run: bool = False, name: str = "ann") -> Request:
    return votes.cast(
        by=world.people[name],
        request_id=said.approval,
        verdict="DENY",
        plan_digest=said.plan,
        reason="Not this customer.",
        denial=denials.scope_of(scope, ends_run=ends_run),
    )


def asked(run: RunUnderTest, amount: int = 50) -> gate.Admission:
    said = run.call("pay", {"account": "a", "amount": amount})
    assert said.status == "pending_approval"
    return said


def test_a_denial_of_this_call_asks_again_about_the_next(world: World) -> None:
    run = world.start()
    deny(world, asked(run), denials.CALL)
    asked(run)


def test_a_denial_for_the_run_answers_the_same_call_there_and_nowhere_else(world: World) -> None:
    run = world.start()
    deny(world, asked(run), denials.RUN)
    again = run.call("pay", PAY)
    assert again.status == "denied"
    assert again.approval == ""
    assert again.refusal is not None
    assert again.refusal["code"] == "denied_before"
    assert again.refusal["reason"] == "Not this customer."
    assert "ann" in again.refusal["who"]
    assert reserved(world) == 0
    assert world.events(subject=again.call) == ["call.admitted", "call.denied"]
    asked(run, 51)
    asked(world.start())


def test_a_denial_of_the_kind_answers_every_such_call_for_an_hour_but_none_that_needs_nobody(world: World) -> None:
    deny(world, asked(world.start()), denials.KIND)
    later = world.start()
    assert later.call("pay", {"account": "b", "amount": 77}).status == "denied"
    assert later.call("pay", {"account": "b", "amount": 5}).status == "applied"
    with tenancy.within(world.organisation):
        StandingDenial.objects.update(until=F("at"))
    asked(later, 78)


def test_another_agent_is_asked_about_as_ever(world: World) -> None:
    deny(world, asked(world.start()), denials.KIND)
    other = contracts.register(
        by=world.people["olga"], workspace=world.workspace, slug="other", name="Other", owner=world.members["olga"], stage=Agent.Stage.GATED
    )
    first, world.agent = world.agent, other
    world.publish()
    asked(world.start())
    world.agent = first


def test_whoever_may_decide_lifts_a_denial_and_people_are_asked_again(world: World, elsewhere: World) -> None:
    run = world.start()
    said = asked(run)
    deny(world, said, denials.KIND)
    with tenancy.within(world.organisation):
        (denial,) = denials.standing(workspace=world.workspace.id)
    with pytest.raises(organisations.Forbidden):
        denials.lift(by=world.people["olga"], denial_id=denial.id)
    with pytest.raises(organisations.NotFound):
        denials.lift(by=elsewhere.people["ann"], denial_id=denial.id)
    denials.lift(by=world.people["ben"], denial_id=denial.id)
    denials.lift(by=world.people["ben"], denial_id=denial.id)
    assert world.events("request.denial_lifted", subject=said.approval) == ["request.denial_lifted"]
    asked(run, 52)


def test_a_denial_may_end_the_run(world: World) -> None:
    run = world.start()
    other = asked(run, 60)
    deny(world, asked(run), denials.CALL, ends_run=True)
    assert (run.reload().state, world.request(other.approval).state) == (Run.State.STOPPED, "WITHDRAWN")
    assert "Not this customer." in run.run.summary
    assert run.call("pay", {"account": "a", "amount": 5}).status == "refused"


def test_an_unknown_scope_is_refused() -> None:
    with pytest.raises(organisations.Conflict):
        denials.scope_of("EVER")


def back(world: World, said: gate.Admission, name: str = "ann", *, plan: str = "", expected: str = "at most 40") -> Request:
    hint = ends.Hint(field="/amount", expected=expected, note="She paid 10 already.")
    return ends.send_back(by=world.people[name], request_id=said.approval, plan_digest=plan or said.plan, hint=hint)


def test_a_plan_sent_back_reaches_the_agent_as_a_hint_and_it_may_propose_again(world: World) -> None:
    run = world.start()
    said = asked(run)
    assert back(world, said).state == Request.State.SENT_BACK
    told = gate.standing(world.organisation, said.call)
    assert told.status == "void"
    assert told.refusal is not None
    assert {name: told.refusal[name] for name in ("code", "field", "expected", "round", "rounds")} == {
        "code": "sent_back",
        "field": "/amount",
        "expected": "at most 40",
        "round": 1,
        "rounds": 3,
    }
    assert reserved(world) == 0
    assert world.events(subject=said.approval) == ["request.opened", "request.sent_back"]
    with tenancy.within(world.organisation):
        assert not votes.of(world.request(said.approval)).exists()
        assert Call.objects.get(id=said.call).state == "VOID"
    assert run.reload().state == Run.State.RUNNING
    asked(run, 40)
    with pytest.raises(requests.AlreadyDecided):
        back(world, said)


def test_sending_back_is_bounded_and_needs_an_expectation(world: World) -> None:
    run = world.start()
    for amount in (51, 52, 53):
        back(world, asked(run, amount))
    last = asked(run, 54)
    with pytest.raises(requests.ReasonNeeded):
        back(world, last, expected=" ")
    with pytest.raises(ends.TooManyRounds) as refused:
        back(world, last)
    assert (refused.value.current, refused.value.limit) == (3, 3)
    back(world, asked(world.start()))


@pytest.mark.parametrize(("name", "kind"), [("olga", votes.NotEligible), ("vera", organisations.NotFound), ("ada", votes.NotEligible)])
def test_only_who_may_decide_sends_back_or_takes_time(world: World, name: str, kind: type[Exception]) -> None:
    said = held(world)
    with pytest.raises(kind):
        back(world, said, name)
    with pytest.raises(kind):
        deadlines.extend(by=world.people[name], request_id=said.approval)
    with pytest.raises(votes.PlanChanged):
        back(world, said, plan="0" * 64)


def due(world: World, said: gate.Admission) -> timedelta:
    request = world.request(said.approval)
    return request.expires_at - request.opened_at


def test_more_time_is_given_up_to_what_the_workspace_allows(world: World) -> None:
    deadlines.set_terms(by=world.people["olga"], workspace=world.workspace.id, extend_s=1800, extend_most_s=2700, rounds=3)
    said = held(world)
    deadlines.extend(by=world.people["ann"], request_id=said.approval)
    assert timedelta(minutes=89) < due(world, said) < timedelta(minutes=91)
    with connection.cursor() as cursor, tenancy.within(world.organisation):
        cursor.execute("select due_at from agents_work where kind = 'request.expire' and subject = %s", [said.approval])
        assert cursor.fetchone() == (world.request(said.approval).expires_at,)
    deadlines.extend(by=world.people["ben"], request_id=said.approval)
    assert timedelta(minutes=104) < due(world, said) < timedelta(minutes=106)
    with pytest.raises(deadlines.NoMoreTime):
        deadlines.extend(by=world.people["ben"], request_id=said.approval)
    assert world.events("request.extended", subject=said.approval) == ["request.extended"] * 2
    with tenancy.within(world.organisation):
        assert [row.kind for row in remarks.of(world.request(said.approval))] == [Remark.Kind.EXTENSION] * 2


def test_only_who_manages_members_sets_the_terms_and_they_are_checked(world: World) -> None:
    for name, seconds, most, rounds in (("olga", 30, 60, 3), ("olga", 60, 30, 3), ("olga", 60, 10**9, 3), ("olga", 60, 60, 99)):
        with pytest.raises(organisations.Conflict):
            deadlines.set_terms(by=world.people[name], workspace=world.workspace.id, extend_s=seconds, extend_most_s=most, rounds=rounds)
    with pytest.raises(organisations.Forbidden):
        deadlines.set_terms(by=world.people["ann"], workspace=world.workspace.id, extend_s=60, extend_most_s=60, rounds=1)


def test_a_comment_is_kept_without_secrets_and_leaves_an_entry(world: World, elsewhere: World) -> None:
    said = held(world)
    remarks.comment(by=world.people["ada"], request_id=said.approval, text="Key AKIAIOSFODNN7EXAMPLE was in it\0.")
    with tenancy.within(world.organisation):
        (row,) = remarks.of(world.request(said.approval))
    assert "AKIAIOSFODNN7EXAMPLE" not in row.text
    assert world.events("request.commented", subject=said.approval) == ["request.commented"]
    with pytest.raises(requests.ReasonNeeded):
        remarks.comment(by=world.people["ann"], request_id=said.approval, text="  ")
    for name, there in (("vera", world), ("ann", elsewhere)):
        with pytest.raises(organisations.NotFound):
            remarks.comment(by=there.people[name], request_id=said.approval, text="Hello.")


def test_the_owner_withdraws_and_the_agent_is_told(world: World) -> None:
    run = world.start()
    said = asked(run)
    with pytest.raises(organisations.Forbidden):
        ends.withdraw(by=world.people["ann"], request_id=said.approval, reason="Mine.")
    with pytest.raises(requests.ReasonNeeded):
        ends.withdraw(by=world.people["olga"], request_id=said.approval, reason="")
    ends.withdraw(by=world.people["olga"], request_id=said.approval, reason="Asked by mistake.")
    told = gate.standing(world.organisation, said.call)
    assert told.refusal is not None
    assert (told.status, told.refusal["code"], world.request(said.approval).state) == ("void", "withdrawn", "WITHDRAWN")
    assert reserved(world) == 0
    assert world.events(subject=said.approval) == ["request.opened", "request.withdrawn"]


def test_a_target_that_moved_is_shown_anew_and_the_old_digest_decides_nothing(world: World) -> None:
    said = held(world, 600)
    deciding.vote(by=world.people["ann"], request_id=said.approval, verdict="APPROVE", plan_digest=said.plan)
    assert world.events("request.checked", subject=said.approval) == ["request.checked"]
    upstream_moves(world)
    with pytest.raises(votes.PlanChanged) as refused:
        deciding.vote(by=world.people["ben"], request_id=said.approval, verdict="APPROVE", plan_digest=said.plan)
    request = world.request(said.approval)
    assert refused.value.details["plan"] == request.plan.digest != said.plan
    assert world.events("request.replanned", subject=said.approval) == ["request.replanned"]
    with tenancy.within(world.organisation):
        assert requests.plan_seen(request, said.plan) is not None
        assert request.id in {row.id for row in votes.decidable(by=world.people["ann"], workspace=world.workspace.id)}
    for name in ("ben", "ann"):  # who voted on the old plan votes again
        deciding.vote(by=world.people[name], request_id=said.approval, verdict="APPROVE", plan_digest=request.plan.digest)
    assert recovery.resume(world.organisation, said.call).status == "applied"
    assert len(world.bank.writes()) == 1


def upstream_moves(world: World) -> None:
    """Somebody else pays into the account."""
    world.bank.accounts["a"]["balance"] += 1


def test_looking_again_by_hand_is_for_who_may_decide(world: World) -> None:
    said = held(world)
    assert deciding.check(by=world.people["ann"], request_id=said.approval).checked_at is not None
    with pytest.raises(votes.NotEligible):
        deciding.check(by=world.people["olga"], request_id=said.approval)
