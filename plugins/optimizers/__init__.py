"""Policy optimizers: PPO and RLOO on the shared rollout loop, and TRL's DPO on the rankings."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlhfkit import hookimpl
from rlhfkit.component import Component


@dataclass
class OnlineConfig:
    """What PPO and RLOO share; names as in TRL."""

    learning_rate: float = 1e-5
    """Of the policy, AdamW."""

    adam_beta1: float = 0.9
    adam_beta2: float = 0.95
    adam_epsilon: float = 1e-5
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    num_ppo_epochs: int = 4
    """Passes over each batch of episodes."""

    num_mini_batches: int = 1
    """Optimizer steps per pass."""

    cliprange: float = 0.2
    """Of the policy ratio (Schulman et al. 2017)."""

    ptx_coef: float = 0.0
    """gamma of PPO-ptx: weight of the pretraining gradients (InstructGPT: 27.8); 0 is plain PPO."""

    ptx_batch_size: int = 8
    """Pretraining texts per optimizer step."""

    ptx_length: int = 64
    """Tokens of each pretraining text."""


@dataclass
class PpoConfig(OnlineConfig):
    """Proximal policy optimisation with a value model started from the reward model."""

    value_learning_rate: float = 1e-5
    vf_coef: float = 0.1
    cliprange_value: float | None = 0.2
    gamma: float = 1.0
    lam: float = 0.95
    whiten_advantages: bool = True
    value_warmup_iterations: int = 0
    """Iterations at the start that train the value model alone."""


@dataclass
class RlooConfig(OnlineConfig):
    """REINFORCE with a leave-one-out baseline (Ahmadian et al. 2024); no value model."""

    num_generations: int = 4
    """Completions per prompt; each is compared with the others' mean."""


@dataclass
class DpoConfig:
    """TRL's DPOTrainer on all pairs of the rankings (Rafailov et al. 2023); nothing is sampled."""

    learning_rate: float = 5e-5
    beta: float = 0.1
    num_train_epochs: float = 1.0
    per_device_train_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    max_length: int = 512


@hookimpl
def policy_optimizers() -> Sequence[Component]:
    package = "rlhfkit_plugins.optimizers"
    return (
        Component("ppo", PpoConfig, f"{package}.ppo:PPO"),
        Component("rloo", RlooConfig, f"{package}.rloo:RLOO"),
        Component("dpo", DpoConfig, f"{package}.dpo:DPO"),
    )
