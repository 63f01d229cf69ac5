"""What connectors offer becomes draft versions of tools, off until a person has confirmed them."""

from collections.abc import Iterable

from agents import organisations, schemas, tools, vocabulary
from agents.models import Connector, Tool, ToolVersion
from agents.offers import Offer
from agents.organisations import Principal
from audit import canonical, ids, log, outcomes, tenancy

OURS = frozenset({"approvals_wait"})  # a tool of ours at the MCP door


def record(*, by: Principal, connector: Connector, offers: Iterable[Offer]) -> list[ToolVersion]:
    """Store what a connector offers as draft versions, off until confirmed. A confirmed tool that changed is refused from now on (T46).

    An offer that cannot be taken over (its schema, its name) is left out alone; the entry says which and why.
    """
    drafts: list[ToolVersion] = []
    drifted: list[Tool] = []
    refused: dict[str, str] = {}
    with tenancy.within(by.organisation):
        organisations.require(by, "tools_manage", connector.workspace_id)
        for offer in offers:
            try:
                draft, has_drifted = _draft(connector, offer)
            except outcomes.Refused as no:
                refused[offer.name] = no.message
                continue
            drafts += [draft] if draft else []
            drifted += [draft.tool] if draft and has_drifted else []
        if drifted:
            tools.registry_changed(connector.workspace_id)
        for tool in drifted:
            log.append("tool.drifted", by=by, subject=tool.id, workspace=connector.workspace_id, detail={"name": tool.name})
        log.append(
            "connector.discovered",
            by=by,
            subject=connector.id,
            workspace=connector.workspace_id,
            detail={"new_versions": len(drafts), "drifted": len(drifted), "refused": refused},
        )
    return drafts


def _draft(connector: Connector, offer: Offer) -> tuple[ToolVersion | None, bool]:
    """(the new draft version, whether it replaces a confirmed one); no version when nothing changed."""
    schemas.lint(offer.input_schema)
    name = offer.name.replace(".", "_")
    if name in vocabulary.RESERVED | OURS:
        raise _taken(name, "Remit has that word already", "Have the upstream rename it.")
    definition = {
        "connector": connector.id,
        "operation": offer.name,
        "title": offer.title,
        "description": offer.description,
        "input": offer.input_schema,
        "output": offer.output_schema,
        "detail": offer.detail,
    }
    digest = canonical.digest(definition, domain="remit tool v1")
    tool, _ = Tool.objects.get_or_create(
        workspace_id=connector.workspace_id, name=name, defaults={"id": ids.new("T"), "connector": connector}
    )
    if tool.connector_id != connector.id:
        raise _taken(name, "another connector has it already", "Register this connector in a workspace of its own.")
    newest = tool.versions.order_by("-number").first()
    if newest and newest.digest == digest:
        return None, False
    replaced = tool.versions.filter(state=ToolVersion.State.ACTIVE).update(state=ToolVersion.State.RETIRED)
    draft = ToolVersion.objects.create(
        id=ids.new("TV"),
        tool=tool,
        number=(newest.number if newest else 0) + 1,
        title=offer.title,
        description=offer.description,
        operation=offer.name,
        detail=dict(offer.detail),
        input_schema=canonical.text(schemas.closed(dict(offer.input_schema))),
        output_schema=canonical.text(offer.output_schema) if offer.output_schema else "",
        digest=digest,
    )
    return draft, bool(replaced)


def _taken(name: str, why: str, next_step: str) -> organisations.Conflict:
    return organisations.Conflict(f"No tool can be called {name} here: {why}.", rule="tool_name", current=name, next_step=next_step)
