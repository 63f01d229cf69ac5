"""The demo's systems: a helpdesk, billing, a SQL warehouse and mail, with real rows in a database of their own (DEMO_DATABASE_URL)."""

from controlplane.connectors.builtin.connector import discover, look_up, preview, send
from controlplane.connectors.builtin.installation import claims, directory, install, wipe

__all__ = ["claims", "directory", "discover", "install", "look_up", "preview", "send", "wipe"]
