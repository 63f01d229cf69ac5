"""Measures and writes BENCHMARKS.md.

python -m controlplane.services exec --fresh .data/bench -- python -m bench [--rounds 5] [--seconds 4] [--date 2026-11-21]
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench import load, machine, peers, report, stage
from tests.real import product, recordings, tape

AT_ONCE = 16
WARM_S = 2.0
VOTES = 40
PEERS = recordings.SHARED / "bench"
PEER_BODY = {"id": "%ID%", "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "hi", "n": 1}}}

Figures = dict[str, float]


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def loaded(target: load.Target, at_once: int, seconds: float, wanted: dict[str, str]) -> Callable[[], Figures]:
    """A measurement: figure in the report -> field of load.Figure."""

    def measured() -> Figures:
        told = load.measure(target, at_once=at_once, seconds=seconds)
        return {name: float(getattr(told, part)) for name, part in wanted.items()} | {"": float(told.n)}

    return measured


def weighed(measured: Callable[[], Figures], name: str, *pids: int) -> Callable[[], Figures]:
    """The same measurement, and the processor time of these programs for each call: other programs disturb it less than a rate."""

    def figures() -> Figures:
        before = machine.cpu_s(*pids)
        found = measured()
        return found | {name: (machine.cpu_s(*pids) - before) * 1000 / found[""]}

    return figures


def own(on: stage.Stage, seconds: float) -> list[Callable[[], Figures]]:
    found = [
        loaded(on.ungoverned("echo"), 1, seconds, {"direct p50": "p50"}),
        loaded(on.governed("echo"), 1, seconds, {"governed p50": "p50", "governed p99": "p99"}),
        loaded(on.ungoverned("sdk_echo"), 1, seconds, {"sdk direct p50": "p50"}),
        loaded(on.governed("sdk_echo"), 1, seconds, {"sdk governed p50": "p50"}),
        loaded(on.rest(runs=1), AT_ONCE, seconds, {"rest one run per_s": "per_s"}),
    ]
    for target in (on.ungoverned("echo"), on.governed("echo"), on.governed("sdk_echo"), on.rest()):
        load.measure(target, at_once=4, seconds=WARM_S)
    return found


def others(on: stage.Stage, stack: ExitStack, logs: Path, seconds: float, notes: list[str]) -> list[Callable[[], Figures]]:
    """The peers. Raises LookupError where they cannot be had."""
    if not PEERS.is_dir():
        raise LookupError(f"{PEERS} is not here, so neither the Django peer nor pgbench ran")
    scratch = peers.Scratch(PEERS)
    notes.append(f"PostgreSQL {scratch.version} as it comes: every commit reaches the disk")
    port = tape.free_port()
    django = scratch.django(port, logs / "peer.log")
    stack.callback(product.end_group, django)
    stage.wait_for(port, django)
    target = load.Target(f"http://127.0.0.1:{port}/drf", PEER_BODY, must="echo:")
    load.measure(target, at_once=4, seconds=WARM_S)
    committed = lambda: {"pgbench per_s": scratch.governed_transactions(at_once=AT_ONCE, seconds=int(seconds))}  # noqa: E731
    scratch.settle()
    rest = weighed(
        loaded(on.rest(), AT_ONCE, seconds, {"rest per_s": "per_s", "rest p95": "p95"}), "rest cpu", on.product.pid("web"), scratch.server
    )
    peer = weighed(loaded(target, AT_ONCE, seconds, {"django per_s": "per_s"}), "django cpu", django.pid, scratch.server)
    return [rest, peer, committed]


def weigh(on: stage.Stage) -> dict[str, float]:
    """Each process of each program: granian's first is its supervisor, the next one serves."""
    return {
        f"{program}, process {position}": machine.resident_mib(pid)
        for program, name in (("web", "web"), ("worker", "worker0"), ("sweep", "sweep"))
        for position, pid in enumerate(sorted(machine.family(on.product.pid(name))), start=1)
    }


def measure(arguments: argparse.Namespace, logs: Path) -> report.Taken:
    taken = report.Taken(machine=machine.facts(), date=arguments.date, rounds=arguments.rounds, seconds=arguments.seconds)
    with ExitStack() as stack:
        on = stack.enter_context(stage.set_up(logs))
        before = weigh(on)
        targets = own(on, arguments.seconds)
        try:
            targets += others(on, stack, logs, arguments.seconds, taken.notes)
        except LookupError as error:
            taken.notes.append(str(error))
            targets.append(loaded(on.rest(), AT_ONCE, arguments.seconds, {"rest per_s": "per_s", "rest p95": "p95"}))
        disturbed = 0
        for number in range(arguments.rounds):
            for target in targets:
                busy = machine.wait_until_quiet()
                disturbed += busy >= machine.QUIET
                for name, value in target().items():
                    if not name:  # how many calls it took
                        continue
                    taken.add(name, value)
                    say(
                        f"round {number + 1}  {name}  {report.number(value)}"
                        + (f"  (somebody else used {busy:.0%})" if busy >= machine.QUIET else "")
                    )
        on.vote_to_applied_ms()
        for _ in range(VOTES):
            machine.wait_until_quiet(at_most_s=2.0)
            taken.votes_ms.append(on.vote_to_applied_ms())
        after = weigh(on)
        taken.weights = [(name, before[name], after.get(name, 0.0)) for name in before]
    if disturbed:
        shown = f"{disturbed} of {arguments.rounds * len(targets)} measurements began while other programs kept the machine busy"
        taken.notes.append(f"{shown}: a quiet one does better, so repeat them there")
    taken.notes.append("load by wrk" if load.WRK else "load by our own asyncio client: it shares the processors with what it measures")
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--date", default=time.strftime("%Y-%m-%d"))
    parser.add_argument("--out", type=Path, default=Path("BENCHMARKS.md"))
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the processes we started end with us
    logs = Path(os.environ.get("REMIT_DATA_DIR", ".data/bench")) / "harness"
    text = report.markdown(measure(arguments, logs))
    arguments.out.write_text(text, encoding="utf-8")
    say(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
