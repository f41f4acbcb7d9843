"""optimizer=reinforce_pp: REINFORCE++ (Hu 2025, arXiv 2501.03262, section 3).

PPO without a value model: the advantage of a token is the sum of the penalised rewards from it on,
normalised over the whole batch instead of a prompt's group.
"""

from torch import Tensor

from rlhfkit.online.critic_free import TokenLoss
from rlhfkit.online.rollout import Rollout
from rlhfkit.rl.advantages import discounted_returns
from rlhfkit.rl.kl import penalised_rewards
from rlhfkit.rl.whitening import whiten
from rlhfkit_plugins.optimizers import ReinforcePpConfig


class ReinforcePP(TokenLoss):
    """Returns of tokens, normalised over the batch."""

    config: ReinforcePpConfig

    def advantages(self, rollout: Rollout) -> Tensor:
        mask = rollout.response_mask
        charged = self.kl_penalty.in_reward(rollout)
        rewards = penalised_rewards(rollout.scores, charged, mask, self.kl.coef)
        return whiten(discounted_returns(rewards, mask, self.config.gamma), mask)
