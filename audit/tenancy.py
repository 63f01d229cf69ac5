"""Which organisation's rows this transaction may see: row-level security, and the migration operation that puts a table under it.

PostgreSQL enforces it, not Python: the application's role owns nothing and cannot bypass the policy, and without an organisation
there are no rows and no writes (reliability I-40, I-41). Every key carries the organisation, so the schema distributes by it.
"""

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import connection, models, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import RunSQL
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models.functions import NullIf

from audit import origin

Answer = TypeVar("Answer")
APP_ROLE = "remit_app"
SETTING = "app.organisation"
_ENTER = f"select set_config('{SETTING}', %s, true), set_config('{origin.SETTING}', %s, true)"
_ENTER_TO_READ = f"{_ENTER}, set_config('transaction_read_only', 'on', true)"
CURRENT = f"nullif(current_setting('{SETTING}', true), '')"  # not in a subselect: each table of each statement would plan and start one


class NoOrganisation(RuntimeError):
    """Tenant data was asked for outside `within()`."""


def current_organisation() -> models.Expression:
    """The organisation of this transaction, as a column default: NULL (and so a refused insert) when none is set."""
    return NullIf(
        models.Func(models.Value(SETTING), models.Value(value=True), function="current_setting", output_field=models.TextField()),
        models.Value(""),
    )


class Tenant(models.Model):
    """A row of exactly one organisation. In the database the primary key is (organisation_id, id)."""

    organisation_id = models.TextField(db_default=current_organisation(), editable=False)
    id = models.TextField(primary_key=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return str(self.pk)


@contextmanager
def within(organisation_id: str, *, durable: bool = False, read_only: bool = False) -> Iterator[None]:
    """One transaction that sees and writes only this organisation's rows. May nest only for the same organisation.

    >>> with tenancy.within("ORG-1"): ...
    """
    outer = getattr(connection, "remit_organisation", None) if connection.in_atomic_block else None
    if outer is not None and outer != organisation_id:
        raise NoOrganisation("A transaction belongs to one organisation; finish it before entering another.")
    if outer is not None and not durable and getattr(connection, "remit_memory", None) is not None:
        yield  # in a transaction that only reads there is nothing to take back, so no savepoint is asked for
        return
    with transaction.atomic(durable=durable):
        if outer is None:
            with connection.cursor() as cursor:
                cursor.execute(_ENTER_TO_READ if read_only else _ENTER, [organisation_id, origin.text()])
        connection.remit_organisation = organisation_id  # type: ignore[attr-defined]
        if outer is None:
            connection.remit_memory = {} if read_only else None  # type: ignore[attr-defined]
        try:
            yield
        finally:
            connection.remit_organisation = outer  # type: ignore[attr-defined]
            if outer is None:
                connection.remit_memory = None  # type: ignore[attr-defined]


def once(key: Hashable, ask: Callable[[], Answer]) -> Answer:
    """What `ask` answers; a transaction that only reads asks once for each key and remembers until it ends."""
    memory: dict[Hashable, Any] | None = getattr(connection, "remit_memory", None)
    if memory is None:
        return ask()
    if key not in memory:
        memory[key] = ask()
    found: Answer = memory[key]
    return found


# Django gives each foreign key and each text key an index of its own. Every search starts with the organisation, so they would only
# cost writes.
_OWN_INDEX = '(_like|_[0-9a-f]{8})"?'  # how their names end
_UNSCOPED = """
DO $$ DECLARE v text; BEGIN
    FOR v IN SELECT indexrelid::regclass::text FROM pg_index
             WHERE indrelid = '{table}'::regclass AND NOT indisunique AND indexrelid::regclass::text ~ '{own}$'
    LOOP EXECUTE 'DROP INDEX ' || v; END LOOP;
END $$
"""


# Like every reference of a tenant's table, and unlike what Django would make of it, it carries the organisation.
_REFERENCE = (
    'ALTER TABLE "{table}" ADD CONSTRAINT "{table}_{column}_fk" FOREIGN KEY (organisation_id, {column}) '
    'REFERENCES "{target}" (organisation_id, id)'
)


def refer(table: str, column: str, target: str) -> RunSQL:
    """The reference of a column that a table got after it was isolated."""
    back = f'ALTER TABLE "{table}" DROP CONSTRAINT "{table}_{column}_fk"'
    return RunSQL(_REFERENCE.format(table=table, column=column, target=target), back)


def unscoped(table: str) -> str:
    """Drops Django's own indexes of a table."""
    return _UNSCOPED.format(table=table, own=_OWN_INDEX)


class Isolate(Operation):
    """Put a tenant model's table under row-level security, key it by organisation, and grant the application exactly what is listed."""

    reduces_to_sql = True
    reversible = True

    def __init__(
        self, model: str, *, grants: Sequence[str] = ("SELECT", "INSERT", "UPDATE"), later: Sequence[str] = (), fillfactor: int = 0
    ) -> None:
        self.model, self.grants = model, tuple(grants)
        self.later = tuple(later)  # foreign keys of two tables that point at each other
        self.fillfactor = fillfactor  # room on each page for rows that change often

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return type(self).__qualname__, [self.model], {"grants": self.grants, "later": self.later, "fillfactor": self.fillfactor}

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Django keeps thinking of `id` as the key; only the database knows better."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model)
        table = model._meta.db_table
        schema_editor.execute(f'ALTER TABLE "{table}" DROP CONSTRAINT IF EXISTS "{table}_pkey"')
        schema_editor.execute(f'ALTER TABLE "{table}" ADD CONSTRAINT "{table}_pkey" PRIMARY KEY (organisation_id, id)')
        for field in model._meta.concrete_fields:
            target = field.remote_field.model if field.remote_field else None
            if (
                target is not None
                and field.name not in self.later
                and any(f.name == "organisation_id" for f in target._meta.concrete_fields)
            ):
                schema_editor.execute(_REFERENCE.format(table=table, column=field.column, target=target._meta.db_table))
        schema_editor.execute(unscoped(table))
        own = re.compile(rf'CREATE INDEX "?\w+{_OWN_INDEX} ON "{table}"')  # of a table made in the same migration they are still to come
        schema_editor.deferred_sql = [each for each in schema_editor.deferred_sql if not own.match(str(each))]
        if self.fillfactor:
            schema_editor.execute(f'ALTER TABLE "{table}" SET (fillfactor = {self.fillfactor})')
        schema_editor.execute(f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY')
        schema_editor.execute(f'ALTER TABLE "{table}" FORCE ROW LEVEL SECURITY')
        schema_editor.execute(
            f'CREATE POLICY tenant ON "{table}" USING (organisation_id = {CURRENT}) WITH CHECK (organisation_id = {CURRENT})'
        )
        schema_editor.execute(f'REVOKE ALL ON "{table}" FROM {APP_ROLE}')
        if self.grants:
            schema_editor.execute(f'GRANT {", ".join(self.grants)} ON "{table}" TO {APP_ROLE}')

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        table = from_state.apps.get_model(app_label, self.model)._meta.db_table
        schema_editor.execute(f'DROP POLICY tenant ON "{table}"')
        schema_editor.execute(f'ALTER TABLE "{table}" DISABLE ROW LEVEL SECURITY')

    def describe(self) -> str:
        return f"Row-level security for {self.model}"
