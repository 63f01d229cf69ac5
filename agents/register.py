"""The register of agents as a file: who each is, whose, what for, what never, with which tools and how far it may go."""

from collections.abc import Iterator

from agents import contracts, organisations, tools
from agents.models import Agent, Workspace
from agents.organisations import Principal
from audit import exports, log, tenancy

COLUMNS = ("agent", "name", "id", "owner", "owner is a member", "category", "stage", "state", "registered")
OF_VERSION = ("version", "published", "purpose", "never", "hands over", "models", "tools", "digest")
_PIECE = 200


def export(*, by: Principal, workspace: Workspace) -> Iterator[bytes]:
    """Every agent as a line of CSV, in pieces; that the register was taken is entered first."""
    with tenancy.within(by.organisation):
        organisations.require(by, "agents_view", workspace.id)
        log.append("agents.exported", by=by, subject=workspace.id, workspace=workspace.id, detail={})
    return _pieces(by.organisation, workspace)


def _pieces(organisation: str, workspace: Workspace) -> Iterator[bytes]:
    yield exports.head("Agents", {"workspace": workspace.name})
    yield exports.row([*COLUMNS, *OF_VERSION])
    last = ""
    while True:
        with tenancy.within(organisation, read_only=True):
            agents = list(contracts.in_workspace(workspace.id).filter(slug__gt=last)[:_PIECE])
            named = tools.pinned_names([agent.version_id for agent in agents if agent.version_id])
            piece = b"".join(exports.row(_cells(agent, named.get(agent.version_id or "", []))) for agent in agents)
        if not agents:
            return
        last = agents[-1].slug
        yield piece


def _cells(agent: Agent, named: list[str]) -> list[str]:
    owner, version = agent.owner, agent.version
    cells = [agent.slug, agent.name, agent.id, owner.name, "yes" if owner.is_active else "no", agent.category, agent.stage, agent.state]
    cells.append(agent.created_at.isoformat())
    if version is not None:
        told = (version.purpose, " / ".join(version.never), version.output, " ".join(version.model_names), " ".join(named))
        cells += [str(version.number), version.created_at.isoformat(), *told, version.digest]
    return [exports.cell(text) for text in cells + [""] * (len(COLUMNS) + len(OF_VERSION) - len(cells))]
