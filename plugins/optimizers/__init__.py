"""Policy optimizers: PPO, RLOO, GRPO and REINFORCE++ on the shared rollout loop; TRL's GRPO and
RLOO with a loop of their own; TRL's DPO on the rankings."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlhfkit import hookimpl
from rlhfkit.component import Component
from rlhfkit.config.online import OnlineConfig
from rlhfkit.errors import UserError
from rlhfkit.validators import (
    require_above_zero,
    require_at_least,
    require_fractions,
    require_not_negative,
    require_one_of,
)

LOSS_TYPES = ("grpo", "dapo", "dr_grpo")
"""`rlhfkit.rl.aggregation.LossType`, without importing torch."""


PTX_REDUCTIONS = ("token_mean", "token_sum")


@dataclass
class PpoConfig(OnlineConfig):
    """Proximal policy optimisation with a value model started from the reward model."""

    value_learning_rate: float = 1e-5
    """Learning rate of the value model, with AdamW."""

    vf_coef: float = 0.1
    """Weight of the value loss."""

    cliprange_value: float | None = 0.2
    """How far a value may move from the one at sampling; null is the plain error."""

    value_huber_delta: float | None = None
    """Huber's loss of the value from this error on, as Andrychowicz et al. 2021 compare; null is
    the squared error."""

    gamma: float = 1.0
    """Discount of rewards that come later in the completion."""

    lam: float = 0.95
    """Lambda of generalised advantage estimation (Schulman et al. 2015)."""

    whiten_advantages: bool = True
    """Mean 0 and variance 1 over the batch of episodes (Ziegler et al. 2019); false leaves them."""

    whiten_per_mini_batch: bool = False
    """Whiten advantages over each mini-batch instead (Andrychowicz et al. 2021, section 3.3)."""

    entropy_coef: float = 0.0
    """Weight of the entropy bonus (Schulman et al. 2017, equation 9)."""

    target_kl: float | None = None
    """Stop the passes over a batch before a step whose `approxkl`, the distance from the policy
    that sampled, is above 1.5 times this, as in Spinning Up and Stable-Baselines3; null never."""

    ptx_reduction: str = "token_mean"
    """`token_mean`: PPO's term and the pretraining term are means over their tokens, and `ptx_coef`
    weighs these; `token_sum`: sums over an episode and over a text, as equation 2 of InstructGPT
    reads to the letter, so that the same `ptx_coef` weighs more the longer texts are than answers
    (docs/optimizers.md)."""

    critic_warmup: int = 0
    """Iterations at the start that train the value model alone: a reward model has never seen
    unfinished text, so its values of it, and the first advantages, are far off."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        require_not_negative(name, self, "value_learning_rate", "vf_coef", "entropy_coef")
        require_not_negative(name, self, "critic_warmup")
        require_above_zero(name, self, "cliprange_value", "value_huber_delta", "target_kl")
        require_one_of(name, self, PTX_REDUCTIONS, "ptx_reduction")
        require_fractions(name, self, "gamma", "lam")
        if self.whiten_per_mini_batch and not self.whiten_advantages:
            raise UserError(
                f"{name}.whiten_per_mini_batch=true: needs {name}.whiten_advantages=true"
            )


@dataclass
class RlooConfig(OnlineConfig):
    """REINFORCE with a leave-one-out baseline (Ahmadian et al. 2024); no value model."""

    num_generations: int = 4
    """Completions per prompt; each is compared with the others' mean."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        require_at_least(name, self, 2, "num_generations")


@dataclass
class GrpoConfig(OnlineConfig):
    """Group relative policy optimisation (Shao et al. 2024); no value model, KL in the loss."""

    num_ppo_epochs: int = 1
    """Passes over each batch of episodes (section 4.2: one update)."""

    kl_estimator: str = "k3"
    kl_in_loss: bool = True
    num_generations: int = 8
    """Completions per prompt; each is compared with the group's mean."""

    scale_rewards: str = "group"
    """group divides by the standard deviation of the group's scores; none does not (Dr. GRPO)."""

    loss_type: str = "grpo"
    """grpo averages over each response, then over responses; dapo over all tokens of a mini-batch;
    dr_grpo divides by `sampler.response_length` instead of a response's own length."""

    epsilon_high: float | None = None
    """Clip range of the policy ratio above 1 (DAPO: 0.28); null takes `cliprange`."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        require_at_least(name, self, 2, "num_generations")
        require_above_zero(name, self, "epsilon_high")
        require_one_of(name, self, ("group", "none"), "scale_rewards")
        require_one_of(name, self, LOSS_TYPES, "loss_type")


@dataclass
class ReinforcePpConfig(OnlineConfig):
    """REINFORCE++ (Hu 2025): PPO without a value model, advantages normalised over the batch."""

    gamma: float = 1.0
    """Discount of the penalised rewards."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        require_fractions(name, self, "gamma")


@dataclass
class TrlOnlineConfig:
    """What TRL's online trainers have in common; names as in TRL. Batches are `stage.rl`'s."""

    learning_rate: float = 1e-5
    """Learning rate of the policy, with AdamW."""

    lr_scheduler_type: str = "constant"
    """Course of the learning rate, by transformers' names."""

    max_grad_norm: float = 1.0
    """Norm that gradients are clipped to."""

    num_generations: int = 4
    """Completions per prompt."""

    num_iterations: int = 1
    """Passes over each batch of episodes, an optimizer step each."""

    epsilon: float = 0.2
    """Clip range of the policy ratio."""

    epsilon_high: float | None = None
    """Clip range of the policy ratio above 1; null takes `epsilon`."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_not_negative(name, self, "learning_rate", "max_grad_norm")
        require_at_least(name, self, 2, "num_generations")
        require_above_zero(name, self, "num_iterations", "epsilon", "epsilon_high")


@dataclass
class TrlGrpoConfig(TrlOnlineConfig):
    """TRL's GRPOTrainer with this run's rewards; its `beta` is the KL controller's coefficient."""

    scale_rewards: str = "group"
    """group, batch or none: whose standard deviation divides the advantages."""

    loss_type: str = "grpo"
    """grpo, dapo, dr_grpo, bnpo and what else TRL has."""

    use_bias_correction_kl: bool = False
    """Multiply the KL by the policy ratio (DeepSeek-V3.2); TRL's default, but not GRPO's paper."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        require_one_of(name, self, ("group", "batch", "none"), "scale_rewards")


@dataclass
class TrlRlooConfig(TrlOnlineConfig):
    """TRL's RLOOTrainer with this run's rewards; its `beta` is the KL controller's coefficient."""

    normalize_advantages: bool = False
    """Scale advantages to mean 0 and variance 1 over the batch."""


@dataclass
class DpoConfig:
    """TRL's DPOTrainer on all pairs of the rankings (Rafailov et al. 2023); nothing is sampled."""

    learning_rate: float = 5e-5
    """Learning rate of the policy, with AdamW."""

    beta: float = 0.1
    """Strength of the pull towards the SFT model (Rafailov et al. 2023, eq. 7)."""

    num_train_epochs: float = 1.0
    """Passes over the pairs."""

    per_device_train_batch_size: int = 8
    """Pairs computed together in each process."""

    gradient_accumulation_steps: int = 1
    """Batches that share an optimizer step."""

    max_length: int = 512
    """Longest prompt and completion together, in tokens."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_not_negative(name, self, "learning_rate")
        require_above_zero(name, self, "beta", "num_train_epochs", "max_length")
        require_above_zero(name, self, "per_device_train_batch_size", "gradient_accumulation_steps")


@hookimpl
def policy_optimizers() -> Sequence[Component]:
    package = "rlhfkit_plugins.optimizers"
    return (
        Component("ppo", PpoConfig, f"{package}.ppo:PPO"),
        Component("rloo", RlooConfig, f"{package}.rloo:RLOO"),
        Component("grpo", GrpoConfig, f"{package}.grpo:GRPO"),
        Component("reinforce_pp", ReinforcePpConfig, f"{package}.reinforce_pp:ReinforcePP"),
        Component("trl_grpo", TrlGrpoConfig, f"{package}.trl_online:TrlGRPO"),
        Component("trl_rloo", TrlRlooConfig, f"{package}.trl_online:TrlRLOO"),
        Component("dpo", DpoConfig, f"{package}.dpo:DPO"),
    )
