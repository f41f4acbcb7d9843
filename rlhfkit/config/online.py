"""Options that every online policy optimizer inherits. No torch here."""

from dataclasses import dataclass

from rlhfkit.config.trainer import OPTIMS
from rlhfkit.errors import UserError
from rlhfkit.validators import (
    require_above_zero,
    require_below,
    require_not_negative,
    require_one_of,
)

SCHEDULES = ("constant", "linear")
KL_ESTIMATORS = ("k1", "k2", "k3")
"""`rlhfkit.rl.kl.ESTIMATORS`, without importing torch."""


@dataclass
class OnlineConfig:
    """What optimizers on the shared rollout loop have in common; names as in TRL."""

    learning_rate: float = 1e-5
    """Learning rate of the policy, with AdamW."""

    lr_scheduler_type: str = "constant"
    """`constant`, or `linear`: all models' rates fall to 0 over the run (Huang et al. 2024)."""

    warmup_iterations: int = 0
    """Iterations over which the policy's rate rises from a tenth (InstructGPT, C.4: 10); that of
    values has no warmup."""

    optim: str = "adamw_torch"
    """As in `stage.sft.optim`: adamw_torch, adamw_torch_fused, adamw_8bit, paged_adamw_8bit or
    paged_adamw_32bit."""

    adam_beta1: float = 0.9
    """Decay of AdamW's mean of gradients."""

    adam_beta2: float = 0.95
    """Decay of AdamW's mean of squared gradients."""

    adam_epsilon: float = 1e-5
    """Added to the denominator of AdamW's step."""

    weight_decay: float = 0.0
    """AdamW's weight decay."""

    max_grad_norm: float = 1.0
    """Norm that each model's gradients are clipped to; 0 does not clip."""

    num_ppo_epochs: int = 4
    """Passes over each batch of episodes."""

    num_mini_batches: int = 1
    """Optimizer steps per pass."""

    cliprange: float = 0.2
    """Clip range of the policy ratio (Schulman et al. 2017)."""

    kl_estimator: str = "k1"
    """Estimator of the KL that is charged for: k1, k2 or k3 (Schulman 2020); `objective/kl` and the
    controller have k1, whatever is chosen here."""

    kl_in_loss: bool = False
    """Charge for the KL by a term of the loss, with k2 or k3, in place of the reward (GRPO, Shao et
    al. 2024); the coefficient is that of `kl=` all the same."""

    kl_clip: float | None = None
    """The charged KL of a token is clipped to plus or minus this, in nats; null leaves it."""

    ema_decay: float = 0.0
    """Decay per optimizer step of the moving average of the policy's weights that is saved in the
    end (InstructGPT, C.4: 0.992); 0 saves the last weights."""

    ptx_coef: float = 0.0
    """gamma of PPO-ptx: weight of the pretraining gradients (InstructGPT: 27.8); 0 is plain PPO."""

    ptx_batch_size: int = 8
    """Pretraining texts per optimizer step."""

    ptx_per_episode: int | None = None
    """Pretraining texts per episode of a mini-batch (InstructGPT, C.4: 8), in place of
    `ptx_batch_size`."""

    ptx_length: int = 64
    """Tokens of each pretraining text."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_one_of(name, self, SCHEDULES, "lr_scheduler_type")
        require_one_of(name, self, OPTIMS, "optim")
        require_one_of(name, self, KL_ESTIMATORS, "kl_estimator")
        require_not_negative(name, self, "learning_rate", "warmup_iterations", "weight_decay")
        require_not_negative(name, self, "ptx_coef", "max_grad_norm")
        require_above_zero(name, self, "adam_epsilon", "cliprange", "kl_clip")
        require_above_zero(name, self, "num_ppo_epochs", "num_mini_batches")
        require_above_zero(name, self, "ptx_batch_size", "ptx_per_episode", "ptx_length")
        require_below(name, self, 1, "adam_beta1", "adam_beta2", "ema_decay")
        if self.kl_in_loss and self.kl_estimator == "k1":
            raise UserError(
                f"{name}.kl_estimator=k1: the mean of its gradient is 0, so that in the loss it "
                f"holds nothing; with {name}.kl_in_loss=true take k2 or k3"
            )
