"""Asks the running web process and the demo whether they are ready for a person."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from controlplane.services.children import Task


@dataclass(frozen=True, slots=True)
class Waiting:
    """One request for approval: what it is about, and how long it stays open."""

    title: str
    id: str
    expires_in_s: int


@dataclass(frozen=True, slots=True)
class Demo:
    """What waits in the demo, and the one-time links that sign its people in."""

    requests: tuple[Waiting, ...]
    links: Mapping[str, str]


def problem(host: str, port: int) -> str:
    """Why /readyz is not 200 yet; empty when it is."""
    connection = http.client.HTTPConnection(host, port, timeout=3)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read(300).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return str(error)
    finally:
        connection.close()
    return "" if answer.status == http.HTTPStatus.OK else f"/readyz answers {answer.status} {body}"


def demo(task: Task, root: Path, variables: Mapping[str, str]) -> Demo | None:
    """What the demo has to show, None while it has nothing."""
    try:
        told = subprocess.run(task.command, cwd=root, env=dict(variables), capture_output=True, timeout=30, check=True).stdout
        facts = json.loads(told)
        requests = tuple(Waiting(str(one["title"]), str(one["id"]), int(one.get("expires_in_s") or 0)) for one in facts.get("requests", []))
        links = {str(name): str(link) for name, link in facts.get("links", {}).items()}
    except (subprocess.SubprocessError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Demo(requests, links) if requests else None
