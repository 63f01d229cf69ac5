"""Row-level security for every table of this app."""

from django.db import migrations

from audit.tenancy import Isolate


class Migration(migrations.Migration):
    dependencies = [("approvals", "0001_tables"), ("agents", "0002_isolation")]
    operations = [
        Isolate("Plan", grants=("SELECT", "INSERT")),
        Isolate("Request"),
        Isolate("Vote", grants=("SELECT", "INSERT")),
        Isolate("Remark", grants=("SELECT", "INSERT")),
        Isolate("StandingDenial"),
        Isolate("Terms"),
    ]
