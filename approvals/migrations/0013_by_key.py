"""The gate looks at the key that proposed a call, when it is admitted and again before it is sent."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent.parent / "controlplane" / "sql"
FILES = ("repeat", "end_run", "admit", "intend")


class Migration(migrations.Migration):
    dependencies = [("approvals", "0012_until"), ("agents", "0013_by_key")]
    operations = [migrations.RunSQL("\n".join((SQL / f"{name}.sql").read_text() for name in FILES), migrations.RunSQL.noop)]
