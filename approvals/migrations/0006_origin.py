"""The gate's functions say how a call came in, and what a call could cost without a stray sign; a key and what it asks for are one question."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent.parent / "controlplane" / "sql"
FILES = ("open", "admit", "intend", "settle")


class Migration(migrations.Migration):
    dependencies = [("approvals", "0005_request_of_tool"), ("audit", "0003_origin")]
    operations = [
        migrations.RunSQL(
            "\n".join((SQL / f"{name}.sql").read_text() for name in FILES),
            "DROP FUNCTION gate_open(text, text, text, text, text, jsonb)",
        )
    ]
