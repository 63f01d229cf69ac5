"""One cell of the access matrix: its outcome and condition, what made it, how it was used, and a call rehearsed through the examination."""

import json
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from agents import contracts, organisations, tools, usage
from agents.models import Agent
from approvals import plans
from audit import log
from controlplane import examination, rehearsal
from controlplane.console import agents, asked, cells, frame, permissions, render, typed
from controlplane.console.frame import Place


@require_safe
@frame.page("access_view", at="permissions")
def cell(request: HttpRequest, place: Place, slug: str, name: str) -> HttpResponse:
    """Why this agent may or may not call this tool; with arguments in the address, what the gate would say of that call."""
    agent, tool = agents.get(place, slug), _tool(place, name)
    found = cells.field(place, [agent], [tool])
    one = found.cells[0]
    fields, _ = typed.read(tools.schema(tool.input_schema), request.GET.dict())
    context: dict[str, Any] = {
        "cell": one,
        "agent": agent,
        "tool": tool,
        "found": found,
        "active": found.stage.active,
        "now": timezone.now(),
        "stage_means": agents.STAGES.get(agent.stage, ""),
        "barred": found.stage.bar(agent, tool) if one.access.word != "NOT_PINNED" else None,
        "people": permissions.humans(place, agent),
        "month": usage.of_tools(
            place.organisation.id, place.workspace.id, since=timezone.now() - cells.MONTH, name=tool.name, agent=agent.id
        ).get(tool.name),
        "pinned": _pinned(place, agent, tool.name),
        "fields": fields,
        "rehearsed": rehearsed(request, agent, tool, found.stage),
    }
    return render.page(request, "permissions/cell.html", context)


def rehearsed(request: HttpRequest, agent: Agent, tool: tools.Facts, stage: rehearsal.Rehearsal) -> dict[str, Any] | None:
    """What the gate would say of the call in the address; None when there is none. Nothing is sent, held or written down."""
    if "simulate" not in request.GET:
        return None
    fields, arguments = typed.read(tools.schema(tool.input_schema), request.GET.dict())
    faults = [field for field in fields if field.fault]
    subject = asked.text(request, "subject")
    about = circumstances(request)
    said = {"arguments": json.dumps(arguments, indent=2, ensure_ascii=False), "faults": faults, "subject": subject, "about": about}
    if faults:
        return said
    examined = stage.examine(agent, tool.name, arguments, about)
    return said | _verdict(examined, tool, arguments)


def circumstances(request: HttpRequest) -> rehearsal.Circumstances:
    """What the run would be about, from the address; otherwise a run just begun."""
    now = rehearsal.now()
    subject = tuple(part for part in asked.text(request, "subject").replace(",", " ").split()[:20])
    hour = asked.text(request, "hour")
    return rehearsal.Circumstances(
        hour=int(hour) if hour.isascii() and hour.isdigit() and int(hour) < 24 else now.hour,
        weekday=now.weekday,
        day=now.day,
        subject=subject,
    )


def _verdict(examined: examination.Examined, tool: tools.Facts, arguments: dict[str, Any]) -> dict[str, Any]:
    refusal, decision = examined.refusal, examined.decision
    told = refusal.as_dict() if refusal else None
    words = "REFUSED" if refusal else examined.tier
    return {
        "tier": words,
        "refusal": told,
        "refusal_text": json.dumps(told, indent=2, ensure_ascii=False) if told else "",
        "draft": examined.draft,
        "policies": decision.policies if decision else (),
        "reasons": decision.reasons if decision else (),
        "sentence": plans.sentence(tool=tool, arguments=arguments, target=plans.Target()) if tool.is_write and not refusal else "",
    }


def _tool(place: Place, name: str) -> tools.Facts:
    """The active version of a tool of this workspace. Raises Http404."""
    row = tools.active(place.workspace.id).filter(tool__name=asked.identifier(name)).values_list("id", flat=True).first()
    if row is None:
        raise Http404
    return tools.version(place.organisation.id, row)


def _pinned(place: Place, agent: Agent, name: str) -> dict[str, Any] | None:
    """The version that first named the tool, when, and who published it."""
    version = contracts.first_naming(agent, name)
    if version is None:
        return None
    entries = log.entries(event="agent.version_published", subject=agent.id, since=version.created_at)[:200]
    entry = next((each for each in entries if json.loads(each.body).get("detail", {}).get("version") == version.id), None)
    names = organisations.names([entry.actor_id]) if entry else {}
    return {"version": version, "entry": entry, "by": names.get(entry.actor_id, entry.actor_id) if entry else ""}
