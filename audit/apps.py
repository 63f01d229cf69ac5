"""The notary."""

from django.apps import AppConfig


class Audit(AppConfig):
    name = "audit"
    default_auto_field = "django.db.models.BigAutoField"
