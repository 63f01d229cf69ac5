"""The epoch of each organisation, kept by the database."""

from pathlib import Path

import django.db.models.functions.comparison
from django.db import migrations, models

from audit.tenancy import Isolate

SQL = Path(__file__).resolve().parent.parent / "sql"
# The owner is bound by row-level security too, and must find every organisation once.
BEFORE = """
ALTER TABLE agents_organisation NO FORCE ROW LEVEL SECURITY;
ALTER TABLE agents_epoch NO FORCE ROW LEVEL SECURITY;
INSERT INTO agents_epoch (organisation_id, id, number) SELECT organisation_id, id, epoch_drawn() FROM agents_organisation;
ALTER TABLE agents_epoch FORCE ROW LEVEL SECURITY;
ALTER TABLE agents_organisation FORCE ROW LEVEL SECURITY;
"""
DROP = "DROP FUNCTION epoch_begin() CASCADE; DROP FUNCTION epoch_turn() CASCADE; DROP FUNCTION epoch_drawn()"
tenant = models.Func(models.Value("app.organisation"), models.Value(value=True), function="current_setting", output_field=models.TextField())


class Migration(migrations.Migration):
    dependencies = [("agents", "0010_wake")]
    operations = [
        migrations.CreateModel(
            name="Epoch",
            fields=[
                (
                    "organisation_id",
                    models.TextField(db_default=django.db.models.functions.comparison.NullIf(tenant, models.Value("")), editable=False),
                ),
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("number", models.BigIntegerField()),
            ],
        ),
        Isolate("Epoch", grants=("SELECT",), fillfactor=50),
        migrations.RunSQL((SQL / "epoch.sql").read_text(), DROP),
        migrations.RunSQL(BEFORE, migrations.RunSQL.noop),
    ]
