"""A tiny run: a dozen prompts and settings that take every stage in seconds; the fixtures
of conftest.py write the files."""

import json
from pathlib import Path

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


def write_files(root: Path) -> dict[str, Path]:
    """Paths of a model and of one file per split, written into a directory."""
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
