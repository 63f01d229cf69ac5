"""The tables that code can say itself: they are made from it when a page is shown, so they cannot fall behind."""

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from drf_spectacular.generators import SchemaGenerator

from agents import roles
from agents.models import Workspace
from audit import events
from controlplane.console import run_query

_PLACE = re.compile(r"^\{\{ (\w+) \}\}$", re.MULTILINE)
_TARGET = re.compile(r"^([a-z-]+):.*?## (.+)$", re.MULTILINE)
APP = "controlplane"


def fill(markdown: str) -> str:
    """The text with every line such as {{ events }} replaced by that table."""
    return _PLACE.sub(lambda found: TABLES[found[1]](), markdown)


def of_events() -> str:
    """The closed catalogue of what the log may say."""
    return _table(("Event", "What it says"), ((_code(name), sentence) for name, sentence in events.CATALOGUE.items()))


def of_roles() -> str:
    """Who may do what, as it is granted."""
    rows = (
        [_code(name), str(label), ", ".join(role for role, held in roles.ROLES.items() if name in held)]
        for name, label in Workspace._meta.permissions
    )
    return _table(("Permission", "What it allows", "Roles that have it"), rows)


def of_make() -> str:
    """What can be made in a checkout. An image has no Makefile, and nothing to make."""
    makefile = Path(settings.BASE_DIR) / "Makefile"
    found = _TARGET.findall(makefile.read_text(encoding="utf-8")) if makefile.exists() else []
    return (
        _table(("Target", "What it does"), ((_code(name), what) for name, what in found)) if found else "This installation has no Makefile."
    )


def of_commands() -> str:
    """Our own management commands with their options."""
    names = sorted(name for name, app in get_commands().items() if app == APP)
    return "\n\n".join(_command(name, load_command_class(APP, name)) for name in names)


def _command(name: str, command: BaseCommand) -> str:
    parser = command.create_parser("manage.py", name)
    usual = {action.dest for action in BaseCommand().create_parser("manage.py", "")._actions}
    own = [action for action in parser._actions if action.dest not in usual]
    verbs = [action for action in own if isinstance(action, argparse._SubParsersAction)]
    if not verbs:
        return f"### {name}\n\n{command.help}\n\n{_options([(name, own)])}"
    lines, told = [], verbs[0]
    helps = {choice.dest: choice.help or "" for choice in told._choices_actions}
    for verb, sub in told.choices.items():
        lines.append((f"{name} {verb}", [action for action in sub._actions if action.dest != "help"]))
    says = "\n".join(f"- `{name} {verb}`: {helps[verb]}" for verb in told.choices if helps.get(verb))
    return f"### {name}\n\n{command.help}\n\n{says}\n\n{_options(lines)}"


def _options(lines: Sequence[tuple[str, Sequence[argparse.Action]]]) -> str:
    rows = ((_code(name), " ".join(_option(action) for action in actions) or "none") for name, actions in lines)
    return _table(("Command", "Options"), rows)


def _option(action: argparse.Action) -> str:
    shown = action.option_strings[0] if action.option_strings else str(action.metavar or action.dest)
    if action.option_strings and action.nargs != 0:
        wanted = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
        shown = f"{shown} {wanted}"
    elif action.choices and not action.option_strings:
        shown = "|".join(map(str, action.choices))
    is_needed = action.required or not action.option_strings
    return _code(shown if is_needed else f"[{shown}]")


def of_api() -> str:
    """Every address of the REST API, from the same document that /api/v1/schema serves."""
    document: Mapping[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    bodies = document["components"]["schemas"]
    by_noun: dict[str, list[Sequence[str]]] = {}
    for path, methods in document["paths"].items():
        for method, door in methods.items():
            says = " ".join(door["description"].split("\n\n")[0].split())
            row = (_code(f"{method.upper()} {path}"), says, _body(door, bodies))
            by_noun.setdefault(door["tags"][0], []).append(row)
    headings = ("Address", "What it does", "Body")
    return "\n\n".join(f"### {noun.capitalize()}\n\n{_table(headings, rows)}" for noun, rows in sorted(by_noun.items()))


def _body(door: Mapping[str, Any], bodies: Mapping[str, Any]) -> str:
    schema = door.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    schema = bodies.get(str(schema.get("$ref", "")).rpartition("/")[2], schema)
    needed = set(schema.get("required", ()))
    names = sorted(schema.get("properties", ()), key=lambda name: (name not in needed, name))
    return " ".join(_code(name if name in needed else f"[{name}]") for name in names) or "-"


def of_run_search() -> str:
    """The words that the box above the runs understands."""
    rows = ((_code(f"{name}:"), _code(example), says) for name, (_, example, says) in run_query.QUALIFIERS.items())
    return _table(("Word", "For example", "What it finds"), rows)


def _code(text: str) -> str:
    return f"`{text}`"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines)


TABLES: Mapping[str, Callable[[], str]] = {
    "events": of_events,
    "roles": of_roles,
    "commands": of_commands,
    "make": of_make,
    "api": of_api,
    "run_search": of_run_search,
}
