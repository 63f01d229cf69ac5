"""Plans, the requests that ask people about them, and their votes."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from agents.models import Call, Member, Run, ToolVersion, Workspace
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
    unchanged = models.TextField(default="[]")  # canonical JSON, redacted: the fields that stay as they are, for whoever unfolds them
    facts = models.TextField(default="{}")
    before_digest = models.TextField(default="")  # of the target's state when the plan was made; "" where no preview exists
    created_at = models.DateTimeField(db_default=Moment())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation_id", "call", "digest"], name="plan_digest")]
        indexes = [models.Index(fields=["organisation_id", "entity"], name="plan_target")]  # what else was done to this very thing


class Request(tenancy.Tenant):
    """A question to people: may this plan be applied?"""

    class State(models.TextChoices):
        OPEN = "OPEN", "Open"
        APPROVED = "APPROVED", "Approved"
        DENIED = "DENIED", "Denied"
        EXPIRED = "EXPIRED", "Expired"
        VOID = "VOID", "Void"
        SENT_BACK = "SENT_BACK", "Sent back"
        WITHDRAWN = "WITHDRAWN", "Withdrawn"
        APPLIED = "APPLIED", "Applied"
        FAILED = "FAILED", "Apply failed"

    PASSED = (State.APPROVED, State.APPLIED, State.FAILED)
    BY_PEOPLE = (*PASSED, State.DENIED, State.SENT_BACK)

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
    requesters = ArrayField(models.TextField(), default=list)  # persons who asked for it: see `barred`
    policy_set_id = models.TextField()
    tool_version = models.ForeignKey(ToolVersion, on_delete=models.PROTECT, db_constraint=False, db_index=False)
    opened_at = models.DateTimeField(db_default=Moment())
    expires_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)
    checked_at = models.DateTimeField(null=True)  # when the target was last read again and found as planned
    note = models.TextField(default="")  # why it was denied, or what voided it

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "call"], condition=models.Q(state="OPEN"), name="one_open_request_per_call"),
            models.CheckConstraint(condition=models.Q(required__gte=1, required__lte=2), name="request_required"),
        ]
        indexes = [
            models.Index(fields=["organisation_id", "workspace", "state", "opened_at"], name="request_inbox"),
            models.Index(fields=["organisation_id", "expires_at"], name="request_expiry", condition=models.Q(state="OPEN")),
            models.Index(fields=["organisation_id", "workspace", "-opened_at", "-id"], name="request_newest"),
            models.Index(fields=["organisation_id", "workspace", "-decided_at", "-id"], name="request_decided"),
            models.Index(fields=["organisation_id", "tool_version", "-opened_at"], name="request_of_tool"),
            models.Index(fields=["organisation_id", "run"], name="request_of_run"),
            models.Index(fields=["organisation_id", "call"], name="request_of_call"),
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
        constraints = [models.UniqueConstraint(fields=["organisation_id", "request", "person", "plan_digest"], name="one_vote_per_person")]


class Remark(tenancy.Tenant):
    """What people added to a request besides their votes: a comment, more time, a hint to the agent. Append-only."""

    class Kind(models.TextChoices):
        COMMENT = "COMMENT"
        EXTENSION = "EXTENSION"
        HINT = "HINT"

    request = models.ForeignKey(Request, on_delete=models.PROTECT, db_constraint=False, related_name="remarks")
    member = models.ForeignKey(Member, on_delete=models.PROTECT, db_constraint=False)
    kind = models.TextField(choices=Kind.choices)
    text = models.TextField()
    at = models.DateTimeField(db_default=Moment())

    class Meta:
        indexes = [models.Index(fields=["organisation_id", "request", "at"], name="remark_order")]


class Stance(tenancy.Tenant):
    """How one person stands to an open request for a while: has it in hand, or has set it aside. What is over by time may linger."""

    class Kind(models.TextChoices):
        CLAIM = "CLAIM"
        SNOOZE = "SNOOZE"

    request = models.ForeignKey(Request, on_delete=models.PROTECT, db_constraint=False)
    member = models.ForeignKey(Member, on_delete=models.PROTECT, db_constraint=False)
    kind = models.TextField(choices=Kind.choices)
    at = models.DateTimeField(db_default=Moment())
    until = models.DateTimeField()
    # who gave it to them; null: they took it themselves
    handed_by = models.ForeignKey(Member, on_delete=models.PROTECT, db_constraint=False, db_index=False, null=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "request", "member"], name="one_stance_per_person"),
            models.UniqueConstraint(fields=["organisation_id", "request"], condition=models.Q(kind="CLAIM"), name="one_claim_per_request"),
        ]
        indexes = [  # what a person has set aside: every page counts what needs them
            models.Index(fields=["organisation_id", "member", "until"], name="stance_snoozed", condition=models.Q(kind="SNOOZE"))
        ]


class StandingDenial(tenancy.Tenant):
    """A denial that answers for later calls too, so that nobody is asked again: one call of one run, or a tool of an agent for a while."""

    request = models.ForeignKey(Request, on_delete=models.PROTECT, db_constraint=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, db_constraint=False)
    agent_id = models.TextField()
    tool = models.TextField()
    run_id = models.TextField(default="")  # "": in any run
    fingerprint = models.TextField(default="")  # "": with any arguments
    reason = models.TextField()
    member = models.ForeignKey(Member, on_delete=models.PROTECT, db_constraint=False)
    at = models.DateTimeField(db_default=Moment())
    until = models.DateTimeField(null=True)  # null: as long as the run
    lifted_at = models.DateTimeField(null=True)
    lifted_by = models.TextField(default="")

    class Meta:
        indexes = [
            models.Index(fields=["organisation_id", "agent_id", "tool"], name="denial_standing", condition=models.Q(lifted_at__isnull=True))
        ]


class Terms(tenancy.Tenant):
    """How far a workspace (its id) lets people put off a decision, and how often they may send one back."""

    extend_s = models.PositiveIntegerField(default=30 * 60)
    extend_most_s = models.PositiveIntegerField(default=2 * 3600)
    rounds = models.PositiveSmallIntegerField(default=3)
