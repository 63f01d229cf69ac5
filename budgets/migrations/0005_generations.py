"""Sums have a generation, so that the next one is made beside what pages show. What was booked before is added up."""

from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "sql"
# The owner is bound by row-level security too, and must find every organisation once.
BEFORE = """
ALTER TABLE agents_organisation NO FORCE ROW LEVEL SECURITY;
DO $$ DECLARE v text; BEGIN
    FOR v IN SELECT id FROM agents_organisation LOOP
        PERFORM set_config('app.organisation', v, true);
        PERFORM budget_sum_again(v);
    END LOOP;
    PERFORM set_config('app.organisation', '', true);
END $$;
ALTER TABLE agents_organisation FORCE ROW LEVEL SECURITY;
"""


class Migration(migrations.Migration):
    dependencies = [("budgets", "0004_raise"), ("agents", "0008_reading")]
    operations = [
        migrations.AddField(model_name="dayspending", name="generation", field=models.IntegerField(default=0, db_default=0)),
        migrations.AddField(model_name="runspending", name="generation", field=models.IntegerField(default=0, db_default=0)),
        migrations.RunSQL("DROP FUNCTION IF EXISTS budget_sum(text, text[])", migrations.RunSQL.noop),
        migrations.RunSQL((SQL / "sums.sql").read_text(), migrations.RunSQL.noop),
        migrations.RunSQL((SQL / "ledger.sql").read_text(), migrations.RunSQL.noop),
        migrations.RunSQL(BEFORE, migrations.RunSQL.noop),
    ]
