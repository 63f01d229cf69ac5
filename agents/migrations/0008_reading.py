"""Reading runs is more than seeing them: who has a role that reads them gets the new permission; finance sees what runs cost. And what
an organisation says of its money: the amount up to which one person raises caps, and which generation of its sums is shown."""

from django.db import migrations, models

from agents.migrations._giving import giving

PERMISSIONS = [
    ("runs_view", "See runs, their calls and what they cost"),
    ("runs_read", "Read what runs were given, said and did"),
    ("runs_start", "Start runs for a subject"),
    ("runs_stop", "Stop runs"),
    ("approvals_view", "See requests, as far as they are one's own"),
    ("approvals_all", "See every request"),
    ("approvals_decide", "Approve or deny"),
    ("approvals_decide_two", "Be one of two humans"),
    ("agents_view", "See agents"),
    ("agents_manage", "Register agents, versions and keys"),
    ("agents_stop", "Stop agents, tools and workspaces"),
    ("tools_view", "See tools"),
    ("tools_manage", "Register connectors and confirm tools"),
    ("access_view", "See what every agent can do"),
    ("policies_view", "See policies"),
    ("policies_propose", "Propose policies"),
    ("policies_activate", "Activate policies"),
    ("budgets_view", "See budgets"),
    ("budgets_set", "Set caps and prices"),
    ("audit_view", "Read the audit log, as far as it is one's own"),
    ("audit_all", "Read every entry of the audit log"),
    ("audit_export", "Export the audit log"),
    ("members_manage", "Manage members and roles"),
]
KINDS = [
    ("run.advance", "Advance"),
    ("call.resume", "Resume"),
    ("effect.reconcile", "Reconcile"),
    ("call.recover", "Recover"),
    ("request.expire", "Expire"),
    ("stop.end", "Unstop"),
    ("sums.make", "Sums"),
]
READ = ("owner", "admin", "security", "approver", "auditor", "builder", "viewer")


class Migration(migrations.Migration):
    dependencies = [("agents", "0007_own_entries"), ("auth", "0012_alter_user_first_name_max_length"), ("contenttypes", "0002_remove_content_type_name")]
    operations = [
        migrations.AlterModelOptions(name="workspace", options={"permissions": PERMISSIONS}),
        migrations.AddField(
            model_name="organisation",
            name="two_people_above",
            field=models.BigIntegerField(default=10_000_000_000, db_default=10_000_000_000),
        ),
        migrations.AddField(model_name="organisation", name="sums", field=models.IntegerField(default=0, db_default=0)),
        migrations.AddField(model_name="organisation", name="sums_made", field=models.TextField(null=True)),
        migrations.AlterField(model_name="work", name="kind", field=models.TextField(choices=KINDS)),
        giving({"runs_read": READ}),
    ]
