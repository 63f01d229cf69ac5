"""Answers kept for repeats of an idempotency key."""

import django.db.models.functions.comparison
import django.db.models.functions.datetime
from django.db import migrations, models

from audit.tenancy import Isolate


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0002_isolation'),
    ]

    operations = [
        migrations.CreateModel(
            name='Answer',
            fields=[
                ('organisation_id', models.TextField(db_default=django.db.models.functions.comparison.NullIf(models.Func(models.Value('app.organisation'), models.Value(value=True), function='current_setting', output_field=models.TextField()), models.Value('')), editable=False)),
                ('id', models.TextField(primary_key=True, serialize=False)),
                ('principal', models.TextField()),
                ('body_digest', models.TextField()),
                ('status', models.PositiveSmallIntegerField(null=True)),
                ('sealed', models.BinaryField(null=True)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'indexes': [models.Index(fields=['organisation_id', 'principal', 'at'], name='answer_by_principal')],
            },
        ),
        Isolate("Answer", grants=("SELECT", "INSERT", "UPDATE", "DELETE")),
    ]
