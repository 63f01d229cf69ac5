"""One-time links that sign a person of the demo in. They exist on this machine only, for ten minutes, once."""

from agents import identity
from controlplane.demo.scene import Scene

# The first is opened; the others are further views of the same company.
VIEWS = {"dana": "Dana", "priya": "Priya", "security": "Sam", "finance": "Fiona", "auditor": "Ada", "builder": "Ben", "owner": "Olga"}


def fresh(made: Scene) -> dict[str, str]:
    """View to address, new ones each time."""
    return {view: f"/start/{identity.issue_link(by=made.person('Olga'), member=made.members[name])}" for view, name in VIEWS.items()}
