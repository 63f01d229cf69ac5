"""See the package's docstring and ARCHITECTURE.md."""

from django.apps import AppConfig


class Approvals(AppConfig):
    name = "approvals"
    default_auto_field = "django.db.models.BigAutoField"
