"""See the package's docstring and ARCHITECTURE.md."""

from django.apps import AppConfig


class Budgets(AppConfig):
    name = "budgets"
    default_auto_field = "django.db.models.BigAutoField"
