"""Runs, the calls they make, the effects those have, and the work that waits for a worker."""

from django.db import models

from agents.models.identity import Agent, AgentVersion, Capability
from agents.models.organisations import Workspace
from agents.models.tools import ToolVersion
from audit import tenancy
from audit.moments import Moment


class Run(tenancy.Tenant):
    """One piece of work of one agent version. The counters are what its caps are checked against."""

    class State(models.TextChoices):
        QUEUED = "QUEUED", "Queued"
        RUNNING = "RUNNING", "Running"
        WAITING = "WAITING", "Waiting for approval"
        SUCCEEDED = "SUCCEEDED", "Succeeded"
        FAILED = "FAILED", "Failed"
        STOPPED = "STOPPED", "Stopped by a person"
        HANDED_OFF = "HANDED_OFF", "Handed off"
        EXPIRED = "EXPIRED", "Expired"

    OVER = ("SUCCEEDED", "FAILED", "STOPPED", "HANDED_OFF", "EXPIRED")
    is_withheld = False  # as read: whoever asked may see what it cost, not what it said (`agents.sight`)

    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, db_constraint=False)
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, db_constraint=False)
    agent_version = models.ForeignKey(AgentVersion, on_delete=models.PROTECT, db_constraint=False)
    capability = models.ForeignKey(Capability, on_delete=models.PROTECT, db_constraint=False, null=True)
    state = models.TextField(choices=State.choices, default=State.RUNNING)
    is_hosted = models.BooleanField(default=False)  # Remit itself executes it
    reference = models.TextField(default="")  # the caller's own name for this work: a ticket, a case
    title = models.TextField(default="")
    options = models.JSONField(default=dict)  # for the model provider of a hosted run
    started_by_kind = models.TextField()
    started_by = models.TextField()
    starter_person = models.TextField(default="")
    # what it used so far, and how far it may go (a snapshot of the caps when it started)
    steps = models.PositiveIntegerField(default=0)
    tool_calls = models.PositiveIntegerField(default=0)
    writes = models.PositiveIntegerField(default=0)
    tokens = models.PositiveBigIntegerField(default=0)
    retries = models.PositiveIntegerField(default=0)
    max_steps = models.PositiveIntegerField()
    max_tool_calls = models.PositiveIntegerField()
    max_tokens = models.PositiveBigIntegerField()
    max_seconds = models.PositiveIntegerField()
    max_retries = models.PositiveIntegerField()
    max_micros = models.PositiveBigIntegerField()
    max_step_micros = models.PositiveBigIntegerField()
    repeats_flag = models.PositiveIntegerField()
    repeats_stop = models.PositiveIntegerField()
    progress = models.PositiveIntegerField(default=0)  # grows with each write that took effect: a repeat after it is no loop
    loop_flagged_at = models.DateTimeField(null=True)
    waited_ms = models.PositiveBigIntegerField(default=0)  # time spent waiting for people is not the agent's
    summary = models.TextField(default="")
    handed_to = models.TextField(default="")
    started_at = models.DateTimeField(db_default=Moment())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["organisation_id", "workspace", "-started_at"], name="run_newest"),
            models.Index(fields=["organisation_id", "agent", "-started_at"], name="run_by_agent"),
            models.Index(fields=["organisation_id", "workspace", "state", "-started_at"], name="run_by_state"),
            models.Index(
                fields=["organisation_id", "started_by", "-started_at"], name="run_of_person", condition=models.Q(started_by_kind="person")
            ),
            models.Index(
                fields=["organisation_id", "workspace", "-finished_at"], name="run_handed_off", condition=models.Q(state="HANDED_OFF")
            ),
        ]


class Call(tenancy.Tenant):
    """One proposal of an agent and everything that was decided about it. (run, key) is unique: a repeat is answered from here."""

    class Kind(models.TextChoices):
        TOOL = "TOOL"
        MODEL = "MODEL"

    class State(models.TextChoices):
        ADMITTED = "ADMITTED"
        REFUSED = "REFUSED"
        HELD = "HELD"
        DRAFTED = "DRAFTED"
        APPROVED = "APPROVED"
        SENDING = "SENDING"
        APPLIED = "APPLIED"
        FAILED = "FAILED"
        IN_DOUBT = "IN_DOUBT"
        DENIED = "DENIED"
        EXPIRED = "EXPIRED"
        VOID = "VOID"

    OVER = ("REFUSED", "APPLIED", "FAILED", "DENIED", "EXPIRED", "VOID")

    run = models.ForeignKey(Run, on_delete=models.PROTECT, db_constraint=False, related_name="calls")
    key = models.TextField()
    by_key = models.TextField(default="", db_default="")  # the id of the key that proposed it; Remit itself needs none
    kind = models.TextField(choices=Kind.choices, default=Kind.TOOL)
    name = models.TextField()
    tool_version = models.ForeignKey(ToolVersion, on_delete=models.PROTECT, db_constraint=False, null=True)
    is_write = models.BooleanField(default=False)
    state = models.TextField(choices=State.choices)
    tier = models.TextField(default="")
    number = models.PositiveIntegerField(default=0)
    progress = models.PositiveIntegerField(default=0)  # the run's progress when this was admitted
    body_digest = models.TextField()  # of the request as it came: another body under the same key is a conflict
    fingerprint = models.TextField()  # of the tool and its canonical arguments
    arguments = models.TextField()  # canonical JSON, redacted
    sealed_arguments = models.BinaryField(null=True)  # exact bytes, sealed, only while they may still be sent
    decision = models.TextField(default="{}")  # the full decision input and answer, redacted, canonical JSON
    refusal = models.TextField(default="")  # canonical JSON of the refusal the agent received
    result = models.TextField(default="")  # canonical JSON, redacted
    sealed_result = models.BinaryField(null=True)  # exact bytes, sealed: a repeat receives the same answer
    result_digest = models.TextField(default="")
    reserved_micros = models.BigIntegerField(default=0)
    settled_micros = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Moment())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation_id", "run", "key"], name="call_key")]
        indexes = [
            models.Index(fields=["organisation_id", "run", "number"], name="call_in_run"),
            # a waiting call keeps its sealed arguments; an index on `state` would be rewritten by every change of it
            models.Index(
                fields=["organisation_id", "run", "fingerprint"], name="call_waiting", condition=models.Q(sealed_arguments__isnull=False)
            ),
            models.Index(fields=["organisation_id", "run"], name="call_refused", condition=~models.Q(refusal="")),
        ]


class Repeat(tenancy.Tenant):
    """How often a run made the same call and got the same answer with nothing changed in between. `id` is run/fingerprint."""

    progress = models.PositiveIntegerField()
    result_digest = models.TextField()
    is_error = models.BooleanField(default=False)
    calls = models.PositiveIntegerField(default=1)
    fruitless = models.PositiveIntegerField(default=0)

    class Meta:
        db_table = "agents_repeat"


class Effect(tenancy.Tenant):
    """One attempted change outside our database. Only `gate_intend()` makes one, and it commits before anything is sent (I-11)."""

    class State(models.TextChoices):
        INTENT = "INTENT"
        APPLIED = "APPLIED"
        FAILED = "FAILED"
        IN_DOUBT = "IN_DOUBT"

    call = models.ForeignKey(Call, on_delete=models.PROTECT, db_constraint=False, related_name="effects")
    key = models.TextField()  # the idempotency key the connector sees
    connector_class = models.TextField()
    state = models.TextField(choices=State.choices)
    plan_digest = models.TextField()
    outbound_digest = models.TextField()  # of exactly what is sent
    required = models.PositiveSmallIntegerField()  # humans that had to agree
    lease_until = models.DateTimeField()
    fence = models.PositiveIntegerField(default=1)
    intended_at = models.DateTimeField(db_default=Moment())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "call"], name="one_effect_per_call"),
            models.UniqueConstraint(fields=["organisation_id", "key"], name="effect_key"),
        ]
        indexes = [
            models.Index(
                fields=["organisation_id", "lease_until"], name="effect_open", condition=models.Q(state__in=["INTENT", "IN_DOUBT"])
            )
        ]


class Step(models.Model):
    """One entry of a hosted run's record: a prompt, a model's answer, a tool's result. Redacted; partitioned by month on `at`."""

    class Kind(models.TextChoices):
        PROMPT = "PROMPT"
        MODEL = "MODEL"
        TOOL = "TOOL"
        HANDOFF = "HANDOFF"

    organisation_id = models.TextField(db_default=tenancy.current_organisation(), editable=False)
    id = models.TextField(primary_key=True)
    at = models.DateTimeField(db_default=Moment())
    run_id = models.TextField()
    number = models.PositiveIntegerField()
    kind = models.TextField(choices=Kind.choices)
    call_id = models.TextField(default="")
    content = models.TextField()  # canonical JSON
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)

    class Meta:
        managed = False
        db_table = "agents_step"
        ordering = ("number",)

    def __str__(self) -> str:
        return f"{self.run_id} {self.number} {self.kind}"


class Work(tenancy.Tenant):
    """Something a worker must do, written in the transaction that made it necessary. Messages only ring the bell; this is the authority."""

    class Kind(models.TextChoices):
        ADVANCE = "run.advance"
        RESUME = "call.resume"
        RECONCILE = "effect.reconcile"  # an intent whose lease ran out
        RECOVER = "call.recover"  # admitted, then left behind
        EXPIRE = "request.expire"
        WAKE = "request.wake"  # a snooze whose time is over
        UNSTOP = "stop.end"  # a stop that was engaged until a time
        UNSEAT = "seat.end"  # a role that was given until a time
        SUMS = "sums.make"  # sums of spending after a change of zone

    kind = models.TextField(choices=Kind.choices)
    subject = models.TextField()
    due_at = models.DateTimeField(db_default=models.functions.Now())
    lease_until = models.DateTimeField(null=True)
    fence = models.PositiveIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    rings = models.PositiveIntegerField(default=1)  # grows when asked again while somebody works on it

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation_id", "kind", "subject"], name="work_once")]
        indexes = [models.Index(fields=["due_at"], name="work_due")]
