"""What people add to a request besides their votes: comments. Text is kept as it was written, without secrets, and decides nothing."""

from django.db.models import QuerySet

from agents import organisations
from agents.organisations import Principal
from approvals import requests
from approvals.models import Remark, Request
from audit import ids, redaction, tenancy

LONGEST = 2000
MOST = 200


def comment(*, by: Principal, request_id: str, text: str) -> Remark:
    """Say something about a request, decided or not. For whoever may see it. Raises NotFound, Forbidden, ReasonNeeded or Conflict."""
    if not text.strip():
        raise requests.ReasonNeeded(
            "A comment needs words.", rule="comment", current="empty", limit="a sentence", next_step="Write something."
        )
    with tenancy.within(by.organisation):
        request = requests.get(request_id, by=by)
        if by.kind != "person":
            raise organisations.Forbidden(
                "Only people comment.", rule="comment", current=by.kind, limit="person", next_step="Nothing to do."
            )
        if Remark.objects.filter(request_id=request_id).count() >= MOST:
            raise organisations.Conflict(
                f"This request has {MOST} remarks.", rule="remarks", current=MOST, limit=MOST, next_step="Go on somewhere else."
            )
        remark = add(request, by=by, kind=Remark.Kind.COMMENT, text=text)
        requests.record(request, by=by, event="request.commented", remark=remark.id, characters=len(remark.text))
    return remark


def add(request: Request, *, by: Principal, kind: str, text: str) -> Remark:
    """Write a remark down. Call inside the transaction that also writes the entry."""
    text = redaction.redact_text(text.replace("\0", ""))[:LONGEST]
    return Remark.objects.create(id=ids.new("RMK"), request=request, member_id=by.id, kind=kind, text=text)


def of(request: Request) -> QuerySet[Remark]:
    """The remarks on a request in order. Call inside `tenancy.within`."""
    return Remark.objects.filter(request=request).select_related("member").order_by("at", "id")
