"""The one way to write down that something happened, and the ways to read it back. Knows nobody: an actor is a kind and an id."""

import datetime
from collections.abc import Mapping
from typing import Any, Protocol

from django.db import connection
from django.db.models import QuerySet

from audit import canonical, events, functions, models, redaction


class Actor(Protocol):
    """Whoever did it."""

    @property
    def kind(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def organisation(self) -> str: ...


class UnknownEvent(ValueError):
    """The event is not in the catalogue."""


def append(event: str, *, by: Actor, subject: str = "", workspace: str = "", run: str = "", detail: Mapping[str, Any] | None = None) -> str:
    """Append one entry to the transaction under way and return its id. The detail is redacted first.

    Raises UnknownEvent; TypeError when the detail holds a float; RuntimeError outside a transaction: nothing would be bound together.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("An audit entry is part of the transaction it describes.")
    text = detail_text(detail or {})
    asked = (by.organisation, workspace, known(event), by.kind, by.id, subject, run, text)
    return str(functions.ask("select audit_append(%s, %s, %s, %s, %s, %s, %s, %s)", *asked))


def known(event: str) -> str:
    """The event's name, if the catalogue has it."""
    if event not in events.CATALOGUE:
        raise UnknownEvent(event)
    return event


def detail_text(detail: Mapping[str, Any]) -> str:
    """The redacted canonical text of an entry's detail. No floats: amounts are integers, other numbers text."""
    plain = dict(detail)
    if not canonical.agrees(plain) and canonical.has_floats(plain):
        raise TypeError("An audit entry holds no floats.")
    return canonical.text(redaction.redact(plain))


def entries(  # noqa: PLR0913 - every filter is optional
    *,
    event: str = "",
    subject: str = "",
    run: str = "",
    actor: str = "",
    workspace: str = "",
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
) -> QuerySet[models.Entry]:
    """Entries of the organisation in force, newest first. `event` may end in `.*`. Call inside `tenancy.within`."""
    found = models.Entry.objects.all()
    if event.endswith(".*"):
        found = found.filter(event__in=[name for name in events.CATALOGUE if name.startswith(event[:-1])])  # a pattern would use no index
    elif event:
        found = found.filter(event=event)
    exact = {"subject": subject, "run_id": run, "actor_id": actor, "workspace_id": workspace, "at__gte": since, "at__lt": until}
    return found.filter(**{name: value for name, value in exact.items() if value}).order_by("-at", "-id")


def get(identifier: str) -> models.Entry | None:
    """One entry of the organisation in force. Call inside `tenancy.within`."""
    return models.Entry.objects.filter(id=identifier).first()
