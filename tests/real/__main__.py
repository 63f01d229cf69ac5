"""`make real`: starts the tapes and the product, registers, drives every recorded run, prints one score a line. Exit 1 if one falls short.

python -m controlplane.services exec --fresh .data/real -- python -m tests.real [--only P3,P5] [--limit 20] [--workers 1]
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg

from tests.real import checks, doors, driver, product, recordings, registration, scores, tape

CAST = {"olga": "owner", "ann": "approver", "ben": "approver"}
SHOWN_FAULTS = 5
LOGS = Path(os.environ.get("REMIT_DATA_DIR", ".data/real")) / "harness"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Harness:
    """One pass over all checks. `stack` ends every process that was started."""

    def __init__(self, arguments: argparse.Namespace, stack: ExitStack) -> None:
        self.only = frozenset(filter(None, (arguments.only or "").upper().split(",")))
        self.limit: int | None = arguments.limit
        self.started = time.monotonic()
        self.stack = stack
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="remit-real-")))
        self.product = stack.enter_context(product.Product(logs=LOGS, workers=arguments.workers))
        self.courses: dict[str, checks.Course] = {}
        self.organisation = ""

    def say(self, text: str) -> None:
        say(f"{text}  [{time.monotonic() - self.started:.0f} s]")

    def wants(self, *names: str) -> bool:
        return not self.only or bool(self.only & set(names))

    def start(self) -> None:
        self.product.manage("migrate", "--verbosity", "0", owner=True)
        self.say("migrated")
        cast = self.product.bootstrap(CAST)
        tokens, self.organisation = cast["tokens"], str(cast.get("organisation_id") or cast["organisation"])
        retail = self.retail_tape(port=0, keeps_databases=True)
        self.tasks = recordings.user_task_runs()
        expected = tape.write_runs(self.folder / "banking-tasks.jsonl", self.tasks)
        banking = tape.Tape(runs=[recordings.BANKING / "runs.jsonl.gz", expected], tools=recordings.BANKING_TOOLS)
        self.stack.callback(banking.stop)
        self.product.start()
        self.say("the product answers")
        rest = doors.Doors(port=self.product.port)
        desk = registration.Desk(rest=rest, owner=tokens["olga"], approvers=[tokens["ann"], tokens["ben"]])
        for line in registration.furnish(desk, tapes={"retail": retail.url, "banking": banking.url}):
            self.say(line)
        shop = recordings.Shop()
        for domain, upstream, paths in (("retail", retail, recordings.RETAIL_TOOLS), ("banking", banking, recordings.BANKING_TOOLS)):
            self.courses[domain] = checks.Course(
                domain=domain,
                drive=driver.Driver(desk=desk, upstream=upstream),
                tools=recordings.tools(paths),
                limit=self.limit,
                shop=shop if domain == "retail" else None,
            )

    def retail_tape(self, *, port: int, keeps_databases: bool) -> tape.Tape:
        """First the recorded runs with the database; then, at the same address, the expected calls of the tasks without one."""
        runs = [recordings.RETAIL / "runs.jsonl"]
        if not keeps_databases:
            runs = [tape.write_runs(self.folder / f"tasks-{version}.jsonl", recordings.task_runs(version)) for version in ("v2", "v1")]
        database = recordings.RETAIL / "db.json" if keeps_databases else None
        started = tape.Tape(runs=runs, tools=recordings.RETAIL_TOOLS, database=database, port=port)
        self.stack.callback(started.stop)
        return started

    def checked(self) -> Iterator[scores.Score]:
        retail, banking = self.courses["retail"], self.courses["banking"]
        if self.wants("P1", "P3", "P6"):
            runs = list(recordings.lines(recordings.RETAIL / "runs.jsonl"))
            yield from checks.recorded_runs(retail, runs, expected=recordings.expected_hashes())
        if self.wants("P1", "P3"):
            retail.drive.upstream.stop()
            retail.drive.upstream = self.retail_tape(port=retail.drive.upstream.port, keeps_databases=False)
        if self.wants("P1"):
            for name, version in (("tasks", "v2"), ("tasks_v1", "v1")):
                yield from checks.expected_calls(retail, name, recordings.task_runs(version))
        if self.wants("P3"):
            yield from checks.variants(retail)
            yield from checks.variants(banking)
        runs = recordings.banking_runs()
        if self.wants("P3", "P6"):
            yield from checks.recorded_runs(banking, runs, expected={})
        if self.wants("P5"):
            yield from checks.compromised(banking, runs, self.tasks)

    def effects(self) -> scores.Score:
        """The database's own word: every effect has its decision, intent and approvals, and as many exist as writes arrived."""
        with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
            connection.execute("SELECT set_config('app.organisation', %s, false)", [self.organisation])
            faults = connection.execute((Path(__file__).parent / "effects.sql").read_text()).fetchall()
            row = connection.execute("SELECT count(*), count(*) FILTER (WHERE required > 0) FROM agents_effect").fetchone()
        effects, held = row or (0, 0)
        arrived = sum(course.writes_arrived for course in self.courses.values())
        score = scores.Score("effects without a decision", note=f"{effects} effects, {held} approved by people, {arrived} writes arrived")
        score.faults = [f"{name}: {fault}" for name, fault in faults]
        if effects != arrived:
            score.faults.append(f"{effects} effects, {arrived} writes arrived")
        return score


def report(score: scores.Score) -> bool:
    for fault in score.faults[:SHOWN_FAULTS]:
        say(f"    {fault}")
    if len(score.faults) > SHOWN_FAULTS:
        say(f"    and {len(score.faults) - SHOWN_FAULTS} more")
    return score.good and not score.faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="P1, P3, P5, P6; several with commas")
    parser.add_argument("--limit", type=int, help="so many runs (variants, tasks) of each set")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    if not recordings.INPUTS.is_dir():
        say(f"skipped: the recorded runs are not at {recordings.INPUTS}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the processes we started end with us
    shutil.rmtree(LOGS, ignore_errors=True)
    good = True
    with ExitStack() as stack:
        harness = Harness(arguments, stack)
        harness.start()
        for score in harness.checked():
            harness.say(str(score))
            good &= report(score)
            harness.product.check()
        effects = harness.effects()
        say(f"{effects.name} {len(effects.faults)}  {effects.note}")
        for fault in effects.faults[:SHOWN_FAULTS]:
            say(f"    {fault}")
        good &= not effects.faults
        calls, approvals = (sum(getattr(course.drive, name) for course in harness.courses.values()) for name in ("calls", "approvals"))
    seconds = time.monotonic() - harness.started
    verdict = "everything holds" if good else "NOT everything holds"
    spent = os.times()
    processors = f"{spent.user + spent.system + spent.children_user + spent.children_system:.0f} s of processor time without PostgreSQL"
    say(f"{calls} calls and {approvals} votes over the public doors in {seconds:.0f} s ({processors}); {verdict}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
