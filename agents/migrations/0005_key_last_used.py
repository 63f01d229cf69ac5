"""When a key was last used."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0004_savedview'),
    ]

    operations = [
        migrations.AddField(model_name='key', name='last_used_at', field=models.DateTimeField(null=True)),
    ]
