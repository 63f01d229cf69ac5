"""Row-level security, composite keys and the application's grants for every table of this app; the steps' and the work queue's SQL."""

from pathlib import Path

from django.db import migrations

from audit.tenancy import Isolate, refer

SQL = Path(__file__).resolve().parent.parent / "sql"
READ_WRITE = ("SELECT", "INSERT", "UPDATE")
# A person sees their own memberships before an organisation is chosen: that is how a session learns where it may go.
OWN_MEMBERSHIPS = """
CREATE POLICY own ON agents_member FOR SELECT USING (user_id = (select nullif(current_setting('app.user', true), ''))::int);
"""


class Migration(migrations.Migration):
    dependencies = [("agents", "0001_tables"), ("audit", "0001_log")]
    operations = [
        Isolate("Organisation", grants=READ_WRITE),
        Isolate("Workspace", grants=READ_WRITE),
        Isolate("Member", grants=READ_WRITE),
        Isolate("Seat", grants=(*READ_WRITE, "DELETE")),
        Isolate("WorkspacePermission", grants=(*READ_WRITE, "DELETE")),
        Isolate("Connector", grants=READ_WRITE),
        Isolate("Tool", grants=READ_WRITE),
        Isolate("ToolVersion", grants=READ_WRITE),
        Isolate("Owned", grants=(*READ_WRITE, "DELETE")),
        Isolate("PolicySet", grants=READ_WRITE),
        Isolate("Agent", grants=READ_WRITE, later=("version",)),
        Isolate("AgentVersion", grants=("SELECT", "INSERT")),
        Isolate("Pin", grants=("SELECT", "INSERT")),
        Isolate("Key", grants=READ_WRITE),
        Isolate("Capability", grants=READ_WRITE),
        Isolate("Stop", grants=READ_WRITE),
        Isolate("Run", grants=READ_WRITE, fillfactor=50),
        Isolate("Call", grants=READ_WRITE, fillfactor=80),
        Isolate("Repeat", grants=READ_WRITE, fillfactor=70),
        Isolate("Effect", grants=("SELECT",)),
        Isolate("Work", grants=(*READ_WRITE, "DELETE")),
        refer("agents_agent", "version_id", "agents_agentversion"),
        migrations.RunSQL(OWN_MEMBERSHIPS, "DROP POLICY own ON agents_member"),
        migrations.RunSQL((SQL / "step.sql").read_text(), "DROP TABLE agents_step"),
        migrations.RunSQL((SQL / "words.sql").read_text(), "ALTER TABLE agents_run DROP COLUMN words"),
        migrations.RunSQL((SQL / "work.sql").read_text(), "DROP FUNCTION work_claim(double precision); DROP FUNCTION work_waiting(); DROP FUNCTION work_ring(text, text, text); DROP POLICY dispatch ON agents_work; DROP TRIGGER bell ON agents_work; DROP FUNCTION work_bell()"),
        migrations.RunSQL((SQL / "knock.sql").read_text(), "DROP FUNCTION identity_knock(text, text); DROP FUNCTION owned_by(text, jsonb, jsonb)"),
    ]
