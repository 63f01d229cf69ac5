"""Requests to people, for those who have the shell but not the console. It acts as a member: the same rules, the same entries."""

import json
from typing import Any

from django.core.management.base import CommandParser

from agents import organisations
from agents.organisations import Principal
from approvals import deadlines, denials, ends, requests, votes
from approvals.models import Request
from audit import tenancy
from controlplane import deciding
from controlplane.management import plain


class Command(plain.Plain):
    help = "List and show requests; approve, deny, send back or extend one."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        listing = verbs.add_parser("list", help="the requests of a workspace in a state")
        listing.add_argument("--workspace", default="", metavar="SLUG")
        listing.add_argument("--state", default=str(Request.State.OPEN), choices=Request.State.values)
        plain.add_person(listing)
        for verb in ("show", "approve", "deny", "send-back", "extend"):
            one = verbs.add_parser(verb, help=f"{verb.replace('-', ' ')} a request")
            one.add_argument("request", metavar="APR-...")
            plain.add_person(one)
            if verb in {"approve", "deny", "send-back"}:
                one.add_argument("--plan", default="", help="the digest you read; without it, the plan that is shown now")
            if verb in {"approve", "deny"}:
                one.add_argument("--reason", default="", help="a denial needs one; the agent receives it")
            if verb == "deny":
                one.add_argument(
                    "--scope", default="call", choices=[name.lower() for name in denials.SCOPES], help="what else it answers for"
                )
                one.add_argument("--end-run", action="store_true", help="the run ends with it")
            if verb == "send-back":
                one.add_argument("--field", default="", help="what is wrong, as /amount")
                one.add_argument("--expected", required=True, help="what you expect there; the agent receives it")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        by = plain.person(options)
        if options["verb"] == "list":
            return self._list(by, options["workspace"], options["state"])
        request = self._show(by, options["request"])
        if options["verb"] != "show":
            decided = self._answer(by, request, options)
            self.say(
                f"{by.name}: {options['verb']}. {decided.id} is now {decided.state}, until {decided.expires_at:%Y-%m-%d %H:%M:%S} UTC."
            )
        return None

    def _answer(self, by: Principal, request: Request, options: dict[str, Any]) -> Request:
        if options["verb"] == "extend":
            return deadlines.extend(by=by, request_id=request.id)
        plan = options["plan"] or request.plan.digest
        if options["verb"] == "send-back":
            hint = ends.Hint(options["field"], options["expected"])
            return ends.send_back(by=by, request_id=request.id, plan_digest=plan, hint=hint)
        denial = denials.scope_of(options.get("scope", "call").upper(), ends_run=options.get("end_run", False))
        verdict, reason = options["verb"].upper(), options["reason"]
        return deciding.vote(by=by, request_id=request.id, verdict=verdict, plan_digest=plan, reason=reason, denial=denial)

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
            cast = [f"  {vote.member.name}: {vote.verdict} {plainly(vote.reason)}".rstrip() for vote in votes.of(request)]
        self.say(f"{request.id} {request.state}: {plainly(request.title)}")
        self.say(f"agent {request.run.agent.slug}, run {request.run_id}, tool {request.call.name}, {request.required} to sign")
        self.say(f"until {request.expires_at:%Y-%m-%d %H:%M:%S} UTC", f"plan {request.plan.digest}")
        self.say(*(f"why: {plainly(reason)}" for reason in request.reasons), "changes:")
        self.say(*(readable(change) for change in json.loads(request.plan.changes)))
        self.say("votes:" if cast else "no votes", *cast)
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
