"""A role may end, an auditor's always does: those there are end 90 days after this migration, with what no other role of theirs gives."""

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

KINDS = [
    ("run.advance", "Advance"),
    ("call.resume", "Resume"),
    ("effect.reconcile", "Reconcile"),
    ("call.recover", "Recover"),
    ("request.expire", "Expire"),
    ("request.wake", "Wake"),
    ("stop.end", "Unstop"),
    ("seat.end", "Unseat"),
    ("sums.make", "Sums"),
]
# What an auditor may do, and which other roles give it, too.
OTHERS = {
    "runs_view": ("owner", "admin", "security", "approver", "finance", "builder", "viewer"),
    "runs_read": ("owner", "admin", "security", "approver", "builder", "viewer"),
    "agents_view": ("owner", "admin", "security", "approver", "finance", "builder", "viewer"),
    "tools_view": ("owner", "admin", "security", "approver", "builder", "viewer"),
    "approvals_view": ("owner", "admin", "security", "approver", "builder"),
    "approvals_all": ("owner", "admin", "security", "approver"),
    "access_view": ("owner", "admin", "security", "builder"),
    "policies_view": ("owner", "admin", "security", "builder"),
    "budgets_view": ("owner", "admin", "security", "finance", "builder"),
    "audit_view": ("owner", "admin", "security", "approver", "finance", "builder"),
    "audit_all": ("owner", "admin", "security"),
    "audit_export": ("owner", "security"),
}
TABLES = ("agents_seat", "agents_member", "agents_workspacepermission", "agents_work", "audit_entry")
END = "UPDATE agents_seat SET until = moment() + interval '90 days' WHERE role = 'auditor'"
FOLLOW = """
UPDATE agents_workspacepermission g SET until = s.until
  FROM agents_seat s JOIN agents_member m ON m.organisation_id = s.organisation_id AND m.id = s.member_id, auth_permission p
 WHERE s.role = 'auditor' AND g.organisation_id = s.organisation_id AND g.user_id = m.user_id AND g.content_object_id = s.workspace_id
   AND p.id = g.permission_id AND p.codename = %s
   AND NOT EXISTS (SELECT FROM agents_seat o WHERE o.organisation_id = s.organisation_id AND o.member_id = s.member_id
                      AND o.workspace_id = s.workspace_id AND o.role = ANY(%s))
"""
TIME = """
INSERT INTO agents_work (organisation_id, id, kind, subject, due_at, fence, attempts, rings)
SELECT organisation_id, 'WRK-' || sayable(14), 'seat.end', id, until, 0, 0, 1 FROM agents_seat WHERE until IS NOT NULL
"""
TELL = """
SELECT audit_append(organisation_id, workspace_id, 'seat.end_set', 'system', 'upgrade', member_id, '',
                    '{"before":"","role":"auditor","until":"' || to_char(until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') || '+00:00"}')
  FROM agents_seat WHERE until IS NOT NULL
"""


def give_ends(_apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    for table in TABLES:  # the owner of the tables is bound by row-level security, too; here it sees every organisation
        editor.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    editor.execute(END)
    for permission, roles in OTHERS.items():
        editor.execute(FOLLOW, [permission, list(roles)])
    editor.execute(TIME)
    editor.execute(TELL)
    editor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a table with a foreign key still to be checked cannot be altered
    for table in TABLES:
        editor.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def drop_timers(_apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """The version before knows no such work. The ends go with their columns."""
    editor.execute("ALTER TABLE agents_work NO FORCE ROW LEVEL SECURITY")
    editor.execute("DELETE FROM agents_work WHERE kind = 'seat.end'")
    editor.execute("ALTER TABLE agents_work FORCE ROW LEVEL SECURITY")


class Migration(migrations.Migration):
    dependencies = [("agents", "0011_epoch"), ("audit", "0003_origin")]
    operations = [
        migrations.AddField(model_name="seat", name="until", field=models.DateTimeField(null=True)),
        migrations.AddField(model_name="workspacepermission", name="until", field=models.DateTimeField(null=True)),
        migrations.AlterField(model_name="work", name="kind", field=models.TextField(choices=KINDS)),
        migrations.RunPython(give_ends, drop_timers),
        migrations.AddConstraint(
            model_name="seat",
            constraint=models.CheckConstraint(condition=~models.Q(role="auditor") | models.Q(until__isnull=False), name="auditor_seat_ends"),
        ),
    ]
