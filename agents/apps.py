"""See the package's docstring and ARCHITECTURE.md."""

from django.apps import AppConfig


class Agents(AppConfig):
    name = "agents"
    default_auto_field = "django.db.models.BigAutoField"
