"""Sessions with the user beside each, so that somebody's can be ended. Whoever is signed in signs in once more."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0008_reading")]
    operations = [
        migrations.CreateModel(
            name="Session",
            fields=[
                ("session_key", models.CharField(max_length=40, primary_key=True, serialize=False, verbose_name="session key")),
                ("session_data", models.TextField(verbose_name="session data")),
                ("expire_date", models.DateTimeField(db_index=True, verbose_name="expire date")),
                ("user", models.BigIntegerField(db_index=True, null=True)),
            ],
            options={"verbose_name": "session", "verbose_name_plural": "sessions", "abstract": False},
        )
    ]
