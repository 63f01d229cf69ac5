"""The agent's own doors, hot: propose a call, and look or wait for how one stands. Plain functions in the pool; a wait holds no thread."""

import json
from typing import Any

from django.conf import settings

from agents import identity, organisations, runs, sight
from agents.models import Call
from agents.organisations import Principal
from audit import ids, outcomes, tenancy
from controlplane import examination, gate, hop, runner
from controlplane.api import errors, inputs, parsing

PREFIX = "/api/v1/calls/"
LONGEST_WAIT_S = 60
POLL_AFTER_MS = 1000
UNDECIDED = frozenset({"pending_approval", "drafted", "running", "in_doubt"})
_FIELDS = ("tool", "arguments", "run")


class Asking:
    """A proposal as it came, or why it is none."""

    def __init__(self, request: hop.Request) -> None:
        self.token = request.token
        self.refused: outcomes.Refused | None = None
        self.opened: examination.Opened | None = None
        try:
            if request.method != "POST":
                raise errors.not_allowed(request.method, "POST")
            inputs.plain(request.query_string)
            for name in request.query:
                raise inputs.unknown(f"?{inputs.escaped(name)}", known=[])
            self.key = inputs.idempotency_key(request.headers.get("idempotency-key")) or ids.new("C")
            self.given = _proposed(parsing.of_bytes(request.body, request.headers.get("content-type", "")))
        except outcomes.Refused as refused:
            self.refused = refused

    def knock(self, organisation: str, key: str) -> dict[str, Any] | None:
        """The row behind the key; for a run's own, what the gate reads comes with it, or is that of the call before."""
        if self.refused:
            return identity.knock(organisation, key)
        given = self.given
        if "run" not in given:
            self.opened = examination.recalled(organisation, key, name=given["tool"], arguments=given["arguments"])
        return self.opened.row if self.opened else self.read(organisation, key)

    def read(self, organisation: str, key: str) -> dict[str, Any] | None:
        """The same as it is now."""
        given = self.given
        row, self.opened = examination.open_with(organisation, key, call=self.key, name=given["tool"], arguments=given["arguments"])
        return row

    def proposal(self, by: Principal) -> examination.Proposal:
        run = _run_of(by, self.given.get("run", ""))
        return examination.Proposal(by, run, self.given["tool"], self.given["arguments"], self.key, self.opened)


@errors.opened(Asking)
def propose(by: Principal, asking: Asking) -> hop.Answer:
    """POST /api/v1/calls: put one tool call through the gate."""
    if asking.refused:
        raise asking.refused
    if asking.opened and asking.opened.is_recalled:
        admission = gate.admit_recalled(asking.proposal(by))
        if admission is not None:
            return _answer(by, admission)
        by = identity.authenticate(asking.token, read=asking.read)
    return _answer(by, gate.admit(asking.proposal(by)))


@errors.guarded
def show(by: Principal, request: hop.Request) -> hop.Answer | hop.Wait:
    """GET /api/v1/calls/{id}?wait=25: how a call stands, or how it stands once it is decided."""
    if request.method != "GET":
        raise errors.not_allowed(request.method, "GET")
    identifier, seconds = request.path.removeprefix(PREFIX), _seconds(request)
    inputs.plain_path(identifier)
    found = _standing(by, identifier)
    if not seconds or found["status"] not in UNDECIDED:
        return _ok(found)

    def look() -> hop.Answer | None:
        return _ok(_standing(by, identifier)) if _is_over(by, identifier) else None

    return hop.Wait(look=look, last=lambda: _ok(_standing(by, identifier)), seconds=seconds)


def _proposed(body: Any) -> dict[str, Any]:
    """By hand, because it is hot. Arguments are the gate's matter: whatever they are, their schema judges them."""
    if not isinstance(body, dict):
        raise inputs.invalid("", "an object", got=type(body).__name__)
    for name in body:
        if name not in _FIELDS:
            raise inputs.unknown(f"/{inputs.escaped(name)}", known=list(_FIELDS))
    if not isinstance(body.get("tool"), str):
        raise inputs.invalid("/tool", "a string")
    if "arguments" not in body:
        raise inputs.invalid("/arguments", "the arguments, {} for none")
    if not isinstance(body.get("run", ""), str):
        raise inputs.invalid("/run", "a string")
    return body


def _run_of(by: Principal, named: str) -> str:
    """A run's key acts in its run. An agent's own key acts in the run it names, or in its open one."""
    if by.kind != "agent":
        raise organisations.Forbidden(
            "Only agents propose calls.",
            rule="principal",
            current=by.kind,
            limit="an agent's or a run's key",
            next_step="Start a run and use its token.",
        )
    if by.run and named and named != by.run:
        raise organisations.NotFound("There is no such run.", rule="run", next_step="Leave `run` out: the token says which run this is.")
    return by.run or named or runner.open_run_of(by)


def _seconds(request: hop.Request) -> int:
    inputs.plain(request.query_string)
    for name in request.query:
        if name != "wait":
            raise inputs.unknown(f"?{inputs.escaped(name)}", known=["wait"])
    text = request.query.get("wait", "0")
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and int(text) <= LONGEST_WAIT_S):
        raise inputs.invalid("?wait", f"whole seconds from 0 to {LONGEST_WAIT_S}")
    return int(text)


def _is_over(by: Principal, identifier: str) -> bool:
    with tenancy.within(by.organisation, read_only=True):
        return runs.get_call(identifier, by=by).state in Call.OVER


def _standing(by: Principal, identifier: str) -> dict[str, Any]:
    """An agent receives its result exactly; people see what the record keeps, without the secrets."""
    with tenancy.within(by.organisation, read_only=True):
        call = runs.get_call(identifier, by=by)
        admission = gate.standing(by.organisation, call.id)
        if not sight.reads(by, call.run.workspace_id):  # of what it was told, asked and answered only the state is theirs
            admission = gate.Admission(status=admission.status, call=call.id)
        pages = organisations.address(by.organisation, call.run.workspace_id)
    told = {**errors.facts(admission.refusal), **_told(admission, pages)} if admission.refusal else _told(admission, pages)
    if by.kind != "agent" and "result" in told:
        told["result"] = runs.kept(call.result)
    return {**told, "tool": call.name, "run": call.run_id, "number": call.number, "tier": call.tier, "fingerprint": call.fingerprint}


def _answer(by: Principal, admission: gate.Admission) -> hop.Answer:
    headers = {"Idempotent-Replayed": "true"} if admission.is_replay else {}
    if admission.refusal and admission.status not in UNDECIDED and admission.result is None:
        return errors.answer({**admission.refusal, "call": admission.call, "outcome": admission.status}, headers=headers)
    pages = organisations.address(by.organisation, by.workspace)
    told = {**errors.facts(admission.refusal), **_told(admission, pages)} if admission.refusal else _told(admission, pages)
    return _ok(told, status=202 if admission.status in UNDECIDED else 200, headers=headers)


def _told(admission: gate.Admission, pages: str) -> dict[str, Any]:
    told: dict[str, Any] = {"call": admission.call, "status": admission.status}
    if admission.result is not None:
        told["result"] = admission.result
    if admission.approval:
        told |= {"approval": admission.approval, "plan": admission.plan, "expires_at": admission.expires_at}
        told["url"] = f"{settings.PUBLIC_URL}{pages}/approvals/{admission.approval}"
    if admission.status in UNDECIDED:
        told |= {"poll_after_ms": POLL_AFTER_MS, "wait": f"{settings.PUBLIC_URL}{PREFIX}{admission.call}?wait=25"}
    return told


def _ok(told: dict[str, Any], *, status: int = 200, headers: dict[str, str] | None = None) -> hop.Answer:
    return hop.Answer(status, json.dumps(told, separators=(",", ":")).encode(), headers or {})
