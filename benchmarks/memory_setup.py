"""What the memory benchmark runs: shapes of models, and the run's configuration."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from rlhfkit.commands.hydra_store import register_configs
from rlhfkit.config.run import RunConfig
from rlhfkit.context import Context, DryRun
from rlhfkit.plugin_manager import load_plugins
from rlhfkit.storage.run_dir import RunDir

GIB = 2**30
"""What cards are sold by."""


def _shape(
    kind: str, hidden: int, layers: int, heads: tuple[int, int], width: int, vocabulary: int
) -> dict[str, Any]:
    return {
        "model_type": kind,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "intermediate_size": width,
        "vocab_size": vocabulary,
        "tie_word_embeddings": kind == "qwen2",
        **({"head_dim": 128} if kind == "qwen3" else {}),
    }


SHAPES = {
    "tiny": _shape("qwen2", 64, 2, (4, 2), 128, 512),
    "1.5b": _shape("qwen2", 1536, 28, (12, 2), 8960, 151936),  # Qwen2.5-1.5B
    "8b": _shape("qwen3", 4096, 36, (32, 8), 12288, 151936),  # Qwen3-8B
    "14b": _shape("qwen3", 5120, 40, (40, 8), 17408, 151936),  # Qwen3-14B
}

COMPLETIONS = 4
"""Of each prompt of a ranking."""


@dataclass(frozen=True)
class Settings:
    """What is the same for all models and caps."""

    prompt: int
    """Tokens."""

    response: int
    """Tokens, of answers and demonstrations alike."""

    batch: int
    """Sequences at once in every phase, where they fit."""

    checkpointing: bool
    repetitions: int
    device: str
    seed: int

    sampler: str
    """cached or graph; the latter without a copy of the 4-bit layers, which it would make by the
    memory that is free on the whole card and not under the limit."""

    @property
    def rankings(self) -> int:
        """Prompts in a batch of the reward model's."""
        return max(1, self.batch // COMPLETIONS)

    def rows(self, phase: str) -> int:
        """Sequences in a batch of a phase."""
        return self.rankings * COMPLETIONS if phase == "reward_model" else self.batch

    def tokens(self, phase: str) -> int:
        """Tokens that a phase computes: those it draws, or all of its sequences."""
        drawn = phase in ("sample", "rollout")
        return self.rows(phase) * (self.response if drawn else self.prompt + self.response)


def make_context(model: str, settings: Settings, folder: Path, device: str) -> Context:
    """A context with a model of random weights on `device`; folder: for its configuration."""
    kind = settings.device.partition(":")[0]
    return context_of(SHAPES[model], overrides(settings), folder, kind, device)


def context_of(
    shape: dict[str, Any], options: list[str], folder: Path, kind: str, device: str
) -> Context:
    """A context with a model of this configuration; kind: what precision is chosen by."""
    (folder / "config.json").write_text(json.dumps(shape), encoding="utf-8")
    planned = DryRun(kind, device=device)
    return composed([f"model.path={folder}", *options], folder, planned)


def composed(options: list[str], folder: Path, planned: DryRun | None = None) -> Context:
    """The context of an rl stage, as the command line makes it of these options."""
    plugins = load_plugins()
    register_configs(plugins)
    with initialize_config_module("rlhfkit_conf", version_base="1.3"):
        raw = compose("config", ["run_name=benchmark", *options])
    config = OmegaConf.to_object(raw)
    assert isinstance(config, RunConfig)
    return Context(config, plugins, RunDir(folder), "rl", dry_run=planned)


def configured(prompt: int, response: int, batch: int, checkpointing: bool = False) -> list[str]:
    """Lengths in tokens and sequences at once, the same in every phase."""
    stages = ("sft", "reward_model", "rl")
    return [
        f"model.max_prompt_length={prompt}",
        f"sampler.response_length={response}",
        f"sampler.batch_size={batch}",
        f"stage.sample.num_completions={COMPLETIONS}",
        f"stage.sft.max_completion_length={response}",
        f"stage.sft.per_device_train_batch_size={batch}",
        f"stage.reward_model.max_completion_length={response}",
        f"stage.reward_model.per_device_train_batch_size={max(1, batch // COMPLETIONS)}",
        f"stage.rl.batch_size={batch}",
        f"stage.rl.micro_batch_size={batch}",
        *(f"stage.{stage}.gradient_checkpointing={str(checkpointing).lower()}" for stage in stages),
        "optimizer.num_ppo_epochs=1",
    ]


def overrides(settings: Settings) -> list[str]:
    """PPO-ptx with four roles on one NF4 base, as a recipe would set it."""
    return [
        f"seed={settings.seed}",
        "model.dtype=bfloat16",
        "loader=qlora",
        "loader.lora_r=16",
        "optimizer=ppo",
        f"sampler={settings.sampler}",
        *(["sampler.dequantise=false"] if settings.sampler == "graph" else []),
        *configured(settings.prompt, settings.response, settings.batch, settings.checkpointing),
        "optimizer.ptx_coef=27.8",
        f"optimizer.ptx_batch_size={settings.batch}",
        f"optimizer.ptx_length={settings.prompt + settings.response}",
    ]
