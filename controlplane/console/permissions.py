"""Effective access: agents by tools, computed by the engine that decides at run time; as a matrix, as a list, by person, as CSV."""

import csv
from itertools import groupby
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from agents import contracts, seats, tools, usage
from agents.models import Agent
from controlplane.console import asked, cells, deciders, frame, render
from controlplane.console.cells import Cell
from controlplane.console.frame import Place
from controlplane.templatetags import reach

MOST_AGENTS, MOST_TOOLS, MOST_ROWS = 60, 50, 200
VIEWS = {"system": "By agent", "tool": "By tool", "domain": "By data domain", "person": "By person"}
IDLE = (7, 30, 60, 90)


@require_safe
@frame.page("access_view", at="permissions")
def matrix(request: HttpRequest, place: Place) -> HttpResponse:
    """The matrix, or with `?view=list` the same as a list, or with `?format=csv` as a file. `?only=` keeps what is marked."""
    by, only, idle = (asked.text(request, name) for name in ("by", "only", "idle"))
    by, days = by if by in VIEWS else "system", int(idle) if idle in map(str, IDLE) else usage.UNUSED.days
    is_list, is_file = asked.text(request, "view") == "list", asked.text(request, "format") == "csv"
    agents = list(contracts.in_use(place.workspace.id))
    columns = tools.facts_of_active(place.organisation.id, place.workspace.id)
    columns.sort(key=lambda tool: (tool.data_domain if by == "domain" else tool.connector_slug, tool.name))
    q, t = asked.text(request, "q").lower(), asked.text(request, "t").lower()
    some = [agent for agent in agents if q in f"{agent.slug} {agent.name}".lower()]
    few = [tool for tool in columns if t in f"{tool.name} {tool.title} {tool.connector_slug} {tool.data_domain} {tool.risk}".lower()]
    down, across = _page(request, "down", len(some), MOST_AGENTS), _page(request, "across", len(few), MOST_TOOLS)
    whole = is_list or is_file or by == "person"
    window = (some, few) if whole else (some[down : down + MOST_AGENTS], few[across : across + MOST_TOOLS])
    found = cells.field(place, *window, unused_days=days)
    if is_file:
        return _file(place, found)
    context: dict[str, Any] = {
        "found": found,
        "active": found.stage.active,
        "now": timezone.now(),
        "agents": len(agents),
        "tools": len(columns),
    }
    context |= {"by": by, "is_list": is_list, "q": q, "t": t, "idle": days, "idles": IDLE, "only": only}
    context |= _switches(request, only) | _marked(found)
    if is_list:
        rows = [cell for cell in found.cells if cell.access.word != "NOT_PINNED" and _kept(cell, only)]
        at = _page(request, "down", len(rows), MOST_ROWS)
        context |= {"rows": rows[at : at + MOST_ROWS]} | _pages(request, "down", at, len(rows), MOST_ROWS)
        return render.page(request, "permissions/list.html", context)
    if by == "person":
        return render.page(request, "permissions/people.html", context | {"people": deciders.table(place, found)})
    further = _pages(request, "across", across, len(few), MOST_TOOLS)
    context |= _grid(found, by, only) | _pages(request, "down", down, len(some), MOST_AGENTS)
    return render.page(request, "permissions/matrix.html", context | {f"across_{name}": value for name, value in further.items()})


def _switches(request: HttpRequest, only: str) -> dict[str, Any]:
    """The addresses of the other views of the same."""
    fresh = {"view": "", "down": "", "across": ""}
    return {
        "views": [(name, words, asked.address(request, **fresh, by=name if name != "system" else "")) for name, words in VIEWS.items()],
        "list_address": asked.address(request, **(fresh | {"view": "list", "by": ""})),
        "file_address": asked.address(request, **(fresh | {"format": "csv"})),
        "only_unused": asked.address(request, only="" if only == "unused" else "unused", down=""),
        "only_changed": asked.address(request, only="" if only == "changed" else "changed", down=""),
    }


def _marked(found: cells.Field) -> dict[str, int]:
    return {"unused": sum(cell.is_unused for cell in found.cells), "changed": sum(cell.is_changed for cell in found.cells)}


def _kept(cell: Cell, only: str) -> bool:
    return {"unused": cell.is_unused, "changed": cell.is_changed}.get(only, True)


def _grid(found: cells.Field, by: str, only: str) -> dict[str, Any]:
    """Heads, groups of heads and rows. With `only`, lines without a marked cell are left out."""
    rows = [(agent, row) for agent, row in found.rows if not only or any(_kept(cell, only) for cell in row)]
    kept = [at for at, _ in enumerate(found.columns) if not only or any(_kept(row[at], only) for _, row in rows)]
    columns = [found.columns[at] for at in kept]
    if by == "tool":
        heads = [(agent.slug, f"agents/{agent.slug}", agent.stage.replace("_", "-").lower()) for agent, _ in rows]
        turned = [(tool, [row[at] for _, row in rows]) for at, tool in zip(kept, columns, strict=True)]
        lines = [(tool.name, f"permissions/who?tool={tool.name}", _does(tool), line) for tool, line in turned]
        return {"groups": [], "heads": heads, "rows": lines}
    groups = [(name, len(list(members))) for name, members in groupby(columns, key=_domain if by == "domain" else _system)]
    heads = [(tool.name.removeprefix(f"{tool.connector_slug}_"), f"permissions/who?tool={tool.name}", _does(tool)) for tool in columns]
    return {
        "groups": groups,
        "heads": heads,
        "rows": [(agent.slug, f"agents/{agent.slug}", "", [row[at] for at in kept]) for agent, row in rows],
    }


def _system(tool: tools.Facts) -> str:
    return tool.connector_slug


def _domain(tool: tools.Facts) -> str:
    return tool.data_domain or "no data domain"


def _does(tool: tools.Facts) -> str:
    return f"{'write' if tool.is_write else 'read'}, {tool.risk}"


def _page(request: HttpRequest, name: str, total: int, most: int) -> int:
    """Where the window begins, by `?down=` or `?across=` in lines."""
    given = asked.text(request, name)
    at = int(given) if given.isascii() and given.isdigit() and len(given) < 8 else 0
    return min(at, max(0, total - 1)) // most * most


def _pages(request: HttpRequest, name: str, at: int, total: int, most: int) -> dict[str, Any]:
    return {
        "span": (at + 1 if total else 0, min(at + most, total), total),
        "earlier": asked.address(request, **{name: at - most or "0"}) if at else "",
        "later": asked.address(request, **{name: at + most}) if at + most < total else "",
    }


HEAD = ("agent", "tool", "system", "does", "risk", "data domain", "outcome", "in words", "rules", "limits", "pinned since", "last used")
HEAD_OF_USE = ("calls in 90 days", "refused", "unused days", "changed")


def _file(place: Place, found: cells.Field) -> HttpResponse:
    """Every grant as a line. A value that a spreadsheet would take for a formula is quoted."""
    active, now = found.stage.active, timezone.now()
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="access-{place.workspace.slug}-{now:%Y%m%d-%H%M}Z.csv"'
    out = csv.writer(response)
    rules = f"policy set {active.number}" if active else "no policy set"
    out.writerow(["# effective access", place.organisation.slug, place.workspace.slug, f"computed {now.isoformat()} (UTC)", rules])
    out.writerow([*HEAD, *HEAD_OF_USE])
    out.writerows(_line(cell) for cell in found.cells if cell.access.word != "NOT_PINNED")
    return response


def _line(cell: Cell) -> list[str]:
    one, tool, use = cell.access, cell.tool, cell.use
    about = [one.agent, one.tool, tool.connector_slug, "write" if tool.is_write else "read", tool.risk, tool.data_domain]
    said = [one.word, reach.condition(one), " ".join(rule.id for rule in one.rules), " ".join(rule.id for rule in one.limits)]
    times = [moment.isoformat() if moment else "" for moment in (cell.pinned_at, use.last if use else None)]
    used = [use.calls if use else 0, use.refused if use else 0, cell.idle if cell.is_unused else "", "yes" if cell.is_changed else ""]
    return [_inert(str(value)) for value in (*about, *said, *times, *used)]


def _inert(value: str) -> str:
    return f"'{value}" if value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value


def humans(place: Place, agent: Agent | None) -> dict[str, list[str]]:
    """Who may be one of the humans, by how many are needed: the owner of an agent never decides for it."""
    owner = agent.owner.person if agent else ""
    return {
        tier: [member.name for member in seats.holding(permission, place.workspace.id) if member.person != owner]
        for tier, permission in (("ONE", "approvals_decide"), ("TWO", "approvals_decide_two"))
    }
