"""A request knows the version of the tool it is about as a reference, so that nobody goes through its call to find it."""

import django.db.models.deletion
from django.db import migrations, models

from audit.tenancy import refer


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0010_wake'),
        ('approvals', '0009_handed_over'),
    ]

    operations = [
        # The column and its index stay as they are.
        migrations.SeparateDatabaseAndState(state_operations=[
            migrations.RemoveIndex(model_name='request', name='request_of_tool'),
            migrations.RemoveField(model_name='request', name='tool_version_id'),
            migrations.AddField(
                model_name='request',
                name='tool_version',
                field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, to='agents.toolversion'),
                preserve_default=False,
            ),
            migrations.AddIndex(
                model_name='request',
                index=models.Index(fields=['organisation_id', 'tool_version', '-opened_at'], name='request_of_tool'),
            ),
        ]),
        refer("approvals_request", "tool_version_id", "agents_toolversion"),
    ]
