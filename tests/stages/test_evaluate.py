"""The evaluate stage keeps one model in memory at a time."""

import gc
import json
import weakref
from collections import Counter

import pytest

from rlhfkit.errors import UserError
from rlhfkit.run_dir import read_jsonl
from rlhfkit.stages import evaluate


def test_no_model_is_loaded_before_the_last_one_is_gone(run_tiny, monkeypatch):
    run_tiny("stages=[sft,rl]", "reward=[length]")
    alive, load = [], evaluate.load_policy

    def checked(context, name):
        gc.collect()
        assert not [item for item in alive if item() is not None]
        model = load(context, name)
        alive.append(weakref.ref(model.model))
        return model

    monkeypatch.setattr(evaluate, "load_policy", checked)
    run_tiny("stages=[sft,rl,evaluate]", "reward=[length]")
    assert len(alive) == 3


def test_several_answers_to_each_prompt(run_tiny):
    runner = run_tiny(
        "stages=[sft,evaluate]", "stage.evaluate.num_prompts=3", "stage.evaluate.num_completions=2"
    )
    folder = runner.run_dir.stage_dir("evaluate")
    rows = read_jsonl(folder / "samples.jsonl")
    asked = Counter((row["policy"], row["prompt"][-1]["content"]) for row in rows)
    assert len(asked) == 2 * 3
    assert set(asked.values()) == {2}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {item["count"] for found in metrics.values() for item in found.values()} == {3}


def test_no_answer_is_refused(run_tiny):
    with pytest.raises(UserError, match="num_completions=0: must be"):
        run_tiny("stages=[sft,evaluate]", "stage.evaluate.num_completions=0")
