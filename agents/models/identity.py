"""Agents, what they are pinned to, the keys they knock with, the capabilities they carry, and the stop switches."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from agents.models.organisations import Member, Workspace
from agents.models.policies import PolicySet
from agents.models.tools import ToolVersion
from audit import tenancy
from audit.moments import Moment


class Agent(tenancy.Tenant):
    """A registered identity with an owner. It holds no permission of its own: its remit is version, grant, stage and policy together."""

    class Category(models.TextChoices):
        WORKFLOW = "workflow"
        BOUNDED = "bounded"
        OPEN = "open"

    class Stage(models.TextChoices):
        READ_ONLY = "READ_ONLY", "Read-only"
        DRAFT = "DRAFT", "Draft: writes become stored proposals"
        NARROW = "NARROW", "Narrow: every write needs at least one human"
        GATED = "GATED", "Gated: the policy decides"

    class State(models.TextChoices):
        ACTIVE = "ACTIVE"
        PAUSED = "PAUSED"
        RETIRED = "RETIRED"

    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, db_constraint=False)
    slug = models.SlugField(max_length=63)
    name = models.TextField()
    owner = models.ForeignKey(Member, on_delete=models.PROTECT, db_constraint=False)
    category = models.TextField(choices=Category.choices, default=Category.BOUNDED)
    stage = models.TextField(choices=Stage.choices, default=Stage.READ_ONLY)
    state = models.TextField(choices=State.choices, default=State.ACTIVE)
    draft_only = models.BooleanField(default=False)  # at a cap, writes become proposals instead of ending the run
    version = models.ForeignKey("AgentVersion", on_delete=models.PROTECT, db_constraint=False, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Moment())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation_id", "workspace", "slug"], name="agent_slug")]


class AgentVersion(tenancy.Tenant):
    """An agent's goal contract, prompt, models and policy set, frozen together; its tools are `Pin`s."""

    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, db_constraint=False, related_name="versions")
    number = models.PositiveIntegerField()
    purpose = models.TextField()
    never = ArrayField(models.TextField(), default=list)
    output = models.TextField(default="")
    prompt = models.TextField(default="")
    model_names = ArrayField(models.TextField(), default=list)  # "provider:model"; the first is used by hosted runs
    policy_set = models.ForeignKey(PolicySet, on_delete=models.PROTECT, db_constraint=False, null=True)
    digest = models.TextField()
    created_at = models.DateTimeField(db_default=Moment())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation_id", "agent", "number"], name="agent_version_number")]


class Pin(tenancy.Tenant):
    """This agent version may name this tool, and means exactly this version of it."""

    agent_version = models.ForeignKey(AgentVersion, on_delete=models.PROTECT, db_constraint=False, related_name="pins")
    tool_version = models.ForeignKey(ToolVersion, on_delete=models.PROTECT, db_constraint=False, related_name="pinned_by")
    name = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation_id", "agent_version", "name"], name="pin_name")]


class Key(tenancy.Tenant):
    """A hashed, prefixed, revocable secret. The clear text is shown once and never stored."""

    class Kind(models.TextChoices):
        AGENT = "agent"
        RUN = "run"
        PERSON = "person"

    kind = models.TextField(choices=Kind.choices)
    digest = models.TextField()
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, db_constraint=False, null=True)
    member = models.ForeignKey(Member, on_delete=models.PROTECT, db_constraint=False, null=True)
    run_id = models.TextField(default="")
    label = models.TextField(default="")
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)  # to within some minutes: knocking does not write each time
    created_at = models.DateTimeField(db_default=Moment())

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind="person", member__isnull=False, agent=None)
                | models.Q(kind__in=["agent", "run"], agent__isnull=False, member=None),
                name="key_has_one_holder",
            )
        ]


class Capability(tenancy.Tenant):
    """What one run may touch: the customers it is about, the tools, the arguments, until when. It only ever narrows."""

    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, db_constraint=False)
    subject = ArrayField(models.TextField(), default=list)
    tools = ArrayField(models.TextField(), null=True)  # null: every pinned tool
    bindings = models.JSONField(default=dict)  # argument name -> allowed values
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    issued_by = models.TextField()
    created_at = models.DateTimeField(db_default=Moment())


class Stop(tenancy.Tenant):
    """A stop switch that is on until released: no call under its scope is admitted, and none that waits is sent (I-30)."""

    class Scope(models.TextChoices):
        ORGANISATION = "organisation"
        WORKSPACE = "workspace"
        AGENT = "agent"
        TOOL = "tool"
        CONNECTOR = "connector"
        KEY = "key"
        RUN = "run"

    scope = models.TextField(choices=Scope.choices)
    target = models.TextField()
    reason = models.TextField()
    engaged_by = models.TextField()
    engaged_at = models.DateTimeField(db_default=Moment())
    ends_at = models.DateTimeField(null=True)  # set when it was engaged: a worker releases it then
    released_by = models.TextField(default="")
    released_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organisation_id", "scope", "target"], condition=models.Q(released_at=None), name="one_stop_per_target"
            )
        ]
