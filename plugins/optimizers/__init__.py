"""Policy optimizers: PPO and RLOO on the shared rollout loop, and TRL's DPO on the rankings."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlhfkit import hookimpl
from rlhfkit.component import Component
from rlhfkit.online_config import OnlineConfig


@dataclass
class PpoConfig(OnlineConfig):
    """Proximal policy optimisation with a value model started from the reward model."""

    value_learning_rate: float = 1e-5
    vf_coef: float = 0.1
    cliprange_value: float | None = 0.2
    """How far a value may move from the one at sampling; null is the plain error."""

    value_huber_delta: float | None = None
    """Huber's loss of the value from this error on, as Andrychowicz et al. 2021 compare; null is
    the squared error."""

    gamma: float = 1.0
    lam: float = 0.95
    whiten_advantages: bool = True
    """Mean 0 and variance 1 over the batch of episodes (Ziegler et al. 2019); false leaves them."""

    whiten_per_mini_batch: bool = False
    """Over each mini-batch instead (Andrychowicz et al. 2021, section 3.3)."""

    entropy_coef: float = 0.0
    """Weight of the entropy bonus (Schulman et al. 2017, equation 9)."""

    target_kl: float | None = None
    """Stop the passes over a batch before a step whose `approxkl`, the distance from the policy
    that sampled, is above 1.5 times this, as in Spinning Up and Stable-Baselines3; null never."""

    critic_warmup: int = 0
    """Iterations at the start that train the value model alone: a reward model has never seen
    unfinished text, so its values of it, and the first advantages, are far off."""


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
