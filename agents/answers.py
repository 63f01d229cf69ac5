"""Idempotency keys of the doors that change something: a repeat gets the first answer and does nothing. Calls keep their own record.

The contract is that of the IETF draft `Idempotency-Key`: same key, same request, same answer.
"""

import datetime
import hashlib
from dataclasses import dataclass

from django.db.models.functions import Now

from agents.models import Answer
from agents.organisations import Principal
from audit import outcomes, tenancy, vault

KEPT = datetime.timedelta(days=7)  # longer than any request waits for its decision


class IdempotencyConflict(outcomes.Refused):
    code = "idempotency_conflict"


class InProgress(outcomes.Refused):
    code = "idempotency_in_progress"


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it was given."""

    status: int
    body: bytes


def claim(*, by: Principal, key: str, body_digest: str) -> Kept | None:
    """Take the key for this request: None means go ahead, and then `keep` or `release`. A kept answer is given instead of acting again.

    Raises IdempotencyConflict for another request under the key, InProgress while the first is under way, and for one that was cut off:
    nobody knows what became of it, so it is not done twice.
    """
    identifier, who = _id(by, key), _who(by)
    with tenancy.within(by.organisation):
        Answer.objects.filter(principal=who, at__lt=Now() - KEPT).delete()
        found, is_new = Answer.objects.get_or_create(id=identifier, defaults={"principal": who, "body_digest": body_digest})
    if is_new:
        return None
    if found.body_digest != body_digest:
        raise IdempotencyConflict(
            "This idempotency key was used for another request.",
            rule="idempotency key",
            current=key[:80],
            limit="one request per key",
            next_step="Use a new key for a new request.",
        )
    if found.status is None or found.sealed is None:
        raise InProgress(
            "The first request under this key is under way, or was cut off.",
            rule="idempotency key",
            current=f"asked at {found.at.isoformat()}",
            limit="answered",
            next_step="Ask again with the same key. If this stays, look at what exists, then use a new key.",
        )
    return Kept(found.status, vault.open_sealed(bytes(found.sealed), aad=_place(by, identifier)))


def keep(*, by: Principal, key: str, answer: Kept) -> None:
    """What was answered under a claimed key."""
    identifier = _id(by, key)
    sealed = vault.seal(answer.body, aad=_place(by, identifier))
    with tenancy.within(by.organisation):
        Answer.objects.filter(id=identifier, status=None).update(status=answer.status, sealed=sealed)


def release(*, by: Principal, key: str) -> None:
    """The claimed request was refused: nothing happened, so the key is free."""
    with tenancy.within(by.organisation):
        Answer.objects.filter(id=_id(by, key), status=None).delete()


def _who(by: Principal) -> str:
    return f"{by.kind}:{by.id}:{by.run}"


def _id(by: Principal, key: str) -> str:
    return "ANS-" + hashlib.sha256(f"{_who(by)}\0{key}".encode()).hexdigest()[:32]


def _place(by: Principal, identifier: str) -> str:
    return f"answer/{by.organisation}/{identifier}"
