"""Who handed a request to whoever has it in hand."""

import django.db.models.deletion
from django.db import migrations, models

# Like every other reference of a tenant's table, and unlike what Django would make of it, it carries the organisation.
KEYED = """
ALTER TABLE approvals_stance ADD CONSTRAINT approvals_stance_handed_by_id_fk
    FOREIGN KEY (organisation_id, handed_by_id) REFERENCES agents_member (organisation_id, id)
"""


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
        migrations.RunSQL(KEYED, 'ALTER TABLE approvals_stance DROP CONSTRAINT approvals_stance_handed_by_id_fk'),
    ]
