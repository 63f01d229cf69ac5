"""`manage.py partitions`: make the logs' monthly partitions ahead of time. The sweep does so daily; this is for whoever wants it now."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from controlplane import sweeping


class Command(BaseCommand):
    help = "Makes the monthly partitions of the audit log and of the runs' steps."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        months = "how many months ahead, 1 to 24"
        parser.add_argument("--months", type=int, default=sweeping.MONTHS_AHEAD, choices=range(1, 25), metavar="N", help=months)

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            made = sweeping.make_months(options["months"])
        except DatabaseError as error:
            raise CommandError(f"The partitions could not be made: {str(error).strip().splitlines()[0]}") from error
        for table, count in made.items():
            self.stdout.write(f"{table}: {count} made" if count else f"{table}: all there")
