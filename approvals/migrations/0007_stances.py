"""Who has a request in hand. Rows go when they are left, so the application deletes here."""

import audit.moments
import django.db.models.deletion
import django.db.models.functions.comparison
from django.db import migrations, models

from audit.tenancy import Isolate


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0009_session'),
        ('approvals', '0006_origin'),
    ]

    operations = [
        migrations.CreateModel(
            name='Stance',
            fields=[
                ('organisation_id', models.TextField(db_default=django.db.models.functions.comparison.NullIf(models.Func(models.Value('app.organisation'), models.Value(value=True), function='current_setting', output_field=models.TextField()), models.Value('')), editable=False)),
                ('id', models.TextField(primary_key=True, serialize=False)),
                ('kind', models.TextField(choices=[('CLAIM', 'Claim')])),
                ('at', models.DateTimeField(db_default=audit.moments.Moment())),
                ('until', models.DateTimeField()),
                ('member', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, to='agents.member')),
                ('request', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, to='approvals.request')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('organisation_id', 'request', 'member'), name='one_stance_per_person'), models.UniqueConstraint(condition=models.Q(('kind', 'CLAIM')), fields=('organisation_id', 'request'), name='one_claim_per_request')],
            },
        ),
        Isolate("Stance", grants=("SELECT", "INSERT", "DELETE")),
    ]
