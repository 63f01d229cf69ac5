"""What waits for a person: the demo always begins with one refund that somebody has to decide."""

from dataclasses import dataclass

from approvals import requests
from approvals.models import Request
from audit import tenancy
from controlplane import worker
from controlplane.demo import playing, stories
from controlplane.demo.scene import Scene

REFUND = "billing_issue_refund"
ENOUGH_S = 300  # with less time left than this, the next visitor gets a fresh one


@dataclass(frozen=True, slots=True)
class Waiting:
    """An open request, and how long people have for it."""

    id: str
    title: str
    expires_in_s: int
    tool: str


def listed(made: Scene) -> list[Waiting]:
    """Open requests that are not over in fact, the newest first."""
    with tenancy.within(made.organisation, read_only=True):
        now = requests.database_now()
        found = Request.objects.filter(state=Request.State.OPEN, expires_at__gt=now).select_related("call").order_by("-opened_at", "id")
        return [Waiting(each.id, each.title, int((each.expires_at - now).total_seconds()), each.call.name) for each in found]


def keep_one(made: Scene, dsn: str) -> list[playing.Standing]:
    """One refund that waits, with time left to decide it. Says how the run stands that had to be started for it, if any."""
    if any(each.tool == REFUND and each.expires_in_s > ENOUGH_S for each in listed(made)):
        return []
    worker.drain()  # what expired meanwhile lets go of its ticket
    return playing.carry_on(made, [stories.start(made, stories.BY_NAME["refund"](made, dsn)).id])
