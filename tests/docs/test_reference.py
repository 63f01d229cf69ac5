"""The reference says what the code does, in both directions: what is read, raised, written, commanded and measured is on its page."""

import ast
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from agents import vocabulary
from agents.models import Agent, Call, Effect, PolicySet, Run, ToolVersion
from approvals import batches, denials, tiers
from approvals.models import Request, Terms
from audit import events
from budgets.models import Limits
from controlplane import hop
from controlplane.api import calls, errors
from controlplane.docs import shelf
from controlplane.mcp import listing
from controlplane.templatetags import ui

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("audit", "agents", "budgets", "approvals", "controlplane")
Row = list[str]


def markdown(slug: str) -> str:
    return (ROOT / "docs" / f"{slug}.md").read_text()


def rows(text: str, first: str) -> list[Row]:
    """The rows of every table whose first column is called that."""
    found: list[Row] = []
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, _, *lines = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()]
        if head[0] == first:
            found += lines
    return found


def named(table: list[Row]) -> dict[str, Row]:
    found = {row[0].strip("`"): row[1:] for row in table}
    assert len(found) == len(table), "a name stands twice"
    return found


def part(slug: str, heading: str) -> str:
    """The text below one heading."""
    return re.split(r"^## ", markdown(slug).split(f"\n## {heading}\n")[1], flags=re.MULTILINE)[0]


# Settings ------------------------------------------------------------------------------------------------------------------------------


PLAINLY = {"False": "0", "True": "1", "": "empty", "str(BASE_DIR / '.data')": ".data"}


def read_settings() -> dict[str, tuple[str, str]]:
    """What the settings read: name, how, and the default."""
    found = {}
    for node in ast.walk(ast.parse((ROOT / "controlplane" / "settings.py").read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"env", "env_bool", "env_secret"}):
            continue
        if not (node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)):
            continue  # the helpers themselves
        given = node.args[1] if len(node.args) > 1 else next((word.value for word in node.keywords if word.arg == "default"), None)
        default = "required" if given is None else str(given.value) if isinstance(given, ast.Constant) else ast.unparse(given)
        found[node.args[0].value] = (
            node.func.id,
            PLAINLY.get(default, default),
        )
    return found


def test_settings_are_those_that_are_read_with_their_defaults() -> None:
    told = named(rows(markdown("reference/settings"), "Variable"))
    read = read_settings()
    assert len(read) > 12
    assert set(told) == set(read)
    for name, (how, default) in read.items():
        assert told[name][0].strip("`") == default, name
        assert told[name][2] == ("yes" if how == "env_secret" else "no"), name
        assert len(told[name][1]) > 20, name


# Refusals ------------------------------------------------------------------------------------------------------------------------------


def classes() -> Iterator[ast.ClassDef]:
    """Every class of the house, read and not imported: that would bring the model layer along."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef))


def code_of(kind: ast.ClassDef) -> str:
    for line in kind.body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "code" and isinstance(line.value, ast.Constant):
            return str(line.value.value)
    return ""


@functools.cache
def raised() -> frozenset[str]:
    """Every code that Python or the database can answer with at a door that speaks of problems."""
    codes = {code for kind in classes() if (code := code_of(kind))}
    assert len(codes) > 40
    for path in (ROOT / "controlplane" / "sql").glob("*.sql"):
        codes |= set(re.findall(r"(?:'code', |v_code text := |v_code := )'([a-z_]+)'", path.read_text()))
    # `rule` is a member that is copied, and a plan that was used already is answered with how its call stands.
    return frozenset((codes - {"rule", "already_consumed"}) | set(errors.STATUS))


def of_messages() -> set[str]:
    """The codes of MCP messages that are not acted upon, and of problems said without a refusal."""
    found = set()
    for path in [*(ROOT / "controlplane" / "mcp").glob("*.py"), ROOT / "controlplane" / "hop.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
            if name == "Rejected":
                found |= {str(word.value.value) for word in node.keywords if word.arg == "code" and isinstance(word.value, ast.Constant)}
            if name == "problem" and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                found.add(str(node.args[1].value))
    return found


def test_every_code_has_a_row_with_its_status_its_cause_who_and_what_next() -> None:
    told = named(rows(markdown("reference/problems"), "Code"))
    messages = of_messages()
    assert len(messages) > 10
    assert set(told) == raised() | messages
    for code, (status, *says) in told.items():
        if code in errors.STATUS:
            assert status == str(errors.STATUS[code]), code
        assert all(len(cell) > 2 for cell in says), code
        assert len(says) == 3, code


@pytest.mark.parametrize("door", [lambda code: errors.problem({"code": code, "message": "-"}), lambda code: hop.problem(400, code, "-")])
def test_the_type_of_every_problem_opens_a_page_with_that_code_on_it(door: object) -> None:
    text = Client().get("/docs/reference/problems").content.decode()
    for code in sorted(raised()):
        said = door(code)  # type: ignore[operator]
        body = said if isinstance(said, dict) else json.loads(said.body)
        address, _, anchor = body["type"].removeprefix("http://127.0.0.1:8000").partition("#")
        assert address == "/docs/reference/problems"
        assert f'id="{anchor}"' in text, code


# Events, commands, metrics ---------------------------------------------------------------------------------------------------------------


def test_the_events_page_is_the_closed_catalogue() -> None:
    shown = re.findall(r'<td data-l="Event"[^>]*><code>([^<]+)</code>', shelf.read("reference/events").html)
    assert shown == list(events.CATALOGUE)


def test_the_commands_page_is_what_manage_and_make_can_do() -> None:
    modules = {path.stem for path in (ROOT / "controlplane" / "management" / "commands").glob("[a-z]*.py")}
    page = shelf.read("reference/commands")
    assert {heading.anchor for heading in page.headings if heading.level == 3} == modules
    for line in ("demo trigger", "audit export", "approvals deny", "--as NAME", "[--months N]"):
        assert line in page.html, line
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r'<td data-l="Target"[^>]*><code>([^<]+)</code>', page.html)) == targets
    assert len(targets) > 15


def test_the_api_page_has_every_address_of_the_document() -> None:
    document = Client().get("/api/v1/schema", headers={"accept": "application/json"}).json()
    every = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    shown = set(re.findall(r'<td data-l="Address"[^>]*><code>([^<]+)</code>', shelf.read("reference/api").html))
    assert len(every) > 40
    assert shown == every


def test_the_metrics_page_is_what_is_measured() -> None:
    text = Client().get("/metrics", REMOTE_ADDR="127.0.0.1").content.decode()
    told = named(rows(markdown("reference/metrics"), "Metric"))
    measured = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith("remit_"):
            measured[family.name + ("_total" if family.type == "counter" else "")] = family.type
    assert {name: kind for name, (kind, _) in told.items()} == measured


# Policies, states, limits ----------------------------------------------------------------------------------------------------------------


def attributes(shape: dict[str, object]) -> dict[str, str]:
    def word(one: dict[str, object]) -> str:
        kind = str(one.get("name", one["type"])) if one["type"] in {"EntityOrCommon", "Extension"} else str(one["type"])
        kind = {"Boolean": "Bool"}.get(kind, kind)
        return f"Set of {word(one['element'])}" if kind == "Set" else kind  # type: ignore[arg-type]

    return {name: word(one) for name, one in shape["attributes"].items()}  # type: ignore[attr-defined]


def test_the_policy_page_is_the_vocabulary() -> None:
    schema = vocabulary.Vocabulary([]).schema[""]
    expected = {
        f"{entity}.{name}": kind for entity, one in schema["entityTypes"].items() for name, kind in attributes(one["shape"]).items()
    }
    context = schema["actions"]["model"]["appliesTo"]["context"]
    expected |= {f"context.{name}": kind for name, kind in attributes(context).items()}
    expected |= {f"context.args.{name}": kind for name, kind in attributes(context["attributes"]["args"]).items()}
    told = {name: kind for name, (kind, _) in named(rows(markdown("reference/policy-schema"), "Attribute")).items()}
    assert told == expected
    assert set(named(rows(markdown("reference/policy-schema"), "Action"))) == set(schema["actions"])
    words = " ".join(" ".join(row) for row in rows(markdown("reference/policy-schema"), "Attribute"))
    for word in vocabulary.CATEGORIES | vocabulary.RISKS:
        assert f"`{word}`" in words


@pytest.mark.parametrize(
    ("heading", "column", "states"),
    [
        ("Run", "State", Run.State),
        ("Call", "State", Call.State),
        ("Effect", "State", Effect.State),
        ("Request", "State", Request.State),
        ("Agent", "State", Agent.State),
        ("Agent", "Stage", Agent.Stage),
        ("Tool version", "State", ToolVersion.State),
        ("Tool version", "Class", ToolVersion.Class),
        ("Rules", "State", PolicySet.State),
    ],
)
def test_states_are_those_of_the_records_and_shown_as_badges_show_them(heading: str, column: str, states: type) -> None:
    told = named(rows(part("reference/states", heading), column))
    assert list(told) == states.values  # type: ignore[attr-defined]
    if column != "Class":
        for state, (shown, _) in told.items():
            assert shown == ui.STATES[state][0], state


def test_limits_are_the_defaults() -> None:
    told = named(rows(markdown("reference/limits"), "Limit"))
    row = Limits()
    assert {name: int(cells[0]) for name, cells in told.items()} == {name: getattr(row, name) for name in told}
    assert set(told) == {field.name for field in Limits._meta.get_fields()} - {"id", "organisation_id"}
    said = {row[0]: row[1] for row in rows(markdown("reference/limits"), "What")}
    assert said["A request that needs one human"] == f"{tiers.WAITS[tiers.ONE].seconds // 60} minutes"
    assert said["A request that needs two humans"] == f"{tiers.WAITS[tiers.TWO].seconds // 60} minutes"
    assert said["More time for a request, each time it is asked for"] == f"{Terms().extend_s // 60} minutes"
    assert said["More time for a request, in all"] == f"{Terms().extend_most_s // 3600} hours"
    assert said["A denial for all of its kind"] == f"{denials.KIND_LASTS.seconds // 3600} hour"
    assert said["A proposal of draft mode"] == f"{tiers.DRAFT_WAITS.days} days"
    assert said["The body of a call, REST or MCP"] == f"{hop.MAX_BODY >> 20} MiB"
    assert said["Any other body"] == f"{hop.MAX_LOAD >> 20} MiB"
    assert said["Waiting on one request: `GET /api/v1/calls/{id}?wait=`"] == f"{calls.LONGEST_WAIT_S} seconds"
    assert said["Waiting on one request: `approvals_wait`"] == f"{listing.WAIT_MOST_S} seconds"
    assert said["Requests that are decided together"] == str(batches.MOST)
