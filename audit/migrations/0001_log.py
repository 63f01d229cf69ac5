"""The application's grants, the id and canonical-text functions, and the append-only log."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "sql"
# Tables made from here on (sessions, accounts, ...) are usable by the application; tenant tables and the log revoke and grant their own.
GRANTS = """
GRANT USAGE ON SCHEMA public TO remit_app;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO remit_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO remit_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO remit_app;
"""


class Migration(migrations.Migration):
    initial = True
    dependencies: list[tuple[str, str]] = []
    run_before = [("contenttypes", "0001_initial"), ("sessions", "0001_initial")]
    operations = [
        migrations.RunSQL(GRANTS, migrations.RunSQL.noop),
        migrations.RunSQL((SQL / "moment.sql").read_text(), "DROP FUNCTION moment()"),
        migrations.RunSQL((SQL / "sayable.sql").read_text(), "DROP FUNCTION sayable(int); DROP FUNCTION canonical(jsonb)"),
        migrations.RunSQL((SQL / "entry.sql").read_text(), "DROP TABLE audit_entry; DROP FUNCTION audit_refuse()"),
        migrations.RunSQL((SQL / "append.sql").read_text(), "DROP FUNCTION audit_append(text, text, text, text, text, text, text, text)"),
        migrations.RunSQL((SQL / "months.sql").read_text(), "DROP FUNCTION partition_months(text, int)"),
        migrations.RunSQL("SELECT partition_months('audit_entry', 3)", migrations.RunSQL.noop),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel("Entry", fields=[], options={"db_table": "audit_entry", "managed": False, "ordering": ("-at", "-id")}),
            ]
        ),
    ]
