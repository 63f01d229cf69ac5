"""Who is in the demo, and where to find them again."""

from collections.abc import Mapping
from dataclasses import dataclass

from agents import organisations
from agents.models import Member, Organisation, Workspace
from agents.organisations import Principal
from audit import tenancy

SLUG, NAME = "demo", "Larkfield"
DESK, DESK_NAME = "support-ops", "Support operations"
# Ben owns the agents and starts their runs, Sam puts the rules in force: neither is ever asked to approve. Dana and Priya are.
CAST = {
    "Dana": "approver",
    "Priya": "approver",
    "Sam": "security",
    "Fiona": "finance",
    "Ada": "auditor",
    "Ben": "builder",
    "Olga": "owner",
}


@dataclass(frozen=True, slots=True)
class Scene:
    """The demo's organisation, its one workspace, and its people by name."""

    organisation: str
    workspace: Workspace
    members: Mapping[str, Member]

    def person(self, name: str) -> Principal:
        return organisations.acting(self.members[name])


def find(slug: str = "") -> Scene | None:
    """The demo as it was built, or None."""
    identifier = organisations.id_of(slug or SLUG)
    with tenancy.within(identifier, read_only=True):
        if not Organisation.objects.exists():
            return None
        members = {row.name: row for row in Member.objects.filter(is_active=True)}
        return Scene(identifier, Workspace.objects.get(slug=DESK), members)
