"""Indexes that begin without the organisation serve no question. Django makes them last, after `Isolate` of the same migration looked."""

from django.db import migrations

from audit.tenancy import UNSCOPED

TABLES = (
    "budgets_dayspending",
    "budgets_runspending",
    "budgets_raise",
    "agents_answer",
    "agents_savedview",
    "approvals_stance",
)


class Migration(migrations.Migration):
    dependencies = [("budgets", "0006_before"), ("agents", "0010_wake"), ("approvals", "0008_snoozes")]
    operations = [migrations.RunSQL(UNSCOPED.format(table=table), migrations.RunSQL.noop) for table in TABLES]
