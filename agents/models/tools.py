"""Connectors, tools and their immutable versions, and the directory of who owns which object."""

from django.db import models

from agents.models.organisations import Workspace
from audit import tenancy
from audit.moments import Moment


class Connector(tenancy.Tenant):
    """A way to a system: `builtin` (the demo's), `mcp` (streamable HTTP) or `http` (OpenAPI)."""

    class Kind(models.TextChoices):
        BUILTIN = "builtin"
        MCP = "mcp"
        HTTP = "http"

    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, db_constraint=False)
    slug = models.SlugField(max_length=63)
    kind = models.TextField(choices=Kind.choices)
    url = models.TextField()
    headers = models.JSONField(default=dict)  # name -> template: {run.reference}, {run.id}, {call.id}, {agent.slug}
    sealed_secrets = models.BinaryField(null=True)  # name -> value, sealed; used in header templates as {secret.name}
    document = models.TextField(default="")  # an OpenAPI document, where the upstream serves none
    timeout_ms = models.PositiveIntegerField(default=15_000)
    allow_private = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Moment())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "workspace", "slug"], name="connector_slug"),
            models.CheckConstraint(condition=models.Q(timeout_ms__gte=100, timeout_ms__lte=120_000), name="connector_timeout"),
        ]


class Tool(tenancy.Tenant):
    """A name that agents may call in a workspace. Discovered tools are off until a person confirms them."""

    class State(models.TextChoices):
        DRAFT = "DRAFT"
        ACTIVE = "ACTIVE"
        RETIRED = "RETIRED"

    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, db_constraint=False)
    connector = models.ForeignKey(Connector, on_delete=models.PROTECT, db_constraint=False)
    name = models.TextField()
    state = models.TextField(choices=State.choices, default=State.DRAFT)
    created_at = models.DateTimeField(db_default=Moment())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "workspace", "name"], name="tool_name"),
            models.CheckConstraint(condition=models.Q(name__regex=r"^[A-Za-z0-9_-]{1,64}$"), name="tool_name_is_plain"),
        ]


class ToolVersion(tenancy.Tenant):
    """What a tool is, frozen: any change of words, schema, risk or connector is a new version that agents must be pinned to anew."""

    class State(models.TextChoices):
        DRAFT = "DRAFT"
        ACTIVE = "ACTIVE"
        RETIRED = "RETIRED"

    class Risk(models.TextChoices):
        LOW = "low"
        MEDIUM = "medium"
        HIGH = "high"
        CRITICAL = "critical"

    class Class(models.TextChoices):
        READ = "E0", "E0 read"
        KEYED = "E1", "E1 honours our idempotency key"
        CONDITIONAL = "E2", "E2 conditional on a version"
        READ_BACK = "E3", "E3 can be looked up by our reference"
        OPAQUE = "E4", "E4 promises nothing: one attempt"

    tool = models.ForeignKey(Tool, on_delete=models.PROTECT, db_constraint=False, related_name="versions")
    number = models.PositiveIntegerField()
    state = models.TextField(choices=State.choices, default=State.DRAFT)
    title = models.TextField(default="")
    description = models.TextField(default="")
    operation = models.TextField()  # the name upstream
    detail = models.JSONField(default=dict)  # what the connector needs: method, path, read-back
    input_schema = models.TextField()  # canonical JSON, closed: no unnamed argument
    output_schema = models.TextField(default="")
    is_write = models.BooleanField(default=True)
    risk = models.TextField(choices=Risk.choices, default=Risk.HIGH)
    is_reversible = models.BooleanField(default=False)
    data_domain = models.TextField(default="")
    connector_class = models.TextField(choices=Class.choices, default=Class.OPAQUE)
    preview = models.JSONField(null=True)  # how the target's state is read before a write
    subjects = models.JSONField(default=dict)  # argument name -> kind of object, for the directory
    redact = models.JSONField(default=list)  # field names whose values are never stored in clear
    price_micros = models.BigIntegerField(null=True)  # null: unpriced, so refused
    digest = models.TextField()
    created_at = models.DateTimeField(db_default=Moment())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "tool", "number"], name="tool_version_number"),
            models.CheckConstraint(condition=models.Q(price_micros__gte=0) | models.Q(price_micros=None), name="tool_price_not_negative"),
            models.CheckConstraint(condition=~models.Q(is_write=True, connector_class="E0"), name="a_write_is_no_e0"),
        ]


class Owned(tenancy.Tenant):
    """The directory: which customer an object belongs to, as the system of record said. `id` is kind/object."""

    kind = models.TextField()
    owner = models.TextField()

    class Meta:
        db_table = "agents_owned"
