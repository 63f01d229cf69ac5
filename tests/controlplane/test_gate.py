"""The gate, act by act, on a real upstream: what is let through, what is refused and why, and that each leaves its trace."""

from datetime import timedelta
from typing import Any

import pytest

from agents import answers, contracts, identity, organisations, policies, runs, seats, stops, tools
from agents.models import Call, Effect, Member
from audit import canonical, functions, tenancy, vault
from budgets import caps, limits, reservations
from controlplane import effects as sender
from controlplane import examination, gate, recovery
from tests import world as worlds
from tests.controlplane import api_knocking as knocking
from tests.world import World


class Died(BaseException):
    """Stands for SIGKILL: nothing after it in this process runs."""


def die(*_: object) -> None:
    raise Died


def call_row(world: World, identifier: str) -> Call:
    with tenancy.within(world.organisation):
        return Call.objects.get(id=identifier)


def effects(world: World) -> list[Effect]:
    with tenancy.within(world.organisation):
        return list(Effect.objects.all())


def test_a_read_is_answered_and_leaves_two_entries(world: World) -> None:
    run = world.start()
    said = run.call("get_account", {"account": "a"})
    assert said.status == "applied"
    assert said.result["structuredContent"]["balance"] == 1000
    assert world.events(subject=said.call) == ["call.admitted", "call.answered"]
    assert effects(world) == []


def test_an_unknown_tool_is_refused_with_the_tools_this_caller_may_use(world: World) -> None:
    run = world.start(tools=["get_account"])
    said = run.call("delete_everything", {})
    assert (said.status, said.refusal and said.refusal["code"]) == ("refused", "unknown_tool")
    assert said.refusal
    assert said.refusal["tools"] == ["get_account"]
    assert world.events(subject=said.call) == ["call.refused"]


def test_wrong_arguments_are_named_by_pointer_and_never_arrive(world: World) -> None:
    run = world.start()
    said = run.call("pay", {"account": "a", "amount": "5", "force": True})
    assert said.refusal
    assert said.refusal["code"] == "invalid_arguments"
    assert "/amount" in {fault["pointer"] for fault in said.refusal["faults"]}
    assert len(said.refusal["faults"]) == 2
    assert world.bank.arrived == []


def test_a_small_payment_needs_nobody_and_is_one_effect_with_an_intent_before_it(world: World) -> None:
    said = world.start().call("pay", {"account": "a", "amount": 5})
    assert said.status == "applied"
    assert world.bank.accounts["a"]["balance"] == 995
    (effect,) = effects(world)
    assert (effect.state, effect.required) == ("APPLIED", 0)
    assert world.bank.writes()[0][2] == effect.key
    assert world.events(subject=said.call) == ["call.admitted", "effect.intended", "effect.applied"]


def test_a_larger_payment_waits_for_a_person_and_is_applied_once(world: World) -> None:
    said = world.start().call("pay", {"account": "a", "amount": 50})
    assert said.status == "pending_approval"
    assert world.bank.writes() == []
    world.approve(said, "ann")
    assert recovery.resume(world.organisation, said.call).status == "applied"
    assert recovery.resume(world.organisation, said.call).status == "applied"
    assert len(world.bank.writes()) == len(effects(world)) == 1
    assert world.bank.accounts["a"]["balance"] == 950
    assert world.request(said.approval).state == "APPLIED"


def test_closing_an_account_takes_two_people(world: World) -> None:
    said = world.start().call("close_account", {"account": "a"})
    world.approve(said, "ann")
    assert recovery.resume(world.organisation, said.call).status == "pending_approval"
    assert world.bank.writes() == []
    world.approve(said, "ben")
    assert recovery.resume(world.organisation, said.call).status == "applied"
    assert effects(world)[0].required == 2


def test_the_policy_names_the_rule_that_refuses(world: World) -> None:
    said = world.start().call("pay", {"account": "a", "amount": 901})
    assert said.refusal
    assert said.refusal["code"] == "policy_denied"
    assert said.refusal["policies"] == ["never-above"]
    assert "never pays more than 900" in said.refusal["message"]


def test_a_run_bound_to_one_customer_cannot_touch_another(world: World) -> None:
    run = world.start(subject=["customer-a"])
    assert run.call("get_account", {"account": "a"}).status == "applied"
    said = run.call("get_account", {"account": "b"})
    assert said.refusal
    assert said.refusal["policies"] == ["own-customer"]


def test_a_read_only_agent_reads_and_does_not_write(world: World) -> None:
    contracts.change(by=world.people["olga"], agent=world.agent, changes={"stage": "READ_ONLY"})
    run = world.start()
    assert run.call("get_account", {"account": "a"}).status == "applied"
    said = run.call("pay", {"account": "a", "amount": 1})
    assert said.refusal
    assert (said.refusal["code"], said.refusal["rule"]) == ("out_of_scope", "stage")


def test_a_narrow_agent_needs_a_person_for_every_write(world: World) -> None:
    contracts.change(by=world.people["olga"], agent=world.agent, changes={"stage": "NARROW"})
    said = world.start().call("pay", {"account": "a", "amount": 1})
    assert said.status == "pending_approval"
    world.approve(said, "ann")
    assert recovery.resume(world.organisation, said.call).status == "applied"


def test_in_draft_stage_a_write_becomes_a_proposal_that_a_person_may_apply_after_the_run(world: World) -> None:
    contracts.change(by=world.people["olga"], agent=world.agent, changes={"stage": "DRAFT"})
    run = world.start()
    said = run.call("pay", {"account": "a", "amount": 1})
    assert said.status == "drafted"
    runs.end(by=run.principal, run=run.run, state="SUCCEEDED", summary="Proposed one payment.")
    world.approve(said, "ann")
    assert recovery.resume(world.organisation, said.call).status == "applied"


def test_the_same_key_is_answered_from_the_record_and_another_body_is_a_conflict(world: World) -> None:
    run = world.start()
    first = run.call("pay", {"account": "a", "amount": 5}, key="k1")
    again = run.call("pay", {"account": "a", "amount": 5}, key="k1")
    assert again.is_replay
    assert (again.call, again.result) == (first.call, first.result)
    with pytest.raises(answers.IdempotencyConflict):
        run.call("pay", {"account": "a", "amount": 6}, key="k1")
    assert len(world.bank.writes()) == 1


def test_the_same_call_asked_again_while_people_decide_is_one_question(world: World) -> None:
    run = world.start()
    first, again = run.call("pay", {"account": "a", "amount": 50}), run.call("pay", {"amount": 50, "account": "a"})
    assert (first.call, first.approval) == (again.call, again.approval)


@pytest.mark.parametrize("scope", ["organisation", "workspace", "agent", "tool", "connector", "key", "run"])
def test_a_stop_switch_holds_new_calls_and_approved_ones(world: World, scope: str) -> None:
    run = world.start()
    held = run.call("pay", {"account": "a", "amount": 50})
    world.approve(held, "ann")
    with tenancy.within(world.organisation):
        tool = tools.get("pay", workspace=world.workspace)
    target = {
        "organisation": world.organisation,
        "workspace": world.workspace.id,
        "agent": world.agent.id,
        "tool": tool.id,
        "connector": tool.connector_id,
        "key": run.principal.key,
        "run": run.run.id,
    }[scope]
    stop = stops.engage(by=world.people["olga"], scope=scope, target=target, reason="drill")
    said = run.call("pay", {"account": "a", "amount": 5})
    assert said.refusal
    assert said.refusal["code"] == "stopped"
    if scope != "key":  # an approved call is sent by Remit itself, not by the key that proposed it
        assert recovery.resume(world.organisation, held.call).status == "void"
        assert world.bank.writes() == []
    with pytest.raises(organisations.Forbidden):
        stops.release(by=world.people["olga"], stop=stop)
    stops.release(by=world.people["sam"], stop=stop)
    assert run.call("pay", {"account": "a", "amount": 6}).status == "applied"


def test_one_human_with_two_accounts_neither_releases_their_own_stop_nor_raises_themselves(world: World) -> None:
    stop = stops.engage(by=world.people["olga"], scope="agent", target=world.agent.id, reason="drill")
    with tenancy.within(world.organisation):
        Member.objects.filter(id=world.members["sam"].id).update(person=world.people["olga"].person)
        twin = organisations.acting(organisations.member(world.members["sam"].id))
    with pytest.raises(organisations.Forbidden):
        stops.release(by=twin, stop=stop)
    with pytest.raises(organisations.Forbidden):
        seats.grant(by=twin, member=world.members["olga"], workspace=world.workspace, role="approver")


def test_a_policy_changed_after_people_decided_voids_the_approval(world: World) -> None:
    said = world.start().call("pay", {"account": "a", "amount": 50})
    world.approve(said, "ann")
    policies.activate(
        by=world.people["olga"], policy_set=policies.propose(by=world.people["sam"], workspace=world.workspace, text=worlds.POLICIES)
    )
    settled = recovery.resume(world.organisation, said.call)
    assert settled.status == "void"
    assert settled.refusal
    assert "policy changed" in settled.refusal["message"]
    assert world.bank.writes() == []


def test_a_tool_confirmed_anew_voids_the_approval(world: World) -> None:
    said = world.start().call("pay", {"account": "a", "amount": 50})
    world.approve(said, "ann")
    tools.confirm(by=world.people["olga"], name="pay", workspace=world.workspace, classification={"risk": "critical"})
    assert recovery.resume(world.organisation, said.call).status == "void"
    assert world.bank.writes() == []


def test_a_target_that_moved_voids_the_approval(world: World) -> None:
    said = world.start().call("pay", {"account": "a", "amount": 50})
    world.approve(said, "ann")
    world.bank.accounts["a"]["balance"] = 3
    settled = recovery.resume(world.organisation, said.call)
    assert settled.status == "void"
    assert settled.refusal
    assert "target changed" in settled.refusal["message"]


def test_arguments_altered_in_the_database_are_never_sent(world: World) -> None:
    said = world.start().call("pay", {"account": "a", "amount": 50})
    world.approve(said, "ann")
    forged = vault.seal(canonical.encode({"account": "a", "amount": 500}), aad=f"{world.organisation}/{said.call}/arguments")
    with tenancy.within(world.organisation):
        Call.objects.filter(id=said.call).update(sealed_arguments=forged)
    settled = recovery.resume(world.organisation, said.call)
    assert settled.status == "void"
    assert world.bank.writes() == []


def test_an_answer_lost_on_the_way_is_in_doubt_and_then_settled_by_the_key(world: World) -> None:
    world.bank.hang_up_after = "pay"
    said = world.start().call("pay", {"account": "a", "amount": 5})
    assert said.status == "in_doubt"
    with tenancy.within(world.organisation):
        hold = reservations.of_call(said.call)
    assert hold is not None
    assert hold.state == "HELD"
    with pytest.raises(recovery.StillInDoubt):
        recovery.reconcile(world.organisation, said.call)
    world.bank.hang_up_after = ""
    assert recovery.reconcile(world.organisation, said.call).status == "applied"
    assert len(world.bank.applied) == 1
    assert world.bank.accounts["a"]["balance"] == 995


def test_an_intent_without_a_report_is_sent_again_under_its_key_and_applied_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = world.start()
    with monkeypatch.context() as patch:
        patch.setattr(sender, "apply", die)
        with pytest.raises(Died):
            run.call("pay", {"account": "a", "amount": 5}, key="k")
    with pytest.raises(answers.InProgress) as busy:
        run.call("pay", {"account": "a", "amount": 5}, key="k")
    assert recovery.reconcile(world.organisation, busy.value.details["call"]).status == "applied"
    assert len(world.bank.writes()) == 1


def test_an_opaque_write_without_a_report_is_left_to_people(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    said = world.start().call("close_account", {"account": "a"})
    world.approve(said, "ann", "ben")
    with monkeypatch.context() as patch:
        patch.setattr(sender, "apply", die)
        with pytest.raises(Died):
            recovery.resume(world.organisation, said.call)
    assert recovery.reconcile(world.organisation, said.call).status == "in_doubt"
    assert world.bank.writes() == []
    decided = recovery.decide_doubt(by=world.people["ann"], call_id=said.call, happened=False, reason="The account is open.")
    assert decided.status == "failed"
    assert effects(world)[0].state == "FAILED"
    assert world.events(subject=said.call)[-2:] == ["effect.in_doubt", "effect.decided"]


def test_an_unreachable_upstream_is_a_failure_with_its_money_back(world: World) -> None:
    run = world.start()
    with tenancy.within(world.organisation):
        connector = tools.get_connector("bank", workspace=world.workspace)
        connector.url = "http://127.0.0.1:9/mcp"
        connector.save()
    said = run.call("pay", {"account": "a", "amount": 5})
    assert said.status == "failed"
    with tenancy.within(world.organisation):
        assert [b.reserved for b in reservations.balances(world.organisation)] == [0, 0, 0]
        assert reservations.drift() == []


def test_a_cap_of_the_run_hands_it_to_its_owner_with_a_summary(world: World) -> None:
    limits.put(by=world.people["olga"], agent=world.agent, values={"tool_calls": 2})
    run = world.start()
    for account in "ab":
        assert run.call("get_account", {"account": account}).status == "applied"
    said = run.call("get_account", {"account": "c"})
    assert said.refusal
    assert (said.refusal["code"], said.refusal["current"], said.refusal["limit"]) == ("limit_reached", 2, 2)
    row = run.reload()
    assert (row.state, row.handed_to) == ("HANDED_OFF", world.members["olga"].id)
    assert "tool_calls" in row.summary
    after = run.call("get_account", {"account": "c"})
    assert after.refusal
    assert after.refusal["code"] == "run_over"
    assert world.events(event="run.handed_off") == ["run.handed_off"]


def test_at_its_cap_an_agent_in_draft_mode_goes_on_with_proposals(world: World) -> None:
    contracts.change(by=world.people["olga"], agent=world.agent, changes={"draft_only": True})
    caps.put(
        by=world.people["fiona"], workspace=world.workspace.id, level="agent", target=world.agent.id, period="month", cap_micros=10_000
    )
    run = world.start()
    assert run.call("pay", {"account": "a", "amount": 5}).status == "applied"
    said = run.call("pay", {"account": "a", "amount": 6})
    assert said.status == "drafted"
    assert run.call("get_account", {"account": "a"}).status == "applied"
    assert run.reload().state == "RUNNING"


def test_over_budget_the_run_is_handed_off_and_the_refusal_names_the_cap(world: World) -> None:
    caps.put(
        by=world.people["fiona"],
        workspace=world.workspace.id,
        level="workspace",
        target=world.workspace.id,
        period="day",
        cap_micros=15_000,
    )
    run = world.start()
    assert run.call("pay", {"account": "a", "amount": 5}).status == "applied"
    said = run.call("pay", {"account": "a", "amount": 6})
    assert said.refusal
    assert (said.refusal["code"], said.refusal["level"], said.refusal["current"], said.refusal["limit"], said.refusal["amount"]) == (
        "budget_exceeded",
        "workspace",
        10_000,
        15_000,
        10_000,
    )
    assert run.reload().state == "HANDED_OFF"


def test_an_expired_capability_lets_nothing_through(world: World) -> None:
    run = world.start(subject=["customer-a"], expires_in=timedelta(hours=1))
    with tenancy.within(world.organisation):
        capability = run.run.capability
    assert capability is not None
    identity.revoke_capability(by=world.people["olga"], capability=capability)
    said = run.call("get_account", {"account": "a"})
    assert said.refusal
    assert said.refusal["code"] == "out_of_scope"


def test_another_organisations_run_looks_like_none(world: World, elsewhere: World) -> None:
    theirs = elsewhere.start()
    with pytest.raises(organisations.NotFound) as foreign:
        gate.admit(examination.Proposal(world.start().principal, theirs.run.id, "get_account", {"account": "a"}))
    with pytest.raises(organisations.NotFound) as unknown:
        gate.admit(examination.Proposal(world.start().principal, "R-0000000000", "get_account", {"account": "a"}))
    assert {**foreign.value.as_dict(), "current": ""} == {**unknown.value.as_dict(), "current": ""}


@pytest.mark.parametrize(
    ("tool", "arguments", "commits"), [("get_account", {"account": "a"}, "off"), ("pay", {"account": "a", "amount": 1}, "on")]
)
def test_only_the_admission_of_a_free_read_does_not_wait_for_the_disk(
    world: World, monkeypatch: pytest.MonkeyPatch, tool: str, arguments: dict[str, Any], commits: str
) -> None:
    """What settles it does, and takes it along; a write and whatever costs money waits each time."""
    told: list[str] = []
    monkeypatch.setattr(gate, "proceed", lambda *_: told.append(str(functions.ask("select current_setting('synchronous_commit')"))))
    run = world.start()
    with tenancy.within(world.organisation):
        run.call(tool, arguments)
    assert told == [commits]


def test_a_runs_own_key_and_what_it_asks_for_are_one_question(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = functions.ask

    def spied(statement: str, *given: Any) -> Any:
        asked.append(statement.split("(", maxsplit=1)[0].removeprefix("select "))
        return real(statement, *given)

    token = world.start().token
    assert knocking.propose(token, "get_account", {"account": "b"}).status == 200  # a connection that was cut would be asked twice
    monkeypatch.setattr(functions, "ask", spied)
    assert knocking.propose(token, "get_account", {"account": "a"}).body["status"] == "applied"
    assert asked == ["gate_open", "gate_admit", "gate_settle"]


def test_what_was_read_with_the_key_is_good_for_one_attempt(world: World) -> None:
    """Between the question and the record the agent is narrowed: the answer is by what is in force, not by what was read."""
    run = world.start()
    arguments = {"account": "a", "amount": 5}
    _, opened = examination.open_with(world.organisation, run.principal.key, call="k", name="pay", arguments=arguments)
    assert opened is not None
    contracts.change(by=world.people["olga"], agent=world.agent, changes={"stage": "READ_ONLY"})
    said = gate.admit(examination.Proposal(run.principal, run.run.id, "pay", arguments, "k", opened))
    assert (said.status, (said.refusal or {})["code"]) == ("refused", "out_of_scope")
    assert world.bank.writes() == []
