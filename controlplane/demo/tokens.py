"""Personal tokens of the cast, so that curl works. They are kept in a file that only its owner can read, and in no other place."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings

from agents import identity
from controlplane.demo import scene
from controlplane.demo.scene import Scene

LABEL = "demo"


def path() -> Path:
    return settings.DATA_DIR / "demo" / "tokens.json"


def kept() -> dict[str, str]:
    """Name to token, as far as there are any."""
    try:
        found = json.loads(path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(token) for name, token in found.items()} if isinstance(found, dict) else {}


def keep(made: Scene) -> dict[str, str]:
    """A working token for each person: the one that is kept, or a new one."""
    old = kept()
    tokens = {name: old[name] if _works(made, name, old.get(name, "")) else _new(made, name) for name in scene.CAST if name in made.members}
    if tokens != old:
        _write(tokens)
    return tokens


def _works(made: Scene, name: str, token: str) -> bool:
    try:
        return identity.authenticate(token).id == made.members[name].id
    except identity.Unauthenticated:
        return False


def _new(made: Scene, name: str) -> str:
    return identity.issue(by=made.person(name), member=made.members[name], label=LABEL).token


def _write(tokens: Mapping[str, str]) -> None:
    """Aside and renamed, so that nobody reads half of it; made for the owner alone from the start."""
    place = path()
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(dict(tokens), file, indent=1)
    draft.rename(place)
