"""Loads the recorded runs, tasks and variants of ../shared/inputs and says what is true of each call.

The truths are worked out here, from the data alone, and never from anything the product says.
"""

import gzip
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema

SHARED = Path(os.environ.get("REMIT_SHARED") or Path(__file__).resolve().parents[3] / "shared")
INPUTS = SHARED / "inputs"
RETAIL = INPUTS / "retail"
BANKING = INPUTS / "agentdojo" / "banking"
RETAIL_TOOLS = (RETAIL / "tools.json", RETAIL / "tools_v1.json")
BANKING_TOOLS = (BANKING / "tools.json",)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One call of a recording and what the upstream answered; `effect`: it changed data; `progress`: a repeat after it is not fruitless."""

    n: int
    tool: str
    arguments: Any
    kind: str = "read"
    result: str = ""
    is_error: bool = False
    effect: bool = False
    progress: bool = False


@dataclass(frozen=True, slots=True)
class Recording:
    run_id: str
    calls: tuple[Recorded, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """A bad (`must` = refuse) or an equivalent (`must` = same) form of an expected call; `original` is that call's arguments."""

    source: str
    kind: str
    tool: str
    arguments: Any
    must: str
    original: Any


def lines(path: Path) -> Iterator[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as handle:
        for line in handle:
            if line.strip():
                yield json.loads(line)


def tools(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """The first list that names a tool wins, as in the tape."""
    named: dict[str, dict[str, Any]] = {}
    for path in paths:
        for tool in json.loads(path.read_text()):
            named.setdefault(tool["name"], tool)
    return named


def _normal(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _normal(held) for key, held in value.items()}
    if isinstance(value, list):
        return [_normal(held) for held in value]
    return value


def fingerprint(tool: str, arguments: Any) -> str:
    """Key order does not matter, 1 and 1.0 are one number, the order of a list does matter."""
    text = json.dumps({"tool": tool, "args": _normal(arguments)}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Gate:
    """The verdict a schema gate owes: JSON Schema 2020-12 plus "no unnamed argument"."""

    def __init__(self, named: Mapping[str, Mapping[str, Any]]) -> None:
        self._named = named
        self._validators = {name: jsonschema.Draft202012Validator(tool["inputSchema"]) for name, tool in named.items()}

    def refuses(self, tool: str, arguments: Any) -> bool:
        if tool not in self._named or not isinstance(arguments, dict):
            return True
        if set(arguments) - set(self._named[tool]["inputSchema"].get("properties", {})):
            return True
        return next(self._validators[tool].iter_errors(arguments), None) is not None


def recorded(step: Mapping[str, Any], n: int) -> Recorded:
    """A write made progress when it changed data; where a recording does not say what changed, when it succeeded."""
    says = "effect" in step or "replay" in step
    return Recorded(
        n=n,
        tool=step["tool"],
        arguments=step.get("args"),
        kind=step["kind"],
        result=step.get("result") or "",
        is_error=bool(step.get("error")),
        effect=bool(step.get("effect")),
        progress=step["kind"] == "write" and not step.get("error") and (bool(step.get("effect")) or not says),
    )


def recording(run: Mapping[str, Any]) -> Recording:
    calls = tuple(recorded(step, step["n"]) for step in run["steps"] if step["role"] == "call")
    return Recording(run_id=run["run_id"], calls=calls)


def retail_runs() -> list[Recording]:
    return [recording(run) for run in lines(RETAIL / "runs.jsonl")]


def pseudo_run(run_id: str, calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Expected calls in the run format, so that the tape can answer them."""
    return {"run_id": run_id, "steps": [{**call, "role": "call", "n": n, "by": "assistant"} for n, call in enumerate(calls)]}


def task_runs(version: str) -> list[dict[str, Any]]:
    path = RETAIL / ("tasks.jsonl" if version == "v2" else "tasks_v1.jsonl")
    return [pseudo_run(f"task-{version}-{task['task_id']}", task["gold_calls"]) for task in lines(path)]


def user_task_runs() -> list[dict[str, Any]]:
    return [pseudo_run(f"task-banking-{task['id']}", task["gold_calls"]) for task in lines(BANKING / "user_tasks.jsonl")]


def banking_runs() -> list[dict[str, Any]]:
    return list(lines(BANKING / "runs.jsonl.gz"))


def compromised(runs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Runs in which the injection reached its goal and at least one write was called."""
    return [
        run
        for run in runs
        if run["injection_goal_met"] and any(step["role"] == "call" and step["kind"] == "write" for step in run["steps"])
    ]


def grants() -> dict[str, list[str]]:
    """user task -> the tools of its expected calls."""
    return {task["id"]: sorted({call["tool"] for call in task["gold_calls"]}) for task in lines(BANKING / "user_tasks.jsonl")}


def expected_hashes() -> dict[str, str]:
    return {row["run_id"]: row["hash_all"] for row in lines(RETAIL / "expected_db.jsonl") if row.get("hash_all")}


def wasted(domain: str) -> dict[str, int]:
    """run -> how often the same call was made with the same answer and nothing changed in between (0, or 2 and more)."""
    path = (RETAIL if domain == "retail" else BANKING) / "facts_per_run.jsonl"
    return {row["run_id"]: int(row["wasted_same_call_max"]) for row in lines(path)}


def variants(domain: str) -> list[Variant]:
    folder, tasks, key = (RETAIL, "tasks.jsonl", "task_id") if domain == "retail" else (BANKING, "user_tasks.jsonl", "id")
    originals = {
        f"{task[key]}#{position}": call["args"] for task in lines(folder / tasks) for position, call in enumerate(task["gold_calls"])
    }
    return [
        Variant(row["from"], kind=row["class"], tool=row["tool"], arguments=row["args"], must=row["must"], original=originals[row["from"]])
        for row in lines(folder / "variants.jsonl")
    ]


class Shop:
    """The retail database, for one question: whose is it?"""

    def __init__(self) -> None:
        database = json.loads((RETAIL / "db.json").read_text())
        self.orders: dict[str, str] = {name: order["user_id"] for name, order in database["orders"].items()}
        self.customers: dict[str, str] = {name: name for name in database["users"]}

    def owners(self, calls: Iterable[tuple[str, Any]]) -> list[str]:
        """The customers whose orders or records these calls name, sorted; nobody for objects that do not exist."""
        found: set[str] = set()
        for _tool, arguments in calls:
            if not isinstance(arguments, dict):
                continue
            for argument, known in (("order_id", self.orders), ("user_id", self.customers)):
                named = arguments.get(argument)
                if isinstance(named, str) and named in known:
                    found.add(known[named])
        return sorted(found)
