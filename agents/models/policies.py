"""Policy sets: immutable versions of a workspace's Cedar text."""

from django.db import models

from agents.models.organisations import Workspace
from audit import tenancy
from audit.moments import Moment


class PolicySet(tenancy.Tenant):
    """One version of the rules of a workspace. At most one is active; decisions point at the version that made them."""

    class State(models.TextChoices):
        DRAFT = "DRAFT"
        ACTIVE = "ACTIVE"
        RETIRED = "RETIRED"

    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, db_constraint=False)
    number = models.PositiveIntegerField()
    state = models.TextField(choices=State.choices, default=State.DRAFT)
    cedar = models.TextField()
    vocabulary = models.TextField()  # the schema it was validated against, generated from the registry
    digest = models.TextField()
    proposed_by = models.TextField()
    activated_by = models.TextField(default="")
    activated_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Moment())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "workspace", "number"], name="policy_set_number"),
            models.UniqueConstraint(
                fields=["organisation_id", "workspace"], condition=models.Q(state="ACTIVE"), name="one_active_policy_set"
            ),
        ]
