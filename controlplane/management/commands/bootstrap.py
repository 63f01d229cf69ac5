"""The first people of an organisation, and their tokens. Nobody can be invited before somebody is there."""

import datetime
import re
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser

from agents import identity, organisations, roles, seats
from audit import tenancy
from controlplane.management.plain import Plain

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,80}")


class Command(Plain):
    help = "Make an organisation with a workspace and members, and print a personal token for each."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organisation", required=True, metavar="SLUG")
        parser.add_argument("--workspace", required=True, metavar="SLUG")
        parser.add_argument("--member", action="append", required=True, metavar="NAME=ROLE", help="may be given several times")
        parser.add_argument(
            "--until", action="append", default=[], metavar="NAME=DAY", help="until when, as ada=2027-02-20; an auditor's ends"
        )
        parser.add_argument("--json", action="store_true")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        slug, members = options["organisation"], [self._member(text) for text in options["member"]]
        for text in (slug, options["workspace"]):
            if not _SLUG.fullmatch(text):
                raise CommandError(f"{text!r} is no slug: small letters, digits and dashes.")
        if len({name for name, _ in members}) != len(members):
            raise CommandError("A member is named twice.")
        made = self._make(slug, options["workspace"], members, self._ends(options["until"], {name for name, _ in members}))
        if options["json"]:
            return self.say_json(made)
        self.say(f"organisation {made['organisation']}", f"workspace {made['workspace']}")
        self.say(*(f"{name} {token}" for name, token in made["tokens"].items()))
        return None

    def _member(self, text: str) -> tuple[str, str]:
        name, _, role = text.partition("=")
        if not _NAME.fullmatch(name) or role not in roles.ROLES:
            raise CommandError(f"{text!r} is not NAME=ROLE. Roles: {', '.join(roles.ROLES)}.")
        return name, role

    def _ends(self, texts: list[str], names: set[str]) -> dict[str, datetime.datetime]:
        """The end of each of these days, UTC."""
        found = {}
        for name, _, text in (each.partition("=") for each in texts):
            try:
                day = datetime.date.fromisoformat(text)
            except ValueError:
                day = None
            if name not in names or day is None:
                raise CommandError(f"{name}={text} is not NAME=DAY of a --member, as ada=2027-02-20.")
            found[name] = datetime.datetime.combine(day, datetime.time(23, 59, 59), datetime.UTC)
        return found

    def _make(self, slug: str, workspace_slug: str, members: list[tuple[str, str]], ends: dict[str, datetime.datetime]) -> dict[str, Any]:
        """All of it or none of it. Who has no end comes first: an owner for a time needs another beside them."""
        by, tokens = organisations.system(organisations.id_of(slug), "bootstrap"), {}
        with tenancy.within(by.organisation):
            organisations.create(slug=slug, name=slug.capitalize())
            workspace = organisations.create_workspace(by=by, slug=workspace_slug, name=workspace_slug.capitalize())
            for name, role in sorted(members, key=lambda each: each[0] in ends):
                member = organisations.add_member(by=by, user=self._user(name, slug), name=name)
                seats.grant(by=by, member=member, workspace=workspace, role=role, until=ends.get(name))
                tokens[name] = identity.issue(by=by, member=member, label="bootstrap").token
        return {"organisation": by.organisation, "workspace": workspace.id, "tokens": tokens}

    def _user(self, name: str, slug: str) -> User:
        """User names are unique on the installation: a second `ann` signs in as `ann.shop`."""
        try:
            return organisations.new_user(username=name, password=settings.BOOTSTRAP_PASSWORD)
        except organisations.Conflict:
            return organisations.new_user(username=f"{name}.{slug}", password=settings.BOOTSTRAP_PASSWORD)
