"""What a raise was asked in place of has a period. Sums are found by their generation first, and the functions of money are today's."""

from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "sql"
# Of those that wait it is known: a cap that was changed since would have overtaken them. The owner is bound by row-level security, too.
KNOWN = """
ALTER TABLE budgets_raise NO FORCE ROW LEVEL SECURITY;
ALTER TABLE budgets_cap NO FORCE ROW LEVEL SECURITY;
UPDATE budgets_raise SET before_period = 'month' WHERE level = 'threshold';
UPDATE budgets_raise r SET before_period = c.period FROM budgets_cap c
WHERE r.state = 'OPEN' AND c.organisation_id = r.organisation_id AND c.level = r.level AND c.target = r.target;
ALTER TABLE budgets_raise FORCE ROW LEVEL SECURITY;
ALTER TABLE budgets_cap FORCE ROW LEVEL SECURITY;
"""
PERIODS = [("day", "Day"), ("month", "Month"), ("total", "Total")]
FOUND = {
    "day_spending_month": ("dayspending", ["workspace", "month"]),
    "day_spending_day": ("dayspending", ["day"]),
    "run_spending_dearest": ("runspending", ["workspace", "month", "-amount", "run"]),
}


class Migration(migrations.Migration):
    dependencies = [("budgets", "0005_generations")]
    operations = [
        migrations.AddField(
            model_name="raise", name="before_period", field=models.TextField(choices=PERIODS, default="", db_default="")
        ),
        migrations.RunSQL(KNOWN, migrations.RunSQL.noop),
        *(migrations.RemoveIndex(model_name=model, name=name) for name, (model, _) in FOUND.items()),
        *(
            migrations.AddIndex(model_name=model, index=models.Index(fields=["organisation_id", "generation", *fields], name=name))
            for name, (model, fields) in FOUND.items()
        ),
        migrations.RunSQL((SQL / "sums.sql").read_text(), migrations.RunSQL.noop),
        migrations.RunSQL((SQL / "ledger.sql").read_text(), migrations.RunSQL.noop),
    ]
