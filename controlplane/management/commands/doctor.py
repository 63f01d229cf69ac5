"""`manage.py doctor`: every check with what was found or what is wrong, and the command that helps. Exit 1 when Remit cannot work so."""

import json
import sys
from typing import Any

from django.core import checks
from django.core.management.base import BaseCommand, CommandParser

from controlplane import probes


class Command(BaseCommand):
    help = "Looks at the installation from where it runs: settings, database, isolation, Redis, workers, disk."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
        parser.add_argument("--deploy", action="store_true", help="ask for what customers need as well, as `check --deploy` does")

    def handle(self, *_args: Any, **options: Any) -> None:
        found = [_settings(is_deployed=options["deploy"])]
        found += [probes.asked(name, probe) for name, probe in probes.OF_THE_DATABASE.items()]
        found += [probe() for probe in probes.OF_THE_REST.values()]
        if options["json"]:
            shown = [
                {"name": one.name, "ok": one.is_ok, "fatal": not one.is_ok and one.is_fatal, "found": one.says, "fix": one.fix}
                for one in found
            ]
            self.stdout.write(json.dumps({"ok": not any(one["fatal"] for one in shown), "checks": shown}))
        else:
            self._tell(found)
        if any(not one.is_ok and one.is_fatal for one in found):
            sys.exit(1)

    def _tell(self, found: list[probes.Finding]) -> None:
        for one in found:
            word = self.style.SUCCESS("ok  ") if one.is_ok else self.style.ERROR("BAD ") if one.is_fatal else self.style.WARNING("so-so")
            self.stdout.write(f"{word:<6}{one.name:<15}{one.says}")
            if not one.is_ok and one.fix:
                self.stdout.write(f"{'':<21}{one.fix}")


def _settings(*, is_deployed: bool) -> probes.Finding:
    """Django's system checks and our own, as one line."""
    try:
        said = [one for one in checks.run_checks(include_deployment_checks=is_deployed) if one.level >= checks.ERROR]
    except Exception as error:  # a check loads what it looks at, and that may be what is broken
        return probes.ill("settings", f"the system checks broke: {type(error).__name__}: {error}", "python manage.py check")
    if said:
        return probes.ill("settings", " ".join(str(one.msg) for one in said), str(said[0].hint or "python manage.py check --deploy"))
    return probes.well("settings", "the system checks found nothing wrong")
