"""Row-level security and grants for every table of this app, and the functions that alone may move money."""

from pathlib import Path

from django.db import migrations

from audit.tenancy import Isolate

SQL = Path(__file__).resolve().parent.parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("budgets", "0001_tables"), ("agents", "0002_isolation"), ("audit", "0001_log")]
    operations = [
        Isolate("Price", grants=("SELECT", "INSERT")),
        Isolate("Cap"),
        Isolate("Limits"),
        Isolate("Window", grants=("SELECT",), fillfactor=50),
        Isolate("Reservation", grants=("SELECT",)),
        Isolate("LedgerEntry", grants=("SELECT",)),
        migrations.RunSQL(
            (SQL / "ledger.sql").read_text(),
            "DROP FUNCTION budget_reserve(text, text, text, text, text, bigint, bigint, int); DROP FUNCTION budget_settle(text, text, bigint, boolean);"
            "DROP FUNCTION budget_rezone(text, text); DROP FUNCTION budget_window_start(text); DROP FUNCTION budget_window_start(text, text);"
            "DROP FUNCTION budget_zone(text)",
        ),
    ]
