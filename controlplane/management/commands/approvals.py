"""Requests to people, for those who have the shell but not the console. It acts as a member: the same rules, the same entries."""

import json
from typing import Any

from django.core.management.base import CommandParser

from agents import organisations
from agents.organisations import Principal
from approvals import requests
from approvals.models import Request
from audit import tenancy
from controlplane.management import plain


class Command(plain.Plain):
    help = "List and show requests, approve or deny one."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        listing = verbs.add_parser("list", help="the requests of a workspace in a state")
        listing.add_argument("--workspace", default="", metavar="SLUG")
        listing.add_argument("--state", default=str(Request.State.OPEN), choices=Request.State.values)
        plain.add_person(listing)
        for verb in ("show", "approve", "deny"):
            one = verbs.add_parser(verb, help=f"{verb} a request")
            one.add_argument("request", metavar="APR-...")
            plain.add_person(one)
            if verb != "show":
                one.add_argument("--reason", default="", help="a denial needs one; the agent receives it")
                one.add_argument("--plan", default="", help="the digest you read; without it, the plan that is shown now")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        by = plain.person(options)
        if options["verb"] == "list":
            return self._list(by, options["workspace"], options["state"])
        request = self._show(by, options["request"])
        if options["verb"] != "show":
            verdict, plan = options["verb"].upper(), options["plan"] or request.plan.digest
            decided = requests.vote(by=by, request_id=request.id, verdict=verdict, plan_digest=plan, reason=options["reason"])
            self.say(f"{by.name}: {options['verb']}. {decided.id} is now {decided.state}.")
        return None

    def _list(self, by: Principal, workspace: str, state: str) -> None:
        with tenancy.within(by.organisation):
            found = requests.waiting_for(by=by, workspace=organisations.workspace_of(by, workspace).id, state=state)
            for request in found[:200]:
                due = f"{request.expires_at:%Y-%m-%d %H:%M} UTC"
                self.say(f"{request.id}  {request.required} to sign  until {due}  {request.run.agent.slug}  {plainly(request.title)}")
            if not found:
                self.say(f"No requests are {state}.")

    def _show(self, by: Principal, identifier: str) -> Request:
        with tenancy.within(by.organisation):
            request = requests.get(identifier, by=by)
            votes = [f"  {vote.member.name}: {vote.verdict} {plainly(vote.reason)}".rstrip() for vote in requests.votes(request)]
        self.say(f"{request.id} {request.state}: {plainly(request.title)}")
        self.say(f"agent {request.run.agent.slug}, run {request.run_id}, tool {request.call.name}, {request.required} to sign")
        self.say(f"until {request.expires_at:%Y-%m-%d %H:%M:%S} UTC", f"plan {request.plan.digest}")
        self.say(*(f"why: {plainly(reason)}" for reason in request.reasons), "changes:")
        self.say(*(readable(change) for change in json.loads(request.plan.changes)))
        self.say("votes:" if votes else "no votes", *votes)
        return request


def readable(change: dict[str, Any]) -> str:
    """One change as one line."""
    name = change.get("label") or change.get("pointer") or change.get("entity") or ""
    before, after = (plainly(change.get(side)) for side in ("before", "after"))
    return f"  {plainly(name)}: {after}" if change.get("op") in {"argument", "add"} else f"  {plainly(name)}: {before} -> {after}"


def plainly(value: Any) -> str:
    """The value on one line, with nothing in it that a terminal would obey."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(character if character.isprintable() else " " for character in text)[:400]
