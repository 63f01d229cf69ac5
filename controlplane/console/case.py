"""One request as a person must see it before they say yes or no, and as the record they find afterwards. Plain values for the template."""

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agents import conditions, organisations, runs, sight, stops, tools
from agents.models import Call, Run, Stop
from approvals import bounds, brakes, deadlines, denials, ends, likeness, remarks, requests, rules, stances, tiers, votes
from approvals.models import Remark, Request, Stance, Vote
from audit import log
from budgets import reservations
from controlplane.console import changes, checks, lists
from controlplane.console.frame import Place

CHIPS = ("Wrong amount", "Wrong customer or record", "Against our rules", "Duplicate", "Not enough evidence")
WORDS = ("reason", "why", "note", "comment", "summary")
READS, STEPS, EXCERPT, MOST_HANDS = 5, 20, 600, 50
CLASSES = {
    "E1": "honours our key: sent again after a crash, it happens once",
    "E2": "sent only if the record is still the one that was read",
    "E3": "can be asked afterwards whether it happened",
    "E4": "promises nothing: it is sent once and never again",
}
_PAST = {Vote.Verdict.APPROVE: ("check", "approved"), Vote.Verdict.DENY: ("cross", "denied")}
_HANDS = {
    "request.claimed": "took it in hand",
    "request.handed_over": "handed it over to {name}",
    "request.unclaimed": "left it to the others",
}
_REMARKS = {Remark.Kind.COMMENT: "person", Remark.Kind.EXTENSION: "clock", Remark.Kind.HINT: "loop"}


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened to a request, and the words a person added."""

    at: datetime.datetime
    icon: str
    who: str
    what: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Read:
    """What the agent read before it asked: the call, and how its answer begins. From outside, and not checked."""

    call: Call
    about: str
    source: str
    text: str


def facts(place: Place, opened: Request, *, view: str = "", seen: str = "", fresh: bool = True) -> dict[str, Any]:
    """Everything the page says about a request. Call inside `tenancy.within`."""
    tool = tools.version(opened.organisation_id, opened.tool_version_id)
    cast = list(votes.of(opened))
    effect = runs.effects(opened.run).filter(call=opened.call).first()
    like = likeness.of(opened, tool, by=place.principal)
    claim = stances.claims([opened]).get(opened.id)
    return {
        "opened": opened,
        "plan": opened.plan,
        "call": opened.call,
        "tool": tool,
        "is_open": opened.state == Request.State.OPEN,
        "held": held([opened], place).get(opened.id),
        "claim": claim,
        "snooze": stances.set_aside(place.principal).get(opened.id),
        "lengths": stances.LENGTHS if opened.expires_at - stances.BEFORE > requests.database_now() else (),
        "reach": _facts(opened).get("reach") or {},
        "undo": _facts(opened).get("undo"),
        "reads": _reads(opened),
        "said": said(opened.call),
        "touched": _touched(place, opened, tool),
        "checks": checks.of(place, [opened])[opened.id],
        "like": like,
        "votes": cast,
        "effect": effect,
        "changes_head": _head(opened, effect),
        "moments": _moments(opened, cast, effect),
        "bounds": [_bound(bound, like) for bound in bounds.of(opened, tool)] if opened.state == Request.State.OPEN else [],
        **_payload(opened, tool, view, seen),
        **_people(place, opened, tool, cast, claim, fresh=fresh),
        **_after(place, opened, effect),
    }


@dataclass(frozen=True, slots=True)
class Held:
    """The stop that is on over a request, in words: what was stopped, by whom, and who may let it go on."""

    stop: Stop
    label: str
    by: str
    releasers: Sequence[str]


def held(requests_: Sequence[Request], place: Place) -> dict[str, Held]:
    """What holds these open requests, by their ids: the same few statements for any number, none while nothing is stopped."""
    over = brakes.over(row for row in requests_ if row.state == Request.State.OPEN)
    found = {stop.id: stop for stop in over.values()}
    labels = stops.labels(found.values()) if found else {}
    names = organisations.names({stop.engaged_by for stop in found.values()}) if found else {}
    said = {
        key: Held(stop, labels[key], names.get(stop.engaged_by, stop.engaged_by), brakes.releasers(stop, place.workspace.id))
        for key, stop in found.items()
    }
    return {key: said[stop.id] for key, stop in over.items()}


def _facts(opened: Request) -> dict[str, Any]:
    found = json.loads(opened.plan.facts)
    return found if isinstance(found, dict) else {}


def _bound(bound: bounds.Bound, like: likeness.Likeness) -> str:
    """`Would have been automatic at $50.00 or less.`"""
    known = like.amount
    most = (
        str(likeness.Amount(bound.most, known.currency, known.per_unit))
        if known is not None
        else changes.said(bound.most, f"/{bound.argument}")
    )
    who = "been automatic" if bound.tier == tiers.AUTO else "needed one human"
    return f"Would have {who} at {conditions.called(bound.argument).replace('_', ' ')} {most} or less, all else equal."


# What will change -------------------------------------------


# What the changes of a plan are called, by what became of them; before anything did, they will be.
_HEADS = {
    "APPLIED": "What changed",
    "IN_DOUBT": "What may have changed",
    "INTENT": "What is being changed",
    "FAILED": "What would have changed",
}


def _head(opened: Request, effect: Any) -> str:
    if effect is not None:
        return _HEADS.get(effect.state, "What will change")
    return "What will change" if opened.state in {Request.State.OPEN, Request.State.APPROVED} else "What would have changed"


def _payload(opened: Request, tool: tools.Facts, view: str, seen: str) -> dict[str, Any]:
    stored = json.loads(opened.plan.changes)
    before = requests.plan_seen(opened, seen) if seen and seen != opened.plan.digest else None
    rows = changes.rows(stored, json.loads(before.changes) if before else None)
    unchanged = changes.rows(json.loads(opened.plan.unchanged))
    view = view if view in changes.VIEWS else "patch" if opened.plan.viewer == "json_patch" else "fields"
    return {
        "view": view,
        "views": changes.VIEWS,
        "changed": rows,
        "tree": changes.tree(rows) if view == "patch" else [],
        "patch": changes.patch(stored) if view == "raw" else [],
        "arguments": runs.kept(opened.call.arguments),
        "unchanged": unchanged,
        "counted": changes.reach(stored, tool.connector_slug),
        "is_new": before is not None,
        "facts": {name: value for name, value in _facts(opened).items() if name not in {"title", "reach", "undo", "version"}},
    }


# Why, and where -------------------------------------------


def said(call: Call) -> str:
    """What the agent wrote as its reason, if its tool takes one. It is shown as the agent's words and nothing more."""
    arguments = runs.kept(call.arguments)
    return next((str(arguments[name]) for name in WORDS if isinstance(arguments, dict) and arguments.get(name)), "")


def _reads(opened: Request) -> list[Read]:
    found = runs.calls(opened.run).filter(kind=Call.Kind.TOOL, is_write=False, state=Call.State.APPLIED, number__lt=opened.call.number)
    return [_read(opened.organisation_id, call) for call in reversed(list(found.order_by("-number")[:READS]))]


def _read(organisation: str, call: Call) -> Read:
    arguments, result = runs.kept(call.arguments), runs.kept(call.result)
    blocks = result.get("content", []) if isinstance(result, dict) else []
    words = "\n".join(str(block.get("text", "")) for block in blocks if isinstance(block, dict))
    text = words if isinstance(result, dict) else str(result or "")
    about = next((str(value) for value in arguments.values() if isinstance(value, str | int)), "") if isinstance(arguments, dict) else ""
    source = tools.version(organisation, str(call.tool_version_id)).connector_slug if call.tool_version_id else "a tool"
    return Read(call, about[:60], source, text[:EXCERPT])


def _touched(place: Place, opened: Request, tool: tools.Facts) -> list[tuple[str, str, datetime.datetime | None]]:
    """(what, in words, and when where that matters)."""
    connector = opened.tool_version.tool.connector
    last = likeness.newest_end(opened, tool)
    found = [
        ("System", " · ".join(dict.fromkeys(part for part in (tool.connector_slug, tool.data_domain) if part))),
        ("Target", opened.plan.entity),
    ]
    if connector is not None:
        headers = ", ".join(sorted(connector.headers)) if connector.headers else ""
        held = "its own sealed secret" if connector.sealed_secrets is not None else "no secret of its own"
        found += [("Credential", f"connector {connector.slug}, {held}{f', headers {headers}' if headers else ''}")]
    found += [("Access", "write"), ("If a process dies", CLASSES.get(tool.connector_class, tool.connector_class))]
    if last is not None and last.decided_at is not None:
        done = "took effect" if last.state == Request.State.APPLIED else "failed"
        which = f" ({last.id})" if checks.seen(place, [last]) else ""
        return [*_plainly(found), ("Last time", f"{done}{which}", last.decided_at)]
    return _plainly(found)


def _plainly(found: Sequence[tuple[str, str]]) -> list[tuple[str, str, datetime.datetime | None]]:
    return [(name, value, None) for name, value in found if value]


# Who -------------------------------------------


def _people(place: Place, opened: Request, tool: tools.Facts, cast: Sequence[Vote], claim: Stance | None, *, fresh: bool) -> dict[str, Any]:
    by, agent = place.principal, opened.run.agent
    valid = [vote for vote in cast if vote.plan_digest == opened.plan.digest]
    voted = {vote.member.name for vote in valid}
    is_open = opened.state == Request.State.OPEN and opened.expires_at > requests.database_now()
    why_not = tiers.why_not(by, required=opened.required, requesters=votes.barred(opened), workspace=opened.workspace_id) if is_open else ""
    if is_open and any(vote.member_id == by.id for vote in valid):
        why_not = "You have voted."
    eligible = votes.eligible(opened)
    done, most = ends.rounds(opened), deadlines.terms(opened.workspace_id).rounds
    return {
        "eligible": [(member.name, member.name in voted) for member in eligible],
        "hand_to": votes.others(opened, eligible, cast, by=by),
        "may_hand": is_open and (not why_not or (claim is not None and claim.member_id == by.id)),
        "barred": tiers.barred(
            required=opened.required,
            requesters=votes.barred(opened),
            workspace=opened.workspace_id,
            owner=agent.owner_id,
            starter_person=opened.run.starter_person,
        ),
        "approvals": sum(vote.verdict == Vote.Verdict.APPROVE for vote in valid),
        "why_not": why_not,
        "may_decide": is_open and not why_not,
        "is_overdue": opened.state == Request.State.OPEN and not is_open,
        "needs_password": is_open and not why_not and opened.required >= 2 and not fresh,
        "denial_reasons": CHIPS,
        "scopes": denials.SCOPES,
        "rounds": (done, most),
        "no_time": deadlines.why_not(opened, by=by) if is_open else "",
        "rule_allowed": is_open and not why_not and place.may("policies_propose") and not rules.why_not(opened, tool),
        "may_withdraw": is_open and ends.behind(opened, by),
        "standing": [denial for denial in denials.standing(workspace=opened.workspace_id) if denial.request_id == opened.id],
    }


# Afterwards -------------------------------------------


def _moments(opened: Request, cast: Sequence[Vote], effect: Any) -> list[Moment]:
    found = [Moment(opened.opened_at, "inbox", opened.run.agent.slug, "asked")]
    found += [Moment(vote.at, *_PAST[Vote.Verdict(vote.verdict)][:1], vote.member.name, _voted(opened, vote), vote.reason) for vote in cast]
    for remark in remarks.of(opened):
        what = {"COMMENT": "said", "EXTENSION": remark.text, "HINT": "sent it back"}[remark.kind]
        found.append(
            Moment(
                remark.at, _REMARKS[Remark.Kind(remark.kind)], remark.member.name, what, "" if remark.kind == "EXTENSION" else remark.text
            )
        )
    found += _hands(opened)
    if opened.checked_at is not None:
        found.append(Moment(opened.checked_at, "check", "Remit", "read the target again: as planned"))
    if effect is not None:
        found.append(Moment(effect.intended_at, "arrow", "Remit", f"sent it under key {effect.key}"))
        if effect.finished_at is not None:
            found.append(
                Moment(effect.finished_at, "check" if effect.state == "APPLIED" else "cross", "Remit", f"heard: {effect.state.lower()}")
            )
    if opened.decided_at is not None and not cast and effect is None:
        found.append(Moment(opened.decided_at, "clock", "", opened.get_state_display().lower(), opened.note))
    return sorted(found, key=lambda moment: moment.at)


def _hands(opened: Request) -> list[Moment]:
    """Through whose hands it went, as the log tells it."""
    told = list(log.entries(subject=opened.id, since=opened.opened_at).filter(event__in=_HANDS)[:MOST_HANDS])
    names = organisations.names({entry.actor_id for entry in told}) if told else {}
    return [
        Moment(entry.at, "person", names.get(entry.actor_id, entry.actor_id), _HANDS[entry.event].format_map(entry.told["detail"]))
        for entry in told
    ]


def _voted(opened: Request, vote: Vote) -> str:
    return _PAST[Vote.Verdict(vote.verdict)][1] + (
        "" if vote.plan_digest == opened.plan.digest else " an earlier plan, so it counts no more"
    )


def _after(place: Place, opened: Request, effect: Any) -> dict[str, Any]:
    """What came of it, and how the run goes on."""
    run = opened.run
    following = list(runs.calls(run).filter(number__gte=opened.call.number)[:STEPS])
    answer = runs.kept(opened.call.result)
    result = answer if isinstance(answer, dict) else {}
    entry = None
    if effect is not None:
        mine = sight.entries(place.principal, place.workspace.id)
        entry = log.entries(subject=opened.call_id, event="effect.*").filter(mine).first()
    refusal = json.loads(opened.call.refusal) if opened.call.refusal else {}
    outcome, undo_until = _outcome(result, opened)
    return {
        "run": run,
        "following": following,
        "spent": reservations.of_runs([run.id]).get(run.id, 0),
        "entry": entry,
        "outcome": outcome,
        "undo_until": undo_until,
        "answered": "\n".join(str(block.get("text", "")) for block in result.get("content", []))[:EXCERPT] if result.get("isError") else "",
        "told": refusal,
        "ended": run.state in Run.OVER,
        "stop_id": str(refusal.get("rule", "")).removeprefix("stop ") if refusal.get("code") == "stopped" else "",
        "successor": likeness.successor(opened) if opened.state in {"VOID", "SENT_BACK", "EXPIRED"} else None,
    }


def _outcome(result: dict[str, Any], opened: Request) -> tuple[list[tuple[str, str]], datetime.datetime | None]:
    """(what the system called the thing it made, until when it can be taken back)."""
    made, asked = result.get("structuredContent"), runs.kept(opened.call.arguments)
    if not isinstance(made, dict):
        return [], None
    known = set(map(str, asked.values())) if isinstance(asked, dict) else set()
    found = [(name.replace("_", " "), str(value)[:80]) for name, value in made.items() if name.endswith("_id") and str(value) not in known]
    until = made.get("undo_until")
    return found[:2], lists.moment(until[:40]) if isinstance(until, str) else None
