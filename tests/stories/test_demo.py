"""The demo's stories from end to end, on its real systems: what the agent wanted, what the gate made of it, what the rows then say."""

import hashlib
import json
import os
import secrets
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection
from django.utils import timezone
from pytest_django import Settings

from agents import identity
from agents.models import Call, Effect, Key, Run, Step, Work
from approvals import requests, votes
from approvals.models import Request
from audit import log, moments, tenancy
from budgets import reservations
from budgets.models import Window
from controlplane.connectors import builtin
from controlplane.connectors.builtin import seed as content
from controlplane.demo import (
    border,
    building,
    clock,
    desk,
    errands,
    history,
    month,
    playing,
    scene,
    seeding,
    stories,
    tokens,
    waiting,
)
from controlplane.demo.errands import Errand
from controlplane.demo.scene import Scene
from tests.controlplane import builtin_world

DAY_OFF = "We pay refunds on Mondays only."


@dataclass
class Stage:
    """A demo of its own, in an organisation and a database that nobody else uses."""

    made: Scene
    dsn: str
    slug: str

    def tell(self, name: str) -> playing.Standing:
        return self.start(stories.BY_NAME[name](self.made, self.dsn))

    def start(self, story: stories.Story) -> playing.Standing:
        return self.on(stories.start(self.made, story).id)

    def on(self, run: str) -> playing.Standing:
        (standing,) = playing.carry_on(self.made, [run])
        return standing

    def vote(self, request: Request, name: str, *, verdict: str = "APPROVE", reason: str = "") -> None:
        votes.cast(by=self.made.person(name), request_id=request.id, verdict=verdict, plan_digest=request.plan.digest, reason=reason)

    def run(self, standing: playing.Standing) -> Run:
        with tenancy.within(self.made.organisation):
            return Run.objects.get(id=standing.run)

    def calls(self, standing: playing.Standing) -> list[Call]:
        with tenancy.within(self.made.organisation):
            return list(Call.objects.filter(run_id=standing.run).order_by("number", "created_at"))

    def effects(self, standing: playing.Standing, tool: str) -> int:
        with tenancy.within(self.made.organisation):
            return Effect.objects.filter(call__run_id=standing.run, call__name=tool, state="APPLIED").count()

    def events(self, standing: playing.Standing) -> list[str]:
        with tenancy.within(self.made.organisation):
            return [entry.event for entry in log.entries(run=standing.run)]

    def rows(self, statement: str) -> list[Any]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(statement.encode()).fetchall()


@pytest.fixture
def stage(django_db_setup: None, monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path) -> Iterator[Stage]:
    with builtin_world.fresh_database() as dsn:
        monkeypatch.setenv("DEMO_DATABASE_URL", dsn)
        settings.DATA_DIR = tmp_path
        builtin.install(dsn)
        slug = f"demo-{secrets.token_hex(4)}"
        yield Stage(building.build(dsn, slug), dsn, slug)


def test_a_refund_waits_for_a_person_and_then_changes_the_invoice_once_and_the_ticket(stage: Stage) -> None:
    paused = stage.tell("refund")
    (request,) = paused.waiting
    assert (paused.state, request.title, request.required) == ("WAITING", "Refund $84.50 to Kestrel Ltd", 1)
    assert request.reasons == ["A refund is money that leaves: one person approves it."]
    assert {change["pointer"] for change in json.loads(request.plan.changes)} >= {"/refunded_cents", "/status"}
    assert builtin_world.invoice("INV-2041")["refunded_cents"] == 0
    with pytest.raises(votes.NotEligible, match="own its agent"):
        stage.vote(request, "Ben")
    with pytest.raises(votes.NotEligible):
        stage.vote(request, "Sam")
    stage.vote(request, "Dana")
    done = stage.on(paused.run)
    assert done.state == "SUCCEEDED", done.summary
    invoice = builtin_world.invoice("INV-2041")
    assert (invoice["refunded_cents"], invoice["status"], len(invoice["refunds"])) == (8450, "refunded", 1)
    assert stage.effects(done, "billing_issue_refund") == 1
    ticket = builtin_world.send("helpdesk_get_ticket", {"ticket_id": content.KESTREL_TICKET})
    assert ticket["status"] == "solved"
    assert invoice["refunds"][0]["refund_id"] in ticket["notes"][-1]["body"]
    with tenancy.within(stage.made.organisation):
        assert reservations.drift() == []
        assert reservations.balance("run", done.run).spent > 0


def test_a_denial_reaches_the_agent_in_the_approver_s_words_and_the_run_is_handed_over(stage: Stage) -> None:
    paused = stage.tell("refund")
    stage.vote(paused.waiting[0], "Dana", verdict="DENY", reason=DAY_OFF)
    done = stage.on(paused.run)
    assert done.state == "HANDED_OFF"
    assert DAY_OFF.rstrip(".") in done.summary
    assert stage.run(done).handed_to == stage.made.members["Ben"].id
    assert builtin_world.invoice("INV-2041")["refunds"] == []
    assert stage.effects(done, "billing_issue_refund") == 0
    assert "run.handed_off" in stage.events(done)
    again = stage.tell("refund")  # the claim is still open, so somebody may ask again
    assert again.waiting[0].title == paused.waiting[0].title


def test_a_schema_change_takes_both_approvers(stage: Stage) -> None:
    paused = stage.tell("two-person")
    (request,) = paused.waiting
    assert request.required == 2
    stage.vote(request, "Dana")
    assert [each.id for each in stage.on(paused.run).waiting] == [request.id]
    columns = "SELECT column_name FROM information_schema.columns WHERE table_schema = 'warehouse' AND table_name = 'shipments'"
    assert ("carrier_reference",) not in stage.rows(columns)
    with pytest.raises(requests.AlreadyDecided):
        stage.vote(request, "Dana")
    stage.vote(request, "Priya")
    done = stage.on(paused.run)
    assert (done.state, done.summary) == ("SUCCEEDED", "shipments now has the column carrier_reference.")
    assert ("carrier_reference",) in stage.rows(columns)


def test_a_loop_is_handed_over_after_four_calls(stage: Stage) -> None:
    done = stage.tell("loop")
    tools = [call for call in stage.calls(done) if call.kind == "TOOL"]
    assert done.state == "HANDED_OFF"
    assert [call.state for call in tools] == ["APPLIED"] * 4 + ["REFUSED"]
    assert json.loads(tools[-1].refusal)["code"] == "no_progress"
    assert "repeated 3 times, each with the answer of the time before" in done.summary
    assert "run.loop_flagged" in stage.events(done)


def test_an_overspending_run_is_refused_before_the_call_and_told_which_cap(stage: Stage) -> None:
    done = stage.tell("overspend")
    last = stage.calls(done)[-1]
    refusal = json.loads(last.refusal)
    assert (done.state, last.kind, last.state, refusal["code"]) == ("HANDED_OFF", "MODEL", "REFUSED", "budget_exceeded")
    assert refusal["rule"] == f"cap run {done.run}"
    with tenancy.within(stage.made.organisation):
        run = Run.objects.get(id=done.run)
        assert 0 < reservations.balance("run", done.run).spent <= run.max_micros == refusal["limit"]
        assert reservations.balance("run", done.run).reserved == 0


def test_faulty_arguments_are_named_and_mended(stage: Stage) -> None:
    paused = stage.tell("schema-error")
    first, second = [call for call in stage.calls(paused) if call.name == "billing_issue_refund"]
    refusal = json.loads(first.refusal)
    assert (first.state, refusal["code"], refusal["faults"][0]["pointer"]) == ("REFUSED", "invalid_arguments", "/amount_cents")
    assert second.state == "HELD"
    stage.vote(paused.waiting[0], "Priya")
    assert stage.on(paused.run).state == "SUCCEEDED"
    assert stage.effects(paused, "billing_issue_refund") == 1


def test_a_letter_that_gives_the_agent_orders_reaches_no_other_customer_s_invoice(stage: Stage) -> None:
    done = stage.tell("injection")
    refused = [json.loads(call.refusal) for call in stage.calls(done) if call.state == "REFUSED"]
    assert done.state == "HANDED_OFF"
    assert [(no["code"], no["rule"]) for no in refused] == [("policy_denied", "own-customer")]
    assert stage.rows("SELECT refunded_cents FROM billing.invoices WHERE id = 'INV-1960'") == [(0,)]
    assert stage.rows("SELECT count(*) FROM mail.outbox") == [(0,)]


def test_a_refund_above_the_agents_limit_is_refused_whoever_would_approve_it(stage: Stage) -> None:
    large = next(claim for claim in desk.claims() if claim.cents > 100_000)
    done = stage.start(stories.pay_back(large))
    assert (done.state, done.waiting) == ("HANDED_OFF", ())
    assert "An agent never refunds more than $1,000.00" in done.summary


def test_a_refund_above_five_hundred_dollars_takes_both_approvers(stage: Stage) -> None:
    claim = next(each for each in desk.claims() if 50_000 < each.cents <= 100_000)
    paused = stage.start(stories.pay_back(claim))
    (request,) = paused.waiting
    stage.vote(request, "Priya")
    assert [each.id for each in stage.on(paused.run).waiting] == [request.id]
    assert builtin_world.invoice(claim.invoice)["refunds"] == []
    stage.vote(request, "Dana")
    assert stage.on(paused.run).state == "SUCCEEDED"
    assert [each["amount_cents"] for each in builtin_world.invoice(claim.invoice)["refunds"]] == [claim.cents]


def test_when_every_claim_is_settled_another_customer_writes(stage: Stage) -> None:
    with psycopg.connect(stage.dsn) as connection:
        connection.execute("UPDATE helpdesk.tickets SET status = 'solved'")
    claim = desk.next_claim(stage.made, stage.dsn, set())
    assert claim.ticket not in {known.ticket for known in desk.claims()}
    paused = stage.start(stories.pay_back(claim))
    stage.vote(paused.waiting[0], "Dana")
    if paused.waiting[0].required == 2:
        stage.vote(paused.waiting[0], "Priya")
    assert stage.on(paused.run).state == "SUCCEEDED"
    assert builtin_world.invoice(claim.invoice)["refunds"][0]["amount_cents"] == claim.cents


def test_one_refund_always_waits_and_never_two(stage: Stage) -> None:
    (opened,) = waiting.keep_one(stage.made, stage.dsn)
    assert waiting.keep_one(stage.made, stage.dsn) == []
    stage.vote(opened.waiting[0], "Dana")
    (next_one,) = waiting.keep_one(stage.made, stage.dsn)
    assert next_one.waiting[0].title != opened.waiting[0].title  # Kestrel has its money, so it is another customer's
    assert stage.on(opened.run).state == "SUCCEEDED"
    with tenancy.within(stage.made.organisation):
        Request.objects.filter(id=next_one.waiting[0].id).update(expires_at=requests.database_now())
    (third,) = waiting.keep_one(stage.made, stage.dsn)
    assert [each.id for each in waiting.listed(stage.made)] == [third.waiting[0].id]


@pytest.mark.slow
def test_the_history_is_made_once_and_a_start_that_was_cut_short_goes_on(stage: Stage) -> None:
    stories.start(stage.made, history.chapters()[3].story, {history.MARK: 3})  # begun, and then the power went
    first = seeding.seed(stage.dsn, stage.slug, patience_s=0)
    assert (first.is_new, first.runs) == (False, len(history.chapters()))
    assert [request.title for each in first.opened for request in each.waiting] == ["Refund $84.50 to Kestrel Ltd"]
    again = seeding.seed(stage.dsn, stage.slug, patience_s=0)
    assert (again.is_new, again.runs, again.opened) == (False, 0, ())
    with tenancy.within(stage.made.organisation):
        states = set(Run.objects.values_list("state", flat=True))
        decided = set(Request.objects.values_list("state", "required"))
        assert Run.objects.filter(options__has_key=history.MARK).count() == len(history.chapters())
        assert {"SUCCEEDED", "HANDED_OFF", "WAITING"} == states
        assert {("APPLIED", 1), ("APPLIED", 2), ("DENIED", 1), ("DENIED", 2), ("OPEN", 1)} <= decided
        assert Step.objects.count() > 200
        assert reservations.drift() == []


@pytest.fixture
def earlier(django_db_setup: None, monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path) -> Iterator[Stage]:
    """A demo that was built while the clock of the record was set back, as `make run` builds it."""
    with builtin_world.fresh_database() as dsn:
        monkeypatch.setenv("DEMO_DATABASE_URL", dsn)
        settings.DATA_DIR, settings.DEMO, settings.DEMO_DATABASE_URL, settings.PUBLIC_URL = tmp_path, True, dsn, "http://127.0.0.1:8000"
        builtin.install(dsn)
        desk.deliver(dsn)
        slug = f"demo-{secrets.token_hex(4)}"
        with clock.past():
            made = building.build(dsn, slug)
        yield Stage(made, dsn, slug)


TWISTS = ("refund", errands.DENY, errands.EXPIRE, errands.TWICE, errands.CRASH)


def test_a_run_of_the_past_is_right_when_it_is_written(earlier: Stage) -> None:
    """Rows, entries, money and their months agree on when it happened, and every entry still is what its hash says."""
    ago = timedelta(days=25)
    with clock.past():
        played = {
            twist: errands.play(earlier.made, Errand(number, ago, stories.pay_back(claim), twist, "Not this one."), "tried")
            for number, (twist, claim) in enumerate(zip(TWISTS, desk.letters()[5:], strict=False))
        }
    then = timezone.now() - ago
    with tenancy.within(earlier.made.organisation):
        runs = {twist: Run.objects.get(id=run) for twist, run in played.items()}
        states = {twist: run.state for twist, run in runs.items()}
        assert states == {"refund": "SUCCEEDED", "deny": "HANDED_OFF", "expire": "HANDED_OFF", "twice": "SUCCEEDED", "crash": "FAILED"}
        decided = dict(Request.objects.values_list("run_id", "state"))
        assert [decided.get(played[twist]) for twist in TWISTS] == ["APPLIED", "DENIED", "EXPIRED", "APPLIED", None]
        for run in runs.values():
            assert run.finished_at is not None
            written = [run.started_at, run.finished_at, *(entry.at for entry in log.entries(run=run.id))]
            written += [call.created_at for call in Call.objects.filter(run=run)]
            assert all(then - timedelta(minutes=1) <= at <= then + timedelta(hours=2) for at in written), written
            assert run.finished_at - run.started_at > timedelta(seconds=2)
        for entry in log.entries():
            assert hashlib.sha256(b"\0" + entry.body.encode()).digest() == bytes(entry.leaf)
            assert json.loads(entry.body)["at"] == entry.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        months = {window.starts_at.strftime("%Y-%m") for window in Window.objects.filter(level="workspace", spent__gt=0)}
        assert months == {then.strftime("%Y-%m")}
        assert reservations.drift() == []
        assert [work.kind for work in Work.objects.all()] == [Work.Kind.UNSEAT]  # the auditor is here for a time
        twice = [call.state for call in Call.objects.filter(run_id=played["twice"], name="billing_issue_refund").order_by("number")]
        assert twice == ["APPLIED", "FAILED"]  # the repeated key is no call of its own, the new one was refused before anybody was asked
        assert Effect.objects.filter(call__run_id=played["twice"], call__name="billing_issue_refund").count() == 1


def test_only_the_owner_sets_the_clock_back_and_it_goes_right_again(earlier: Stage, settings: Settings) -> None:
    def stumble() -> None:
        with clock.past():
            clock.set_back(timedelta(days=3))
            assert timezone.now() - moments.now() > timedelta(days=2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stumble()
    clock.set_back(timedelta(days=3))  # outside it asks for nothing
    assert abs(timezone.now() - moments.now()) < timedelta(minutes=1)
    clock.now()
    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"), connection.cursor() as cursor:
        cursor.execute(clock.DATED_BACK)
    settings.DEMO = False
    with pytest.raises(border.NotHere), clock.past():
        pass


def test_the_month_is_always_the_same_and_has_something_of_everything() -> None:
    start = datetime(2026, 11, 21, 10, tzinfo=UTC)
    told = month.errands_of(start, desk.letters())
    assert [(each.ago, each.story, each.twist) for each in told] == [
        (each.ago, each.story, each.twist) for each in month.errands_of(start, desk.letters())
    ]
    assert len(told) == month.RUNS
    twists = Counter(each.twist for each in told)
    assert (twists[errands.DENY], twists[errands.EXPIRE], twists[errands.TWICE]) == (month.DENIED, month.EXPIRED, 1)
    assert sum(each.story.agent == "refund-desk" for each in told) == desk.LETTERS
    courier = [each.ago for each in told if each.story.agent == "invoice-courier"]
    assert len(courier) == month.COURIERS
    assert min(courier) > timedelta(days=28)


def test_tokens_are_kept_for_their_owner_alone_and_work(stage: Stage) -> None:
    found = tokens.keep(stage.made)
    assert identity.authenticate(found["Dana"]).id == stage.made.members["Dana"].id
    assert stat.S_IMODE(os.stat(tokens.path()).st_mode) == 0o600
    assert tokens.keep(stage.made) == found
    with tenancy.within(stage.made.organisation):
        key = Key.objects.get(member=stage.made.members["Dana"])
    identity.revoke(by=stage.made.person("Dana"), key=key)
    renewed = tokens.keep(stage.made)
    assert renewed["Dana"] != found["Dana"]
    assert renewed["Priya"] == found["Priya"]


def test_the_demo_exists_only_where_somebody_asked_for_it_and_nobody_else_can_reach_it(settings: Settings) -> None:
    settings.DEMO, settings.DEMO_DATABASE_URL = True, "postgresql://nobody@127.0.0.1/none"
    for url in ("http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"):
        settings.PUBLIC_URL = url
        assert border.check() == settings.DEMO_DATABASE_URL
    for url in ("https://remit.example.com", "http://10.0.0.7:8000", "http://127.0.0.1.example.com", ""):
        settings.PUBLIC_URL = url
        with pytest.raises(CommandError, match="this machine only"):
            call_command("demo", "seed")
    settings.PUBLIC_URL, settings.DEMO = "http://127.0.0.1:8000", False
    with pytest.raises(CommandError, match="REMIT_DEMO=1"):
        call_command("demo", "tokens")


def test_before_the_seed_nothing_waits_and_no_story_can_start(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "SLUG", f"demo-{secrets.token_hex(4)}")  # other tests of this process may have built the usual one
    settings.DEMO, settings.DEMO_DATABASE_URL = True, "postgresql://nobody@127.0.0.1/none"
    said = StringIO()
    call_command("demo", "waiting", "--json", stdout=said)
    assert json.loads(said.getvalue()) == {"requests": [], "links": {}}
    with pytest.raises(CommandError, match="demo seed"):
        call_command("demo", "trigger", "refund")
