"""The audit log's table. Rows are only ever added, by `audit_append()`; the application may not change or remove one."""

import functools
import json
from typing import Any

from django.db import models

from audit.origin import DOORS


class Entry(models.Model):
    """One thing that happened. `body` holds the exact canonical bytes (RFC 8785) that `leaf` is the hash of.

    Partitioned by month on `at`; the database's key is (organisation_id, at, id).
    """

    organisation_id = models.TextField()
    id = models.TextField(primary_key=True)
    at = models.DateTimeField()
    event = models.TextField()
    workspace_id = models.TextField(default="")
    actor_kind = models.TextField()
    actor_id = models.TextField()
    subject = models.TextField(default="")
    run_id = models.TextField(default="")
    body = models.TextField()
    leaf = models.BinaryField()

    class Meta:
        managed = False
        db_table = "audit_entry"
        ordering = ("-at", "-id")

    def __str__(self) -> str:
        return f"{self.id} {self.event}"

    @functools.cached_property
    def told(self) -> dict[str, Any]:
        """What the body says."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def origin(self) -> dict[str, str]:
        """How it came in, as the entry tells it: its door, and its address and request where they are known."""
        found = self.told.get("origin")
        return found if isinstance(found, dict) else {}

    @property
    def via(self) -> str:
        """The door in words, with the address where it is known: "Console, 10.0.0.7"."""
        told = self.origin
        door = DOORS.get(told.get("door", ""), told.get("door", ""))
        return ", ".join(part for part in (door, told.get("address", "")) if part)
