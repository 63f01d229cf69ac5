"""The loop guard: what counts as going round in circles, what does not, and who is told."""

from agents import stops
from budgets import limits
from tests.world import World


def test_equal_calls_with_equal_answers_are_flagged_and_then_stopped(world: World) -> None:
    run = world.start()
    statuses = [run.call("get_account", {"account": "a"}).status for _ in range(7)]
    assert statuses == ["applied"] * 6 + ["refused"]
    assert run.reload().state == "HANDED_OFF"
    assert world.events(event="run.loop_flagged") == ["run.loop_flagged"]


def test_two_calls_in_turn_are_a_loop_too_and_the_cycle_is_named(world: World) -> None:
    limits.put(by=world.people["olga"], agent=world.agent, values={"repeats_stop": 3})
    run = world.start()
    said = [run.call("get_account", {"account": "ab"[turn % 2]}) for turn in range(7)]
    assert [one.status for one in said] == ["applied"] * 6 + ["refused"]
    assert said[-1].refusal
    assert len(said[-1].refusal["cycle"]) == 2


def test_a_repeat_with_a_new_answer_is_progress(world: World) -> None:
    run = world.start()
    for balance in range(10):
        world.bank.accounts["a"]["balance"] = balance
        assert run.call("get_account", {"account": "a"}).status == "applied"
    assert run.reload().loop_flagged_at is None


def test_a_write_in_between_makes_a_repeat_progress(world: World) -> None:
    run = world.start()
    for amount in range(1, 8):
        assert run.call("get_account", {"account": "b"}).status == "applied"
        assert run.call("pay", {"account": "a", "amount": amount}).status == "applied"
    assert run.reload().loop_flagged_at is None


def test_the_same_call_refused_again_and_again_is_a_loop_too(world: World) -> None:
    run = world.start()
    codes = [(run.call("delete_everything", {}).refusal or {})["code"] for _ in range(8)]
    assert codes == ["unknown_tool"] * 6 + ["no_progress", "run_over"]
    assert run.reload().handed_to == world.members["olga"].id
    assert world.events(event="run.loop_flagged") == ["run.loop_flagged"]


def test_refused_calls_are_steps_of_the_run(world: World) -> None:
    limits.put(by=world.people["olga"], agent=world.agent, values={"steps": 3})
    run = world.start()
    codes = [(run.call(f"guess_{number}", {}).refusal or {})["code"] for number in range(4)]
    assert codes == ["unknown_tool"] * 3 + ["limit_reached"]
    assert run.reload().state == "HANDED_OFF"


def test_waiting_for_a_stop_to_be_released_is_no_loop(world: World) -> None:
    run = world.start()
    stop = stops.engage(by=world.people["olga"], scope="run", target=run.run.id, reason="drill")
    assert {(run.call("get_account", {"account": "a"}).refusal or {})["code"] for _ in range(8)} == {"stopped"}
    stops.release(by=world.people["sam"], stop=stop)
    assert run.reload().state == "RUNNING"


def test_a_cycle_is_named_in_the_order_of_its_calls(world: World) -> None:
    limits.put(by=world.people["olga"], agent=world.agent, values={"repeats_stop": 2})
    world.bank.gate.set()
    run = world.start()
    tools = ["get_account", "slow_read", "nothing"]
    said = [run.call(tool, {"account": "a"} if tool == "get_account" else {}) for tool in tools * 2]
    last = run.call("get_account", {"account": "a"})
    assert [(one.refusal or {}).get("code") for one in said[2::3]] == ["unknown_tool"] * 2
    assert last.refusal
    assert last.refusal["cycle"] == ["slow_read", "nothing", "get_account"]
