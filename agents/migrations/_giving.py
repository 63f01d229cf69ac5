"""Permissions that come later: whoever has a role that includes one gets it with the migration."""

from collections.abc import Mapping, Sequence

from django.contrib.auth.management import create_permissions
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

_TABLES = ("agents_seat", "agents_member", "agents_workspacepermission")
_GIVE = """
INSERT INTO agents_workspacepermission (organisation_id, user_id, permission_id, content_object_id)
SELECT DISTINCT s.organisation_id, m.user_id, p.id, s.workspace_id FROM agents_seat s
  JOIN agents_member m ON m.organisation_id = s.organisation_id AND m.id = s.member_id
  JOIN auth_permission p ON p.codename = %s JOIN django_content_type t ON t.id = p.content_type_id AND t.app_label = 'agents'
 WHERE s.role = ANY(%s) ON CONFLICT DO NOTHING
"""


def giving(given: Mapping[str, Sequence[str]]) -> migrations.RunPython:
    """permission -> the roles that include it from now on. Nothing is taken back in reverse."""

    def give(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
        config = apps.get_app_config("agents")
        config.models_module = True  # the state's apps have none, and without one nothing is created
        create_permissions(config, verbosity=0, using=editor.connection.alias, apps=apps)
        config.models_module = None
        for table in _TABLES:  # the owner of the tables is bound by row-level security, too; here it sees every organisation
            editor.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        for permission, roles in given.items():
            editor.execute(_GIVE, [permission, list(roles)])
        editor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a table with a foreign key still to be checked cannot be altered
        for table in _TABLES:
            editor.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")

    return migrations.RunPython(give, migrations.RunPython.noop)
