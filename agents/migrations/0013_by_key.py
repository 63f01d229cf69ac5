"""A call names the key that proposed it, so that a stop on that key, or its end, holds what waits as well."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0012_until")]
    operations = [migrations.AddField(model_name="call", name="by_key", field=models.TextField(db_default="", default=""))]
