"""The gate's SQL functions. They span every app, so they are installed by the topmost one that has migrations."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent.parent / "controlplane" / "sql"
FILES = ["context", "repeat", "end_run", "admit", "intend", "settle", "counts"]
DROP = """
DROP FUNCTION installation_counts(); DROP INDEX run_unfinished;
DROP POLICY IF EXISTS dispatch ON agents_call; DROP POLICY dispatch ON agents_run; DROP POLICY dispatch ON agents_effect; DROP POLICY dispatch ON approvals_request;
REVOKE ALL ON agents_call, agents_run, agents_effect, approvals_request FROM remit_dispatch;
DROP FUNCTION gate_settle(jsonb, bytea); DROP FUNCTION gate_finish_effect(text, text, text); DROP FUNCTION gate_intend(jsonb);
DROP FUNCTION gate_admit(jsonb, bytea); DROP FUNCTION gate_end_run(text, text, text, text, text, text, text, text, jsonb);
DROP FUNCTION gate_repeat(text, agents_run, text, text, int, int, boolean, text); DROP FUNCTION gate_cycle(text, text, text);
DROP FUNCTION gate_context(text, text, text, text, text, text, jsonb);
"""


class Migration(migrations.Migration):
    dependencies = [("approvals", "0002_isolation"), ("budgets", "0002_isolation")]
    operations = [migrations.RunSQL("\n".join((SQL / f"{name}.sql").read_text() for name in FILES), DROP)]
