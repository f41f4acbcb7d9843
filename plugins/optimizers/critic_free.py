"""What GRPO and REINFORCE++ share: PPO's clipped loss of each token, and advantages that come from
the scores without a value model."""

from abc import abstractmethod
from functools import partial
from typing import Any

from torch import Tensor

from rlhfkit.models.batch import TokenBatch
from rlhfkit.online import OnlineOptimizer
from rlhfkit.rl.aggregation import LossType, token_weights
from rlhfkit.rl.losses import ppo_policy_loss
from rlhfkit.rl.masking import masked_mean
from rlhfkit.rollout import Rollout
from rlhfkit_plugins.optimizers.averages import Averages


class CriticFree(OnlineOptimizer):
    """Updates the policy alone; a subclass gives `advantages(rollout)`."""

    loss_type: LossType = "dapo"
    longest_response: int = 1
    """In tokens; only the loss type dr_grpo asks."""

    cliprange_high: float | None = None

    @abstractmethod
    def advantages(self, rollout: Rollout) -> Tensor:
        """[B, T], or [B, 1] where the tokens of a response share theirs."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        policy = self.roles.policy.trainable_parameters()
        return [{"name": "policy", "params": policy, "lr": self.config.learning_rate}]

    def step(self, rollout: Rollout) -> dict[str, float]:
        advantages = self.advantages(rollout).expand_as(rollout.response_mask)
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
        tokens = int(rollout.response_mask[indices].sum())
        for rows in rollout.micro_batches(indices, size):
            batch = rollout.batch(rows, self.roles.policy)
            counts = (len(indices), tokens, self.longest_response)
            weights = token_weights(batch.response_mask, self.loss_type, *counts)
            share = float(batch.response_mask.sum()) / tokens
            averages.merge(self._policy_backward(rollout, advantages, rows, batch, weights, share))
        averages.add("loss/ptx", self.ptx_backward(texts, size))
        return averages

    def _policy_backward(
        self,
        rollout: Rollout,
        advantages: Tensor,
        rows: list[int],
        batch: TokenBatch,
        weights: Tensor,
        share: float,
    ) -> Averages:
        """weights: [B, T] of the tokens of these rows; share: theirs of the mini-batch's tokens."""
        averages = Averages()
        mask = batch.response_mask
        part = (rows, slice(mask.shape[1]))
        logprobs, entropy = self.roles.policy.response_logprobs(batch, self.sampler.temperature)
        self.note_drift(rollout.logprobs[part], logprobs, mask)
        # a weight scales both sides of the minimum, so it can stand at the advantage
        found = ppo_policy_loss(
            logprobs,
            rollout.logprobs[part],
            weights * advantages[part],
            mask,
            self.config.cliprange,
            denominator=1.0,
            cliprange_high=self.cliprange_high,
        )
        kl = (weights * self.kl_penalty.in_loss(logprobs, rollout.ref_logprobs[part], mask)).sum()
        self.backward(found.loss + self.kl.coef * kl)
        averages.add("loss/kl_avg", kl.item() / share, share)
        averages.add("loss/policy_avg", found.loss.item() / share, share)
        averages.add("policy/approxkl_avg", float(found.approxkl), share)
        averages.add("policy/clipfrac_avg", float(found.clipfrac), share)
        averages.add("policy/entropy_avg", float(masked_mean(entropy, mask)), share)
        averages.add("val/ratio", float(found.ratio), share)
        return averages
