"""What one person did is found by an index; agents' own entries, which every call writes, are not in it."""

from django.db import migrations

INDEX = "CREATE INDEX audit_entry_person ON audit_entry (organisation_id, actor_id, at DESC) WHERE actor_kind = 'person'"


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_log")]
    operations = [migrations.RunSQL(INDEX, "DROP INDEX audit_entry_person")]
