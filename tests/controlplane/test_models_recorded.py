"""The recorded model: turn for turn what stands in the file, and no file beyond the folders it may read."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from controlplane.connectors import models
from controlplane.connectors.models import recorded

RUN = {
    "run_id": "run/1",
    "steps": [
        {"role": "user", "text": "Where is my order?", "n": 0},
        {"role": "assistant", "tokens": {"in": 120, "out": 8}, "n_calls": 2, "n": 1},
        {"role": "call", "by": "assistant", "id": "c1", "tool": "find", "args": {"email": "a@b"}, "result": "u1", "n": 2},
        {"role": "call", "by": "assistant", "id": "c1", "tool": "orders", "args": {"user": "u1"}, "result": "#1", "n": 3},
        {"role": "assistant", "text": "It left today.", "n": 4},
        {"role": "user", "text": "Thanks. Cancel it.", "n": 5},
        {"role": "assistant", "text": "Doing so.", "n_calls": 1, "n": 6},
        {"role": "call", "by": "assistant", "id": None, "tool": "cancel", "args": {"order": "#1"}, "result": "ok", "n": 7},
        {"role": "assistant", "text": "Done.", "n": 8},
    ],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    other = {"run_id": "run/10", "steps": []}
    text = "".join(json.dumps(run) + "\n" for run in (other, RUN))
    (tmp_path / "runs.jsonl").write_text(text)
    with gzip.open(tmp_path / "runs.jsonl.gz", "wt") as file:
        file.write(text)
    monkeypatch.setenv("REMIT_RECORDINGS", str(tmp_path))
    return tmp_path


def turn(path: Path | str, messages: list[dict[str, Any]], *, run_id: str = "run/1") -> models.Completion:
    return models.complete(models.ModelRequest("recorded", "gpt-4.1", messages, options={"path": str(path), "run_id": run_id}))


@pytest.mark.parametrize("name", ["runs.jsonl", "runs.jsonl.gz"])
def test_the_nth_turn_is_the_recording_s_nth(folder: Path, name: str) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "text": "anything"}]
    seen = []
    for _ in range(5):
        answer = turn(folder / name, messages)
        seen.append((answer.text, [(call["tool"], call["arguments"]) for call in answer.calls], answer.finish_reason))
        messages.append({"role": "assistant", "text": answer.text, "calls": answer.calls})
        messages += [{"role": "tool", "call_id": call["id"], "tool": call["tool"], "result": {}} for call in answer.calls]
    assert seen == [
        ("", [("find", {"email": "a@b"}), ("orders", {"user": "u1"})], "tool_calls"),
        ("It left today.", [], "stop"),
        ("Doing so.", [("cancel", {"order": "#1"})], "tool_calls"),
        ("Done.", [], "stop"),
        ("", [], "stop"),
    ]
    ids = [call["id"] for message in messages for call in message.get("calls", [])]
    assert len(set(ids)) == len(ids) == 3


def test_usage_is_the_recording_s_where_it_has_one_and_counted_where_not(folder: Path) -> None:
    assert turn(folder / "runs.jsonl", []).usage == {"input_tokens": 120, "output_tokens": 8, "cached_tokens": 0}
    counted = turn(folder / "runs.jsonl", [{"role": "assistant", "text": ""}]).usage
    assert counted["output_tokens"] == len("It left today.") // 4 + 1


def test_what_the_user_said_stands_before_the_turn_it_led_to(folder: Path) -> None:
    heard = [each.heard for each in recorded.turns(path=str(folder / "runs.jsonl"), run_id="run/1")]
    assert heard == [("Where is my order?",), (), ("Thanks. Cancel it.",), ()]


def test_no_file_outside_the_folders_is_read(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "runs.jsonl"
    outside.write_text(json.dumps(RUN))
    (folder / "link.jsonl").symlink_to(outside)
    for path in (outside, folder / "link.jsonl", folder / ".." / outside.parent.name / "runs.jsonl", "/etc/passwd", folder, ""):
        with pytest.raises(models.ProviderRefused) as no:
            turn(path, [])
        assert no.value.code == "no_recording"
    monkeypatch.delenv("REMIT_RECORDINGS")
    with pytest.raises(models.ProviderRefused) as no:
        turn(folder / "runs.jsonl", [])
    assert no.value.code == "recordings_off"


def test_a_file_that_is_no_recording_is_refused_without_its_content(folder: Path) -> None:
    (folder / "secret.jsonl").write_text('{"run_id": "run/1", "secret": "hunter2"}\n')
    (folder / "broken.jsonl.gz").write_bytes(b"run/1")
    for name in ("secret.jsonl", "broken.jsonl.gz"):
        with pytest.raises(models.ProviderRefused) as no:
            turn(folder / name, [])
        assert "hunter2" not in no.value.message
    with pytest.raises(models.ProviderRefused, match="run/2"):
        turn(folder / "runs.jsonl", [], run_id="run/2")


def test_a_file_that_changed_is_read_again(folder: Path) -> None:
    path = folder / "runs.jsonl"
    assert turn(path, []).calls
    changed = {"run_id": "run/1", "steps": [{"role": "assistant", "text": "New.", "n": 0}]}
    path.write_text(json.dumps(changed) + "\n")
    assert turn(path, []).text == "New."
