"""Before it writes an intent, the gate counts the votes of those whose permission has not ended."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent.parent / "controlplane" / "sql"


class Migration(migrations.Migration):
    dependencies = [("approvals", "0010_tool_version"), ("agents", "0011_until")]
    operations = [migrations.RunSQL((SQL / "intend.sql").read_text(), migrations.RunSQL.noop)]
