"""Django's own indexes of tables that were made and isolated in one migration, before `Isolate` took those away, too."""

from django.db import migrations

from audit.tenancy import unscoped

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
    operations = [migrations.RunSQL(unscoped(table), migrations.RunSQL.noop) for table in TABLES]
