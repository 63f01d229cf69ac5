"""Organisation > Workspace, the people in them, and what each may do."""

import datetime
from typing import ClassVar

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from guardian.managers import UserObjectPermissionManager
from guardian.models import UserObjectPermissionBase

from audit import tenancy
from audit.moments import Moment

MUCH = 10_000_000_000  # raising a cap above $10,000 a month takes two people, unless an organisation says otherwise


class Organisation(tenancy.Tenant):
    """The tenant. Its own row is the only one it can see (`organisation_id` equals `id`)."""

    slug = models.SlugField(max_length=63)
    name = models.TextField()
    zone = models.TextField(default="UTC", db_default="UTC")  # where days and months of money end; changed by budgets.zones.put
    two_people_above = models.BigIntegerField(default=MUCH, db_default=MUCH)  # micro-units a month; changed by budgets.caps.put_threshold
    sums = models.IntegerField(default=0, db_default=0)  # the generation of sums of spending that pages show (budgets/sql/sums.sql)
    sums_made = models.TextField(null=True)  # noqa: DJ001 - the last call in the next generation; NULL when none is made
    created_at = models.DateTimeField(db_default=Moment())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "slug"], name="organisation_slug"),
            models.CheckConstraint(condition=models.Q(id=models.F("organisation_id")), name="organisation_is_its_own_tenant"),
        ]


class Epoch(tenancy.Tenant):
    """A number that is another one after each change of anything that calls are decided upon; one row an organisation, under its id.

    The database keeps it (agents/sql/epoch.sql); the application only reads it.
    """

    number = models.BigIntegerField()


class Workspace(tenancy.Tenant):
    """A team or an environment: where agents, tools, caps and approvers live."""

    slug = models.SlugField(max_length=63)
    name = models.TextField()
    environment = models.TextField(default="production")
    registry = models.PositiveIntegerField(default=1)  # grows when a tool or a pinned model changes: compiled policies are kept by it
    created_at = models.DateTimeField(db_default=Moment())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation_id", "slug"], name="workspace_slug")]
        permissions = [  # ui.md 3.3; guardian evaluates them on a workspace
            ("runs_view", "See runs, their calls and what they cost"),
            ("runs_read", "Read what runs were given, said and did"),
            ("runs_start", "Start runs for a subject"),
            ("runs_stop", "Stop runs"),
            ("approvals_view", "See requests, as far as they are one's own"),
            ("approvals_all", "See every request"),
            ("approvals_decide", "Approve or deny"),
            ("approvals_decide_two", "Be one of two humans"),
            ("agents_view", "See agents"),
            ("agents_manage", "Register agents, versions and keys"),
            ("agents_stop", "Stop agents, tools and workspaces"),
            ("tools_view", "See tools"),
            ("tools_manage", "Register connectors and confirm tools"),
            ("access_view", "See what every agent can do"),
            ("policies_view", "See policies"),
            ("policies_propose", "Propose policies"),
            ("policies_activate", "Activate policies"),
            ("budgets_view", "See budgets"),
            ("budgets_set", "Set caps and prices"),
            ("audit_view", "Read the audit log, as far as it is one's own"),
            ("audit_all", "Read every entry of the audit log"),
            ("audit_export", "Export the audit log"),
            ("members_manage", "Manage members and roles"),
        ]


class Member(tenancy.Tenant):
    """A user's place in one organisation. `person` is the human behind it: two accounts of one human share it (I-20)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="memberships")
    person = models.TextField()
    name = models.TextField()
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Moment())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation_id", "user"], name="member_once")]


class Session(AbstractBaseSession):
    """A signed-in browser. Like the account it is of no organisation; it names its user, so that somebody's can be ended."""

    user = models.BigIntegerField(null=True, db_index=True)


def in_force(at: str = "") -> models.Q:
    """What has no end, or one to come; `at` is where a query has the row, as "workspacepermission__"."""
    return models.Q(**{f"{at}until": None}) | models.Q(**{f"{at}until__gt": Moment()})


class Seats(models.QuerySet["Seat"]):
    """Some of them."""

    def in_force(self) -> "Seats":
        """Those whose end has not come. One that is over counts for nothing, also before a worker takes it away."""
        return self.filter(in_force())


class Seat(tenancy.Tenant):
    """A role that a member holds in a workspace; `seats.grant` writes the permissions that follow from it."""

    member = models.ForeignKey(Member, on_delete=models.PROTECT, db_constraint=False, related_name="seats")
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, db_constraint=False, related_name="seats")
    role = models.TextField()
    until = models.DateTimeField(null=True)  # from then on it counts for nothing; NULL has no end
    created_at = models.DateTimeField(db_default=Moment())
    objects = Seats.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "member", "workspace", "role"], name="seat_once"),
            models.CheckConstraint(condition=~models.Q(role="auditor") | models.Q(until__isnull=False), name="auditor_seat_ends"),
        ]

    def is_over(self, now: datetime.datetime) -> bool:
        """Whether its end has come: a worker will take it away."""
        return self.until is not None and self.until <= now


class SavedView(tenancy.Tenant):
    """A filtered list under a name: of one member, or without a member shared in the workspace."""

    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, db_constraint=False, related_name="views")
    member = models.ForeignKey(Member, on_delete=models.PROTECT, db_constraint=False, null=True, related_name="views")
    page = models.TextField()
    name = models.TextField()
    query = models.TextField()
    saved_by = models.TextField()
    saved_at = models.DateTimeField(db_default=Moment())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organisation_id", "workspace", "page", "member", "name"], name="view_once", nulls_distinct=False
            )
        ]


class _InForce(UserObjectPermissionManager):
    """Leaves out what is over, so that no reader has to think of it."""

    def get_queryset(self) -> "models.QuerySet[WorkspacePermission]":
        return super().get_queryset().filter(in_force())


class WorkspacePermission(UserObjectPermissionBase):
    """What a user may do in a workspace, as django-guardian reads it; under row-level security like everything else.

    `until` is the latest end among the seats that give it, NULL when one of them has none. `objects` are those in force; `every` is for
    `seats`, which writes them.
    """

    organisation_id = models.TextField(db_default=tenancy.current_organisation(), editable=False)
    content_object = models.ForeignKey(Workspace, on_delete=models.CASCADE, db_constraint=False)
    until = models.DateTimeField(null=True)
    objects: ClassVar[_InForce] = _InForce()
    every = models.Manager["WorkspacePermission"]()
    enabled = True

    class Meta:
        unique_together: ClassVar[list[tuple[str, ...]]] = []
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "user", "permission", "content_object"], name="workspace_permission_once")
        ]
