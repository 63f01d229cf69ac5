"""The shape of the house: module sizes, doors that do not query, and words that are not names."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("audit", "agents", "budgets", "approvals", "controlplane")
DOORS = ("api", "console", "mcp", "live", "management", "docs")
LINES = 420  # a question, not a goal: which noun is hiding in here?
NOT_NAMES = {"utils", "helpers", "common", "core", "base", "manager", "managers", "selectors", "misc"}


def modules() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / name for name in listed if name.split("/")[0] in PACKAGES and "/migrations/" not in name and (ROOT / name).exists()]


@pytest.mark.parametrize("module", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_says_what_it_is_and_is_named_for_a_thing(module: Path) -> None:
    text = module.read_text()
    assert len(text.splitlines()) <= LINES
    assert module.stem not in NOT_NAMES
    if module.name != "__init__.py" or text.strip():
        assert ast.get_docstring(ast.parse(text)), "a module opens with what it answers"


DOOR_MODULES = [module for module in modules() if module.relative_to(ROOT).parts[:2][-1] in DOORS]


@pytest.mark.parametrize("module", DOOR_MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_door_never_queries(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text())):
        assert not (isinstance(node, ast.Attribute) and node.attr == "objects"), f"line {getattr(node, 'lineno', '?')}: doors do not query"
