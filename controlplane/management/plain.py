"""What Remit's own commands share: a refusal is one clear line on stderr and exit code 1, never a traceback."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents import organisations
from agents.organisations import Principal
from audit import outcomes


class Plain(BaseCommand):
    """A command that calls the domain's functions."""

    requires_system_checks: list[str] = []

    def execute(self, *arguments: Any, **options: Any) -> str | None:
        try:
            return super().execute(*arguments, **options)
        except outcomes.Refused as refused:
            raise CommandError(f"{refused.message} {refused.next_step}".strip()) from refused

    def say(self, *lines: str) -> None:
        for line in lines:
            self.stdout.write(line)

    def say_json(self, value: Any) -> None:
        self.stdout.write(json.dumps(value))


def add_person(parser: CommandParser) -> None:
    """`--as` and `--organisation`: whose permissions apply, and whose name the log will bear."""
    parser.add_argument("--as", dest="person", required=True, metavar="NAME", help="the member to act as")
    parser.add_argument("--organisation", default="", metavar="SLUG", help="needed where the name is in several organisations")


def person(options: dict[str, Any]) -> Principal:
    return organisations.person_named(options["person"], organisation=options["organisation"])
