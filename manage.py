#!/usr/bin/env python
"""Django's command line."""

import os
import sys


def main() -> None:
    """Run one management command with Remit's settings."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - after the settings are named

    from audit import origin  # noqa: PLC0415

    origin.arrive(origin.Origin("command"))
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
