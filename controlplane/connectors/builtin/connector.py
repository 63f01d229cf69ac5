"""The demo systems as a connector. Every write is keyed, so a repeat gives the first answer (class E1)."""

import datetime
import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import psycopg
from psycopg import errors

from agents.offers import Offer
from audit import canonical, ids
from controlplane.connectors import interface
from controlplane.connectors.builtin import billing, database, helpdesk, mail, warehouse
from controlplane.connectors.builtin.operation import Cursor, Operation, Rejected, Row

SCHEME = "builtin:"
SYSTEMS: dict[str, tuple[Operation, ...]] = {
    "helpdesk": helpdesk.OPERATIONS,
    "billing": billing.OPERATIONS,
    "warehouse": warehouse.OPERATIONS,
    "mail": mail.OPERATIONS,
}
VALIDATORS = {
    each.name: jsonschema_rs.validator_for(each.input_schema, offline=True) for each in itertools.chain.from_iterable(SYSTEMS.values())
}
# What a statement or a value got wrong, as opposed to a server that is gone: the caller can mend these.
WRONG = (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError, psycopg.NotSupportedError, psycopg.InternalError)
# PostgreSQL files these under operational errors although the statement caused them.
WRONG_TOO = (errors.ObjectNotInPrerequisiteState, errors.ObjectInUse, errors.ProgramLimitExceeded, errors.StatementTooComplex)


def discover(upstream: interface.Upstream) -> list[Offer]:
    """Every operation of the system, with its owner's advice for a confirmation. Raises DiscoveryFailed."""
    if _system(upstream) not in SYSTEMS:
        raise interface.DiscoveryFailed(
            f"There is no demo system {upstream.url}.", next_step=f"Use one of {', '.join(SCHEME + name for name in SYSTEMS)}."
        )
    return [
        Offer(
            name=each.name,
            title=each.title,
            description=each.description,
            input_schema=each.input_schema,
            output_schema=each.output_schema,
            hints=each.advice(),
            detail={"system": _system(upstream)},
        )
        for each in SYSTEMS[_system(upstream)]
    ]


def send(outbound: interface.Outbound) -> interface.Answer:
    """Runs the operation. The same key gives the same answer; with other arguments it gives an error and does nothing."""
    try:
        operation = _operation(outbound)
    except Rejected as no:
        return _refusal(no)
    dsn, timeout_s = database.address(), outbound.upstream.timeout_s
    if not operation.is_write:
        with database.transaction(dsn, timeout_s=timeout_s, keep=False, read_only=True) as cursor:
            return _run(operation, cursor, outbound)
    if not outbound.idempotency_key:
        return _refusal(Rejected("idempotency_key_missing", f"{operation.name} writes, so it wants an idempotency key."))
    with database.transaction(dsn, timeout_s=timeout_s, keep=True) as cursor:
        return _run_once(operation, cursor, outbound)


def look_up(outbound: interface.Outbound) -> interface.Answer | None:
    """What became of the call with this key: its answer, or None when it never happened."""
    with database.transaction(database.address(), timeout_s=outbound.upstream.timeout_s, keep=False, read_only=True) as cursor:
        cursor.execute("SELECT answer FROM remit_demo.keys WHERE key = %s", [outbound.idempotency_key])
        found = cursor.fetchone()
    return None if found is None else _again(found["answer"])


def preview(outbound: interface.Outbound, spec: Mapping[str, Any] | None) -> interface.Preview | None:
    """The rows before and after, found by running the write and undoing it, whatever the spec; None for a read. Raises PreviewFailed.

    What would be refused shows no change and says so in facts["would_fail"]. facts["version"] changes when the rows do.
    """
    try:
        operation = _operation(outbound)
        if operation.snapshot is None:
            return None
        with database.transaction(database.address(), timeout_s=outbound.upstream.timeout_s, keep=False) as cursor:
            return _rehearsed(operation, cursor, outbound)
    except (Rejected, interface.NotSent, interface.Unknown) as no:
        raise interface.PreviewFailed(f"The present state could not be read: {no}", rule=outbound.operation) from None


def _system(upstream: interface.Upstream) -> str:
    return upstream.url.removeprefix(SCHEME).strip("/")


def _operation(outbound: interface.Outbound) -> Operation:
    """The operation, its arguments checked: a real system does not trust its callers either."""
    for each in SYSTEMS.get(_system(outbound.upstream), ()):
        if outbound.operation in {each.name, each.name.partition("_")[2]}:
            fault = next(iter(VALIDATORS[each.name].iter_errors(outbound.arguments)), None)
            if fault is not None:
                pointer = "".join(f"/{part}" for part in fault.instance_path)
                raise Rejected("invalid_arguments", f"{pointer or 'The arguments'}: {fault.message}", pointer=pointer)
            return each
    raise Rejected("unknown_operation", f"{outbound.upstream.url} has no operation {outbound.operation}.")


def _run(operation: Operation, cursor: Cursor, outbound: interface.Outbound) -> interface.Answer:
    """Runs inside a savepoint: what is refused halfway leaves nothing behind, and the key can still be kept."""
    try:
        with cursor.connection.transaction():
            return _answer(operation.run(cursor, outbound.arguments, _reference(outbound)))
    except Rejected as no:
        return _refusal(no)
    except (*WRONG, *WRONG_TOO) as wrong:
        if cursor.connection.closed:
            raise
        return _refusal(_in_words(wrong))


def _run_once(operation: Operation, cursor: Cursor, outbound: interface.Outbound) -> interface.Answer:
    digest = canonical.digest({"operation": operation.name, "arguments": outbound.arguments}, domain="demo call")
    # A second call with this key waits here until the first has ended: the unique index is the lock.
    cursor.execute(
        "INSERT INTO remit_demo.keys (key, operation, digest) VALUES (%s, %s, %s) ON CONFLICT (key) DO NOTHING RETURNING key",
        [outbound.idempotency_key, operation.name, digest],
    )
    if cursor.fetchone() is None:
        cursor.execute("SELECT digest, answer FROM remit_demo.keys WHERE key = %s", [outbound.idempotency_key])
        (kept,) = cursor.fetchall()
        if kept["digest"] != digest:
            return _refusal(Rejected("idempotency_key_reused", "This idempotency key was used before for another call."))
        return _again(kept["answer"])
    answer = _run(operation, cursor, outbound)
    cursor.execute(
        "UPDATE remit_demo.keys SET answer = %s::json WHERE key = %s",
        [canonical.text({"result": answer.result, "is_error": answer.is_error}), outbound.idempotency_key],
    )
    return answer


def _rehearsed(operation: Operation, cursor: Cursor, outbound: interface.Outbound) -> interface.Preview:
    assert operation.snapshot is not None
    arguments, reference = outbound.arguments, _reference(outbound)
    before = operation.snapshot(cursor, arguments, reference)
    cursor.execute("SELECT FROM remit_demo.keys WHERE key = %s", [outbound.idempotency_key])
    is_applied = cursor.fetchone() is not None
    extra: Row = {"already_applied": is_applied}
    outcome: Row = {}
    state = before.state
    if not is_applied:
        extra |= _second_way(operation, cursor, outbound)
        try:
            with cursor.connection.transaction():
                outcome = operation.run(cursor, arguments, reference)
            state = operation.snapshot(cursor, arguments, reference).state
        except (Rejected, *WRONG, *WRONG_TOO) as wrong:
            if cursor.connection.closed:
                raise
            no = wrong if isinstance(wrong, Rejected) else _in_words(wrong)
            extra |= {"would_fail": {"code": no.code, "message": no.message}}
    if operation.facts is not None:
        extra |= operation.facts(cursor, arguments, outcome)
    version = canonical.digest(_plain({"entity": before.entity, "state": before.state, "seen": before.fingerprint}), domain="demo version")
    return interface.Preview(
        entity=before.entity,
        before=_plain(before.state),
        after=_plain(state),
        kind=operation.kind,
        facts=_plain(extra) | {"version": version},
    )


def _second_way(operation: Operation, cursor: Cursor, outbound: interface.Outbound) -> Row:
    if operation.rehearse is None:
        return {}
    try:
        with cursor.connection.transaction(force_rollback=True):
            return operation.rehearse(cursor, outbound.arguments)
    except (Rejected, *WRONG, *WRONG_TOO):
        return {}  # `run` will say what is wrong with it


def _reference(outbound: interface.Outbound) -> str:
    """Short enough to read aloud, and the same for every attempt with this key."""
    number = int.from_bytes(hashlib.sha256(outbound.idempotency_key.encode()).digest()[:8])
    return "".join(ids.ALPHABET[(number >> 5 * place) & 31] for place in range(10))


def _in_words(wrong: psycopg.Error) -> Rejected:
    return Rejected("statement_failed", wrong.diag.message_primary or str(wrong).partition("\n")[0], sqlstate=wrong.sqlstate)


def _answer(structured: Row) -> interface.Answer:
    plain = _plain(structured)
    return interface.answer(canonical.text(plain), structured=plain)


def _refusal(no: Rejected) -> interface.Answer:
    return interface.answer(no.message, structured={"code": no.code, "message": no.message} | _plain(no.details), is_error=True)


def _again(kept: Mapping[str, Any]) -> interface.Answer:
    return interface.Answer(result=kept["result"], is_error=kept["is_error"])


def _plain(value: Any) -> Any:
    """Rows as JSON: times as RFC 3339 text."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime.date) else value
