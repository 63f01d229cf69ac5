"""A higher cap waits for a second person."""

import django.db.models.functions.comparison
from django.db import migrations, models

from audit.moments import Moment
from audit.tenancy import Isolate


def organisation() -> models.TextField:
    setting = models.Func(
        models.Value("app.organisation"), models.Value(value=True), function="current_setting", output_field=models.TextField()
    )
    return models.TextField(db_default=django.db.models.functions.comparison.NullIf(setting, models.Value("")), editable=False)


PERIODS = [("day", "Day"), ("month", "Month"), ("total", "Total")]
LEVELS = [("agent", "Agent"), ("workspace", "Workspace"), ("organisation", "Organisation"), ("threshold", "Threshold")]
STATES = [("OPEN", "Waits for a second person"), ("AGREED", "Agreed"), ("DECLINED", "Declined"), ("WITHDRAWN", "Withdrawn")]


class Migration(migrations.Migration):
    dependencies = [("budgets", "0003_sums"), ("agents", "0008_reading")]
    operations = [
        migrations.AddField(model_name="cap", name="agreed_by", field=models.TextField(default="", db_default="")),
        migrations.CreateModel(
            name="Raise",
            fields=[
                ("organisation_id", organisation()),
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("workspace", models.TextField()),
                ("level", models.TextField(choices=LEVELS)),
                ("target", models.TextField()),
                ("period", models.TextField(choices=PERIODS)),
                ("cap_micros", models.BigIntegerField()),
                ("before_micros", models.BigIntegerField()),
                ("seen", models.TextField()),
                ("state", models.TextField(choices=STATES, default="OPEN")),
                ("asked_by", models.TextField()),
                ("asked_at", models.DateTimeField(db_default=Moment())),
                ("decided_by", models.TextField(default="")),
                ("decided_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=["organisation_id", "level", "target"], name="one_raise_waits", condition=models.Q(state="OPEN")
                    ),
                    models.CheckConstraint(condition=models.Q(cap_micros__gte=0), name="raise_not_negative"),
                ],
            },
        ),
        Isolate("Raise"),
    ]
