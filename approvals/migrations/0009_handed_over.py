"""Who handed a request to whoever has it in hand."""

import django.db.models.deletion
from django.db import migrations, models

from audit.tenancy import refer


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0010_wake'),
        ('approvals', '0008_snoozes'),
    ]

    operations = [
        migrations.AddField(
            model_name='stance',
            name='handed_by',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='agents.member'),
        ),
        refer("approvals_stance", "handed_by_id", "agents_member"),
    ]
