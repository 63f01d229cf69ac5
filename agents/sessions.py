"""Signed-in browsers, kept with the user they belong to: Django's own sessions in a table of ours, so that a person's can be ended."""

from collections.abc import Collection
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import db
from django.db.models import Count
from django.utils import timezone

from agents import seats
from agents.models import Member, Session
from agents.organisations import Principal
from audit import log, tenancy


class SessionStore(db.SessionStore):
    """`SESSION_ENGINE` names this module."""

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        made = super().create_model_instance(data)
        assert isinstance(made, Session)
        made.user = int(data[SESSION_KEY]) if SESSION_KEY in data else None
        return made


def live(users: Collection[int]) -> dict[int, int]:
    """user -> how many browsers are signed in."""
    rows = Session.objects.filter(user__in=users, expire_date__gt=timezone.now()).values_list("user")
    return dict(rows.annotate(number=Count("session_key")).order_by())


def end(*, by: Principal, member: Member, workspace: str) -> int:
    """Sign somebody out of every browser; the next request of each finds nobody. How many that were. An account may be a member of several
    organisations and is signed out of all. By whoever manages members in each workspace where they have a role. Raises Forbidden."""
    with tenancy.within(by.organisation):
        seats.require_over(by, member)
        _, rows = Session.objects.filter(user=member.user_id).delete()
        ended = rows.get(Session._meta.label, 0)
        log.append("session.ended", by=by, subject=member.id, workspace=workspace, detail={"sessions": ended})
    return ended
