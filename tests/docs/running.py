"""Runs the blocks of a page that say they run, in one shell from top to bottom, and gives back what each wrote."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.docs import rendering

ROOT = Path(__file__).resolve().parents[2]
HERE = "http://127.0.0.1:8000"  # what pages say; the one thing that is replaced
END = "\x1e"


@dataclass(frozen=True, slots=True)
class Block:
    """One block that runs, and the answer that the page shows below it, if any."""

    code: str
    is_python: bool
    shown: dict[str, Any] | None


def blocks(slug: str) -> list[Block]:
    tokens = rendering.parse((ROOT / "docs" / f"{slug}.md").read_text())
    found = []
    for at, token in enumerate(tokens):
        if token.type != "fence" or token.info not in {"sh run", "python run"}:
            continue
        below = tokens[at + 1] if at + 1 < len(tokens) else None
        shown = json.loads(below.content) if below is not None and below.type == "fence" and below.info == "json" else None
        found.append(Block(token.content, token.info == "python run", shown))
    return found


def run(slug: str, url: str, folder: Path, **variables: str) -> list[str]:
    """What every block wrote. Fails with the shell's own words when one of them does."""
    lines = ["set -eu"]
    for number, block in enumerate(blocks(slug)):
        code = block.code.replace(HERE, url)
        if block.is_python:
            (folder / f"block{number}.py").write_text(code)
            code = f"{sys.executable} block{number}.py\n"
        lines += [code, f"printf '{END}'"]
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, f"{slug}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout.split(END)[:-1]


def agrees(shown: Any, said: Any) -> bool:
    """Whether an answer is what the page shows: every member is there, and what is written out is the same; `...` stands for anything."""
    if isinstance(shown, dict):
        return isinstance(said, dict) and all(name in said and agrees(value, said[name]) for name, value in shown.items())
    if isinstance(shown, str) and shown.endswith("..."):
        return isinstance(said, str) and said.startswith(shown[:-3])
    return bool(shown == said)
