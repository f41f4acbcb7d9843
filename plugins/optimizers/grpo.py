"""optimizer=grpo: group relative policy optimisation (DeepSeekMath, Shao et al. 2024, section 4.1).

A completion's advantage is its score less the mean of its prompt's, in standard deviations; the KL
to the reference is a term of the loss and, unless `optimizer.kl_in_loss=false`, not of the
reward.
"""

from typing import cast

from torch import Tensor

from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.online.critic_free import TokenLoss
from rlhfkit.online.rollout import Rollout
from rlhfkit.rl.advantages import group_relative
from rlhfkit.rl.aggregation import LossType
from rlhfkit_plugins.optimizers import GrpoConfig


class GRPO(TokenLoss):
    """Completions of a prompt are each other's baseline."""

    config: GrpoConfig

    def __init__(self, config: GrpoConfig, context: Context) -> None:
        super().__init__(config, context)
        if config.loss_type == "dr_grpo" and not hasattr(context.config.sampler, "response_length"):
            raise UserError("optimizer.loss_type=dr_grpo: the sampler has no response_length")
        self.completions_per_prompt = config.num_generations
        self.loss_type = cast(LossType, config.loss_type)
        self.longest_response = getattr(context.config.sampler, "response_length", 1)
        self.cliprange_high = config.epsilon_high

    def advantages(self, rollout: Rollout) -> Tensor:
        rewards = rollout.scores - self.kl.coef * self.kl_penalty.in_reward(rollout).sum(1)
        groups = rewards.view(-1, self.completions_per_prompt)
        return group_relative(groups, self.config.scale_rewards == "group").view(-1, 1)
