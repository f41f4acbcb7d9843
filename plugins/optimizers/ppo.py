"""optimizer=ppo: proximal policy optimisation as InstructGPT uses it (sections 3.5 and C.4), with
the pretraining mix of PPO-ptx."""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from rlhfkit.context import Context
from rlhfkit.models.batch_size import AdaptiveBatchSize, micro_batch
from rlhfkit.models.forward import by_micro_batch, pad_rows
from rlhfkit.online.averages import Averages
from rlhfkit.online.loop import OnlineOptimizer
from rlhfkit.online.rollout import Rollout
from rlhfkit.rl.advantages import gae
from rlhfkit.rl.kl import penalised_rewards
from rlhfkit.rl.losses import clipped_value_loss, explained_variance, ppo_policy_loss
from rlhfkit.rl.masking import masked_mean
from rlhfkit.rl.whitening import whiten
from rlhfkit.storage.state_file import State
from rlhfkit_plugins.optimizers import PpoConfig


@dataclass(frozen=True)
class Targets:
    """What the losses compare with; each [B, T], constant through the epochs."""

    advantages: Tensor
    returns: Tensor
    old_values: Tensor


class PPO(OnlineOptimizer):
    """Policy and value model, each with its own learning rate and its own backward pass."""

    config: PpoConfig
    needs = ("sft", "reward_model")

    def parameter_groups(self) -> list[dict[str, Any]]:
        policy = self.roles.policy.trainable_parameters()
        value = self.roles.value.trainable_parameters()
        return [
            {"name": "policy", "params": policy, "lr": self.config.learning_rate},
            {"name": "value", "params": value, "lr": self.config.value_learning_rate},
        ]

    def __init__(self, config: PpoConfig, context: Context) -> None:
        super().__init__(config, context)
        self._steps_to_warm_up = config.critic_warmup
        self._value_size = AdaptiveBatchSize("values", micro_batch(self.rl))

    def step(self, rollout: Rollout) -> dict[str, float]:
        # 1. advantages and returns, which stay through all updates
        targets = self.targets(rollout)
        explained = explained_variance(targets.old_values, targets.returns, rollout.response_mask)
        averages = Averages()
        for indices in self.mini_batches(rollout):
            # 2. gradients: of the value loss, of the policy's, of the pretraining mix
            texts = [] if self._warming_up else self.draw_pretraining(len(indices))
            mini_targets = self._minibatch_targets(targets, rollout.response_mask, indices)
            backward = partial(self._backward, rollout, mini_targets, indices, texts)
            rows = max(len(indices), len(texts))
            found = self.gradients(rows, backward)
            found.add("val/explained_variance", explained)  # read with the losses: no wait more
            found = found.of_all_processes()
            averages.merge(found)
            # 3. a step, unless the policy has moved too far
            if self._kl_exceeded(found.means()):
                self.optimizer.zero_grad()
                break
            averages.add_all(self.optimizer_step())
        self._steps_to_warm_up -= 1
        means = averages.means()
        if math.isnan(means["val/explained_variance"]):  # the returns do not vary
            del means["val/explained_variance"]
        return means

    def state_dict(self) -> State:
        return {**super().state_dict(), "steps_to_warm_up": self._steps_to_warm_up}

    def load_state_dict(self, state: State) -> None:
        super().load_state_dict(state)
        self._steps_to_warm_up = state["steps_to_warm_up"]

    @property
    def _warming_up(self) -> bool:
        return self._steps_to_warm_up > 0

    def _backward(
        self,
        rollout: Rollout,
        targets: Targets,
        indices: list[int],
        texts: list[list[int]],
        size: int,
    ) -> Averages:
        """Every gradient of one mini-batch, the same however it is cut into micro-batches."""
        averages = Averages()
        self._value_backward(rollout, targets, indices, size, averages)
        if not self._warming_up:
            self._policy_backward(rollout, targets, indices, size, averages)
            coef = self._ptx_coef(rollout, indices, texts)
            averages.add("loss/ptx", self.ptx_backward(texts, size, coef))
        return averages

    def _ptx_coef(self, rollout: Rollout, indices: list[int], texts: list[list[int]]) -> float:
        """The weight of the texts' mean over tokens beside PPO's mean over tokens. Equation 2 has
        sums over a text and an episode: means times their lengths. Both are divided by the length
        of an episode, so that PPO's own gradients are the same."""
        coef = self.config.ptx_coef
        if self.config.ptx_reduction == "token_mean" or not texts:
            return coef
        of_text = sum(len(row) - 1 for row in texts) / len(texts)
        return coef * of_text / (rollout.tokens(indices) / len(indices))

    def targets(self, rollout: Rollout) -> Targets:
        """Advantages and returns from the penalised rewards and the values as they are now."""
        values = self._values(rollout)
        mask = rollout.response_mask
        charged = self.kl_penalty.in_reward(rollout)
        rewards = penalised_rewards(rollout.scores, charged, mask, self.kl.coef)
        if self.rl.whiten_rewards:
            rewards = whiten(rewards, mask, shift_mean=False)
        estimate = gae(rewards, values, mask, self.config.gamma, self.config.lam)
        advantages = estimate.advantages
        if self.config.whiten_advantages and not self.config.whiten_per_mini_batch:
            advantages = whiten(advantages, mask)
        return Targets(advantages, estimate.returns, values)

    def _minibatch_targets(self, targets: Targets, mask: Tensor, indices: list[int]) -> Targets:
        """The targets of a mini-batch, in the rows of the whole batch."""
        if not self.config.whiten_per_mini_batch:
            return targets
        advantages = targets.advantages.clone()
        advantages[indices] = whiten(advantages[indices], mask[indices])
        return replace(targets, advantages=advantages)

    def _kl_exceeded(self, metrics: dict[str, float]) -> bool:
        target = self.config.target_kl
        return target is not None and metrics.get("policy/approxkl_avg", 0.0) > 1.5 * target

    def _policy_backward(
        self,
        rollout: Rollout,
        targets: Targets,
        indices: list[int],
        size: int,
        averages: Averages,
    ) -> None:
        tokens = rollout.tokens(indices)
        for rows in rollout.micro_batches(indices, size):
            batch = rollout.batch(rows, self.roles.policy)
            mask = batch.response_mask
            logprobs, entropy = self.roles.policy.response_logprobs(
                batch, self.sampler.temperature, entropy_gradient=self.config.entropy_coef > 0
            )
            self.drift.note(rollout.logprobs[rows, : mask.shape[1]], logprobs, mask)
            found = ppo_policy_loss(
                logprobs,
                rollout.logprobs[rows, : mask.shape[1]],
                targets.advantages[rows, : mask.shape[1]],
                mask,
                self.config.cliprange,
                tokens,
            )
            ref_logprobs = rollout.ref_logprobs[rows, : mask.shape[1]]
            kl = self.kl_penalty.in_loss(logprobs, ref_logprobs, mask).sum() / tokens
            bonus = self.config.entropy_coef * entropy.sum() / tokens
            self.backward(found.loss + self.kl.coef * kl - bonus)
            share = mask.sum() / tokens
            averages.add_part("loss/kl_avg", kl, share)
            averages.add_part("loss/policy_avg", found.loss, share)
            averages.add("policy/approxkl_avg", found.approxkl, share)
            averages.add("policy/clipfrac_avg", found.clipfrac, share)
            averages.add("policy/entropy_avg", masked_mean(entropy.detach(), mask), share)
            averages.add("val/ratio", found.ratio, share)

    def _value_backward(
        self,
        rollout: Rollout,
        targets: Targets,
        indices: list[int],
        size: int,
        averages: Averages,
    ) -> None:
        tokens = rollout.tokens(indices)
        for rows in rollout.micro_batches(indices, size):
            batch = rollout.batch(rows, self.roles.value.language_model)
            mask = batch.response_mask
            found = clipped_value_loss(
                self.roles.value.values(batch),
                targets.old_values[rows, : mask.shape[1]],
                targets.returns[rows, : mask.shape[1]],
                mask,
                self.config.cliprange_value,
                tokens,
                self.config.value_huber_delta,
            )
            self.backward(self.config.vf_coef * found.loss, "value")
            share = mask.sum() / tokens
            averages.add_part("loss/value_avg", found.loss, share)
            averages.add("val/clipfrac_avg", found.clipfrac, share)

    def _values(self, rollout: Rollout) -> Tensor:
        rows = by_micro_batch(
            self.roles.value.language_model,
            rollout.prompt_ids,
            [response.ids for response in rollout.responses],
            self._value_size,
            self.roles.value.values,
            rollout.lower,
        )
        return pad_rows(rows, rollout.response_mask.shape[1])
