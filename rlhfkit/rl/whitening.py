"""Rewards and advantages to unit variance: over a batch, or over all batches so far."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from rlhfkit.rl.masking import masked_mean, masked_variance, zero_masked
from rlhfkit.rl.shapes import FLOAT, require_axes, require_dtype, require_masked_floats

EPSILON = 1e-8
"""Added to the variance, as in Ziegler's code and TRL."""


def whiten(x_BT: Tensor, mask_BT: Tensor, shift_mean: bool = True) -> Tensor:
    """Scale the unmasked entries to variance 1 and, if `shift_mean`, to mean 0.

        y = (x - mean) / sqrt(var + 1e-8)   (+ mean, without shift_mean)

    Ziegler et al. 2019, in the code rather than the paper: rewards keep their mean, advantages do
    not (openai/lm-human-preferences, train_policy.py). The variance is the unbiased one of TRL.

    Args:
        x_BT: rewards or advantages, float32 or float64.
        mask_BT: bool.
        shift_mean: True for advantages, False for rewards.
    Returns:
        y_BT, 0 at masked entries. A constant x gives 0, or x itself without shift_mean.
    Raises:
        ValueError: shapes differ, a wrong dtype, or nothing unmasked.
    """
    require_masked_floats(mask_BT, x_BT=x_BT)
    mean = masked_mean(x_BT, mask_BT)
    centred_BT = zero_masked(x_BT, mask_BT) - mean
    # The mean of a large constant is off by a rounding error, which the division would blow up.
    centred_BT = centred_BT - masked_mean(centred_BT, mask_BT)
    whitened_BT = centred_BT * torch.rsqrt(masked_variance(centred_BT, mask_BT) + EPSILON)
    return zero_masked(whitened_BT if shift_mean else whitened_BT + mean, mask_BT)


class RunningMoments:
    """Mean and standard deviation of all numbers seen so far, in float64.

        n = n_a + n_b,   d = mean_b - mean_a
        mean = mean_a + d n_b / n
        M2 = M2_a + M2_b + d^2 n_a n_b / n,   std = sqrt(M2 / (n - 1))

    Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", eq. 2.1. Dividing
    rewards by a running deviation: Engstrom et al. 2020 (arXiv 2005.12729).
    """

    def __init__(self) -> None:
        self._count, self._squares = 0, 0.0
        self.mean = 0.0

    def state_dict(self) -> dict[str, float]:
        """All it knows of the numbers."""
        return {"count": self._count, "mean": self.mean, "squares": self._squares}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from a state."""
        self._count, self.mean = int(state["count"]), state["mean"]
        self._squares = state["squares"]

    @property
    def std(self) -> float:
        """1 where the numbers have no spread, so that one can divide by it."""
        return math.sqrt(self._squares / max(self._count - 1, 1)) or 1.0

    def update(self, x_B: Tensor) -> None:
        """Take in a batch, float32 or float64; ValueError for another shape or dtype."""
        require_axes(x_B=x_B)
        require_dtype(FLOAT, x_B=x_B)
        x_B, before = x_B.double(), self._count
        mean = float(x_B.mean())
        self._count += len(x_B)
        difference = mean - self.mean
        self.mean += difference * len(x_B) / self._count
        self._squares += float((x_B - mean).square().sum())
        self._squares += difference**2 * before * len(x_B) / self._count
