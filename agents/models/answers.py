"""What a door answered to a request under an idempotency key."""

from django.db import models

from audit import tenancy


class Answer(tenancy.Tenant):
    """One request under a key: claimed before it is served, answered afterwards. The id is made of who asked and the key."""

    principal = models.TextField()
    body_digest = models.TextField()  # of method, address and what was sent: anything else under the same key is a conflict
    status = models.PositiveSmallIntegerField(null=True)  # none yet: it is under way, or its process died
    sealed = models.BinaryField(null=True)  # the exact bytes: an answer may hold a token
    at = models.DateTimeField(db_default=models.functions.Now())

    class Meta:
        indexes = [models.Index(fields=["organisation_id", "principal", "at"], name="answer_by_principal")]
