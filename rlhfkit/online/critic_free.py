"""Policy optimizers without a value model: a subclass says what advantages are.

`CriticFree` takes the steps; `TokenLoss` is one whose loss is PPO's token by token, as that of GRPO
and REINFORCE++. docs/optimizers.md has a worked example.
"""

from abc import abstractmethod
from functools import partial
from typing import Any

from torch import Tensor

from rlhfkit.models.batch import TokenBatch
from rlhfkit.online.averages import Averages
from rlhfkit.online.loop import OnlineOptimizer
from rlhfkit.online.rollout import Rollout
from rlhfkit.rl.aggregation import LossType, token_weights
from rlhfkit.rl.losses import ppo_policy_loss
from rlhfkit.rl.masking import masked_mean


class CriticFree(OnlineOptimizer):
    """Updates the policy alone; a subclass gives `advantages` and `policy_backward`."""

    @abstractmethod
    def advantages(self, rollout: Rollout) -> Tensor:
        """[B, T], or [B, 1] where the tokens of a response share theirs."""

    @abstractmethod
    def policy_backward(
        self,
        rollout: Rollout,
        advantages: Tensor,
        indices: list[int],
        rows: list[int],
        batch: TokenBatch,
    ) -> Averages:
        """The gradients of some rows [R] of a mini-batch's episodes [M].

        advantages: [B, T]. indices: the mini-batch's. batch: of the rows.
        """

    def parameter_groups(self) -> list[dict[str, Any]]:
        policy = self.roles.policy.trainable_parameters()
        return [{"name": "policy", "params": policy, "lr": self.config.learning_rate}]

    def step(self, rollout: Rollout) -> dict[str, float]:
        advantages = self.advantages(rollout).expand_as(rollout.response_mask)
        averages = Averages()
        for indices in self.mini_batches(rollout):
            texts = self.draw_pretraining(len(indices))
            backward = partial(self._backward, rollout, advantages, indices, texts)
            found = self.gradients(max(len(indices), len(texts)), backward)
            averages.merge(found.of_all_processes())
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
            averages.merge(self.policy_backward(rollout, advantages, indices, rows, batch))
        averages.add("loss/ptx", self.ptx_backward(texts, size))
        return averages


class TokenLoss(CriticFree):
    """PPO's clipped loss of each token, averaged as `loss_type` says."""

    loss_type: LossType = "dapo"
    longest_response: int = 1
    """In tokens; only the loss type dr_grpo asks."""

    cliprange_high: float | None = None

    def policy_backward(
        self,
        rollout: Rollout,
        advantages: Tensor,
        indices: list[int],
        rows: list[int],
        batch: TokenBatch,
    ) -> Averages:
        averages = Averages()
        mask = batch.response_mask
        tokens = rollout.tokens(indices)
        counts = (len(indices), tokens, self.longest_response)
        weights = token_weights(mask, self.loss_type, *counts)
        share = rollout.tokens(rows) / tokens
        part = (rows, slice(mask.shape[1]))
        logprobs, entropy = self.roles.policy.response_logprobs(batch, self.sampler.temperature)
        self.drift.note(rollout.logprobs[part], logprobs, mask)
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
        averages.add_part("loss/kl_avg", kl, share)
        averages.add_part("loss/policy_avg", found.loss, share)
        averages.add("policy/approxkl_avg", found.approxkl, share)
        averages.add("policy/clipfrac_avg", found.clipfrac, share)
        averages.add("policy/entropy_avg", masked_mean(entropy, mask), share)
        averages.add("val/ratio", found.ratio, share)
        return averages
