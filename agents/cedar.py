"""The policy engine: Cedar text compiled against a vocabulary, and decisions that name the policies that made them.

Default deny, forbid wins, and doubt is a denial: an error while evaluating, a value Cedar cannot hold, any answer but Allow.
Tiers are the same question asked with 0, 1 and 2 human approvals. Pure and thread-safe: no database, no clock.
"""

import functools
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import cedarpy
import orjson
from cedarpy import pst

from agents import policy_trees, shapes, statements, vocabulary
from audit import outcomes

Effect = Literal["ALLOW", "DENY"]
Tier = Literal["AUTO", "ONE", "TWO", "REFUSED"]

_TIERS: tuple[Tier, ...] = ("AUTO", "ONE", "TWO")
_LONGEST_TEXT = 256 * 1024
_MOST_POLICIES = 500
_MOST_DECIDED = 256  # answers kept of one set
_ID = re.compile(r"[a-z0-9-]{1,64}")
_LONGEST_WHY = 300
_ENGINE_PREFIX = re.compile(r"^for policy `policy\d+`, ")
_FAILED_POLICY = re.compile(r"^error while evaluating policy `([a-z0-9-]{1,64})`: (.*)", re.DOTALL)


class PolicyRejected(outcomes.Refused):
    """The text cannot become a policy set. `details["problems"]` is a list of {line, policy, message}."""

    code = "policy_rejected"


@dataclass(frozen=True, slots=True)
class Policy:
    """One rule as a person wrote it. `why` is the sentence shown when it holds a call back."""

    id: str
    effect: Literal["permit", "forbid"]
    why: str
    line: int
    text: str
    tree: pst.Template = field(repr=False)

    def matches(self, groups: frozenset[str]) -> bool:
        """May its scope match an action that belongs to these groups?"""
        match self.tree.action:
            case pst.ActionEq(entity=entity):
                return entity.id in groups and entity.id not in vocabulary.GROUPS
            case pst.ActionIn(entities=entities):
                return any(entity.id in groups for entity in entities)
            case pst.ScopeAny():
                return True


@dataclass(frozen=True, slots=True)
class Decision:
    """`policies` determined it: the forbids that held at one approval less, then the permits; or the forbids that denied.

    `reasons` are sentences for people and never quote an argument's value.
    """

    effect: Effect
    tier: Tier
    policies: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        return self.effect == "ALLOW"


@dataclass(frozen=True, slots=True)
class _Slice:
    """The policies that can match one action, and what of a request's context they look at.

    `counting` are those that look at the number of approvals. `looks` are the attributes that any of them names, or None when one may look
    at all of it.
    """

    ids: tuple[str, ...]
    handle: cedarpy.PolicySet
    counting: frozenset[str]
    looks: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class _Answer:
    allowed: bool
    policies: tuple[str, ...]
    errors: tuple[str, ...]
    failed: tuple[str, ...]  # the policies that could not be evaluated


@dataclass(slots=True)
class _Question:
    asked: dict[str, Any]
    context: dict[str, Any]
    entities: cedarpy.Entities
    slice: _Slice
    checked: bool = False  # against the schema; asking again changes only a number of our own, and the check costs a quarter


class Compiled:
    """A policy set ready to decide. Immutable; build it with `compile`."""

    def __init__(
        self, policies: tuple[Policy, ...], words: vocabulary.Vocabulary, *, schema: cedarpy.Schema, digest: str, sliced: bool
    ) -> None:
        self.policies = {policy.id: policy for policy in policies}
        self.vocabulary = words
        self.digest = digest
        self._schema = schema
        built: dict[tuple[str, ...], _Slice] = {}
        self._slices: dict[str, _Slice] = {}
        for action in words.actions:
            groups = words.groups(action)
            chosen = tuple(policy for policy in policies if not sliced or policy.matches(groups))
            ids = tuple(policy.id for policy in chosen)
            if ids not in built:
                built[ids] = _slice(chosen)
            self._slices[action] = built[ids]
        self._entities = functools.lru_cache(maxsize=1024)(self._read_entities)
        self._decided: dict[tuple[vocabulary.AgentFacts, str, str, bytes], Decision] = {}

    def slice(self, action: str) -> tuple[str, ...]:
        """The ids of the policies that can match this action, in the order of the text."""
        return self._slices[action].ids

    def is_paced(self, action: str) -> bool:
        """Whether a policy that can match this action looks at the run's calls or writes: then the answer may differ with each call."""
        looks = self._slices[action].looks if action in self._slices else None
        return looks is None or not looks.isdisjoint({"calls", "writes"})

    def decide(self, request: vocabulary.Request) -> Decision:
        """The lowest number of human approvals with which the call is allowed. Never raises for anything a caller sent."""
        question = self._question(request)
        if isinstance(question, Decision):
            return question
        looks = question.slice.looks
        if looks is None or "args" in looks:  # arguments are anybody's, and large: they are not kept
            return self._decide(request, question)
        context = orjson.dumps([question.context[name] for name in sorted(looks - {"approvals"})])
        key = (request.agent, request.action, request.model, context)
        decided = self._decided.get(key)
        if decided is None:
            if len(self._decided) >= _MOST_DECIDED:
                self._decided.clear()
            decided = self._decided[key] = self._decide(request, question)
        return decided

    def _decide(self, request: vocabulary.Request, question: _Question) -> Decision:
        held = _Answer(allowed=False, policies=(), errors=(), failed=())
        for approvals, tier in enumerate(_TIERS):
            answer = self._ask(question, approvals)
            if answer.errors:
                return self._denied(request, answer)
            if answer.allowed:
                reasons = self._sentences(held.policies) or ((_WITHOUT_PERMIT,) if approvals else ())
                return Decision("ALLOW", tier, policies=held.policies + answer.policies, reasons=reasons)
            firm = tuple(id for id in answer.policies if id not in question.slice.counting)
            held = replace(answer, policies=firm) if firm else answer
            if firm or not question.slice.counting:
                break  # what does not look at approvals is the same with any number of them
        return self._denied(request, held)

    def decide_with(self, request: vocabulary.Request, *, approvals: int) -> Decision:
        """The answer with this many valid human approvals, for the moment of execution. An allowed tier names that number."""
        question = self._question(request)
        if isinstance(question, Decision):
            return question
        answer = self._ask(question, approvals)
        if answer.errors or not answer.allowed:
            return self._denied(request, answer)
        return Decision("ALLOW", _TIERS[max(0, min(approvals, 2))], policies=answer.policies)

    def _question(self, request: vocabulary.Request) -> _Question | Decision:
        if not self.vocabulary.knows(request):
            noun, name = ("model", request.model) if request.action == vocabulary.MODEL else ("tool", request.action)
            return Decision("DENY", "REFUSED", reasons=(f'"{name}" is not a {noun} that these policies know.',))
        try:
            context = self.vocabulary.context(request)
            entities = self._entities(request.agent, request.action, request.model)
        except shapes.Unrepresentable as fault:
            return Decision("DENY", "REFUSED", reasons=(f"No policy can judge this call: {fault}.",), errors=(str(fault),))
        except (TypeError, ValueError):
            return Decision("DENY", "REFUSED", reasons=(_UNREADABLE,), errors=("the request cannot be put in Cedar's terms",))
        resource = ("Model", request.model) if request.action == vocabulary.MODEL else ("Tool", request.action)
        asked = {
            "principal": {"type": "Agent", "id": request.agent.slug},
            "action": {"type": "Action", "id": request.action},
            "resource": {"type": resource[0], "id": resource[1]},
        }
        return _Question(asked, context, entities, self._slices[request.action])

    def _read_entities(self, agent: vocabulary.AgentFacts, action: str, model: str) -> cedarpy.Entities:
        """Checked against the schema, then read without it: with it, every handle would carry every action of the workspace."""
        text = orjson.dumps(self.vocabulary.entities(agent=agent, action=action, model=model)).decode()
        cedarpy.Entities.from_json_str(text, self._schema)
        return cedarpy.Entities.from_json_str(text)

    def _ask(self, question: _Question, approvals: int) -> _Answer:
        question.context["approvals"] = approvals
        try:
            asked = question.asked | {"context": orjson.dumps(question.context).decode()}
            schema = None if question.checked else self._schema
            result = cedarpy.is_authorized(asked, question.slice.handle, question.entities, schema)
        except (TypeError, ValueError):
            return _Answer(allowed=False, policies=(), errors=("the request cannot be put in Cedar's terms",), failed=())
        question.checked = True
        errors, failed = _without_values(result.diagnostics.errors)
        fired = frozenset(result.diagnostics.reasons)
        determining = tuple(id for id in question.slice.ids if id in fired)
        # NoDecision is not Deny, and neither is Allow; an error beside an Allow means that Cedar skipped a policy.
        allowed = result.decision == cedarpy.Decision.Allow and not errors
        return _Answer(allowed, determining, errors, failed)

    def _denied(self, request: vocabulary.Request, answer: _Answer) -> Decision:
        if answer.errors:
            skipped = tuple(f"Policy {id} could not be evaluated, and a rule that cannot be evaluated denies." for id in answer.failed)
            determining = tuple(id for id in self.policies if id in answer.failed or self._forbids(id, answer))
            return Decision("DENY", "REFUSED", policies=determining, reasons=skipped or (_UNREADABLE,), errors=answer.errors)
        target = f'use the model "{request.model}"' if request.action == vocabulary.MODEL else f'call "{request.action}"'
        default = (f'No policy permits the agent "{request.agent.slug}" to {target}.',)
        return Decision("DENY", "REFUSED", policies=answer.policies, reasons=self._sentences(answer.policies) or default)

    def _forbids(self, id: str, answer: _Answer) -> bool:
        return id in answer.policies and self.policies[id].effect == "forbid"

    def _sentences(self, ids: Iterable[str]) -> tuple[str, ...]:
        return tuple(self.policies[id].why or f"Policy {id} forbids it." for id in ids)


_WITHOUT_PERMIT = "No policy permits this without another human approval."
_UNREADABLE = "No policy can judge this call, and what cannot be judged is denied."


def _without_values(messages: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(errors, ids of the policies that failed). The engine quotes arguments in backticks; they may be anybody's data."""
    errors, failed = [], []
    for message in messages:
        found = _FAILED_POLICY.match(message)
        prefix, rest = (f"policy {found[1]}: ", found[2]) if found else ("", message)
        errors.append(prefix + rest.split("`")[0].strip())
        if found:
            failed.append(found[1])
    return tuple(errors), tuple(failed)


def compile(text: str, words: vocabulary.Vocabulary, *, sliced: bool = True) -> Compiled:
    """A policy set that decides. Raises PolicyRejected with every problem found.

    `sliced=False` shows every policy to every request: slower, and by construction the same decisions (tests compare them).
    """
    if len(text) > _LONGEST_TEXT:
        raise _rejected([_problem(1, "", f"the text is longer than {_LONGEST_TEXT} characters")])
    parts = list(statements.split(text))
    if len(parts) > _MOST_POLICIES:
        raise _rejected([_problem(1, "", f"there are more than {_MOST_POLICIES} policies")])
    problems: list[dict[str, Any]] = []
    policies: list[Policy] = []
    for part in parts:
        try:
            policies.append(_policy(part))
        except ValueError as fault:
            named = re.search(r'@id\("([a-z0-9-]{1,64})"\)', part.text)
            problems.append(_problem(part.line, named[1] if named else "", str(fault)))
    problems += _repeated(policies)
    if problems:
        raise _rejected(problems)
    if _trees(cedarpy.policies_to_pst(text)) != [replace(policy.tree, id="") for policy in policies]:
        raise _rejected([_problem(1, "", "the text reads differently as a whole than policy by policy")])
    schema = cedarpy.Schema.from_json_str(words.schema_text)
    problems = [problem for policy in policies for problem in _faults(policy, words, schema)]
    if problems:
        raise _rejected(problems)
    return Compiled(tuple(policies), words, schema=schema, digest=digest_of(text, words), sliced=sliced)


def digest_of(text: str, words: vocabulary.Vocabulary) -> str:
    """Names a compiled set: the text, the schema, and the facts (a tool's risk) that its decisions rest on."""
    return hashlib.sha256(b"remit policies v1\0" + words.digest.encode() + b"\0" + text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Wanted:
    digest: str
    text: str = field(compare=False, repr=False)
    words: vocabulary.Vocabulary = field(compare=False, repr=False)


def compiled(digest: str, text: str, words: vocabulary.Vocabulary) -> Compiled:
    """`compile`, remembered by digest. Raises ValueError when the digest is not that of the text and the vocabulary."""
    return _remembered(_Wanted(digest, text, words))


@functools.lru_cache(maxsize=128)
def _remembered(wanted: _Wanted) -> Compiled:
    if wanted.digest != digest_of(wanted.text, wanted.words):
        raise ValueError("this digest names another policy text or another vocabulary")
    return compile(wanted.text, wanted.words)


def _problem(line: int, policy: str, message: str) -> dict[str, Any]:
    return {"line": line, "policy": policy, "message": message}


def _rejected(problems: list[dict[str, Any]]) -> PolicyRejected:
    first = problems[0]
    named = f' (policy "{first["policy"]}")' if first["policy"] else ""
    return PolicyRejected(
        f"Line {first['line']}{named}: {first['message']}",
        rule="policy_text",
        current=len(problems),
        limit=0,
        next_step="Correct the policy text and save it again.",
        problems=problems,
    )


def _trees(whole: pst.PolicySet) -> list[pst.Template]:
    ordered = sorted(whole.static_policies, key=lambda id: int(id.removeprefix("policy")))
    return [replace(whole.static_policies[id], id="") for id in ordered]


def _policy(part: statements.Statement) -> Policy:
    """One statement under our own id: the engine ignores @id and would report policy0, policy1, ... Raises ValueError."""
    if part.fault:
        raise ValueError(part.fault)
    whole = cedarpy.policies_to_pst(part.text)
    if whole.templates or len(whole.static_policies) != 1:
        raise ValueError("templates are not supported: write the principal and the resource out")
    (tree,) = whole.static_policies.values()
    id, why = tree.annotations.get("id", ""), tree.annotations.get("why", "")
    if not _ID.fullmatch(id):
        raise ValueError('every policy needs @id("...") of 1 to 64 small letters, digits and hyphens')
    if len(why) > _LONGEST_WHY:
        raise ValueError(f"@why is longer than {_LONGEST_WHY} characters")
    return Policy(id, tree.effect, why, part.line, part.text, replace(tree, id=id))


def _repeated(policies: Iterable[Policy]) -> Iterator[dict[str, Any]]:
    first: dict[str, int] = {}
    for policy in policies:
        if policy.id in first:
            yield _problem(policy.line, policy.id, f"this id was used on line {first[policy.id]}")
        first.setdefault(policy.id, policy.line)


def _slice(policies: tuple[Policy, ...]) -> _Slice:
    trees = pst.FrozenMap({policy.id: policy.tree for policy in policies})
    handle = cedarpy.PolicySet.from_pst(pst.PolicySet(templates=pst.FrozenMap(), static_policies=trees, template_links=()))
    # Only a policy that names the attribute can depend on it; comparing whole contexts needs a record that names it too.
    counting = {
        policy.id for policy in policies if any("approvals" in policy_trees.names(node) for node in policy_trees.nodes(policy.tree))
    }
    looks = [policy_trees.looks(policy.tree) for policy in policies]
    named = None if None in looks else frozenset().union(*(each for each in looks if each))
    return _Slice(tuple(trees), handle, frozenset(counting), named)


def _faults(policy: Policy, words: vocabulary.Vocabulary, schema: cedarpy.Schema) -> Iterator[dict[str, Any]]:
    """What Cedar's strict validator says, and the typing slips that it lets pass because they are merely never true."""
    found = [_ENGINE_PREFIX.sub("", fault.error) for fault in cedarpy.validate_policies(policy.text, schema).errors]
    actions = [action for action in words.actions if policy.matches(words.groups(action))]
    if not found:
        known = frozenset().union(*(words.paths(action) for action in actions))
        found = [fault for node in policy_trees.nodes(policy.tree) for fault in policy_trees.never_true(node, known)]
        found += [f"there is no {uid}" for uid in pst.entity_uids(policy.tree) if words.lacks(str(uid.type), uid.id)]
    for message in dict.fromkeys(found):
        yield _problem(policy.line, policy.id, message)
