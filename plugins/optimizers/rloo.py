"""optimizer=rloo: REINFORCE leave-one-out (Ahmadian et al. 2024, section 3.2).

A whole completion is one action: its reward is the score less the KL penalty, its baseline the
mean of the other completions of its prompt. With several epochs the ratio of whole completions is
clipped as in PPO.
"""

from functools import partial
from typing import Any

from torch import Tensor

from rlhfkit.context import Context
from rlhfkit.online import OnlineOptimizer
from rlhfkit.rl.advantages import leave_one_out
from rlhfkit.rl.losses import ppo_policy_loss
from rlhfkit.rollout import Rollout
from rlhfkit_plugins.optimizers import RlooConfig
from rlhfkit_plugins.optimizers.averages import Averages


class RLOO(OnlineOptimizer):
    """Policy gradients without a value model."""

    config: RlooConfig

    def __init__(self, config: RlooConfig, context: Context) -> None:
        super().__init__(config, context)
        self.completions_per_prompt = config.num_generations

    def parameter_groups(self) -> list[dict[str, Any]]:
        policy = self.roles.policy.trainable_parameters()
        return [{"name": "policy", "params": policy, "lr": self.config.learning_rate}]

    def step(self, rollout: Rollout) -> dict[str, float]:
        rewards = rollout.scores - self.kl.coef * self.kl_penalty.in_reward(rollout).sum(1)
        advantages = leave_one_out(rewards.view(-1, self.completions_per_prompt)).view(-1, 1)
        averages = Averages()
        for indices in self.mini_batches(rollout):
            texts = self.draw_pretraining(len(indices))
            backward = partial(self._backward, rollout, advantages, indices, texts)
            averages.merge(self.gradients(max(len(indices), len(texts)), backward))
            averages.add_all(self.optimizer_step())
        return averages.means()

    def _backward(
        self,
        rollout: Rollout,
        advantages: Tensor,
        indices: list[int],
        texts: list[list[int]],
        size: int,
    ) -> Averages:
        """Every gradient of one mini-batch, the same however it is cut into micro-batches."""
        averages = Averages()
        for rows in rollout.micro_batches(indices, size):
            batch = rollout.batch(rows, self.roles.policy)
            logprobs, _ = self.roles.policy.response_logprobs(batch, self.sampler.temperature)
            mask = batch.response_mask
            self.note_drift(rollout.logprobs[rows, : mask.shape[1]], logprobs, mask)
            whole = logprobs.sum(1, keepdim=True)
            loss = ppo_policy_loss(
                whole,
                rollout.logprobs[rows].sum(1, keepdim=True),
                advantages[rows],
                batch.response_mask[:, :1],
                self.config.cliprange,
                len(indices),
            )
            ref_logprobs = rollout.ref_logprobs[rows, : mask.shape[1]]
            kl = self.kl_penalty.in_loss(logprobs, ref_logprobs, mask).sum() / len(indices)
            self.backward(loss.loss + self.kl.coef * kl)
            share = len(rows) / len(indices)
            averages.add("loss/kl_avg", kl.item() / share, share)
            averages.add("loss/policy_avg", loss.loss.item() / share, share)
            averages.add("policy/approxkl_avg", float(loss.approxkl), share)
            averages.add("policy/clipfrac_avg", float(loss.clipfrac), share)
            averages.add("val/ratio", float(loss.ratio), share)
        averages.add("loss/ptx", self.ptx_backward(texts, size))
        return averages
