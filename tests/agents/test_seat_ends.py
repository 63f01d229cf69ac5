"""Until when a role is held: what is over counts for nothing the moment it is, with no worker running; the worker only tidies up."""

import datetime
import itertools
import threading

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection

from agents import contracts, organisations, roles, seats
from agents.models import Seat, Work, WorkspacePermission
from approvals import votes
from audit import log, tenancy
from controlplane import outbox, recovery, worker
from controlplane.console import sentences
from tests.controlplane.test_races import somebody_waits
from tests.world import World, soon

DAY = datetime.timedelta(days=1)


def held(world: World, name: str) -> frozenset[str]:
    with tenancy.within(world.organisation):
        return organisations.held(world.people[name], world.workspace)


def holding(world: World, permission: str) -> set[str]:
    with tenancy.within(world.organisation):
        return {member.name for member in seats.holding(permission, world.workspace.id)}


def seat_of(world: World, name: str, role: str = "auditor") -> Seat | None:
    with tenancy.within(world.organisation):
        return Seat.objects.filter(member=world.members[name], workspace=world.workspace, role=role).first()


def timers(world: World) -> dict[str, datetime.datetime]:
    with tenancy.within(world.organisation):
        return dict(Work.objects.filter(kind=Work.Kind.UNSEAT).values_list("subject", "due_at"))


def told(world: World, event: str) -> list[dict[str, str]]:
    with tenancy.within(world.organisation):
        return [entry.told["detail"] for entry in log.entries(event=event)]


def claims(world: World) -> list[outbox.Lease]:
    """What is due here, leased."""
    found = []
    while (lease := outbox.claim()) is not None:
        if lease.organisation == world.organisation:
            found.append(lease)
        else:  # claiming looks across organisations; what other tests left is dropped
            outbox.finish(lease)
    return found


# What is refused ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "ahead", "said"),
    [
        ("auditor", None, "given until a time"),
        ("auditor", -DAY, "in the future"),
        ("viewer", -DAY, "in the future"),
        ("viewer", 367 * DAY, "too far ahead"),
    ],
)
def test_an_auditor_has_an_end_and_each_end_is_ahead_and_not_too_far(
    world: World, role: str, ahead: datetime.timedelta | None, said: str
) -> None:
    before = world.events()
    with pytest.raises(organisations.Conflict, match=said) as refused:
        seats.grant(
            by=organisations.system(world.organisation),
            member=world.members["fiona"],
            workspace=world.workspace,
            role=role,
            until=soon(0) + ahead if ahead else None,
        )
    assert (refused.value.rule, refused.value.who) == ("role end", "whoever manages members")
    assert refused.value.limit == "an end after now, within 366 days"
    assert refused.value.next_step
    assert refused.value.current
    assert world.events() == before
    until = soon(366) - datetime.timedelta(minutes=1)
    assert world.seat("fiona", role, until=until).until == until


def test_the_database_holds_no_auditor_without_an_end_either(world: World) -> None:
    with pytest.raises(IntegrityError, match="auditor_seat_ends"), tenancy.within(world.organisation):
        Seat.objects.filter(member=world.members["ada"]).update(until=None)
    with pytest.raises(IntegrityError, match="auditor_seat_ends"), tenancy.within(world.organisation):
        Seat.objects.create(id="SEA-0000000000", member=world.members["vera"], workspace=world.workspace, role="auditor")
    assert set(roles.FOR_A_TIME) == {"auditor"}, "the check of the table names each"


def test_nobody_extends_their_own_not_by_another_account_of_theirs_either(world: World) -> None:
    before = seat_of(world, "ada")
    assert before is not None
    system, user = organisations.system(world.organisation), get_user_model().objects.create_user(f"twin-{world.organisation}")
    twin = organisations.add_member(by=system, user=user, name="Twin", person=world.people["ada"].person)
    for by in (world.people["ada"], organisations.acting(twin)):
        for until in (soon(200), soon(10), None):
            with pytest.raises(organisations.Forbidden, match="Nobody gives themselves"):
                seats.grant(by=by, member=world.members["ada"], workspace=world.workspace, role="auditor", until=until)
    after = seat_of(world, "ada")
    assert after is not None
    assert after.until == before.until


@pytest.mark.parametrize("role", ["owner", "approver"])
def test_a_workspace_keeps_an_owner_and_an_approver_whose_role_has_no_end(world: World, role: str) -> None:
    system = organisations.system(world.organisation)
    with tenancy.within(world.organisation):
        Seat.objects.filter(workspace=world.workspace, role=role).delete()
    for name in ("vera", "sam"):
        with pytest.raises(organisations.Conflict, match=f"without its last {role} who has none") as refused:
            world.seat(name, role, until=soon(30))
        assert refused.value.rule == f"last {role}"
    world.seat("vera", role)
    world.seat("sam", role, until=soon(30))
    for act in (
        lambda: seats.remove(by=system, member=world.members["vera"], workspace=world.workspace, role=role),
        lambda: seats.leave(by=system, member=world.members["vera"]),
        lambda: world.seat("vera", role, until=soon(300)),
    ):
        with pytest.raises(organisations.Conflict) as refused:
            act()
        assert refused.value.rule == f"last {role}", "whoever has it for a time is not counted"
    seats.remove(by=system, member=world.members["sam"], workspace=world.workspace, role=role)
    world.seat("sam", role)
    world.seat("vera", role, until=soon(300))


# When it is over ------------------------------------------------------------------------------------------------------------------------


def test_what_a_role_allowed_is_over_the_moment_its_end_passes_and_no_worker_has_run(world: World) -> None:
    ada, member = world.people["ada"], world.members["ada"]
    user = get_user_model().objects.get(pk=ada.user)
    assert "audit_export" in held(world, "ada")
    assert "ada" in holding(world, "audit_all")
    world.days_pass(89)
    assert "audit_export" in held(world, "ada")
    assert [each.role for each in seats.places(ada.user)] == ["auditor"]
    world.days_pass(1)
    assert seat_of(world, "ada") is not None, "nobody came by"
    with tenancy.within(world.organisation):
        assert not organisations.may(ada, "audit_view", world.workspace.id)
        for ask in (
            lambda: organisations.require(ada, "audit_view", world.workspace.id),
            lambda: organisations.where(ada, "audit_view"),
            lambda: organisations.require_everywhere(ada, "audit_view"),
        ):
            with pytest.raises(organisations.Forbidden):
                ask()
        assert organisations.stand(ada.user, "", "") is None
        assert member not in organisations.members(world.workspace)
        assert member in organisations.members()
        assert not user.has_perm("agents.audit_view", world.workspace)
        assert not user.has_perm("audit_view", world.workspace)
    assert held(world, "ada") == frozenset()
    assert "ada" not in holding(world, "audit_all")
    assert seats.places(ada.user) == []
    with pytest.raises(organisations.Conflict, match="a role in its workspace"):
        contracts.change_owner(by=world.people["olga"], agent=world.agent, owner=member)


def test_who_holds_a_permission_everywhere_does_so_until_the_first_end(world: World) -> None:
    def everywhere() -> set[str]:
        with tenancy.within(world.organisation):
            return {member.name for member in seats.holding_everywhere("budgets_view")}

    world.seat("ada", "auditor", until=soon(20), workspace=world.other)
    assert "ada" in everywhere()
    world.days_pass(20)
    assert everywhere() == set()
    assert "audit_all" in held(world, "ada"), "the other workspace's goes on"


def test_a_vote_counts_no_more_when_the_voters_role_ended_before_it_was_sent(world: World) -> None:
    world.join("zoe", "viewer")
    world.seat("zoe", "approver", until=soon(5))
    said = [world.start().call("pay", {"account": account, "amount": 50}) for account in "ab"]
    for each in said:
        votes.cast(by=world.people["zoe"], request_id=each.approval, verdict="APPROVE", plan_digest=each.plan)
    assert recovery.resume(world.organisation, said[0].call).status == "applied"
    world.days_pass(5)
    void = recovery.resume(world.organisation, said[1].call)
    assert (void.status, (void.refusal or {})["message"]) == ("void", "0 of 1 valid approvals.")
    assert len(world.bank.writes()) == 1


def test_a_permission_that_two_roles_give_lasts_as_long_as_the_longer(world: World) -> None:
    world.join("zoe", "auditor")
    world.seat("zoe", "viewer", until=soon(10))
    world.days_pass(10)
    assert {"runs_view", "audit_all"} <= held(world, "zoe")
    world.seat("zoe", "viewer", until=soon(200))
    world.days_pass(80)
    assert held(world, "zoe") == roles.ROLES["viewer"]
    worker.drain()
    assert held(world, "zoe") == roles.ROLES["viewer"]
    world.seat("zoe", "viewer")
    world.seat("zoe", "auditor", until=soon(1))
    world.days_pass(300)
    assert held(world, "zoe") == roles.ROLES["viewer"], "one without an end outlasts all"


# Changing it ----------------------------------------------------------------------------------------------------------------------------


def test_the_same_role_again_moves_its_end_nearer_or_further_with_one_entry_that_says_from_and_to(world: World) -> None:
    world.join("zoe", "viewer")
    first = soon(30)
    held_ = world.seat("zoe", "finance", until=first)
    ends = [soon(10), soon(300), None, soon(40)]
    entries = len(world.events())
    for until in ends:
        assert world.seat("zoe", "finance", until=until).id == held_.id
        assert timers(world).get(held_.id) == until
        with tenancy.within(world.organisation):
            rows = WorkspacePermission.every.filter(user_id=world.people["zoe"].user, permission__codename="budgets_set")
            assert [row.until for row in rows] == [until]
    assert world.events()[entries:] == ["seat.end_set"] * 4
    said = [(each["role"], each["before"], each["until"]) for each in told(world, "seat.end_set")][::-1]
    assert said == [
        ("finance", *(each.isoformat() if each else "" for each in (before, until))) for before, until in itertools.pairwise([first, *ends])
    ]
    with tenancy.within(world.organisation):
        words = [sentences.of(entry) for entry in log.entries(event="seat.end_set")]
    assert words[0] == f"The end of a member's role finance was changed from no end to {ends[-1]:%Y-%m-%d %H:%M} UTC."
    world.days_pass(40)
    assert held(world, "zoe") == roles.ROLES["viewer"]


def test_a_role_given_anew_after_its_end_is_a_new_one_although_no_worker_came_by(world: World) -> None:
    before = seat_of(world, "ada")
    assert before is not None
    world.days_pass(91)
    given = world.seat("ada", "auditor", until=soon(7))
    assert given.id != before.id
    assert world.events()[-2:] == ["seat.ended", "seat.granted"]
    assert "audit_all" in held(world, "ada")
    assert set(timers(world)) == {given.id}
    worker.drain()
    assert "audit_all" in held(world, "ada")


def test_of_two_roles_given_at_once_each_gives_what_it_gives(world: World) -> None:
    world.join("zoe", "viewer")
    failed: list[Exception] = []

    def give() -> None:
        try:
            world.seat("zoe", "auditor", until=soon(9))
        except Exception as error:
            failed.append(error)
        finally:
            connection.close()

    other = threading.Thread(target=give)
    with tenancy.within(world.organisation):
        world.seat("zoe", "finance")
        other.start()
        while other.is_alive() and not somebody_waits():
            pass
    other.join()
    assert failed == []
    assert held(world, "zoe") == roles.permissions(["viewer", "finance", "auditor"])
    world.days_pass(9)
    assert held(world, "zoe") == roles.permissions(["viewer", "finance"])


# The worker -----------------------------------------------------------------------------------------------------------------------------


def test_a_worker_takes_the_role_away_once_also_when_it_is_asked_twice(world: World) -> None:
    before = seat_of(world, "ada")
    assert before is not None
    world.seat("ada", "viewer")
    system = organisations.system(world.organisation, "seats")
    assert not seats.end(by=system, identifier=before.id), "not yet"
    assert timers(world) == {before.id: before.until}
    world.days_pass(90)
    worker.drain()
    assert seat_of(world, "ada") is None
    assert timers(world) == {}
    assert not seats.end(by=system, identifier=before.id)
    worker.drain()
    with tenancy.within(world.organisation):
        entries = list(log.entries(event="seat.ended"))
        rows = WorkspacePermission.every.filter(user_id=world.people["ada"].user)
        assert set(rows.values_list("permission__codename", flat=True)) == roles.ROLES["viewer"]
    (entry,) = entries
    assert (entry.actor_kind, entry.actor_id, entry.subject) == ("system", "seats", world.members["ada"].id)
    assert sentences.of(entry) == "The role auditor of a member ended at its time."


def test_a_role_that_is_extended_while_a_worker_has_its_end_in_hand_waits_for_the_new_end(world: World) -> None:
    before = seat_of(world, "ada")
    assert before is not None
    with tenancy.within(world.organisation):
        Work.objects.filter(kind=Work.Kind.UNSEAT).update(due_at=soon(-1))  # a worker's clock that is ahead
    (lease,) = claims(world)
    until = world.seat("ada", "auditor", until=soon(120)).until
    worker.perform(lease)
    assert seat_of(world, "ada") is not None
    assert timers(world) == {before.id: until}
    world.days_pass(119)
    assert claims(world) == []
    world.days_pass(1)
    worker.drain()
    assert (seat_of(world, "ada"), timers(world)) == (None, {})


def test_a_timer_that_comes_too_early_is_set_for_the_end(world: World) -> None:
    before = seat_of(world, "ada")
    assert before is not None
    with tenancy.within(world.organisation):
        Work.objects.filter(kind=Work.Kind.UNSEAT).update(due_at=soon(-1))
    worker.drain()
    assert timers(world) == {before.id: before.until}
    assert "audit_all" in held(world, "ada")


def test_what_a_killed_worker_left_another_one_ends(world: World) -> None:
    world.days_pass(90)
    (dead,) = claims(world)
    assert dead.kind == "seat.end"
    assert claims(world) == []
    with tenancy.within(world.organisation):
        Work.objects.filter(id=dead.id).update(lease_until=soon(-1))
    worker.drain()
    assert world.events("seat.ended") == ["seat.ended"]
    worker.perform(dead)  # and were it not dead after all
    assert world.events("seat.ended") == ["seat.ended"]


def test_a_role_that_is_taken_takes_its_timer_along(world: World) -> None:
    seats.remove(by=world.people["olga"], member=world.members["ada"], workspace=world.workspace, role="auditor")
    assert timers(world) == {}
