"""The control plane as a Django app: it has no models; it brings the system checks."""

from django.apps import AppConfig


class ControlPlane(AppConfig):
    name = "controlplane"
    label = "controlplane"

    def ready(self) -> None:
        from controlplane import checks  # noqa: F401, PLC0415 - checks register themselves; the apps must be ready first
