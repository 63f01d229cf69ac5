"""Seats: a workspace never loses its last owner or its last approver, whichever way and however many go at once."""

import threading

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from agents import organisations, roles, seats
from agents.models import Seat
from audit import tenancy
from tests.controlplane.test_races import somebody_waits
from tests.world import World


def two_with(world: World, role: str) -> list[str]:
    """Two people who hold a role, and nobody else who holds it or, for an approver, another that may decide."""
    system = organisations.system(world.organisation, "tests")
    same = roles.giving("approvals_decide") if role == "approver" else {role}
    with tenancy.within(world.organisation):
        Seat.objects.filter(workspace=world.workspace, role__in=same).delete()
        for name in ("ben", "vera"):
            seats.grant(by=system, member=world.members[name], workspace=world.workspace, role=role)
    return ["ben", "vera"]


@pytest.mark.parametrize("role", ["owner", "approver"])
def test_of_two_who_leave_at_once_one_stays(world: World, role: str) -> None:
    first, second = two_with(world, role)
    system = organisations.system(world.organisation, "tests")
    said: list[str] = []

    def leave() -> None:
        try:
            seats.leave(by=system, member=world.members[second])
        except organisations.Conflict as conflict:
            said.append(conflict.rule)
        finally:
            connection.close()

    other = threading.Thread(target=leave)
    with tenancy.within(world.organisation):
        seats.leave(by=system, member=world.members[first])
        other.start()
        while other.is_alive() and not somebody_waits():
            pass
    other.join()
    assert said == [f"last {role}"]
    with tenancy.within(world.organisation):
        assert Seat.objects.filter(workspace=world.workspace, role=role, member__is_active=True).count() == 1


def test_the_last_one_may_not_give_the_role_back_either(world: World) -> None:
    system = organisations.system(world.organisation, "tests")
    with pytest.raises(organisations.Conflict, match="last owner"):
        seats.remove(by=system, member=world.members["olga"], workspace=world.workspace, role="owner")


@pytest.mark.parametrize("gone", ["account", "membership"])
def test_whoever_cannot_sign_in_is_named_as_nobodys_decider(world: World, gone: str) -> None:
    def named() -> set[str]:
        with tenancy.within(world.organisation):
            return {member.name for member in seats.holding("approvals_decide", world.workspace.id)}

    ann = world.members["ann"]
    assert ann.name in named()
    if gone == "account":
        get_user_model().objects.filter(pk=ann.user_id).update(is_active=False)
    else:
        organisations.deactivate(by=world.people["olga"], member=ann)
    assert ann.name not in named()
    assert named()
