"""The roles and what each may do (ui.md 3.3): sets of object permissions, written noun by noun."""

from collections.abc import Iterable


def _may(**verbs: str) -> frozenset[str]:
    return frozenset(f"{noun}_{verb}" for noun, listed in verbs.items() for verb in listed.split())


# No role both activates policies and is one of two humans; an owner decides nothing by default. Whoever may view the log without reading
# all of it sees their own (`agents/sight.py`): an approver's decisions, money's entries, the runs of a builder's agents.
ROLES: dict[str, frozenset[str]] = {
    "owner": _may(
        runs="view read start stop",
        agents="view manage stop",
        tools="view manage",
        approvals="view all",
        access="view",
        policies="view propose activate",
        budgets="view set",
        audit="view all export",
        members="manage",
    ),
    "admin": _may(
        runs="view read start stop",
        agents="view manage stop",
        tools="view manage",
        approvals="view all",
        access="view",
        policies="view propose",
        budgets="view",
        audit="view all",
        members="manage",
    ),
    "security": _may(
        runs="view read stop",
        agents="view stop",
        tools="view",
        approvals="view all",
        access="view",
        policies="view propose activate",
        budgets="view",
        audit="view all export",
    ),
    "approver": _may(
        runs="view read",
        agents="view",
        tools="view",
        approvals="view all decide decide_two",
        policies="view propose",
        audit="view",
    ),
    "finance": _may(runs="view", agents="view", budgets="view set", audit="view"),
    "auditor": _may(
        runs="view read",
        agents="view",
        tools="view",
        approvals="view all",
        access="view",
        policies="view",
        budgets="view",
        audit="view all export",
    ),
    "builder": _may(
        runs="view read start stop",
        agents="view manage stop",
        tools="view manage",
        approvals="view",
        access="view",
        policies="view propose",
        budgets="view",
        audit="view",
    ),
    "viewer": _may(runs="view read", agents="view", tools="view"),
}
# Whoever looks at everything and answers for nothing does so for a time (ui.md 3.3); the database holds it, too.
FOR_A_TIME = frozenset({"auditor"})


def permissions(held: Iterable[str]) -> frozenset[str]:
    """What these roles give together."""
    return frozenset().union(*(ROLES[role] for role in held))


def giving(permission: str) -> set[str]:
    """The roles that include the permission."""
    return {role for role, held in ROLES.items() if permission in held}
