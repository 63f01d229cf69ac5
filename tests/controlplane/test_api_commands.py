"""The command line for people without the console: the same rules, the same entries, one clear line when it is no."""

import io
import json
import secrets
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from agents import identity, organisations
from agents.models import Organisation
from audit import log, tenancy
from controlplane.management.commands import approvals
from tests.controlplane import api_knocking as knocking
from tests.controlplane.api_knocking import API, ask, propose
from tests.world import World


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def slug_of(world: World) -> str:
    with tenancy.within(world.organisation):
        return str(Organisation.objects.values_list("slug", flat=True).get())


def bootstrap(slug: str, *members: str) -> dict[str, Any]:
    named = [argument for member in members for argument in ("--member", member)]
    made: dict[str, Any] = json.loads(run("bootstrap", "--organisation", slug, "--workspace", "desk", *named, "--json"))
    return made


def test_the_first_people_can_work_with_their_tokens_at_once() -> None:
    made = bootstrap(f"shop-{secrets.token_hex(4)}", "olga=owner", "ann=approver")
    assert made.keys() == {"organisation", "workspace", "tokens"}
    principals = {name: identity.authenticate(token) for name, token in made["tokens"].items()}
    assert {principal.organisation for principal in principals.values()} == {made["organisation"]}
    agent = {"slug": "clerk", "name": "Clerk", "purpose": "Files.", "never": ["Burn."], "output": ""}
    assert ask("POST", f"{API}/agents", made["tokens"]["olga"], agent).status == 201
    assert ask("POST", f"{API}/agents", made["tokens"]["ann"], agent).code == "forbidden"
    assert ask("GET", f"{API}/approvals", made["tokens"]["ann"]).body["items"] == []
    user = get_user_model().objects.get(pk=principals["olga"].user)
    assert not user.has_usable_password()


def test_an_organisation_is_bootstrapped_once_and_a_failure_leaves_nothing() -> None:
    slug = f"shop-{secrets.token_hex(4)}"
    bootstrap(slug, "olga=owner")
    with pytest.raises(CommandError, match="already"):
        bootstrap(slug, "olga=owner")
    other = f"shop-{secrets.token_hex(4)}"
    with pytest.raises(CommandError, match="Roles"):
        bootstrap(other, "olga=owner", "max=king")
    with pytest.raises(CommandError, match="twice"):
        bootstrap(other, "olga=owner", "olga=viewer")
    assert bootstrap(other, "olga=owner")["organisation"] == organisations.id_of(other)


def test_somebody_without_the_console_reads_a_plan_and_decides(world: World) -> None:
    held = propose(world.start().token, "pay", {"account": "a", "amount": 50}).body
    who = ("--as", "ann", "--organisation", slug_of(world))
    assert held["approval"] in run("approvals", "list", "--workspace", "desk", *who)
    shown = run("approvals", "show", held["approval"], *who)
    assert held["plan"] in shown
    assert "A payment above 10 needs a person." in shown
    assert "APPROVED" in run("approvals", "approve", held["approval"], *who)
    assert "No requests are OPEN" in run("approvals", "list", "--workspace", "desk", *who)
    with tenancy.within(world.organisation):
        entry = log.entries(event="request.voted").get()
    assert (entry.actor_kind, entry.actor_id) == ("person", world.members["ann"].id)


def test_the_command_line_is_no_way_around_the_rules(world: World) -> None:
    held = propose(world.start().token, "pay", {"account": "a", "amount": 50}).body
    slug = slug_of(world)
    for name, why in (("olga", "may not decide"), ("vera", "no such request"), ("nobody", "no such member")):
        with pytest.raises(CommandError, match=why):
            run("approvals", "approve", held["approval"], "--as", name, "--organisation", slug)
    with pytest.raises(CommandError, match="reason"):
        run("approvals", "deny", held["approval"], "--as", "ann", "--organisation", slug)
    with pytest.raises(CommandError, match="plan changed"):
        run("approvals", "approve", held["approval"], "--plan", "0" * 64, "--as", "ann", "--organisation", slug)
    with pytest.raises(CommandError, match="no such member"):
        run("approvals", "list", "--as", "ann", "--organisation", "somewhere-else")
    assert "OPEN, until" in run("approvals", "extend", held["approval"], "--as", "ann", "--organisation", slug)
    assert "DENIED" in run("approvals", "deny", held["approval"], "--reason", "No.", "--as", "ann", "--organisation", slug)


def test_what_an_agent_wrote_cannot_drive_the_terminal(world: World) -> None:
    note = "\x1b[2J\x1b]0;approved\x07 thanks"
    held = propose(world.start().token, "pay", {"account": "a", "amount": 50, "note": note}).body
    shown = run("approvals", "show", held["approval"], "--as", "ann", "--organisation", slug_of(world))
    assert all(character.isprintable() or character == "\n" for character in shown)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"op": "replace", "label": "Amount", "before": 1, "after": 2}, "  Amount: 1 -> 2"),
        ({"op": "argument", "pointer": "/note", "before": None, "after": "a\nb"}, "  /note: a b"),
        ({"op": "remove", "pointer": "/x", "before": {"y": 1}, "after": None}, '  /x: {"y": 1} -> null'),
    ],
)
def test_a_change_is_one_line(change: dict[str, Any], line: str) -> None:
    assert approvals.readable(change) == line


def test_a_token_is_issued_to_a_member_and_entered(world: World) -> None:
    token = run("token", "--as", "vera", "--organisation", slug_of(world), "--days", "1").strip()
    assert identity.authenticate(token).id == world.members["vera"].id
    assert ask("GET", f"{API}/runs?workspace=desk", token).status == 200
    organisations.deactivate(by=organisations.system(world.organisation, "tests"), member=world.members["vera"])
    with pytest.raises(CommandError, match="no longer"):
        run("token", "--as", "vera", "--organisation", slug_of(world))


def test_the_log_is_listed_and_exported_and_both_are_entered(world: World, tmp_path: Any) -> None:
    slug, path = slug_of(world), tmp_path / "log.jsonl"
    assert "policy.activated" in run("audit", "list", "--organisation", slug, "--event", "policy.*")
    run("audit", "export", "--organisation", slug, "--output", str(path))
    events = [json.loads(line)["event"] for line in path.read_text().splitlines()]
    assert sorted(events) == sorted([*world.events()[:-1]])  # all but its own entry
    assert world.events("audit.*") == ["audit.read", "audit.exported"]
    assert knocking.refused_inputs(world) == []
    with pytest.raises(CommandError, match="no organisation"):
        run("audit", "list", "--organisation", "somewhere-else")
