"""Records of finished stages: written whole, compared, and refused when damaged."""

import json

import pytest

from rlhfkit.errors import UserError
from rlhfkit.storage.run_dir import RunDir, StageRecord, read_jsonl, write_json, write_jsonl


@pytest.fixture
def run_dir(tmp_path):
    made = RunDir(tmp_path / "run")
    path = made.begin("sft")
    (path / "model").mkdir()
    (path / "model" / "weights").write_text("12345")
    made.complete(StageRecord("sft", {"seed": 1}, {"data": "abc"}, 2.5))
    return made


def test_record_round_trip(run_dir):
    record = run_dir.record("sft")
    assert record.settings == {"seed": 1}
    assert record.inputs == {"data": "abc"}
    assert record.outputs == {"model/weights": 5}
    assert run_dir.record("rl") is None


def test_a_stage_without_record_is_unfinished(run_dir):
    run_dir.begin("rl")
    assert run_dir.record("rl") is None


def test_differences_name_keys_with_old_and_new_value(run_dir):
    wanted = StageRecord("sft", {"seed": 2, "extra": None}, {"data": "abc", "more": "x"})
    assert run_dir.record("sft").differences(wanted) == {"seed": (1, 2), "more": (None, "x")}


def test_digest_changes_with_settings_and_inputs():
    base = StageRecord("sft", {"seed": 1}, {"data": "abc"}, seconds=1.0)
    assert base.digest == StageRecord("sft", {"seed": 1}, {"data": "abc"}, seconds=9.0).digest
    assert base.digest != StageRecord("sft", {"seed": 2}, {"data": "abc"}).digest
    assert base.digest != StageRecord("sft", {"seed": 1}, {"data": "abd"}).digest


@pytest.mark.parametrize("content", ["", "{", "[]", '{"stage": "sft"}', "\udcff"])
def test_corrupt_record_is_one_line_and_says_what_to_do(run_dir, content):
    path = run_dir.stage_dir("sft") / "stage.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"corrupt record .*force_from=sft"):
        run_dir.record("sft")


def test_missing_and_truncated_outputs_are_noticed(run_dir):
    weights = run_dir.stage_dir("sft") / "model" / "weights"
    weights.write_text("123")
    with pytest.raises(UserError, match="weights: missing or not of the size"):
        run_dir.record("sft")
    weights.unlink()
    with pytest.raises(UserError, match="force_from=sft"):
        run_dir.record("sft")


def test_set_aside_keeps_the_old_results(run_dir):
    moved = run_dir.set_aside(["sft", "rl"])
    assert (moved / "sft" / "model" / "weights").read_text() == "12345"
    assert run_dir.record("sft") is None
    assert run_dir.set_aside(["sft"]) is None


def test_files_are_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})

    def fail(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", fail)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"a": 2})
    monkeypatch.undo()
    assert json.loads(path.read_text()) == {"a": 1}


def test_jsonl_keeps_any_text(tmp_path):
    rows = [{"text": "line\u2028break \n \u00e9"}, {"text": ""}]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert read_jsonl(tmp_path / "rows.jsonl") == rows


def test_a_record_half_written_before_a_kill_is_no_output(tmp_path):
    run_dir = RunDir(tmp_path)
    record = StageRecord("rl", {}, {})
    (run_dir.begin("rl") / "stage.json.tmp").write_text("{")
    run_dir.complete(record)
    assert run_dir.record("rl").outputs == {}
