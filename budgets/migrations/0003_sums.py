"""Sums beside the ledger, changed only by its functions like the ledger itself; 0005 adds up what was booked before."""

from pathlib import Path

import django.db.models.functions.comparison
from django.db import migrations, models

from audit.tenancy import Isolate

SQL = Path(__file__).resolve().parent.parent / "sql"
# Of the file as it is today, which this migration runs whatever it was once.
DROP = """
DROP FUNCTION IF EXISTS budget_sum_again(text), budget_sum_more(text, int), budget_sum_sweep(text, int, int), budget_sum_begin(text),
    budget_sum(text, text), budget_sum_into(text, int, text[]);
DROP VIEW IF EXISTS budgets_booked;
"""


def organisation() -> models.TextField:
    setting = models.Func(
        models.Value("app.organisation"), models.Value(value=True), function="current_setting", output_field=models.TextField()
    )
    return models.TextField(db_default=django.db.models.functions.comparison.NullIf(setting, models.Value("")), editable=False)


class Migration(migrations.Migration):
    dependencies = [("budgets", "0002_isolation"), ("agents", "0002_isolation")]
    operations = [
        migrations.CreateModel(
            name="DaySpending",
            fields=[
                ("organisation_id", organisation()),
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("workspace", models.TextField()),
                ("month", models.DateField()),
                ("day", models.DateField()),
                ("agent", models.TextField()),
                ("kind", models.TextField()),
                ("name", models.TextField()),
                ("amount", models.BigIntegerField()),
                ("calls", models.IntegerField()),
            ],
            options={
                "indexes": [
                    models.Index(fields=["organisation_id", "workspace", "month"], name="day_spending_month"),
                    models.Index(fields=["organisation_id", "day"], name="day_spending_day"),
                ],
            },
        ),
        migrations.CreateModel(
            name="RunSpending",
            fields=[
                ("organisation_id", organisation()),
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("workspace", models.TextField()),
                ("month", models.DateField()),
                ("run", models.TextField()),
                ("amount", models.BigIntegerField()),
                ("calls", models.IntegerField()),
            ],
            options={
                "indexes": [models.Index(fields=["organisation_id", "workspace", "month", "-amount", "run"], name="run_spending_dearest")],
            },
        ),
        Isolate("DaySpending", grants=("SELECT",), fillfactor=70),
        Isolate("RunSpending", grants=("SELECT",)),
        migrations.RunSQL(
            (SQL / "sums.sql").read_text(),
            DROP,
        ),
        migrations.RunSQL((SQL / "ledger.sql").read_text(), migrations.RunSQL.noop),
    ]
