from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("approvals", "0004_plan_target")]
    operations = [
        migrations.AddIndex(
            model_name="request",
            index=models.Index(fields=["organisation_id", "tool_version_id", "-opened_at"], name="request_of_tool"),
        ),
    ]
