"""Which programs make up a running Remit, and the variables each is given."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from controlplane.services.children import Task

MANAGE = (sys.executable, "manage.py")


@dataclass(frozen=True, slots=True)
class Programs:
    """What a Remit is made of. The tests put stand-ins in the place of some."""

    migrate: Task
    seed: Task
    history: Task
    waiting: Task
    web: Callable[[str, int], Task]
    worker: Task
    sweep: Task


def of_this_checkout() -> Programs:
    celery = (sys.executable, "-m", "celery", "-A", "controlplane.celery", "worker")
    return Programs(
        migrate=Task("migrate", (*MANAGE, "migrate", "--no-input")),
        seed=Task("seed", (*MANAGE, "demo", "seed")),
        history=Task("history", (*MANAGE, "demo", "history")),
        waiting=Task("waiting", (*MANAGE, "demo", "waiting", "--json")),
        web=_granian,
        worker=Task(
            "worker", (*celery, "--pool", "threads", "--concurrency", "4", "-l", "warning", "--without-gossip", "--without-mingle")
        ),
        sweep=Task("sweep", (*MANAGE, "sweep")),
    )


def app_variables(services: Mapping[str, str], url: str) -> dict[str, str]:
    """What web, worker and sweep see: the application's role, which owns nothing."""
    return {"PYTHONUNBUFFERED": "1", "REMIT_PUBLIC_URL": url, **os.environ, **services, "REMIT_DEMO": "1"}


def owner_variables(services: Mapping[str, str], url: str) -> dict[str, str]:
    """What a migration sees: the owner's role in the application's place."""
    return app_variables(services, url) | {"DATABASE_URL": services["DATABASE_OWNER_URL"], "REMIT_ROLE": "owner"}


def _granian(host: str, port: int) -> Task:
    options = ("--interface", "asgi", "--host", host, "--port", str(port), "--workers", "1", "--workers-kill-timeout", "3")
    return Task("web", (sys.executable, "-m", "granian", *options, "controlplane.asgi:application"))
