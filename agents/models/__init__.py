"""The tables of the agents app, one module a noun."""

from agents.models.answers import Answer
from agents.models.identity import Agent, AgentVersion, Capability, Key, Pin, Stop
from agents.models.organisations import Epoch, Member, Organisation, SavedView, Seat, Session, Workspace, WorkspacePermission
from agents.models.policies import PolicySet
from agents.models.runs import Call, Effect, Repeat, Run, Step, Work
from agents.models.tools import Connector, Owned, Tool, ToolVersion

__all__ = [
    "Agent",
    "AgentVersion",
    "Answer",
    "Call",
    "Capability",
    "Connector",
    "Effect",
    "Epoch",
    "Key",
    "Member",
    "Organisation",
    "Owned",
    "Pin",
    "PolicySet",
    "Repeat",
    "Run",
    "SavedView",
    "Seat",
    "Session",
    "Step",
    "Stop",
    "Tool",
    "ToolVersion",
    "Work",
    "Workspace",
    "WorkspacePermission",
]
