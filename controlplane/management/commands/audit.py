"""The audit log on the command line: look at it, or take it away as a file. Both are entered in it."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from agents import organisations
from agents.organisations import Principal
from audit import exports, log, tenancy
from controlplane.management import plain

_FILTERS = ("event", "subject", "run", "actor")


class Command(plain.Plain):
    help = "List the newest entries, or export all of them as JSONL or CSV."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        for verb in ("list", "export"):
            one = verbs.add_parser(verb)
            one.add_argument("--organisation", required=True, metavar="SLUG")
            for name in _FILTERS:
                one.add_argument(f"--{name}", default="")
            if verb == "list":
                one.add_argument("--limit", type=int, default=50)
            else:
                one.add_argument("--format", choices=["jsonl", "csv"], default="jsonl")
                one.add_argument("--output", default="", metavar="FILE", help="standard output without it")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        by = organisations.system(organisations.id_of(options["organisation"]), "command line")
        with tenancy.within(by.organisation):
            if not organisations.workspaces().exists():
                raise CommandError(f"There is no organisation {options['organisation']}, or it has no workspace yet.")
        filters = {name: options[name] for name in _FILTERS if options[name]}
        if options["verb"] == "list":
            return self._list(by, filters, options["limit"])
        return self._export(by, filters, options["format"], options["output"])

    def _list(self, by: Principal, filters: dict[str, str], limit: int) -> None:
        with tenancy.within(by.organisation):
            found = list(log.entries(**filters)[: max(limit, 0)])  # type: ignore[arg-type]
            log.append("audit.read", by=by, detail={**filters, "entries": len(found)})
        for entry in found:
            self.say(f"{entry.at:%Y-%m-%d %H:%M:%S} {entry.id} {entry.event} {entry.actor_kind} {entry.actor_id} {entry.subject}")

    def _export(self, by: Principal, filters: dict[str, str], kind: str, output: str) -> None:
        with tenancy.within(by.organisation):
            newest = log.entries().values_list("at", flat=True).first()
            log.append("audit.exported", by=by, detail={**filters, "format": kind})
        entries = log.entries(**filters).filter(at__lte=newest)  # type: ignore[arg-type]
        if not output:
            for piece in exports.pieces(by.organisation, entries, kind=kind):
                sys.stdout.buffer.write(piece)
            return
        with Path(output).open("xb") as file:
            for piece in exports.pieces(by.organisation, entries, kind=kind):
                file.write(piece)
