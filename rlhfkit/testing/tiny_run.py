"""A tiny run: a dozen prompts and settings that take every stage in seconds."""

import json
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from rlhfkit.commands.hydra_store import register_configs
from rlhfkit.config.run import RunConfig
from rlhfkit.context import Context
from rlhfkit.plugin_manager import load_plugins
from rlhfkit.storage.run_dir import RunDir
from rlhfkit.testing import tiny

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
    rows: dict[str, list[dict[str, Any]]] = {
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


def tiny_context(folder: Path, *overrides: str, stage: str = "rl") -> Context:
    """The context of a stage of a tiny run: a random model and a dozen prompts, rewarded by their
    length; everything is written below `folder`, and no earlier stage is needed.

    overrides: as on the command line. Calls with the same folder are of the same run.
    """
    folder.mkdir(exist_ok=True)
    files = write_files(folder)
    splits = ("demonstrations", "prompts", "pretraining")
    chosen = [
        *SETTINGS,
        f"model.path={files['model']}",
        *(f"data.files.{split}={files[split]}" for split in splits),
        *("reward=[length]", "reward.length.max=0", "reward.length.slope=8"),
        *("run_name=tiny", f"run_dir={folder / 'run'}"),
    ]
    plugins = load_plugins()
    register_configs(plugins)
    with initialize_config_module("rlhfkit_conf", version_base="1.3"):
        config = OmegaConf.to_object(compose("config", [*chosen, *overrides]))
    assert isinstance(config, RunConfig)
    run_dir = RunDir(folder / "run")
    run_dir.stage_dir(stage).mkdir(parents=True, exist_ok=True)
    return Context(config, plugins, run_dir, stage)
