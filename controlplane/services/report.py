"""What a person reads at the terminal, or a script with JSON=1. Every line is true when it is printed."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from controlplane.services.readiness import Demo
from controlplane.services.trouble import CannotStart

RULE = "-" * 74


@dataclass(frozen=True, slots=True)
class Ready:
    """All there is to say once everything runs."""

    version: str
    seconds: float
    url: str
    data: Path
    demo: Demo | None


class Report:
    """Standard output, as lines for people or as one JSON object."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def step(self, what: str, seconds: float) -> None:
        """One thing that is done, with the time it took."""
        if not self.as_json:
            _write(sys.stdout, _dim(f"  {what:<58}{seconds:6.1f} s"))

    def note(self, what: str) -> None:
        """Something worth knowing that needs no action. Beside the JSON, never in it."""
        _write(sys.stderr if self.as_json else sys.stdout, f"  {what}")

    def ready(self, facts: Ready) -> None:
        _write(sys.stdout, _object(facts) if self.as_json else _screen(facts))


def trouble(why: CannotStart) -> None:
    """One line of cause, one line with the command that fixes it."""
    _write(sys.stderr, f"{why.cause}\n  {why.remedy}")


def finding(name: str, what: str, remedy: str = "") -> None:
    """One line of `make doctor`, and below it the command that helps."""
    _write(sys.stdout, f"  {name:<11} {what}" + (f"\n{'':14}{remedy}" if remedy else ""))


def link(url: str, target: str) -> str:
    """A link of the demo, which may be a path of this server."""
    return url + target if target.startswith("/") else target


def _screen(facts: Ready) -> str:
    title, took = f"Remit {facts.version}", f"ready in {facts.seconds:.1f} s"
    lines = ["", f"{_bold(title)}{took:>{74 - len(title)}}", RULE]
    lines += _for_a_person(facts)
    lines += [
        f"Your agent  MCP {facts.url}/mcp  REST {facts.url}/api/v1",
        "            make connect   prints a key and a snippet",
        f"Data        {_short(facts.data)}/  (demo, safe to delete)   Logs {_short(facts.data)}/logs/   Health make doctor",
        "Stop        Ctrl-C        Clean start  make reset",
        "",
    ]
    return "\n".join(f"  {line}" if line else "" for line in lines)


def _for_a_person(facts: Ready) -> list[str]:
    manual = f"REST docs   {facts.url}/api/v1/docs"
    if facts.demo is None:
        return [manual]
    links = {name: link(facts.url, target) for name, target in facts.demo.links.items()}
    lines = [f"Open        {_bold(next(iter(links.values())))}      signs you in once"] if links else [manual]
    count, one = len(facts.demo.requests), facts.demo.requests[0]
    needs = "1 request needs you" if count == 1 else f"{count} requests need you"
    lines.append(f"Waiting     {needs}: {one.title}" + (f"  ({_clock(one.expires_in_s)} left)" if one.expires_in_s > 0 else ""))
    if not links:
        command = f'make manage DO="approvals approve {one.id} --as dana"'
        lines.append(f"Decide      {_bold(command)}")
    others = [f"{name[:1].upper()}{name[1:]}  {target.removeprefix(facts.url)}" for name, target in list(links.items())[1:]]
    pairs = [others[at : at + 2] for at in range(0, len(others), 2)]
    lines += [("Other views " if at == 0 else " " * 12) + "    ".join(pair) for at, pair in enumerate(pairs)]
    return lines


def _object(facts: Ready) -> str:
    demo = facts.demo
    return json.dumps(
        {
            "version": facts.version,
            "ready_in_s": round(facts.seconds, 2),
            "url": facts.url,
            "mcp": f"{facts.url}/mcp",
            "rest": f"{facts.url}/api/v1",
            "data": str(facts.data),
            "logs": str(facts.data / "logs"),
            "pid": os.getpid(),
            "requests": [asdict(one) for one in demo.requests] if demo else [],
            "links": {name: link(facts.url, target) for name, target in demo.links.items()} if demo else {},
        }
    )


def _clock(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _is_plain() -> bool:
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()


def _bold(text: str) -> str:
    return text if _is_plain() else f"\033[1m{text}\033[0m"


def _dim(text: str) -> str:
    return text if _is_plain() else f"\033[2m{text}\033[0m"


def _write(stream: TextIO, text: str) -> None:
    # A closed terminal or pipe is no reason to leave the servers without a supervisor.
    try:
        stream.write(text + "\n")
        stream.flush()
    except OSError:
        return
