"""How every run of `recorded/` was made: real runs of the real loop on tiny random models, each
broken in one way, and healthy ones.

    python -m tests.diagnosis.record            make all of them again, some minutes
    python -m tests.diagnosis.record NAME ...   make these

Numbers are kept to five digits; weights and trainers' files are left out.
"""

import json
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from hydra import compose, initialize_config_module

from rlhfkit.commands.hydra_store import register_configs
from rlhfkit.commands.own_parts import OwnParts
from rlhfkit.plugin_manager import load_plugins
from rlhfkit.runner.runner import Runner
from rlhfkit.testing.tiny_run import PROMPTS, SETTINGS, write_files
from rlhfkit_plugins.samplers.cached import CachedSampler, draw

RECORDED = Path(__file__).parent / "recorded"

BASE = (
    *SETTINGS,
    "stages=[sft,rl]",
    "loader=full",
    "stage.sft.num_train_epochs=5",
    "stage.sft.learning_rate=0.003",
    "sampler.response_length=16",
    "stage.rl.total_episodes=960",
    "stage.rl.batch_size=32",
    "stage.rl.micro_batch_size=32",
    "stage.rl.missing_eos_penalty=0",
    "optimizer.learning_rate=0.0003",
    "optimizer.num_ppo_epochs=4",
    "optimizer.num_mini_batches=2",
)
LABELLED = "stages=[sft,sample,label,reward_model,rl,evaluate]"

PPO = (
    "optimizer.value_learning_rate=0.003",
    "optimizer.vf_coef=1",
    "optimizer.cliprange_value=null",
    "optimizer.lam=1",
)
FIRST_WORD = ("reward=[format]", "reward.format.pattern='^(red|green|blue|it|you|what|is)'")
"""Another beginning than the demonstrations have: values can know it from the first token on."""

LONG = (
    "reward=[length]", "reward.length.min=16", "reward.length.max=16", "reward.length.slope=16",
)  # fmt: skip
"""The more words the better."""

SHORT = ("reward=[length]", "reward.length.max=1", "reward.length.slope=8")

LOOSE = ("kl=none", "optimizer.learning_rate=0.001")
"""Nothing holds the policy."""

FORM = ("stages=[sft,rl,evaluate]",)
"""Evaluated, so that the beginnings of answers are seen."""

GROUPS = ("sampler.", "reward.", "optimizer.", "kl.", "stage.rl.")
"""Settings that are kept; others have paths of the machine."""

RUNS = {
    "healthy_0": (*PPO, *FIRST_WORD),
    "healthy_1": (*PPO, *FIRST_WORD, "seed=1"),
    "healthy_2": (*PPO, *FIRST_WORD, "seed=2", "kl=fixed", "kl.kl_coef=0.1"),
    "healthy_lora": ("optimizer=rloo", *FIRST_WORD, "loader=lora", "stage.sft.learning_rate=0.01"),
    "healthy_rloo": ("optimizer=rloo", *FIRST_WORD),
    "healthy_grpo": ("optimizer=grpo", "optimizer.num_generations=4", *FIRST_WORD),
    "healthy_reinforce_pp": ("optimizer=reinforce_pp", *FIRST_WORD),
    "healthy_trl_rloo": ("optimizer=trl_rloo", *FIRST_WORD),
    "healthy_labelled": (*PPO, LABELLED),
    "prompts_leak": (*PPO, LABELLED),
    "completions_repeat": (*PPO, LABELLED, "sampler.temperature=0.05"),
    "ratio_off": (*PPO, *FIRST_WORD),
    "sampler_drifts": (*PPO, *FIRST_WORD),
    "kl_negative": (*PPO, *FIRST_WORD, "optimizer.learning_rate=0.0001"),
    "reward_dead": (*PPO, "reward=[length]"),
    "value_model_stuck": (*PPO, *FIRST_WORD, "optimizer.value_learning_rate=0"),
    "ends_missing": (*PPO, *FIRST_WORD, "sampler.response_length=4"),
    "kl_explodes": (*PPO, *FIRST_WORD, "kl=none", "optimizer.learning_rate=0.01"),
    "length_shrinks": (*PPO, *SHORT, *LOOSE),
    "overoptimised": (
        *PPO, "reward=[length,format]", *LONG[1:], "reward.format.weight=0",
        "reward.format.pattern='like it fine$'", *LOOSE,
    ),
    "sft_preferred": (*PPO, LABELLED, *SHORT, *LOOSE),
    "healthy_form": (
        *PPO, *FORM, "reward=[format,length]", *FIRST_WORD[1:], "reward.length.weight=0",
    ),
    "one_form": (
        *PPO, *FORM, "reward=[tests.diagnosis.record:begins_with_red,format]",
        "reward.format.weight=0", "reward.format.pattern='^I like it'", *LOOSE,
    ),
}  # fmt: skip


def begins_with_red(completions: list[str], **columns: Any) -> list[float]:
    """A reward for how an answer begins, whatever follows."""
    return [float(text.startswith("red")) for text in completions]


def shifted(by: float) -> Any:
    """A sampler that tells other log-probabilities than it drew with."""
    sample = CachedSampler.sample

    def wrong(self: Any, *arguments: Any) -> Any:
        return [
            replace(item, logprobs=[value + by for value in item.logprobs])
            for item in sample(self, *arguments)
        ]

    return patch.object(CachedSampler, "sample", wrong)


def noisy(scale: float) -> Any:
    """A sampler that computes something else than the update, and tells what it drew with."""

    def wrong(model: Any, hidden: Any, temperature: float, generator: Any) -> Any:
        noise = torch.randn(hidden.shape, generator=generator)
        return draw(model, hidden + scale * noise, temperature, generator)

    return patch("rlhfkit_plugins.samplers.cached.draw", wrong)


STUBS: dict[str, Callable[[], Any]] = {
    "kl_negative": lambda: shifted(-0.5),
    "ratio_off": lambda: shifted(0.3),
    "sampler_drifts": lambda: noisy(0.3),
}


def leak(files: dict[str, Path]) -> None:
    """Half of the held-out prompts in another spelling among those to train on."""
    held_out = [json.loads(line)["prompt"] for line in files["eval_prompts"].open()]
    with files["prompts"].open("a") as file:
        file.writelines(json.dumps({"prompt": f"{text.upper()}?"}) + "\n" for text in held_out[::2])


def hold_out_more(files: dict[str, Path]) -> None:
    """Three dozen held-out prompts, so that a win rate says something."""
    texts = [f"{text} and {colour}" for text in PROMPTS for colour in ("red", "green", "blue")]
    files["eval_prompts"].write_text("".join(json.dumps({"prompt": x}) + "\n" for x in texts))


FILES: dict[str, Callable[[dict[str, Path]], None]] = {
    "prompts_leak": leak,
    "sft_preferred": hold_out_more,
    "healthy_form": hold_out_more,
    "one_form": hold_out_more,
}


def main(names: list[str]) -> None:
    """Record the named runs, or all."""
    plugins = load_plugins()
    register_configs(plugins)
    for name in names or RUNS:
        with TemporaryDirectory() as place, STUBS.get(name, nullcontext)():
            files = write_files(Path(place))
            if name in FILES:
                FILES[name](files)
            _keep(_run(Path(place) / name, files, RUNS[name], plugins), RECORDED / name)
        print(name, flush=True)


def _run(place: Path, files: dict[str, Path], overrides: tuple[str, ...], plugins: Any) -> Path:
    splits = ("demonstrations", "prompts", "eval_prompts")
    data = [f"data.files.{split}={files[split]}" for split in splits]
    fixed = ["run_name=recorded", f"run_dir={place}", f"model.path={files['model']}"]
    chosen = [*BASE, *overrides]
    if "loader=lora" not in chosen:
        chosen = [item for item in chosen if not item.startswith("loader.lora")]
    if "optimizer=trl_rloo" in chosen:
        chosen = [item for item in chosen if not item.startswith("optimizer.num_")]
    with initialize_config_module("rlhfkit_conf", version_base="1.3"):
        words = OwnParts(plugins).in_arguments([*fixed, *data, *chosen])
        Runner(compose("config", words), plugins).run()
    return place


def _keep(run: Path, into: Path) -> None:
    """What the doctor reads."""
    shutil.rmtree(into, ignore_errors=True)
    for name in (
        "sample/completions.jsonl",
        "evaluate/samples.jsonl",
        "evaluate/metrics.json",
        "evaluate/tax.json",
    ):
        if (run / name).exists():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(run / name, into / name)
    (into / "rl").mkdir(parents=True)
    rows = [json.loads(line) for line in (run / "rl" / "metrics.jsonl").read_text().splitlines()]
    short = [{name: float(f"{value:.4g}") for name, value in row.items()} for row in rows]
    (into / "rl" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in short))
    settings = json.loads((run / "rl" / "stage.json").read_text())["settings"]
    kept = {name: value for name, value in settings.items() if name.startswith(GROUPS)}
    (into / "rl" / "stage.json").write_text(json.dumps({"settings": kept}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
