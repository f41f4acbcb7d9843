"""optimizer=rloo: REINFORCE leave-one-out (Ahmadian et al. 2024, section 3.2).

A whole completion is one action: its reward is the score less the KL penalty, its baseline the
mean of the other completions of its prompt. With several epochs the ratio of whole completions is
clipped as in PPO.
"""

from torch import Tensor

from rlhfkit.context import Context
from rlhfkit.models.batch import TokenBatch
from rlhfkit.online.averages import Averages
from rlhfkit.online.critic_free import CriticFree
from rlhfkit.online.rollout import Rollout
from rlhfkit.rl.advantages import leave_one_out
from rlhfkit.rl.losses import ppo_policy_loss
from rlhfkit_plugins.optimizers import RlooConfig


class RLOO(CriticFree):
    """Policy gradients of whole completions."""

    config: RlooConfig

    def __init__(self, config: RlooConfig, context: Context) -> None:
        super().__init__(config, context)
        self.completions_per_prompt = config.num_generations

    def advantages(self, rollout: Rollout) -> Tensor:
        rewards = rollout.scores - self.kl.coef * self.kl_penalty.in_reward(rollout).sum(1)
        return leave_one_out(rewards.view(-1, self.completions_per_prompt)).view(-1, 1)

    def policy_backward(
        self,
        rollout: Rollout,
        advantages: Tensor,
        indices: list[int],
        rows: list[int],
        batch: TokenBatch,
    ) -> Averages:
        averages = Averages()
        logprobs, _ = self.roles.policy.response_logprobs(batch, self.sampler.temperature)
        mask = batch.response_mask
        self.drift.note(rollout.logprobs[rows, : mask.shape[1]], logprobs, mask)
        loss = ppo_policy_loss(
            logprobs.sum(1, keepdim=True),
            rollout.logprobs[rows].sum(1, keepdim=True),
            advantages[rows, :1],
            mask[:, :1],
            self.config.cliprange,
            len(indices),
        )
        ref_logprobs = rollout.ref_logprobs[rows, : mask.shape[1]]
        kl = self.kl_penalty.in_loss(logprobs, ref_logprobs, mask).sum() / len(indices)
        self.backward(loss.loss + self.kl.coef * kl)
        share = len(rows) / len(indices)
        averages.add_part("loss/kl_avg", kl, share)
        averages.add_part("loss/policy_avg", loss.loss, share)
        averages.add("policy/approxkl_avg", loss.approxkl, share)
        averages.add("policy/clipfrac_avg", loss.clipfrac, share)
        averages.add("val/ratio", loss.ratio, share)
        return averages
