"""The gate goes by the organisation's epoch: by one number it knows whether what a call was decided upon still stands."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent.parent / "controlplane" / "sql"
FILES = ("context", "open", "admit")


class Migration(migrations.Migration):
    dependencies = [("approvals", "0010_tool_version"), ("agents", "0011_epoch")]
    operations = [migrations.RunSQL("\n".join((SQL / f"{name}.sql").read_text() for name in FILES), migrations.RunSQL.noop)]
