"""Tools: what is registered, how a person classified it, how it is used, what the rules make of it; and confirming or retiring one."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agents import stops, tools, usage
from agents.models import Tool, ToolVersion
from audit import outcomes, tenancy
from budgets import money
from controlplane.console import asked, frame, lists, render, tool_tabs
from controlplane.console.frame import Place


def standing(row: ToolVersion) -> str:
    """The state of a tool by its newest version. DRIFTED: it was on, then its definition changed upstream, so it is refused."""
    if row.tool.state == "RETIRED":
        return "RETIRED"
    return "DRIFTED" if row.state == "DRAFT" and row.tool.state == "ACTIVE" else str(row.state)


@require_safe
@frame.page("tools_view", at="tools")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    """The newest version of every tool, with its use."""
    text, kind, risk, only = (asked.text(request, name) for name in ("q", "kind", "risk", "only"))
    everything, now = list(tools.all_versions(place.workspace.id)), timezone.now()
    agents = tools.pin_counts(place.workspace.id, by="tool")
    used = usage.of_tools(
        place.organisation.id, place.workspace.id, since=tool_tabs.since(now, tool_tabs.USUAL), last_since=now - usage.UNUSED
    )
    unused = {row.tool.name for row in everything if row.tool.name not in used and row.tool.created_at < now - usage.UNUSED}
    stopped = {(stop.scope, stop.target) for stop in stops.on()}
    found = [
        row
        for row in everything
        if text.lower() in f"{row.tool.name} {row.title} {row.tool.connector.slug}".lower()
        and (not kind or row.is_write == (kind == "write"))
        and (not risk or row.risk == risk)
        and (only != "unused" or row.tool.name in unused)
    ]
    after = lists.after_name(asked.text(request, "after", longest=400))
    found, further = lists.cut_by_name([row for row in found if row.tool.name > after], "tool.name")
    rows = [
        {
            "row": row,
            "standing": standing(row),
            "agents": agents.get(row.tool_id, 0),
            "used": used.get(row.tool.name),
            "unused": row.tool.name in unused,
            "stopped": bool({("tool", row.tool_id), ("connector", row.tool.connector_id)} & stopped),
        }
        for row in found
    ]
    context = {"rows": rows, "everything": len(everything), "q": text, "kind": kind, "risk": risk, "only": only}
    context["next"] = asked.address(request, after=further) if further else ""
    context["first"] = asked.address(request, after="") if after else ""
    context |= {
        "risks": ToolVersion.Risk.values,
        "unused": len(unused),
        "idle": usage.UNUSED.days,
        "period": tool_tabs.PERIODS[tool_tabs.USUAL],
    }
    return render.page(request, "tools/list.html", context)


@require_safe
@frame.page("tools_view", at="tools")
def detail(request: HttpRequest, place: Place, name: str) -> HttpResponse:
    """One tool: one of its tabs."""
    return _show(request, place, _get(place, name))


@require_POST
@frame.page("tools_manage", at="tools")
def confirm(request: HttpRequest, place: Place, name: str) -> HttpResponse:
    """Say what the newest version is, and turn it on. Saying it anew of one that is on writes a new version."""
    try:
        given = _classification(request)
        with tenancy.within(place.organisation.id, read_only=True):
            tool = _get(place, name)
        tools.confirm(by=place.principal, name=tool.name, workspace=place.workspace, classification=given)
    except outcomes.Refused as refused:
        with tenancy.within(place.organisation.id, read_only=True):
            return _show(request, place, _get(place, name), refused=refused)
    messages.success(request, f"{tool.name} is confirmed. Agents are pinned to it with their next version.")
    return redirect(f"{place.root}/tools/{tool.name}")


@require_POST
@frame.page("tools_manage", at="tools")
def retire(request: HttpRequest, place: Place, name: str) -> HttpResponse:
    """Take the tool away from every agent."""
    with tenancy.within(place.organisation.id, read_only=True):
        tool = _get(place, name)
    if tool.state != Tool.State.RETIRED:
        tools.retire(by=place.principal, name=tool.name, workspace=place.workspace)
    messages.success(request, f"{tool.name} is retired: every call of it is refused.")
    return redirect(f"{place.root}/tools/{tool.name}")


def _classification(request: HttpRequest) -> dict[str, Any]:
    """What a person says a tool is. `preview` and `subjects` are not part of the form and stay as they are. Raises NotMoney."""
    typed = {name: str(value).strip()[:200] for name, value in request.POST.items()}
    found: dict[str, Any] = {
        "is_write": typed.get("is_write") == "yes",
        "is_reversible": typed.get("is_reversible") == "yes",
        "data_domain": typed.get("data_domain", ""),
        "redact": typed.get("redact", "").replace(",", " ").split()[:50],
        "price_micros": money.parse(typed["price"]) if typed.get("price") else None,
    }
    if typed.get("risk") in ToolVersion.Risk.values:
        found["risk"] = typed["risk"]
    if typed.get("connector_class") in ToolVersion.Class.values:
        found["connector_class"] = typed["connector_class"]
    return found


def _get(place: Place, name: str) -> Tool:
    return frame.found(place, lambda name: tools.get(name, workspace=place.workspace), name)


def _show(request: HttpRequest, place: Place, tool: Tool, *, refused: outcomes.Refused | None = None) -> HttpResponse:
    tab = asked.text(request, "tab") if request.method == "GET" else ""
    tab = tab if tab in tool_tabs.TABS else "overview"
    versions, own = list(tools.versions(tool)[:50]), f"{place.root}/tools/{tool.name}"
    row = versions[0]
    held = {("tool", tool.id), ("connector", tool.connector_id)}
    context: dict[str, Any] = {
        "tool": tool,
        "row": row,
        "standing": standing(row),
        "versions": versions,
        "tab": tab,
        "tabs": [(name, word, f"{own}?tab={name}" if name != "overview" else own) for name, word in tool_tabs.TABS.items()],
        "stop": next((stop for stop in stops.on() if (stop.scope, stop.target) in held), None),
        "refused": refused.as_dict() if refused else None,
        "now": timezone.now(),
    }
    context |= tool_tabs.FILL[tab](request, place, context)
    return render.page(request, f"tools/{tab}.html", context, status=render.status_of(refused) if refused else 200)
