"""`manage.py sweep`: the periodic process. Any number may run; TERM ends it at once, there is nothing to finish."""

import signal
import sys
from typing import Any

from django.core.management.base import BaseCommand

from controlplane import sweeping


class Command(BaseCommand):
    help = "Rings for work that is due, passes signals on to open pages, makes the next months' partitions."
    requires_system_checks = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(0))
        sweeping.forever()
