"""Passwords and keys that Remit makes for itself, one file each, readable by nobody else."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def password(data: Path, name: str) -> str:
    """The password kept as `secrets/<name>`, made on first use."""
    folder = data / "secrets"
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    return _kept(folder / name, 24)


def secret_key(data: Path) -> str:
    """What signs sessions and links: REMIT_SECRET_KEY, or the key kept beside the data."""
    return os.environ.get("REMIT_SECRET_KEY") or _kept(data / "secret_key", 48)


def _kept(path: Path, size: int) -> str:
    if path.exists():
        return path.read_text().strip()
    value = secrets.token_urlsafe(size)
    # Written aside and renamed: a start that is killed here must not leave an empty secret behind.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(value + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    return value
