"""How an online optimizer charges for the KL: by which estimate, in the reward or in the loss.

Both give KL per token before the coefficient, which is the controller's (`optimizer.kl.coef`); one
of the two is 0. What the controller and the metrics are told is always `Rollout.kl`.
"""

from torch import Tensor

from rlhfkit.config.online import OnlineConfig
from rlhfkit.online.rollout import Rollout
from rlhfkit.rl.kl import kl_terms
from rlhfkit.rl.masking import zero_masked


class KLPenalty:
    """`optimizer.kl_estimator`, `kl_in_loss` and `kl_clip`."""

    def __init__(self, config: OnlineConfig) -> None:
        self._config = config

    def in_reward(self, rollout: Rollout) -> Tensor:
        """[B, T] what the rewards of sampled tokens pay for, 0 off the mask."""
        mask = rollout.response_mask
        if self._config.kl_in_loss:
            return rollout.logprobs.new_zeros(mask.shape)
        return zero_masked(self._terms(rollout.logprobs, rollout.ref_logprobs), mask)

    def in_loss(self, logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor) -> Tensor:
        """[B, T] what a loss adds per token, with the gradient of `logprobs`, 0 off the mask.

        GRPO, Shao et al. 2024 (arXiv 2402.03300), section 4.1.1; how tokens are averaged is the
        loss's own choice.
        """
        if not self._config.kl_in_loss:
            return logprobs.new_zeros(mask.shape)
        return zero_masked(self._terms(logprobs, ref_logprobs.detach()), mask)

    def _terms(self, logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
        return kl_terms(logprobs, ref_logprobs, self._config.kl_estimator, self._config.kl_clip)
