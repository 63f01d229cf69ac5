"""An entry tells how it came in."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_person")]
    operations = [migrations.RunSQL((SQL / "append.sql").read_text(), migrations.RunSQL.noop)]
