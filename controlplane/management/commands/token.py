"""A personal token for somebody who has the shell but not the console."""

import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from agents import identity, organisations
from audit import tenancy
from controlplane.management import plain


class Command(plain.Plain):
    help = "Issue a personal token to a member and print it once."

    def add_arguments(self, parser: CommandParser) -> None:
        plain.add_person(parser)
        parser.add_argument("--label", default="command line")
        parser.add_argument("--days", type=int, default=30, help="how long it holds; 30 by default")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        by = plain.person(options)
        if not 1 <= options["days"] <= 366:
            raise CommandError("--days is from 1 to 366.")
        with tenancy.within(by.organisation):
            member = organisations.member(by.id)
            issued = identity.issue(by=by, member=member, label=options["label"][:80], expires_in=datetime.timedelta(days=options["days"]))
        self.say(issued.token)
