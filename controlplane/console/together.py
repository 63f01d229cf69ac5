"""Identical requests side by side: what is the same in all of them once, what differs one by one; and what became of each afterwards."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents import tools
from approvals import batches, inbox, likeness, requests, stances
from approvals.models import Request, Stance, Vote
from audit import ids
from controlplane.console import case, changes, checks
from controlplane.console.frame import Place

ROWS, CHARACTERS = 12, 3000  # of one request; what is longer is read on its own page
_PAST = {Vote.Verdict.APPROVE: "approved", Vote.Verdict.DENY: "denied"}
_SEEN = 12  # characters of a digest that an address carries


@dataclass(frozen=True, slots=True)
class Member:
    """One of the requests: what is its own. It is chosen unless something about it wants a look, and `doubts` say what."""

    request: Request
    target: str
    rows: Sequence[changes.Row]
    amount: likeness.Amount | None
    said: str
    claim: Stance | None
    doubts: Sequence[str]
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one that a person chose. `request` is None for what they do not see."""

    request_id: str
    request: Request | None
    ok: bool
    words: str


def facts(place: Place, key: str, narrow: inbox.Narrow, *, chosen: Collection[str] | None = None) -> dict[str, Any]:
    """Everything the page says about a batch, in as many statements for many requests as for one. Call inside `tenancy.within`.

    `chosen` are those that the reader ticked when their answer was refused.
    """
    group = batches.members(key, by=place.principal, workspace=place.workspace.id)
    found = list(narrow.of(group)[: batches.MOST + 1]) if group is not None else []
    shown = found[: batches.MOST]
    if not shown:
        return {"members": []}
    made = checks.of(place, shown)
    common = [check for check in made[shown[0].id] if all(_has(made[each.id], check) for each in shown)]
    plans = {each.id: changes.rows(json.loads(each.plan.changes)) for each in shown}
    same = changes.shared(list(plans.values()))
    alike = {changes.plainly(row) for row in same}
    own = {key: [row for row in rows if changes.plainly(row) not in alike] for key, rows in plans.items()}
    amiss = {key: [check.text for check in each if check.ok is False and not _has(common, check)] for key, each in made.items()}
    members = _members(place, shown, own, amiss)
    broken = [check for check in common if check.ok is False]
    if chosen is not None or broken:
        members = [replace(each, is_chosen=each.request.id in (chosen or ())) for each in members]
    return {
        "members": members,
        "first": shown[0],
        "tool": tools.version(place.organisation.id, shown[0].tool_version_id),
        "same": same,
        "common": common,
        "amiss": broken,
        "soonest": min(each.expires_at for each in shown),
        "are_more": len(found) > len(shown),
        "most": batches.MOST,
        "denial_reasons": case.CHIPS,
    }


def _members(
    place: Place, shown: Sequence[Request], own: Mapping[str, Sequence[changes.Row]], amiss: Mapping[str, Sequence[str]]
) -> list[Member]:
    tool = tools.version(place.organisation.id, shown[0].tool_version_id)
    like, claims = likeness.of_batch(shown, tool, by=place.principal), stances.claims(shown)
    found, before = [], dict[str, str]()
    for each in shown:
        rows = changes.fitting(own[each.id], most=ROWS, characters=CHARACTERS)
        more = len(own[each.id]) - len(rows)
        doubts = [*amiss[each.id], *_doubts(each, like[each.id], more, before)]
        found.append(
            Member(
                request=each,
                target=each.plan.entity or each.title,
                rows=rows,
                amount=like[each.id].amount,
                said=case.said(each.call),
                claim=claims.get(each.id),
                doubts=doubts,
                is_chosen=not doubts,
            )
        )
    return found


def _has(found: Sequence[checks.Check], check: checks.Check) -> bool:
    return any((each.ok, each.text) == (check.ok, check.text) for each in found)


def _doubts(each: Request, like: likeness.Likeness, more: int, before: dict[str, str]) -> list[str]:
    """What about one among the others wants a look. `before` are the targets of those above it, and theirs is added."""
    found = [f"{like.factor} x the usual amount, which is {like.usual}"] if like.is_unusual else []
    if each.plan.entity:
        first = before.setdefault(each.plan.entity, each.id)
        found += [f"{first} above is about the same target"] if first != each.id else []
    return found + ([f"{more} of its changes {'is' if more == 1 else 'are'} too long for this page: read them on its own"] if more else [])


# Afterwards -------------------------------------------


def mark(request_id: str, plan_digest: str) -> str:
    """One that was chosen, as the address of the page that tells what became of it names it."""
    return f"{request_id}~{plan_digest[:_SEEN]}"


def results(place: Place, text: str) -> list[Result]:
    """What became of those that an address names, as it is now. A stranger's text names none. Call inside `tenancy.within`."""
    named = dict(each.partition("~")[::2] for each in text.split(".")[: batches.MOST])
    named = {identifier: seen for identifier, seen in named.items() if ids.prefix_of(identifier) == "APR"}
    if not named:
        return []
    rows = inbox.kept(list(named), by=place.principal, workspace=place.workspace.id)
    held = case.held(list(rows.values()), place)
    return [_result(place, identifier, rows.get(identifier), held.get(identifier), seen) for identifier, seen in named.items()]


def _result(place: Place, identifier: str, row: Request | None, held: case.Held | None, seen: str) -> Result:
    if row is None:
        return Result(identifier, None, ok=False, words="is not there.")
    cast = sorted(row.votes.all(), key=lambda vote: (vote.at, vote.id))
    mine = next((vote for vote in cast if vote.member_id == place.principal.id and vote.plan_digest == row.plan.digest), None)
    if mine is not None:
        return Result(identifier, row, ok=True, words=f"{_PAST[Vote.Verdict(mine.verdict)].capitalize()} by you.")
    return Result(identifier, row, ok=False, words=f"Not decided by you: {_why_not(row, cast, held, seen)}.")


def _why_not(row: Request, cast: Sequence[Vote], held: case.Held | None, seen: str) -> str:
    if row.state != Request.State.OPEN:
        last = cast[-1] if cast else None
        return f"{last.member.name} {_PAST[Vote.Verdict(last.verdict)]} it already" if last else f"it is {row.get_state_display().lower()}"
    if row.expires_at <= requests.database_now():
        return "its time was over"
    if held is not None:
        return f"{held.by} stopped the {held.label}"
    if not row.plan.digest.startswith(seen):
        return "its plan changed, read it again"
    return "it is no longer one of these, look at it by itself"
