"""What policies can speak about: the Cedar schema that follows from the registered tools, and requests put in its words.

Pure: it knows facts about tools, models and agents as plain values, and refuses to know where they are stored.
What a policy cannot see is listed by `Vocabulary.invisible`, never silently guessed.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import orjson

from agents import shapes
from audit import outcomes

# Closed lists of words: a policy that compares with another word can never hold, so `cedar.compile` refuses it.
RISKS = frozenset({"low", "medium", "high", "critical"})
CATEGORIES = frozenset({"workflow", "bounded", "open"})
STAGES = frozenset({"READ_ONLY", "DRAFT", "NARROW", "GATED", "WIDE"})

NEVER = 99991231  # a day that no rule with an end reaches: who does not say which day it is gets nothing that ends

MODEL = "model"  # the one action of every model call
GROUPS = frozenset({"call", "read", "write"})
RESERVED = GROUPS | {MODEL}  # no tool may bear these names


class VocabularyRejected(outcomes.Refused):
    """Two tools share a name, or a tool bears the name of an action group."""

    code = "vocabulary_rejected"


@dataclass(frozen=True, slots=True)
class ToolFacts:
    name: str
    is_write: bool
    risk: str
    reversible: bool
    data_domain: str
    connector: str
    connector_class: str
    input_schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    name: str
    provider: str

    @property
    def id(self) -> str:
        """The entity id: two providers may offer a model by the same name."""
        return f"{self.provider}/{self.name}"


@dataclass(frozen=True, slots=True)
class AgentFacts:
    slug: str
    category: str
    stage: str
    workspace: str
    owner: str


@dataclass(frozen=True, slots=True)
class Request:
    """One question for the policies. `action` is a tool's name, or MODEL together with `model` as "provider/name"."""

    agent: AgentFacts
    action: str
    arguments: Mapping[str, Any]
    model: str = ""
    subject: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    unknown_objects: bool = False
    calls: int = 0
    writes: int = 0
    hour: int = 0
    weekday: int = 1
    day: int = NEVER
    stage: str = ""  # the run's stage; empty means the agent's


def clock(now: datetime) -> tuple[int, int, int]:
    """(hour, weekday, day) as policies see them: UTC, Monday is 1 and Sunday 7, 21 November 2026 is 20261121.

    Raises ValueError on a naive time.
    """
    if now.tzinfo is None:
        raise ValueError("a policy's clock needs a time zone")
    utc = now.astimezone(UTC)
    return utc.hour, utc.isoweekday(), day(utc)


def day(of: date) -> int:
    """A date as policies see it."""
    return of.year * 10_000 + of.month * 100 + of.day


def _record(**fields: shapes.Shape) -> shapes.Shape:
    return shapes.Shape("Record", fields=tuple(shapes.Field(name, shape) for name, shape in fields.items()))


_AGENT = _record(slug=shapes.STRING, category=shapes.STRING, stage=shapes.STRING, workspace=shapes.STRING, owner=shapes.STRING)
_TOOL = _record(
    name=shapes.STRING,
    risk=shapes.STRING,
    data_domain=shapes.STRING,
    connector=shapes.STRING,
    connector_class=shapes.STRING,
    write=shapes.BOOLEAN,
    reversible=shapes.BOOLEAN,
)
_MODEL = _record(name=shapes.STRING, provider=shapes.STRING)
_MODEL_ARGUMENTS = _record(max_output_tokens=shapes.LONG, messages=shapes.LONG)


def _context(arguments: shapes.Shape) -> shapes.Shape:
    return _record(
        approvals=shapes.LONG,
        subject=shapes.STRINGS,
        owners=shapes.STRINGS,
        unknown_objects=shapes.BOOLEAN,
        calls=shapes.LONG,
        writes=shapes.LONG,
        hour=shapes.LONG,
        weekday=shapes.LONG,
        day=shapes.LONG,
        stage=shapes.STRING,
        args=arguments,
    )


class Vocabulary:
    """The words of one workspace's policies. Immutable once built; `digest` covers the schema and every fact."""

    def __init__(self, tools: Iterable[ToolFacts], models: Iterable[ModelFacts] = ()) -> None:
        self.tools: dict[str, ToolFacts] = {}
        self.models: dict[str, ModelFacts] = {model.id: model for model in models}
        self._arguments: dict[str, shapes.Shape] = {MODEL: _MODEL_ARGUMENTS}
        self._invisible: dict[str, tuple[str, ...]] = {}
        for tool in tools:
            self._add(tool)
        self.schema = self._schema()
        self.schema_text = orjson.dumps(self.schema, option=orjson.OPT_SORT_KEYS).decode()
        # The facts too: a tool whose risk changed keeps its schema, yet decisions about it change.
        facts = [self._resource(name) for name in sorted(self.tools)] + sorted(self.models)
        self.digest = hashlib.sha256(self.schema_text.encode() + b"\0" + orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def _add(self, tool: ToolFacts) -> None:
        if tool.name in RESERVED or tool.name in self.tools:
            why = "is the name of an action group" if tool.name in RESERVED else "is the name of two tools"
            raise VocabularyRejected(f'"{tool.name}" {why}', rule="tool_name", current=tool.name, next_step="Give the tool another name.")
        self.tools[tool.name] = tool
        self._arguments[tool.name], self._invisible[tool.name] = shapes.read(tool.input_schema)

    def _schema(self) -> dict[str, Any]:
        entities = {"Agent": _AGENT, "Tool": _TOOL, "Model": _MODEL}
        actions: dict[str, Any] = {"call": {}, "read": {"memberOf": [{"id": "call"}]}, "write": {"memberOf": [{"id": "call"}]}}
        for name, arguments in self._arguments.items():
            resource, context = "Model" if name == MODEL else "Tool", _context(arguments).as_cedar()
            applies = {"principalTypes": ["Agent"], "resourceTypes": [resource], "context": context}
            parents = [] if name == MODEL else [{"id": self._group(name)}]
            actions[name] = {"memberOf": parents, "appliesTo": applies}
        return {"": {"entityTypes": {name: {"shape": shape.as_cedar()} for name, shape in entities.items()}, "actions": actions}}

    def _group(self, tool: str) -> str:
        return "write" if self.tools[tool].is_write else "read"

    @property
    def actions(self) -> tuple[str, ...]:
        """Every action that a request may name: the tools, and MODEL."""
        return tuple(self._arguments)

    def groups(self, action: str) -> frozenset[str]:
        """The action and every group it belongs to."""
        return frozenset({action}) if action == MODEL else frozenset({action, self._group(action), "call"})

    def invisible(self, tool: str) -> tuple[str, ...]:
        """Dotted paths of the arguments that no policy can see; `*` stands for arguments without a name in the schema."""
        return self._invisible[tool]

    def paths(self, action: str) -> frozenset[tuple[str, ...]]:
        """Every attribute that a policy on this action can name, as ("context", "args", "amount")."""
        visible = {"principal": _AGENT, "resource": _MODEL if action == MODEL else _TOOL, "context": _context(self._arguments[action])}
        return frozenset((variable, *path) for variable, shape in visible.items() for path in shape.paths())

    def knows(self, request: Request) -> bool:
        return request.model in self.models if request.action == MODEL else request.action in self.tools

    def lacks(self, kind: str, id: str) -> bool:
        """Is this the id of a tool or a model that does not exist? Agents are not in the vocabulary."""
        return (kind == "Tool" and id not in self.tools) or (kind == "Model" and id not in self.models)

    def context(self, request: Request, *, approvals: int = 0) -> dict[str, Any]:
        """The request's context in Cedar's JSON. Raises shapes.Unrepresentable with the argument's path."""
        return {
            "approvals": approvals,
            "subject": sorted(request.subject),
            "owners": sorted(request.owners),
            "unknown_objects": request.unknown_objects,
            "calls": request.calls,
            "writes": request.writes,
            "hour": request.hour,
            "weekday": request.weekday,
            "day": request.day,
            "stage": request.stage or request.agent.stage,
            "args": shapes.represent(self._arguments[request.action], request.arguments),
        }

    def entities(self, *, agent: AgentFacts, action: str, model: str = "") -> list[dict[str, Any]]:
        """Who asks and for what, in Cedar's JSON, together with the action's own groups."""
        attributes = {f.name: getattr(agent, f.name) for f in _AGENT.fields}
        groups = self.groups(action) - {action}
        return [
            {"uid": {"type": "Agent", "id": agent.slug}, "attrs": attributes, "parents": []},
            self._resource(action, model),
            {
                "uid": {"type": "Action", "id": action},
                "attrs": {},
                "parents": [{"type": "Action", "id": group} for group in sorted(groups)],
            },
        ]

    def _resource(self, action: str, model: str = "") -> dict[str, Any]:
        if action == MODEL:
            chosen = self.models[model]
            attributes: dict[str, Any] = {"name": chosen.name, "provider": chosen.provider}
            return {"uid": {"type": "Model", "id": chosen.id}, "attrs": attributes, "parents": []}
        tool = self.tools[action]
        attributes = {name: getattr(tool, name) for name in ("name", "risk", "data_domain", "connector", "connector_class", "reversible")}
        return {"uid": {"type": "Tool", "id": tool.name}, "attrs": attributes | {"write": tool.is_write}, "parents": []}
