"""Three permissions more: seeing what every agent can do, every request, and all of the log. Who has a role that gives them now, gets them."""

from django.db import migrations, models

from agents.migrations._giving import giving

PERMISSIONS = [
    ("runs_view", "See runs"),
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
GIVEN = {
    "access_view": ("owner", "admin", "security", "auditor", "builder"),
    "audit_all": ("owner", "admin", "security", "auditor"),
    "audit_view": ("approver",),
    "approvals_all": ("owner", "admin", "security", "approver", "auditor"),
}


class Migration(migrations.Migration):
    dependencies = [
        ("agents", "0006_handed_off"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [
        migrations.AlterModelOptions(name="workspace", options={"permissions": PERMISSIONS}),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                fields=["organisation_id", "started_by", "-started_at"], name="run_of_person", condition=models.Q(started_by_kind="person")
            ),
        ),
        giving(GIVEN),
    ]
