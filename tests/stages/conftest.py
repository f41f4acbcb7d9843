"""A tiny run: random two-layer model, a dozen rows of data, every stage in seconds."""

import json
from pathlib import Path

import pytest

from rlhfkit.runner import Runner
from tests import tiny

PROMPTS = [
    "what is red", "what is green", "what is blue", "what is best", "is red best",
    "is green best", "is blue best", "you like red", "you like green", "you like blue",
    "what colour is it", "what colour is best",
]  # fmt: skip
SETTINGS = (
    "data=[files]",
    "model.max_prompt_length=24",
    "sampler.response_length=6",
    "sampler.batch_size=8",
    "loader.lora_r=4",
    "stage.sample.num_completions=3",
    "stage.rl.total_episodes=16",
    "stage.rl.batch_size=8",
    "stage.rl.micro_batch_size=4",
    "evaluator.win_rate.resamples=200",
    "evaluator.policy_statistics.resamples=200",
)


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory) -> dict[str, Path]:
    """Paths of a model and of one file per split."""
    root = tmp_path_factory.mktemp("tiny")
    # 4-bit kernels on CPU want widths that 32 divides
    tiny.language_model(root / "base", hidden_size=64, intermediate_size=64, initializer_range=0.1)
    rows = {
        "demonstrations": [{"prompt": text, "completion": "I like it fine"} for text in PROMPTS],
        "prompts": [{"prompt": text} for text in PROMPTS],
        "eval_prompts": [{"prompt": f"{text} and red"} for text in PROMPTS[:6]],
        "pretraining": [{"text": "red and green and blue is the best"}] * 4,
        "rankings": [
            {"prompt": text, "completions": ["it is fine", "red red", "I"], "ranks": [1, 2, 2]}
            for text in PROMPTS
        ],
    }
    for split, content in rows.items():
        lines = "\n".join(json.dumps(row) for row in content)
        (root / f"{split}.jsonl").write_text(lines + "\n", encoding="utf-8")
    return {"model": root / "base", **{split: root / f"{split}.jsonl" for split in rows}}


@pytest.fixture
def tiny_overrides(tiny_files) -> list[str]:
    """Settings of the tiny run; the rankings are left out, so that they are made."""
    splits = ("demonstrations", "prompts", "eval_prompts", "pretraining")
    data = [f"data.files.{split}={tiny_files[split]}" for split in splits]
    return [*SETTINGS, f"model.path={tiny_files['model']}", *data]


@pytest.fixture
def run_tiny(plugins, make_raw, tiny_overrides):
    """`run_tiny("loader=full")`: run the stages with overrides and give the runner."""

    def run(*overrides: str) -> Runner:
        dropped = ("loader.", "optimizer.") if "loader=full" in overrides else ()
        kept = [item for item in tiny_overrides if not item.startswith(dropped or "?")]
        runner = Runner(make_raw(*kept, *overrides), plugins)
        runner.run()
        return runner

    return run
