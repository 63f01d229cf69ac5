"""Before it writes an intent, the gate counts the votes of those whose permission has not ended."""

from pathlib import Path

from django.db import migrations

INTEND = (Path(__file__).resolve().parent.parent.parent / "controlplane" / "sql" / "intend.sql").read_text()
CONDITION = "\n                AND (g.until IS NULL OR g.until > moment())"


class Migration(migrations.Migration):
    dependencies = [("approvals", "0011_epoch"), ("agents", "0012_until")]
    operations = [migrations.RunSQL(INTEND, INTEND.replace(CONDITION, ""))]
