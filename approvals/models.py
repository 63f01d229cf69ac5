"""Plans, the requests that ask people about them, and their votes."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from agents.models import Call, Member, Run, Workspace
from audit import tenancy
from audit.moments import Moment


class Plan(tenancy.Tenant):
    """What exactly will be sent and what it will change, bound by one digest. Immutable; a changed world needs a new plan."""

    call = models.ForeignKey(Call, on_delete=models.PROTECT, db_constraint=False, related_name="plans")
    digest = models.TextField()
    body = models.TextField()  # canonical JSON of everything the digest covers, digests in place of payloads
    entity = models.TextField(default="")
    viewer = models.TextField()  # fields, json_patch, sql, text, arguments
    changes = models.TextField()  # canonical JSON, redacted: what the approver reads
    facts = models.TextField(default="{}")
    before_digest = models.TextField(default="")  # of the target's state when the plan was made; "" where no preview exists
    created_at = models.DateTimeField(db_default=Moment())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation_id", "call", "digest"], name="plan_digest")]


class Request(tenancy.Tenant):
    """A question to people: may this plan be applied?"""

    class State(models.TextChoices):
        OPEN = "OPEN", "Open"
        APPROVED = "APPROVED", "Approved"
        DENIED = "DENIED", "Denied"
        EXPIRED = "EXPIRED", "Expired"
        VOID = "VOID", "Void: the world changed"
        WITHDRAWN = "WITHDRAWN", "Withdrawn"
        APPLIED = "APPLIED", "Applied"
        FAILED = "FAILED", "Apply failed"

    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, db_constraint=False)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, db_constraint=False)
    call = models.ForeignKey(Call, on_delete=models.PROTECT, db_constraint=False)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, db_constraint=False)
    state = models.TextField(choices=State.choices, default=State.OPEN)
    title = models.TextField()
    required = models.PositiveSmallIntegerField()
    is_draft = models.BooleanField(default=False)
    policies = ArrayField(models.TextField(), default=list)
    reasons = ArrayField(models.TextField(), default=list)
    requesters = ArrayField(models.TextField(), default=list)  # persons who may not decide it
    policy_set_id = models.TextField()
    tool_version_id = models.TextField()
    opened_at = models.DateTimeField(db_default=Moment())
    expires_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)
    note = models.TextField(default="")  # why it was denied, or what voided it

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "call"], condition=models.Q(state="OPEN"), name="one_open_request_per_call"),
            models.CheckConstraint(condition=models.Q(required__gte=1, required__lte=2), name="request_required"),
        ]
        indexes = [
            models.Index(fields=["organisation_id", "workspace", "state", "opened_at"], name="request_inbox"),
            models.Index(fields=["organisation_id", "expires_at"], name="request_expiry", condition=models.Q(state="OPEN")),
        ]


class Vote(tenancy.Tenant):
    """One person's decision on one plan digest. Append-only."""

    class Verdict(models.TextChoices):
        APPROVE = "APPROVE"
        DENY = "DENY"

    request = models.ForeignKey(Request, on_delete=models.PROTECT, db_constraint=False, related_name="votes")
    member = models.ForeignKey(Member, on_delete=models.PROTECT, db_constraint=False)
    person = models.TextField()
    verdict = models.TextField(choices=Verdict.choices)
    plan_digest = models.TextField()
    reason = models.TextField(default="")
    at = models.DateTimeField(db_default=Moment())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation_id", "request", "person"], name="one_vote_per_person")]
